"""Bills: the order, its payments and its lines. Source: capillary.md 5.2 (C7), 6.5 (type traps), 7.7 (transaction rows)."""

from decimal import ROUND_HALF_UP
from typing import Final

from capstream.capillary.payloads.draft import section
from capstream.capillary.payloads.forms import named_texts, record
from capstream.capillary.payloads.names import payload_id
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.tables import FIELDS, TRANSACTION
from capstream.capillary.payloads.timing import bill_ms
from capstream.capillary.times import rfc3339
from capstream.capillary.values import Unfit, decimal_id, exactly, instant, number, opaque_id, plain, text
from capstream.kernel.json import Json

RETURNS: Final = frozenset({"RETURN", "NOT_INTERESTED_RETURN"})

_PAYMENT_TYPES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("gift", "voucher"), "gift_card"),
    (("debit",), "debit_card"),
    (("credit", "card"), "credit_card"),
    (("cash",), "cash"),
    (("cheque", "check"), "check"),
    (("paypal",), "paypal"),
    (("wire", "transfer"), "wire_transfer"),
)


def bill_type(data: dict[str, Json]) -> str:
    """Return the bill's type in upper case; a bill that states none is REGULAR."""
    stated = data.get("billType")
    return stated.strip().upper() if type(stated) is str and stated.strip() else "REGULAR"


def bill_name(org_id: str, data: dict[str, Json]) -> str:
    """Return the `_id` of a bill, the same for the stream and for history. Errors: Unfit without a transactionId."""
    transaction = needed_id(data, "transactionId")
    return payload_id(org_id, "rtn" if bill_type(data) in RETURNS else "txn", transaction)


def needed_id(data: dict[str, Json], name: str, *under: str) -> str:
    """Return an id that must be there. `under` leads to its object. Errors: Unfit with its pointer."""
    try:
        found = decimal_id(data.get(name))
        if found is None:
            raise Unfit("is missing")
    except Unfit as unfit:
        raise unfit.under("data", *under, name) from None
    return found


def write_bill(draft: Draft, body: dict[str, Json], capillary: dict[str, Json], timestamp: str) -> None:
    """Add order, lines and transaction facts of a new or updated bill to a payload."""
    data, kind = draft.data, bill_type(draft.data)
    updated = draft.event.event_name == "transactionUpdated"
    currency = _currency(data.get("currencyCode"), draft)
    created = rfc3339(bill_ms(draft)) if updated else timestamp
    commerce = body.setdefault("commerce", {})
    if not updated and kind not in RETURNS:
        commerce["purchases"] = {"value": 1}
    commerce["order"] = order = _order(draft, kind, currency, created, needs_amount=not updated)
    if updated:
        order["lastUpdatedDate"] = rfc3339(draft.event.created_at_ms)
        capillary["updates"] = bill_name(draft.event.org_id, data)
    _transaction(draft, capillary)
    if draft.bill is not None:
        _from_call(draft, body, capillary, (kind, currency))
    elif draft.config.transaction_lines != "off":
        draft.flag("no_line_items")


def _order(draft: Draft, kind: str, currency: str | None, created: str, *, needs_amount: bool) -> dict[str, Json]:
    data = draft.data
    amount, discount = money(data, "amount", needed=needs_amount), money(data, "discount")
    order: dict[str, Json] = {}
    if amount is not None:
        order["priceTotal"] = _signed(amount, kind in RETURNS)
    order["purchaseID"] = text(data.get("billNumber")) or needed_id(data, "transactionId")
    if currency is not None:
        order["currencyCode"] = currency
    if discount:
        order["discountAmount"] = _signed(discount, kind in RETURNS)
    if kind in RETURNS and amount is not None:
        order["refundTotal"] = _size(amount)
    order["createdDate"] = created
    return order


def money(data: dict[str, Json], name: str, *, needed: bool = False) -> int | float | None:
    """Return an amount of the event. Errors: Unfit with its pointer; also when it is needed and missing."""
    try:
        found = number(data.get(name))
        if found is None and needed:
            raise Unfit("is missing")
    except Unfit as unfit:
        raise unfit.under("data", name) from None
    return found


def _currency(value: Json, draft: Draft) -> str | None:
    code = value.strip().upper() if type(value) is str else ""
    return code if len(code) == 3 and code.isascii() and code.isalpha() else draft.config.default_currency


_TRANSACTION: Final = record(*TRANSACTION)
_FIELDS: Final = record(*FIELDS)


def _transaction(draft: Draft, capillary: dict[str, Json]) -> None:
    data = draft.data
    try:
        transaction = _TRANSACTION.members(data, draft.scope)
        fields = _FIELDS.members(data, draft.scope)
    except Unfit as unfit:
        raise unfit.under("data") from None
    gross, amount = money(data, "grossAmount"), money(data, "amount")
    if gross is not None and (gross or not amount):
        transaction["grossAmount"] = gross
    capillary["transaction"] = transaction
    capillary.update(fields)
    entered = instant(data.get("enteredAt"))
    if entered is not None:
        capillary["enteredAt"] = rfc3339(entered)


