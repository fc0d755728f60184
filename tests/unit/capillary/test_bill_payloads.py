"""Bills: returns, exchanges, traps of lines and payments, what goes wrong. Source: capillary.md 6.5, 7.7, 7.8."""

from collections.abc import Callable
from typing import Any

import pytest

from capstream.capillary.payloads.bills import payment_type
from capstream.capillary.results import Answered, Failed, Refused, Skipped, Translated

Published = Callable[..., dict[str, Any]]
KEY = "C7:700123:880100001"


def _line(number: int, **details: Any) -> dict[str, Any]:
    return {"id": number, "returnDetails": {}, "details": {"itemCode": f"SKU{number}", "attributes": {}, **details}}


def _answer(*lines: dict[str, Any], **members: Any) -> dict[str, Answered]:
    return {KEY: Answered({"id": 880100001, "lineItems": list(lines), "paymentModes": [], **members}, 1)}


def _body(desk: Any, body: dict[str, Any], answers: Any = None) -> dict[str, Any]:
    outcome = desk.take(body, answers)
    assert isinstance(outcome, Translated), outcome
    return outcome.transactions[0].body


def test_return_is_negative_throughout_and_keeps_capillarys_figures(desk: Any, published: Published) -> None:
    lines = _line(1, qty=2.0, rate=12.5, value=25.0, discount=2.5, amount=22.5)
    tender = {"id": 5, "mode": "Cash", "amount": 22.5}
    returned = {"type": "LINE_ITEM", "parentTransactionId": 880100001}
    answers = _answer(lines, paymentModes=[tender], returnDetails=returned)
    body = _body(desk, published("transactionAdded", billType="RETURN", amount=22.5, discount=2.5, grossAmount=25.0), answers)
    assert body["_id"] == "capillary:700123:rtn:880100001"
    assert body["eventType"] == "commerce.returns"
    order = body["commerce"]["order"]
    assert (order["priceTotal"], order["discountAmount"], order["refundTotal"]) == (-22.5, -2.5, 22.5)
    assert "purchases" not in body["commerce"]
    assert order["payments"] == [{"transactionID": "5", "paymentType": "cash", "paymentAmount": -22.5, "currencyCode": "GBP"}]
    assert body["productLineItems"] == [
        {"SKU": "SKU1", "name": "SKU1", "quantity": -2, "priceTotal": -25, "discountAmount": -2.5, "currencyCode": "GBP"}
    ]
    assert body["capillary"]["lines"] == [{"id": "1", "itemCode": "SKU1", "qty": 2, "rate": 12.5, "amount": 22.5}]
    assert body["capillary"]["return"] == {"type": "LINE_ITEM", "parentBillId": "880100001"}
    assert body["capillary"]["transaction"]["grossAmount"] == 25
    gross, discount = body["productLineItems"][0]["priceTotal"], body["productLineItems"][0]["discountAmount"]
    assert gross - discount == order["priceTotal"]


def test_exchange_turns_only_its_returned_lines(desk: Any, published: Published) -> None:
    back = {**_line(2, qty=1.0, rate=10.0, value=10.0), "returnDetails": {"type": "LINE_ITEM"}}
    body = _body(desk, published("transactionAdded", billType="MIXED"), _answer(_line(1, qty=1.0, rate=30.0, value=30.0), back))
    assert body["eventType"] == "commerce.purchases"
    assert [(item["quantity"], item["priceTotal"]) for item in body["productLineItems"]] == [(1, 30), (-1, -10)]
    assert all(type(item["quantity"]) is int for item in body["productLineItems"])  # the platform's quantity is an integer


