"""Envelopes and the normaliser. Source: capillary.md 1.4, 7.2, 9.4 (malformed kinds)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise, split
from capstream.capillary.peek import peek

Published = Callable[..., dict[str, Any]]
RECEIVED = 1_750_000_000_000


def _event(body: Any) -> NormalisedEvent:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    event = normalise(raw, RECEIVED)
    assert isinstance(event, NormalisedEvent), event
    return event


def _wrapped(flat: dict[str, Any], envelope: str) -> dict[str, Any]:
    if envelope == "B":
        outer = {"eventId": flat["eventId"], "eventLogId": flat["eventLogId"], "eventType": f"700123_{flat['eventName']}"}
        inner = {key: value for key, value in flat.items() if key not in ("eventId", "eventLogId")}
        return {**outer, "consumerGroupId": None, "actionType": "START", "timeStamp": flat["createdAt"] + 11, "attributes": inner}
    if envelope == "C":
        return {"data": flat, "errors": None, "warnings": None}
    return {"body": flat}


def _peeked(raw: bytes) -> tuple[Any, ...]:
    found = peek(raw)
    assert found is not None
    return found.org_id, found.event_name, found.event_id, found.created_at_ms, found.dedupe_key()


@pytest.mark.parametrize("envelope", ["B", "C", "D"])
def test_all_envelopes_hold_the_same_event(published: Published, envelope: str) -> None:
    flat = published("pointsIssued")
    wrapped = _wrapped(flat, envelope)
    expected, found = _event(flat), _event(wrapped)
    assert found.envelope == envelope
    found.envelope = "A"
    assert found == expected
    assert _peeked(json.dumps(wrapped).encode()) == _peeked(json.dumps(flat).encode())


def test_names_may_sit_in_the_event_type_alone(published: Published) -> None:
    body = _wrapped(published("pointsIssued"), "B")
    del body["attributes"]["eventName"], body["attributes"]["orgId"]
    event = _event(body)
    assert (event.event_name, event.org_id) == ("pointsIssued", "700123")


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("PointsExpired", "pointsExpired"),
        ("pointsTransferInitiated", "pointsTransferredInitiated"),
        ("pointsTransferReceived", "pointsTransferredReceived"),
        ("couponIssue", "CouponIssue"),
        ("IssueBulkCoupon", "CouponIssue"),
        ("couponRedeem", "CouponRedeem"),
        (" tierrenewed ", "tierRenewed"),
        ("somethingNew", "somethingNew"),
    ],
)
def test_event_names_have_one_spelling(published: Published, sent: str, canonical: str) -> None:
    assert _event(published("pointsExpired", _eventName=sent)).event_name == canonical


def test_stray_blanks_and_foreign_case_in_names_disappear(published: Published) -> None:
    body = published("pointsIssued")
    messy = json.dumps(body)
    for name, variant in (
        ("instore", "Instore"),
        ("apiRequestId", "apiRequestId "),
        ("loyaltyProgramDetails", "loyaltyProgram Details"),
    ):
        messy = messy.replace(f'"{name}"', f'"{variant}"')
    assert _event(messy.encode()) == _event(body)


def test_members_that_were_met_before_do_not_hide_others(published: Published) -> None:
    """The same names in the same order are looked up once; one more, one less or another spelling is another object."""
    flat = published("pointsIssued")
    _event(flat)
    data = flat["data"]
    assert _event(flat | {"data": data | {"New Thing": 1}}).unknown == ("New Thing",)
    respelt = {"CUSTOMERIDENTIFIERS" if name == "customerIdentifiers" else name: value for name, value in data.items()}
    assert _event(flat | {"data": respelt}).data == _event(flat).data
    fewer = {name: value for name, value in data.items() if name != "loyaltyProgramDetails"}
    assert "loyaltyProgramDetails" not in _event(flat | {"data": fewer}).data


def test_unknown_members_stay_as_they_are_and_are_named(published: Published) -> None:
    event = _event(published("pointsExpired", **{"New Thing": {"inner One": 1}}))
    assert event.data["New Thing"] == {"inner One": 1}
    assert event.unknown == ("New Thing", "inner One")


def test_maps_of_the_brand_keep_their_keys(published: Published) -> None:
    body = published("updateRewardTransaction")
    body["data"]["transactionUpdates"][0]["transactionCustomFields"] = {"CODE": "x", "my key": "y"}
    event = _event(body)
    assert event.data["transactionUpdates"][0]["transactionCustomFields"] == {"CODE": "x", "my key": "y"}
    assert event.unknown == ()


@pytest.mark.parametrize("created", [1730419634512.0, "1730419634512", 1730419634512])
def test_times_are_read_in_any_form(published: Published, created: Any) -> None:
    assert _event(published("pointsExpired", _createdAt=created)).created_at_ms == 1730419634512


def test_seconds_become_milliseconds(published: Published) -> None:
    assert _event(published("pointsExpired", _createdAt=1693334444)).created_at_ms == 1693334444000


@pytest.mark.parametrize("created", [None, 0, "soon", -1, 5e11])
def test_unusable_time_falls_back_and_is_flagged(published: Published, created: Any) -> None:
    event = _event(published("pointsExpired", _createdAt=created))
    assert (event.created_at_ms, event.flags) == (RECEIVED, ("bad_created_at",))
    bus = _wrapped(published("pointsIssued", _createdAt=1726585471742), "B")
    bus["attributes"]["createdAt"] = created
    assert _event(bus).created_at_ms == 1726585471753


@pytest.mark.parametrize("name", ["refId", "apiRequestId", "loyaltyEventId"])
@pytest.mark.parametrize("value", [None, "", " ", "null", "-1", -1])
def test_stand_ins_for_nothing_are_absent_ids(published: Published, name: str, value: Any) -> None:
    event = _event(published("pointsExpired", **{f"_{name}": value}))
    assert {"refId": event.ref_id, "apiRequestId": event.api_request_id, "loyaltyEventId": event.loyalty_event_id}[name] is None


@pytest.mark.parametrize("org", [700123, 700123.0, "700123", " 700123 ", "700123.0"])
def test_ids_are_canonical_decimal_text(published: Published, org: Any) -> None:
    assert _event(published("pointsExpired", _orgId=org)).org_id == "700123"


def test_missing_event_id_gets_one_that_depends_on_the_content_alone(published: Published) -> None:
    body = published("promotionEarned")
    del body["eventId"]
    first, again = _event(body), _event(json.dumps(body, indent=3, sort_keys=True).encode())
    assert first.event_id_synthetic
    assert first.event_id == again.event_id
    assert first.event_id.startswith("syn-")
    assert len(first.event_id) == 36
    body["data"]["earnedId"] = 3508
    assert _event(body).event_id != first.event_id


def test_duplicate_keys_keep_the_last_and_are_flagged() -> None:
    raw = b'{"eventName":"pointsExpired","orgId":1,"createdAt":1730419634512,"data":{"pointsExpired":1,"pointsExpired":2}}'
    event = _event(raw)
    assert event.data == {"pointsExpired": 2}
    assert event.flags == ("dup_key",)


def test_colons_in_texts_are_no_duplicates(published: Published) -> None:
    assert _event(published("pointsExpired", note='a:b and \\": c')).flags == ()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "INVALID_BODY"),
        (b"not json", "INVALID_BODY"),
        (b"[" * 100_000, "INVALID_BODY"),
        (b'{"a":' * 100_000, "INVALID_BODY"),
        (b'{"eventName":"pointsExpired","orgId":1,"createdAt":1,"data":' + b'{"a":' * 64 + b"1" + b"}" * 65, "INVALID_BODY"),
        (b'{"eventName":"pointsExpired"', "INVALID_BODY"),
        (b'{"eventName":"p\xff"}', "INVALID_BODY"),
        (b"[1]", "INVALID_BODY"),
        (b'"text"', "INVALID_BODY"),
        (b"{}", "INVALID_BODY"),
        (b'{"eventName":"pointsExpired","orgId":1,"createdAt":1,"data":null}', "INVALID_BODY"),
        (b'{"eventName":"pointsExpired","orgId":1,"createdAt":1,"data":{"amount":NaN}}', "INVALID_BODY"),
        (b'{"eventName":"pointsExpired","data":{}}', "INVALID_FIELD"),
        (b'{"eventName":"pointsExpired","orgId":{},"data":{}}', "INVALID_FIELD"),
        (b'{"orgId":1,"data":{}}', "INVALID_BODY"),
    ],
)
def test_what_is_no_event_has_a_reason(raw: bytes, code: str) -> None:
    found = normalise(raw, RECEIVED)
    assert isinstance(found, Unreadable)
    assert found.code == code
    assert found.reason
    if code == "INVALID_BODY" and b"data" not in raw:
        assert peek(raw) is None


def test_byte_order_mark_is_ignored(published: Published) -> None:
    raw = json.dumps(published("pointsExpired")).encode()
    assert _event(b"\xef\xbb\xbf" + raw) == _event(raw)
    assert _peeked(b"\xef\xbb\xbf" + raw) == _peeked(raw)


def test_arrays_are_taken_apart() -> None:
    assert split(b' [{"a":1}, {"b":[2]}]') == [b'{"a":1}', b'{"b":[2]}']
    assert split(b"\xef\xbb\xbf[]") == []
    for whole in (b'{"a":[1]}', b"", b"[broken"):
        assert split(whole) == [whole]


def test_dedupe_key_is_short_sorted_by_hour_and_tells_orgs_apart(published: Published) -> None:
    def key(**changes: Any) -> bytes:
        found = peek(json.dumps(published("pointsExpired", **changes)).encode())
        assert found is not None
        return found.dedupe_key()

    assert len(key()) == 20
    assert key() == key(pointsExpired=3)
    assert len({key(), key(_orgId=700124), key(_eventId="other")}) == 3
    assert key(_createdAt=1730419634512) < key(_createdAt=1730423234512)
    assert key(_createdAt="nonsense")[:4] == bytes(4)


@pytest.mark.parametrize("field", ["orgId", "eventId", "refId", "apiRequestId", "loyaltyEventId"])
def test_an_id_of_the_envelope_that_is_none_is_pointed_at(field: str) -> None:
    body = {"eventName": "pointsExpired", "orgId": 1, "createdAt": 1731000000000, "data": {}} | {field: {}}
    found = normalise(json.dumps(body).encode(), RECEIVED)
    assert isinstance(found, Unreadable)
    assert (found.code, found.pointer) == ("INVALID_FIELD", f"/{field}")