def _from_call(draft: Draft, body: dict[str, Json], capillary: dict[str, Json], terms: tuple[str, str | None]) -> None:
    """Add what only the transaction call knows. An answer that cannot be read costs its lines, never the event."""
    bill, kind = draft.bill or {}, terms[0]
    order = body["commerce"]["order"]
    try:
        payments = [_payment(item, terms) for item in _list(bill, "paymentModes")]
        lines = [_line(item, terms, draft) for item in _list(bill, "lineItems")]
    except Unfit:
        draft.flag("no_line_items")
        return
    if payments:
        order["payments"] = payments
    if lines:
        body["productLineItems"] = [item for item, _ in lines]
        capillary["lines"] = [own for _, own in lines]
    elif draft.config.transaction_lines != "off":
        draft.flag("no_line_items")
    _returned(draft, bill, kind, capillary)
    if draft.event.event_name == "transactionUpdated" and _is_cancelled(bill):
        order["cancelDate"] = rfc3339(draft.event.created_at_ms)
    for name in ("customFields", "extendedFields"):
        if name not in capillary and type(bill.get(name)) is dict and (found := named_texts(bill[name])):
            capillary[name] = found


def _list(source: dict[str, Json], name: str) -> list[dict[str, Json]]:
    found = source.get(name)
    return [item for item in found if type(item) is dict] if type(found) is list else []


def _return_details(bill: dict[str, Json]) -> dict[str, Json]:
    details = section(bill, "returnDetails")
    return details if len(details) > 1 else {**section(section(bill, "billDetails"), "returnDetails"), **details}


def _is_cancelled(bill: dict[str, Json]) -> bool:
    return section(bill, "returnDetails").get("canceled") is True or _return_details(bill).get("canceled") is True


def _returned(draft: Draft, bill: dict[str, Json], kind: str, capillary: dict[str, Json]) -> None:
    """Add what the return refers to. ASSUMPTION: `returnDetails` names it `type` and `parentTransactionId`."""
    if kind not in RETURNS or draft.event.event_name == "transactionUpdated":
        return
    details = _return_details(bill)
    found = {"type": text(details.get("type")), "parentBillId": decimal_id(details.get("parentTransactionId"))}
    if stated := {name: value[:64] if name == "type" else value for name, value in found.items() if value is not None}:
        capillary["return"] = stated


def _payment(tender: dict[str, Json], terms: tuple[str, str | None]) -> dict[str, Json]:
    kind, currency = terms
    payment: dict[str, Json] = {}
    if (tender_id := decimal_id(tender.get("id"))) is not None:
        payment["transactionID"] = tender_id
    payment["paymentType"] = payment_type(text(tender.get("mode")))
    if (amount := number(tender.get("amount"))) is not None:
        payment["paymentAmount"] = _signed(amount, kind in RETURNS)
    if currency is not None:
        payment["currencyCode"] = currency
    return payment


def payment_type(mode: str | None) -> str:
    """Return the suggested XDM payment type of a tender's mode."""
    lowered = (mode or "").lower()
    return next((name for words, name in _PAYMENT_TYPES if any(word in lowered for word in words)), "other")


def _line(line: dict[str, Json], terms: tuple[str, str | None], draft: Draft) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return one line as the platform's product item (gross, signed) and as Capillary stated it."""
    kind, currency = terms
    details = section(line, "details")
    line_id, code = decimal_id(line.get("id")), opaque_id(details.get("itemCode"))
    qty, rate, discount = number(details.get("qty")), number(details.get("rate")), number(details.get("discount"))
    negative = kind in RETURNS or (kind == "MIXED" and _is_returned(line, qty))
    item: dict[str, Json] = {"SKU": code or f"line-{line_id or 'unknown'}"}
    if code is None:
        draft.flag("sku_missing")
    if (name := text(details.get("description")) or code) is not None:
        item["name"] = name
    if qty is not None:
        item["quantity"] = _signed(_quantity(qty, draft), negative)
    if (gross := _gross(number(details.get("value")), rate, qty)) is not None:
        item["priceTotal"] = _signed(gross, negative)
    if discount is not None:
        item["discountAmount"] = _signed(discount, negative)
    if currency is not None:
        item["currencyCode"] = currency
    own: dict[str, Json] = {"id": line_id, "itemCode": code, "qty": qty, "rate": rate, "amount": number(details.get("amount"))}
    for name in ("attributes", "extendedFields"):
        if type(details.get(name)) is dict:
            own[name] = named_texts(details[name])
    return item, {name: value for name, value in own.items() if value is not None}


def _is_returned(line: dict[str, Json], qty: int | float | None) -> bool:
    """Say whether a line of an exchange is its returned part. ASSUMPTION: a negative quantity or filled `returnDetails`."""
    details = {name: value for name, value in section(line, "returnDetails").items() if value not in (None, False, "")}
    return bool(details) or (qty is not None and qty < 0)


def _signed(value: int | float, negative: bool) -> int | float:
    """Return a value or, for what is returned, its negative. A whole number stays one: compiled, `abs` would make it a float."""
    if not negative:
        return value
    if type(value) is int:
        return -abs(int(value))
    return -abs(float(value))


def _size(value: int | float) -> int | float:
    return abs(int(value)) if type(value) is int else abs(float(value))


def _quantity(qty: int | float, draft: Draft) -> int:
    if type(qty) is int:
        return qty
    draft.flag("fractional_qty")
    rounded = int(exactly(abs(qty)).quantize(exactly(1), ROUND_HALF_UP))
    return max(rounded, 1) if qty > 0 else -max(rounded, 1)


def _gross(value: int | float | None, rate: int | float | None, qty: int | float | None) -> int | float | None:
    """Return the line before discount; published answers leave `value` at 0 even when rate and quantity are known."""
    if value is not None and value > 0:
        return value
    if rate is None or qty is None:
        return value
    return plain(exactly(rate) * exactly(qty))
