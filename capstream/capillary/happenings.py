"""Rows of the Points, Slab Change Log and Coupons exports as events of the stream's kinds.

Such an event becomes an experience event alone: it moves no ledger, since the member's row already counts it. It is known as
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
        program = cells.optional_id(first, "awarded_program") or self._program_id
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "loyaltyProgramId": None if program is None else int(program),
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
            data |= {
                "redemptionSummaryId": _number(first, "deduction_summary_id"),
                "redeemedPointsCurrencyValue": cells.amount(first, "deduction_currency_value"),
                "redemptionBillNumber": cells.text(first, "redemption_bill_number"),
            }
        return self._event(kind, customer, at, data, (stated, event_id))

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
            "loyaltyProgramId": None if self._program_id is None else int(self._program_id),
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

    def _first_moment(self, row: Row, names: Sequence[str]) -> int:
        return cells.moment(row, self._zone, on=next((name for name in names if cells.text(row, name) is not None), names[0]))

    def _event(
        self, kind: str, customer: str, at: int, data: dict[str, Json], name: tuple[str, str], more: dict[str, Json] | None = None
    ) -> Json:
        history: dict[str, Json] = {"type": name[0], "id": name[1], **(more or {})}
        return event_of(self._org_id, kind, customer, at, data, history)


Make = Callable[[Row], Json | None]
"""Makes the event of one row; None when there is nothing to import. Errors: BadRow."""


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
