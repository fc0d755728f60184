"""Rows of the exports of points, redemptions, reminders, tiers, coupons and merges as events of the stream's kinds.

Such an event becomes an experience event alone: it moves no ledger, since the member's row already counts it; a merge also ties
the two members' identities. It is known as
`capillary:{orgId}:hist:{type}:{id}`; the stream knows the same happening by another id, so only what came before the webhook may
be imported. Source: capillary.md 8.2, 8.3 (4).
"""

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from capstream.capillary import cells
from capstream.capillary.cells import BadRow, Row
from capstream.capillary.history import event_of
from capstream.kernel.json import Json

_KINDS = {
    "redeemed": "pointsRedeemed",
    "redeemed_by_conversion": "pointsRedeemed",
    "expired": "pointsExpired",
    "return": "issuedPointsReversed",
    "return_historical": "issuedPointsReversed",
    "cancelled": "issuedPointsReversed",
    "redeemed_by_transfer": "pointsTransferredInitiated",
    "redemption_reversal": "redeemedPointsReversed",
    "redemption_reverted": "redeemedPointsReversed",
    "manual_adjustment": "manualPointsAdjustment",
}
"""Deduction type -> kind of the stream. What gives points back to a member is an award, whatever its type."""

_AMOUNTS = {
    "pointsRedeemed": "totalPointsRedeemed",
    "pointsExpired": "pointsExpired",
    "issuedPointsReversed": "totalIssuedPointsReversed",
    "pointsTransferredInitiated": "totalPointsTransferred",
    "redeemedPointsReversed": "redeemedPointsReversed",
    "manualPointsAdjustment": "totalPoinstDeducted",
}
SUMMARY_IDS = ("deduction_summary_id", "redemption_summary_id", "points_redemption_summary_id")
"""Columns that hold the id of a redemption (`redemptionSummaryId` of the webhook)."""

REDEEMED = ("redeemed_points", "points_redeemed", "total_points_redeemed", "deducted_points")
EXPIRING = ("points_scheduled_for_expiry", "expiring_points", "points_to_expire", "points")
EXPIRY_DAYS = ("expiry_date", "points_expiry_date", "scheduled_expiry_date")
"""Columns that may hold the value; the first that does counts."""
_CURRENCY_VALUES = ("deduction_currency_value", "redemption_currency_value", "redeemed_points_currency_value")

_SLAB_KINDS = {"upgrade": "tierUpgraded", "downgrade": "tierDowngraded", "renewal": "tierRenewed", "renew": "tierRenewed"}
_ISSUED, _REDEEMED = frozenset({"issue", "issued", "issual"}), frozenset({"redeem", "redeemed", "redemption"})


def points_type(row: Row) -> str:
    """Return what a row of the Points export is: its deduction type, `awarded` when it deducts nothing. Lower case."""
    stated = cells.text(row, "deduction_type")
    if stated is None or not cells.amount(row, "deducted_points"):
        return "awarded"
    return "_".join(stated.lower().split())


def points_group(row: Row) -> str:
    """Return the key that the rows of one happening share. Errors: BadRow."""
    return f"{points_type(row)}:{cells.needed_id(row, ('event_id',))}"


def summary_of(row: Row) -> str | None:
    """Return the id of the redemption that a row of Points or of Points Redemption Summary is about. Errors: BadRow."""
    return next((found for name in SUMMARY_IDS if (found := cells.optional_id(row, name)) is not None), None)


Victims = Callable[[str, str | None, str | None], Sequence[str]]
"""(survivor, external id, mobile) -> ids of members, marked as merged in Members, that fit."""


