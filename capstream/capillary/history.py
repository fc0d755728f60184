"""Rows of Capillary's exports as the records the stream makes: a row becomes what Capillary's API would have answered.

An imported event carries its answers with it (`data.history`), so translating it asks nobody and follows the same code as the
stream: a bill gets the `_id` of its webhook, a member's row becomes a seed as of the row's own time. An imported bill never moves
a ledger: what was spent until then is in the member's row. Source: capillary.md 8.2, 7.2, 7.5 (3, 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from zoneinfo import ZoneInfo

from capstream.capillary import cells, times
from capstream.capillary.cells import BadRow, Row
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.results import Answered, Answers, answer_key
from capstream.capillary.values import Unfit, decimal_id
from capstream.kernel.json import Json, canonical

_COUNTERS = (
    ("loyaltyPoints", ("loyalty_points",)),
    ("lifetimePoints", ("lifetime_points",)),
    ("redeemed", ("redeemed_points", "total_points_redeemed")),
    ("expired", ("expired_points",)),
    ("returned", ("cancelled_points",)),
    ("cumulativePurchases", ("lifetime_purchased",)),
)

UPDATED = ("auto_update_time_loyalty", "auto_update_time_cps", "auto_update_time")
"""Columns that say when a member's row was brought up to date, in Unix s or ms."""


def is_imported(event: NormalisedEvent) -> bool:
    """Say whether an event is history: a row of an export, not a webhook of Capillary."""
    return event.history is not None


def imported_answers(event: NormalisedEvent) -> Answers | None:
    """Return the answers an imported event carries, as of the instant its row describes; None for a webhook."""
    history = event.history
    if history is None:
        return None
    bodies = history.get("answers")
    found = bodies.items() if type(bodies) is dict else ()
    subjects = {"C7": _id(event.data.get("transactionId"))}
    customer = _id(event.data["customerIdentifiers"].get("customerId")) if _has_customer(event) else ""
    return {
        answer_key(kind, event.org_id, subjects.get(kind, customer)): Answered(body, event.created_at_ms) for kind, body in found
    }


def _has_customer(event: NormalisedEvent) -> bool:
    return type(event.data.get("customerIdentifiers")) is dict


def _id(value: Json) -> str:
    try:
        return decimal_id(value) or ""
    except Unfit:
        return ""


def history_name(event: NormalisedEvent) -> tuple[str, str] | None:
    """Return type and id under which an imported happening is known for ever; None for bills, members and webhooks."""
    history = event.history
    if history is None or type(history.get("type")) is not str or type(history.get("id")) is not str:
        return None
    return history["type"], history["id"]


def event_of(org_id: str, name: str, subject: str, at_ms: int, data: dict[str, Json], history: dict[str, Json]) -> Json:
    """Return the body of an imported event. Its id is that of its content: the same row is the same event."""
    data = {key: value for key, value in data.items() if value is not None} | {"history": history}
    digest = sha256(canonical([org_id, name, at_ms, data])).hexdigest()[:32]
    return {
        "eventName": name,
        "eventId": f"history-{digest}",
        "orgId": int(org_id),
        "refId": f"{org_id}_{subject}",
        "createdAt": at_ms,
        "data": data,
    }


@dataclass(frozen=True, slots=True)
class MergedMember:
    """A member that another one took over, as Members tells it."""

    victim: str
    survivor: str | None
    external_id: str | None
    mobile: str | None


def merged_member(row: Row) -> MergedMember | None:
    """Return what a Members row says of a member who was merged, None for one who was not. Errors: BadRow."""
    if not _is_merged(row):
        return None
    victim = cells.needed_id(row, ("user_id", "dim_event_user_id"))
    survivor = cells.optional_id(row, "merged_user_id")
    return MergedMember(victim, survivor, cells.text(row, "customer_external_id"), cells.text(row, "mobile"))