@pytest.mark.parametrize(
    ("qty", "rate", "value", "quantity", "gross", "flagged"),
    [
        (0.485, 9.99, 0.0, 1, 4.84515, True),
        (2.5, 2.0, 0.0, 3, 5, True),
        (1.4, 1.1, 0.0, 1, 1.54, True),
        (3.0, 10.0, 0.0, 3, 30, False),
        (3, 10.0, 29.5, 3, 29.5, False),
        (-1.0, 4.0, 0.0, -1, -4, False),
        ("3", "0.1", None, 3, 0.3, False),
    ],
)
def test_quantities_are_whole_and_gross_is_exact(
    desk: Any, published: Published, qty: Any, rate: Any, value: Any, quantity: int, gross: float, flagged: bool
) -> None:
    body = _body(desk, published("transactionAdded"), _answer(_line(1, qty=qty, rate=rate, value=value)))
    item = body["productLineItems"][0]
    assert (item["quantity"], item["priceTotal"]) == (quantity, gross)
    assert type(item["quantity"]) is int
    assert ("fractional_qty" in body["capillary"].get("quality", [])) is flagged


def test_line_without_code_gets_one_and_a_flag(desk: Any, published: Published) -> None:
    body = _body(desk, published("transactionAdded"), _answer({"id": 77, "details": {"qty": 1, "rate": 2, "description": "  "}}))
    assert body["productLineItems"] == [{"SKU": "line-77", "quantity": 1, "priceTotal": 2, "currencyCode": "GBP"}]
    assert body["capillary"]["quality"] == ["sku_missing"]


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("Gift Card", "gift_card"),
        ("VOUCHER", "gift_card"),
        ("DebitCard", "debit_card"),
        ("CardPayment", "credit_card"),
        ("Cash", "cash"),
        ("Cheque", "check"),
        ("PayPal", "paypal"),
        ("Bank transfer", "wire_transfer"),
        ("Points", "other"),
        (None, "other"),
    ],
)
def test_payment_types(mode: str | None, kind: str) -> None:
    assert payment_type(mode) == kind


@pytest.mark.parametrize(
    ("sent", "default", "written"), [(" gbp ", None, "GBP"), (" ", "EUR", "EUR"), (None, None, None), ("Pounds", None, None)]
)
def test_currency_is_three_letters_or_left_out(
    make_desk: Callable[..., Any], published: Published, sent: Any, default: str | None, written: str | None
) -> None:
    body = _body(make_desk(default_currency=default), published("transactionAdded", currencyCode=sent))
    assert body["commerce"]["order"].get("currencyCode") == written


def test_gross_of_zero_is_absent_when_there_is_an_amount(desk: Any, published: Published) -> None:
    assert "grossAmount" not in _body(desk, published("transactionAdded", grossAmount=0.0))["capillary"]["transaction"]
    free = _body(desk, published("transactionAdded", grossAmount=0.0, amount=0.0))
    assert free["capillary"]["transaction"]["grossAmount"] == 0


def test_missing_lines_are_flagged_unless_nobody_asked(make_desk: Callable[..., Any], published: Published) -> None:
    bill = published("transactionAdded")
    assert _body(make_desk(), bill, {KEY: Failed("timed out")})["capillary"]["quality"] == ["no_line_items"]
    assert "quality" not in _body(make_desk(enrichment={"transaction": "off"}), bill)["capillary"]
    refused = make_desk(enrichment={"transaction": "required"}).take(bill, {KEY: Failed("timed out")})
    assert isinstance(refused, Refused)
    assert refused.code == "ENRICHMENT_FAILED"


def test_unreadable_lines_cost_the_lines_only(desk: Any, published: Published) -> None:
    body = _body(desk, published("transactionAdded"), _answer(_line(1, qty="many")))
    assert "productLineItems" not in body
    assert body["capillary"]["quality"] == ["no_line_items"]


def test_cancelled_update_and_missing_number(desk: Any, published: Published) -> None:
    body = published("transactionUpdated")
    del body["data"]["billNumber"]
    found = _body(desk, body, _answer(returnDetails={"canceled": True}))
    order = found["commerce"]["order"]
    assert order["purchaseID"] == "880100001"
    assert order["cancelDate"] == order["lastUpdatedDate"] == "2024-09-19T10:12:40.005Z"
    assert "purchases" not in found["commerce"]


