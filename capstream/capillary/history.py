"""Rows of Capillary's exports as the records the stream makes: a row becomes what Capillary's API would have answered.

An imported event carries its answers with it (`data.history`), so translating it asks nobody and follows the same code as the
stream: a bill gets the `_id` of its webhook, a member's row becomes a seed as of the row's own time. An imported bill never moves
a ledger: what was spent until then is in the member's row. Source: capillary.md 8.2, 7.2, 7.5 (3, 4).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstream.capillary import times
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.results import Answered, Answers, answer_key
from capstream.capillary.values import Unfit, decimal_id, number
from capstream.kernel.json import Json, canonical

Row = Mapping[str, str]
"""One row of an export: column name (lower case, blanks as underscores, aliases resolved) -> text."""

_DAY_FIRST = re.compile(r"(\d{2})-(\d{2})-(\d{4})")
_YEAR_FIRST = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_ABSENT = frozenset({"", "null", "not captured", "-1"})
_COUNTERS = (
    ("loyaltyPoints", ("loyalty_points",)),
    ("lifetimePoints", ("lifetime_points",)),
    ("redeemed", ("redeemed_points", "total_points_redeemed")),
    ("expired", ("expired_points",)),
    ("returned", ("cancelled_points",)),
    ("cumulativePurchases", ("lifetime_purchased",)),
)


class BadRow(Exception):
    """A row, or a bill of several, that cannot be imported: `field` is the column, `cure` what mends it."""

    def __init__(self, field: str, reason: str, cure: str) -> None:
        super().__init__(f"{field}: {reason}; {cure}")
        self.field = field
        self.reason = reason
        self.cure = cure


def is_imported(event: NormalisedEvent) -> bool:
    """Say whether an event is history: a row of an export, not a webhook of Capillary."""
    return type(event.data.get("history")) is dict


def imported_answers(event: NormalisedEvent) -> Answers | None:
    """Return the answers an imported event carries, as of the instant its row describes; None for a webhook."""
    history = event.data.get("history")
    if type(history) is not dict:
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


class Importer:
    """Makes event bodies of the rows of one organisation. `program_id` names the programme the balances belong to."""

    def __init__(self, org_id: str, *, zone: ZoneInfo, program_id: str | None = None, rate_is_line_total: bool = False) -> None:
        self._org_id = org_id
        self._zone = zone
        self._program_id = program_id
        self._rate_is_line_total = rate_is_line_total

    def member(self, row: Row) -> Json | None:
        """Return the event of a Members row, None for a member who was merged into another. Errors: BadRow."""
        customer = _needed_id(row, ("user_id", "dim_event_user_id"))
        if _text(row, "merged_user_id") is not None or (_text(row, "is_merged_customer") or "").lower() in ("1", "true", "yes"):
            return None
        stamps = [_epoch(row, name) for name in ("auto_update_time_loyalty", "auto_update_time_cps")]
        as_of = max((stamp for stamp in stamps if stamp is not None), default=None)
        if as_of is None:
            raise BadRow("auto_update_time_cps", "is missing", "export the column: it says which webhooks the row already counts")
        answers = {"C3": self._loyalty(row, customer), "C2": self._customer(row, customer)}
        identifiers = {"customerId": int(customer), "instore": _identifiers(row)}
        return self._event("customerUpdated", customer, as_of, {"customerIdentifiers": identifiers}, answers)

    def bill(self, rows: Sequence[Row], tenders: Sequence[Row], *, is_return: bool) -> Json | None:
        """Return the event of all rows of one bill, None for an anonymous one. Errors: BadRow."""
        first = rows[0]
        bill_id = _needed_id(first, ("bill_id",))
        customer = _optional_id(first, "user_id")
        if customer is None:
            return None
        if any(_optional_id(row, "user_id") not in (None, customer) for row in rows):
            raise BadRow("user_id", f"the rows of bill {bill_id} name several members", "export the bill again")
        at = self._instant(first)
        kind = "RETURN" if is_return else "REGULAR"
        lines = [self._line(row) for row in rows]
        stated = _amount(first, "bill_amount")
        net = sum(line["details"]["amount"] or 0 for line in lines)
        amount, discount = (round(net, 2) if stated is None else stated), _amount(first, "bill_discount")
        data: dict[str, Json] = {
            "customerIdentifiers": {"customerId": int(customer)},
            "transactionId": int(bill_id),
            "billNumber": _text(first, "bill_number"),
            "amount": amount,
            "grossAmount": _amount(first, "initial_bill_value"),
            "discount": discount,
            "billType": kind,
            "billDate": at,
            "enteredAt": at,
            "outlierStatus": _text(first, "bill_outlier"),
            "lineItemCount": len(lines),
            "currencyCode": _text(first, "currency_code"),
        }
        store = _text(first, "store")
        if store is not None:
            data["enteredBy"] = {"store": _named(first, store), "till": {"code": _text(first, "till")}}
        call = {
            "billDetails": {"billingTime": times.rfc3339(at)},
            "lineItems": lines,
            "paymentModes": [_tender(row) for row in tenders],
            "returnDetails": _returned(first) if is_return else {},
        }
        return self._event("transactionAdded", bill_id, at, data, {"C7": call})

    def _event(self, name: str, subject: str, at: int, data: dict[str, Json], answers: dict[str, Json]) -> Json:
        """Return the body. The id is that of its content: the same row is the same event, a mended one another."""
        data = {key: value for key, value in data.items() if value is not None} | {"history": {"answers": answers}}
        digest = sha256(canonical([self._org_id, name, at, data])).hexdigest()[:32]
        return {
            "eventName": name,
            "eventId": f"history-{digest}",
            "orgId": int(self._org_id),
            "refId": f"{self._org_id}_{subject}",
            "createdAt": at,
            "data": data,
        }

    def _loyalty(self, row: Row, customer: str) -> Json:
        found: dict[str, Json] = {"loyaltyId": int(customer), "programId": self._program_id}
        for member, columns in _COUNTERS:
            stated = next((value for name in columns if (value := _amount(row, name)) is not None), None)
            if stated is not None:
                found[member] = stated
        slab = _amount(row, "slab_number")
        if slab is not None:
            expires = _text(row, "slab_expiry_date")
            found |= {"slabSNo": int(slab), "currentSlab": _text(row, "slab_name")}
            found["slabExpiryDate"] = None if expires is None else f"{_date(expires, 'slab_expiry_date')}T23:59:59"
        return {"data": [found]}

    def _customer(self, row: Row, customer: str) -> Json:
        joined = self._instant(row) if _text(row, "date") is not None else None
        profile: dict[str, Json] = {
            "userId": int(customer),
            "firstName": _text(row, "first_name"),
            "lastName": _text(row, "last_name"),
            "source": _text(row, "source"),
            "identifiers": [{"type": name, "value": value} for name, value in _identifiers(row).items()],
            "attribution": {} if joined is None else {"createDate": times.rfc3339(joined)},
        }
        return {"profiles": [profile], "loyaltyInfo": {"loyaltyType": _text(row, "loyalty_type")}}

    def _instant(self, row: Row) -> int:
        day = _text(row, "date")
        if day is None:
            raise BadRow("date", "is missing", "give it as YYYY-MM-DD or DD-MM-YYYY")
        clock = _text(row, "time") or "00:00:00"
        try:
            moment = datetime.fromisoformat(f"{_date(day, 'date')}T{clock}")
        except ValueError as error:
            raise BadRow("time", f"{clock[:20]!r} is no time of the day", "give it as HH:MM:SS") from error
        return int(moment.replace(tzinfo=moment.tzinfo or self._zone_of(row)).timestamp() * 1000)

    def _zone_of(self, row: Row) -> ZoneInfo:
        name = _text(row, "timezone")
        try:
            return self._zone if name is None else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise BadRow("timezone", f"{(name or '')[:40]!r} is no IANA zone", "give one such as Europe/London") from error

    def _line(self, row: Row) -> dict[str, Json]:
        quantity, rate = _amount(row, "quantity"), _amount(row, "rate")
        stated = (_amount(row, name) for name in ("initial_line_item_value", "line_item_value"))
        gross = next((value for value in stated if value is not None), None)
        if gross is None and self._rate_is_line_total:
            gross = rate
        details: dict[str, Json] = {
            "itemCode": _text(row, "item_code"),
            "description": row.get("description", ""),
            "qty": quantity,
            "rate": rate,
            "value": gross,
            "discount": _amount(row, "line_item_discount"),
            "amount": _amount(row, "line_item_amount"),
        }
        return {"id": _optional_id(row, "line_item_id"), "details": details}


def _named(row: Row, store: str) -> Json:
    names = {"code": store, "name": _text(row, "store_name"), "externalId": _text(row, "external_id")}
    return {name: value for name, value in names.items() if value is not None}


def _tender(row: Row) -> Json:
    return {
        "id": _optional_id(row, "payment_mode_details_id"),
        "mode": _text(row, "payment_mode"),
        "amount": _amount(row, "payment_mode_amount"),
    }


def _returned(row: Row) -> Json:
    found: dict[str, Json] = {"canceled": False, "type": _text(row, "return_type")}
    return found | {"parentTransactionId": _optional_id(row, "issued_bill_id")}


def _identifiers(row: Row) -> dict[str, Json]:
    columns = (("email", "email"), ("mobile", "mobile"), ("externalId", "customer_external_id"))
    return {name: value for name, column in columns if (value := _text(row, column)) is not None}


def _text(row: Row, name: str) -> str | None:
    value = (row.get(name) or "").strip()
    return None if value.lower() in _ABSENT else value


def _needed_id(row: Row, names: Sequence[str]) -> str:
    found = next((value for name in names if (value := _optional_id(row, name)) is not None), None)
    if found is None:
        raise BadRow(names[0], "is missing", "export the column and keep every row's value")
    return found


def _optional_id(row: Row, name: str) -> str | None:
    value = _text(row, name)
    if value is None:
        return None
    try:
        found = decimal_id(value)
    except Unfit:
        found = None
    if found is None or not found.isdecimal():
        raise BadRow(name, f"{value[:40]!r} is no id", "ids are whole numbers")
    return found


def _amount(row: Row, name: str) -> int | float | None:
    value = (row.get(name) or "").strip()
    if value.lower() in _ABSENT - {"-1"}:
        return None
    try:
        return number(value)
    except Unfit as error:
        raise BadRow(name, f"{value[:40]!r} is no number", "write numbers with a decimal point and no thousands mark") from error


def _epoch(row: Row, name: str) -> int | None:
    value = _amount(row, name)
    if value is None or value <= 0:
        return None
    return int(value) if value >= 100_000_000_000 else int(value * 1000)


def _date(value: str, name: str) -> str:
    """Return a day as YYYY-MM-DD. Errors: BadRow when it can be read in no documented way."""
    head = value.strip()[:10]
    if _YEAR_FIRST.fullmatch(head):
        written = head
    elif found := _DAY_FIRST.fullmatch(head):
        written = f"{found[3]}-{found[2]}-{found[1]}"
    else:
        raise BadRow(name, f"{value[:20]!r} is no day", "write days as YYYY-MM-DD or DD-MM-YYYY")
    try:
        datetime.fromisoformat(written)
    except ValueError as error:
        raise BadRow(name, f"{value[:20]!r} is no day of the calendar", "write days as YYYY-MM-DD or DD-MM-YYYY") from error
    return written