class Happenings:
    """Makes events of the rows of one organisation, None of those at or after `cutover_ms`: the stream brings them."""

    def __init__(self, org_id: str, *, zone: ZoneInfo, cutover_ms: int, program_id: str | None = None) -> None:
        self._org_id = org_id
        self._zone = zone
        self._cutover_ms = cutover_ms
        self._program_id = program_id

    def points(self, rows: Sequence[Row]) -> Json | None:
        """Return the event of the rows of the Points export that share event and type. Errors: BadRow."""
        first = rows[0]
        event_id, customer = cells.needed_id(first, ("event_id",)), cells.needed_id(first, ("user_id",))
        if any(cells.optional_id(row, "user_id") not in (None, customer) for row in rows):
            raise BadRow("user_id", f"the rows of event {event_id} name several members", "export the event again")
        at, stated = cells.moment(first, self._zone), points_type(first)
        if at >= self._cutover_ms:
            return None
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "loyaltyProgramId": self._program(first),
            "triggeringActivity": {"identifiers": _trigger(first)},
        }
        if stated == "awarded":
            return self._event("pointsIssued", customer, at, data | _award(rows), ("awarded", event_id))
        if stated not in _KINDS:
            cure = "leave the row out: the member's row in Members counts it"
            raise BadRow("deduction_type", f"no event is known for {stated[:40]!r}", cure)
        kind = _KINDS[stated]
        total = sum(cells.amount(row, "deducted_points") or 0 for row in rows)
        data[_AMOUNTS[kind]] = round(total, 3)
        if kind == "pointsRedeemed":
            data |= _redemption(first)
        return self._event(kind, customer, at, data, (stated, event_id))

    def redemption(self, rows: Sequence[Row]) -> Json | None:
        """Return the event of the rows of Points Redemption Summary that share a redemption. Errors: BadRow."""
        first = rows[0]
        summary, customer = cells.needed_id(first, SUMMARY_IDS), cells.needed_id(first, ("user_id",))
        if any(cells.optional_id(row, "user_id") not in (None, customer) for row in rows):
            raise BadRow("user_id", f"the rows of redemption {summary} name several members", "export the redemption again")
        at = cells.moment(first, self._zone)
        if at >= self._cutover_ms:
            return None
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "loyaltyProgramId": self._program(first),
            "triggeringActivity": {"identifiers": _trigger(first)},
            "totalPointsRedeemed": round(sum(_first_amount(row, REDEEMED) for row in rows), 3),
            **_redemption(first),
        }
        return self._event("pointsRedeemed", customer, at, data, ("redemption", summary))

    def expiry_reminder(self, row: Row) -> Json | None:
        """Return the event of a row of Points Expiry Reminder Info. Errors: BadRow."""
        customer, at = cells.needed_id(row, ("user_id",)), cells.moment(row, self._zone)
        points, column = _first_amount(row, EXPIRING), _first_named(row, EXPIRY_DAYS)
        stated = cells.text(row, column)
        if stated is None:
            raise BadRow(column, "is missing", "export the column and keep every row's value")
        day = cells.day(stated, column)
        if at >= self._cutover_ms:
            return None
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "loyaltyProgramId": self._program(row),
            "pointsScheduledForExpiry": points,
            "scheduledExpiryDate": day,
        }
        return self._event("pointsExpiryReminder", customer, at, data, ("expiry_reminder", f"{customer}-{day}-{at}"))

    def merge(self, row: Row, victims: Victims) -> Json | None:
        """Return the event of a row of Customer Merge Event Log; `victims` finds the member whose id the row leaves out.

        Errors: BadRow, also when nobody or more than one is found.
        """
        merge_id, survivor = cells.needed_id(row, ("merge_event_id",)), cells.needed_id(row, ("user_id", "survivor_user_id"))
        at = cells.moment(row, self._zone)
        if at >= self._cutover_ms:
            return None
        external, mobile = cells.text(row, "victim_external_id"), cells.text(row, "victim_mobile")
        victim = cells.optional_id(row, "victim_user_id") or _only(victims(survivor, external, mobile))
        if victim == survivor:
            raise BadRow("victim_user_id", "is the survivor itself", "export the merge again")
        instore: dict[str, Json] = {
            name: value for name, value in (("externalId", external), ("mobile", mobile)) if value is not None
        }
        data: dict[str, Json] = {
            "survivorCustomerIdentifiers": {"customerId": int(survivor)},
            "victimCustomerIdentifiers": {"customerId": int(victim), "instore": instore},
        }
        return self._event("loyaltyCustomerMerge", survivor, at, data, ("merge", merge_id))

    def slab_change(self, row: Row) -> Json | None:
        """Return the event of a row of the Slab Change Log. Errors: BadRow."""
        customer = cells.needed_id(row, ("user_id",))
        at = cells.moment(row, self._zone, on="event_date_time")
        action = (cells.text(row, "slab_change_action") or "").lower()
        if action not in _SLAB_KINDS:
            raise BadRow("slab_change_action", f"{action[:40]!r} is no change of a tier", "write Upgrade, downgrade or renewal")
        if at >= self._cutover_ms:
            return None
        name, before = cells.text(row, "slab_name"), cells.text(row, "previous_slab")
        if name is None:
            raise BadRow("slab_name", "is missing", "export the column and keep every row's value")
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "loyaltyProgramId": self._program({}),
            "notes": cells.text(row, "notes"),
        }
        kind = _SLAB_KINDS[action]
        names: dict[str, Json] = {"current": name} if kind == "tierRenewed" else {"to": name}
        if before is not None and kind != "tierRenewed":
            names["from"] = before
        found = (action, f"{customer}-{at}")
        return self._event(kind, customer, at, data, found, {"tier": names})

    def coupon(self, row: Row) -> Json | None:
        """Return the event of a row of the Coupons export: issued, or redeemed. Errors: BadRow."""
        customer, coupon_id = cells.needed_id(row, ("user_id",)), cells.needed_id(row, ("issual_coupon_id",))
        stated = (cells.text(row, "coupon_event_type") or "").lower()
        if stated not in _ISSUED | _REDEEMED:
            raise BadRow("coupon_event_type", f"{stated[:40]!r} is neither issued nor redeemed", "write issued or redeemed")
        series = cells.text(row, "coupon_series")
        described: Json = {} if series is None else {"id" if series.isdecimal() else "description": series}
        identifiers = {"customerId": int(customer)}
        coupon: dict[str, Json] = {"id": int(coupon_id), "code": cells.text(row, "coupon_code")}
        if stated in _ISSUED:
            at = self._first_moment(row, ("date", "issual_date"))
            if cells.text(row, "expiry_date") is not None:
                coupon["valid_till"] = cells.moment({**row, "time": "23:59:59"}, self._zone, on="expiry_date")
            coupon |= {"issued_on": at, "customerIdentifiers": identifiers}
            kind, data = "CouponIssue", {"coupons": [coupon], "series_info": described}
        else:
            at = self._first_moment(row, ("date",))
            coupon |= {"redemptionDate": at, "series_info": described}
            used = {"bill_id": _number(row, "bill_id") or 0, "number": cells.text(row, "used_bill_number") or ""}
            kind, data = "CouponRedeem", {"coupon": coupon, "customerIdentifiers": identifiers, "transaction": used}
        if at >= self._cutover_ms:
            return None
        return self._event(kind, customer, at, data, ("coupon_issued" if stated in _ISSUED else "coupon_redeemed", coupon_id))

    def _program(self, row: Row) -> int | None:
        program = cells.optional_id(row, "awarded_program") or self._program_id
        return None if program is None else int(program)

    def _first_moment(self, row: Row, names: Sequence[str]) -> int:
        return cells.moment(row, self._zone, on=_first_named(row, names))

    def _event(
        self, kind: str, customer: str, at: int, data: dict[str, Json], name: tuple[str, str], more: dict[str, Json] | None = None
    ) -> Json:
        history: dict[str, Json] = {"type": name[0], "id": name[1], **(more or {})}
        return event_of(self._org_id, kind, customer, at, data, history)