class Importer:
    """Makes event bodies of the rows of one organisation. `program_id` names the programme the balances belong to."""

    def __init__(self, org_id: str, *, zone: ZoneInfo, program_id: str | None = None, rate_is_line_total: bool = False) -> None:
        self._org_id = org_id
        self._zone = zone
        self._program_id = program_id
        self._rate_is_line_total = rate_is_line_total

    def member(self, row: Row) -> Json | None:
        """Return the event of a Members row, None for a member who was merged into another. Errors: BadRow."""
        customer = cells.needed_id(row, ("user_id", "dim_event_user_id"))
        if _is_merged(row):
            return None
        as_of = _as_of(row)
        if as_of is None:
            raise BadRow("auto_update_time_cps", "is missing", "export the column: it says which webhooks the row already counts")
        answers = {"C3": self._loyalty(row, customer), "C2": self._customer(row, customer)}
        identifiers = {"customerId": int(customer), "instore": _identifiers(row)}
        return event_of(
            self._org_id, "customerUpdated", customer, as_of, {"customerIdentifiers": identifiers}, {"answers": answers}
        )

    def profile(self, row: Row) -> Json | None:
        """Return the event of a Profiles row: the identifiers of a member, None for one who was merged. Errors: BadRow."""
        customer = cells.needed_id(row, ("user_id", "id_unique"))
        if _is_merged(row):
            return None
        as_of = _as_of(row)
        if as_of is None:
            as_of = cells.moment(row, self._zone)
        identifiers = {
            name: value
            for name, column in (("email", "id_email"), ("mobile", "id_mobile"), ("externalId", "id_external"))
            if (value := cells.text(row, column)) is not None
        }
        profile = {
            "userId": int(customer),
            "firstName": cells.text(row, "first_name"),
            "lastName": cells.text(row, "last_name"),
            "source": cells.text(row, "source"),
            "identifiers": [{"type": name, "value": value} for name, value in identifiers.items()],
        }
        data = {"customerIdentifiers": {"customerId": int(customer), "instore": identifiers}}
        return event_of(self._org_id, "customerUpdated", customer, as_of, data, {"answers": {"C2": {"profiles": [profile]}}})

    def bill(self, rows: Sequence[Row], tenders: Sequence[Row], *, is_return: bool) -> Json | None:
        """Return the event of all rows of one bill, None for an anonymous one. Errors: BadRow."""
        first = rows[0]
        bill_id = cells.needed_id(first, ("bill_id",))
        customer = cells.optional_id(first, "user_id")
        if customer is None:
            return None
        if any(cells.optional_id(row, "user_id") not in (None, customer) for row in rows):
            raise BadRow("user_id", f"the rows of bill {bill_id} name several members", "export the bill again")
        at = cells.moment(first, self._zone)
        kind = "RETURN" if is_return else "REGULAR"
        lines = [self._line(row) for row in rows]
        stated = cells.amount(first, "bill_amount")
        net = sum(line["details"]["amount"] or 0 for line in lines)
        amount, discount = (round(net, 2) if stated is None else stated), cells.amount(first, "bill_discount")
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "transactionId": int(bill_id),
            "billNumber": cells.text(first, "bill_number"),
            "amount": amount,
            "grossAmount": cells.amount(first, "initial_bill_value"),
            "discount": discount,
            "billType": kind,
            "billDate": at,
            "enteredAt": at,
            "outlierStatus": cells.text(first, "bill_outlier"),
            "lineItemCount": len(lines),
            "currencyCode": cells.text(first, "currency_code"),
        }
        store = cells.text(first, "store")
        if store is not None:
            data["enteredBy"] = {"store": _named(first, store), "till": {"code": cells.text(first, "till")}}
        call = {
            "billDetails": {"billingTime": times.rfc3339(at)},
            "lineItems": lines,
            "paymentModes": [_tender(row) for row in tenders],
            "returnDetails": _returned(first) if is_return else {},
        }
        return event_of(self._org_id, "transactionAdded", bill_id, at, data, {"answers": {"C7": call}})

    def _loyalty(self, row: Row, customer: str) -> Json:
        found: dict[str, Json] = {"loyaltyId": int(customer), "programId": self._program_id}
        for member, columns in _COUNTERS:
            stated = next((value for name in columns if (value := cells.amount(row, name)) is not None), None)
            if stated is not None:
                found[member] = stated
        slab = cells.amount(row, "slab_number")
        if slab is not None:
            expires = cells.text(row, "slab_expiry_date")
            found |= {"slabSNo": int(slab), "currentSlab": cells.text(row, "slab_name")}
            found["slabExpiryDate"] = None if expires is None else f"{cells.day(expires, 'slab_expiry_date')}T23:59:59"
        return {"data": [found]}

    def _customer(self, row: Row, customer: str) -> Json:
        joined = cells.moment(row, self._zone) if cells.text(row, "date") is not None else None
        profile: dict[str, Json] = {
            "userId": int(customer),
            "firstName": cells.text(row, "first_name"),
            "lastName": cells.text(row, "last_name"),
            "source": cells.text(row, "source"),
            "identifiers": [{"type": name, "value": value} for name, value in _identifiers(row).items()],
            "attribution": {} if joined is None else {"createDate": times.rfc3339(joined)},
        }
        return {"profiles": [profile], "loyaltyInfo": {"loyaltyType": cells.text(row, "loyalty_type")}}

    def _line(self, row: Row) -> dict[str, Json]:
        quantity, rate = cells.amount(row, "quantity"), cells.amount(row, "rate")
        stated = (cells.amount(row, name) for name in ("initial_line_item_value", "line_item_value"))
        gross = next((value for value in stated if value is not None), None)
        if gross is None and self._rate_is_line_total:
            gross = rate
        details: dict[str, Json] = {
            "itemCode": cells.text(row, "item_code"),
            "description": row.get("description", ""),
            "qty": quantity,
            "rate": rate,
            "value": gross,
            "discount": cells.amount(row, "line_item_discount"),
            "amount": cells.amount(row, "line_item_amount"),
        }
        return {"id": cells.optional_id(row, "line_item_id"), "details": details}


def _is_merged(row: Row) -> bool:
    stated = (cells.text(row, "is_merged_customer") or "").lower()
    return cells.text(row, "merged_user_id") is not None or stated in ("1", "true", "yes")


def _as_of(row: Row) -> int | None:
    """Return the newest of the times at which a member's row was brought up to date. Errors: BadRow."""
    return max((stamp for name in UPDATED if (stamp := cells.epoch(row, name)) is not None), default=None)


def _named(row: Row, store: str) -> Json:
    names = {"code": store, "name": cells.text(row, "store_name"), "externalId": cells.text(row, "external_id")}
    return {name: value for name, value in names.items() if value is not None}


def _tender(row: Row) -> Json:
    return {
        "id": cells.optional_id(row, "payment_mode_details_id"),
        "mode": cells.text(row, "payment_mode"),
        "amount": cells.amount(row, "payment_mode_amount"),
    }


def _returned(row: Row) -> Json:
    found: dict[str, Json] = {"canceled": False, "type": cells.text(row, "return_type")}
    return found | {"parentTransactionId": cells.optional_id(row, "issued_bill_id")}


def _identifiers(row: Row) -> dict[str, Json]:
    columns = (("email", "email"), ("mobile", "mobile"), ("externalId", "customer_external_id"))
    return {name: value for name, column in columns if (value := cells.text(row, column)) is not None}