def test_retro_bill_is_a_purchase_with_a_mark(desk: Any, published: Published) -> None:
    body = _body(desk, published("transactionAdded", _eventName="retroBillAdded"))
    assert (body["_id"], body["eventType"], body["capillary"]["retro"]) == (
        "capillary:700123:txn:880100001",
        "commerce.purchases",
        True,
    )


@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("amount", "a lot", "/data/amount"),
        ("amount", None, "/data/amount"),
        ("transactionId", None, "/data/transactionId"),
        ("lineItemCount", {}, "/data/lineItemCount"),
        ("customFields", "none", "/data/customFields"),
    ],
)
def test_needed_members_of_a_wrong_type_are_refused_with_their_place(
    desk: Any, published: Published, member: str, value: Any, pointer: str
) -> None:
    outcome = desk.take(published("transactionAdded", **{member: value}))
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.pointer) == ("INVALID_FIELD", pointer)
    assert desk.kept == {}


def test_pointer_reaches_into_lists(desk: Any, published: Published) -> None:
    outcome = desk.take(published("pointsIssued", regularPointsBreakup=[{"points": 1}, {"points": 2, "expiryAt": "soon"}]))
    assert isinstance(outcome, Refused)
    assert outcome.pointer == "/data/regularPointsBreakup/1/expiryAt"


def test_verdicts_on_kinds_and_entities(make_desk: Callable[..., Any], published: Published) -> None:
    desk = make_desk()
    assert desk.take(published("pointsExpired", _eventName="cardUpdated")) == Skipped("UNMAPPED_EVENT")
    unknown = desk.take(published("pointsExpired", _eventName="brandNew"))
    assert (unknown.code, unknown.pointer) == ("UNKNOWN_EVENT", "/eventName")
    nobody = desk.take(published("pointsExpired", customerIdentifiers={"customerId": -1}))
    assert (nobody.code, nobody.pointer) == ("NO_IDENTITY", "/data/customerIdentifiers/customerId")
    group = published("pointsExpired", entityInformation={"entityType": "FLEET", "entityId": 4})
    assert desk.take(group).code == "GROUP_ENTITY"
    assert isinstance(make_desk(groups={"enabled": True}).take(group), Translated)
    assert make_desk(events=["pointsIssued"]).take(published("pointsExpired")) == Skipped("skipped_disabled")
    assert make_desk(anonymous_bills="dead_letter").take(published("notInterestedBillAdded")).code == "NO_IDENTITY"
    assert desk.kept == {}


def test_free_text_is_cut_and_long_ids_are_refused(desk: Any, published: Published) -> None:
    assert len(_body(desk, published("tierUpgraded", notes="n" * 5000))["capillary"]["tier"]["notes"]) == 1024
    outcome = desk.take(published("pointsRedeemed", redemptionBillNumber="b" * 256))
    assert (outcome.code, outcome.pointer) == ("INVALID_FIELD", "/data/redemptionBillNumber")


def test_ids_of_payloads_are_encoded_and_bounded(desk: Any, published: Published) -> None:
    body = _body(desk, published("pointsExpired", _eventId="ABC-87484sdas&$:/ü"))
    assert body["_id"] == "capillary:700123:pointsExpired:ABC-87484sdas%26%24%3A%2F%C3%BC"
    long = _body(desk, published("pointsExpired", _eventId="&" * 200))
    assert len(long["_id"]) < 255
    assert long["_id"].startswith("capillary:700123:pointsExpired:")


def test_never_dates_are_left_out(desk: Any, published: Published) -> None:
    body = _body(desk, published("tierRenewed", tierExpiryDate="2100-01-01"))
    assert "expiryDate" not in body["capillary"]["tier"]
    assert "tierExpiryDate" not in desk.profile()["loyalty"]


def test_extra_fields_only_when_listed(make_desk: Callable[..., Any], published: Published) -> None:
    bill = published("transactionAdded", loyaltyHint="x", other="y")
    assert _body(make_desk(extra_fields=["loyaltyHint"]), bill)["capillary"]["extra"] == {"loyaltyHint": "x"}
    assert "extra" not in _body(make_desk(), bill)["capillary"]