def _award(rows: Sequence[Row]) -> dict[str, Json]:
    by_day: dict[str, float] = {}
    total = 0.0
    for row in rows:
        points = cells.amount(row, "allocated_points") or 0
        total += points
        expires = cells.text(row, "awarded_expiry_date")
        if expires is not None and points:
            day = cells.day(expires, "awarded_expiry_date")
            by_day[day] = by_day.get(day, 0.0) + points
    breakup = [{"points": round(points, 3), "expiryAt": day} for day, points in sorted(by_day.items())]
    total = round(total, 3)
    return {"totalPointsIssued": total, "regularPointsIssued": total, "regularPointsBreakup": breakup}


def _trigger(row: Row) -> list[Json]:
    found = (("billId", cells.optional_id(row, "bill_id")), ("billNumber", cells.text(row, "bill_number")))
    return [{"key": name, "value": value} for name, value in found if value is not None]


def _number(row: Row, name: str) -> int | None:
    found = cells.optional_id(row, name)
    return None if found is None else int(found)


def _redemption(row: Row) -> dict[str, Json]:
    summary = summary_of(row)
    return {
        "redemptionSummaryId": None if summary is None else int(summary),
        "redeemedPointsCurrencyValue": cells.amount(row, _first_named(row, _CURRENCY_VALUES)),
        "redemptionBillNumber": cells.text(row, "redemption_bill_number"),
        "redemptionNotes": cells.text(row, "notes"),
    }


def _first_named(row: Row, names: Sequence[str]) -> str:
    """Return the first of the columns that holds something, else the first."""
    return next((name for name in names if cells.text(row, name) is not None), names[0])


def _first_amount(row: Row, names: Sequence[str]) -> int | float:
    column = next((name for name in names if (row.get(name) or "").strip()), names[0])
    found = cells.amount(row, column)
    if found is None:
        raise BadRow(column, "is missing", "export the column and keep every row's value")
    return found


def _only(found: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    which = "fits no member" if not found else "fits several members"
    cure = "give victim_user_id, or import the Members export with this member (is_merged_customer) first, with the same --work"
    raise BadRow("victim_external_id", f"{which} that Members marks as merged", cure)
