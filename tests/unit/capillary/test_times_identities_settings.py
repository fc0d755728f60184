"""Time rule, identity rule, settings, and the plan of calls. Source: capillary.md 5.4, 7.3, 7.4."""

import runpy
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from capstream.capillary.enrichment import plan
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.results import Translated
from capstream.capillary.state import load
from capstream.capillary.times import rfc3339
from capstream.capillary.translate import TranslationConfig, members_of
from capstream.capillary.values import milli
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps

Published = Callable[..., dict[str, Any]]
CREATED = 1726585471220
MINUTE, DAY = 60_000, 86_400_000


def _bill(published: Published, candidate: int) -> dict[str, Any]:
    return published("transactionAdded", billDate=candidate, enteredAt=candidate)


@pytest.mark.parametrize(
    ("settings", "ahead", "expected", "flag"),
    [
        ({}, -2 * MINUTE, -2 * MINUTE, None),
        ({}, 150 * MINUTE, 0, "tz_suspect"),
        ({}, int(149.97 * MINUTE), 0, "tz_suspect"),
        ({}, 4 * MINUTE, 4 * MINUTE, None),
        (
            {"cluster_zone": "Asia/Kolkata", "default_store_zone": "Asia/Singapore"},
            int(149.97 * MINUTE),
            int(-0.03 * MINUTE),
            None,
        ),
        (
            {"cluster_zone": "Asia/Kolkata", "store_zones": {"str.nw.014": "Asia/Bangkok"}},
            int(89.33 * MINUTE),
            int(-0.67 * MINUTE),
            None,
        ),
        ({"bill_time": "instant"}, 150 * MINUTE, 0, "future_time"),
        ({"bill_time": "cluster_wall_clock", "default_store_zone": "Europe/Paris"}, 0, -120 * MINUTE, None),
        ({"bill_time": "cluster_wall_clock"}, -MINUTE, -MINUTE, "tz_suspect"),
        ({}, 10 * DAY, 0, "future_time"),
        ({}, -31 * DAY, -31 * DAY, "late_bill"),
    ],
)
def test_bill_time(
    make_desk: Callable[..., Any], published: Published, settings: dict[str, Any], ahead: int, expected: int, flag: str | None
) -> None:
    body = make_desk(enrichment={"transaction": "off"}, **settings).take(_bill(published, CREATED + ahead)).transactions[0].body
    assert body["timestamp"] == rfc3339(CREATED + expected)
    assert body["capillary"].get("quality") == ([flag] if flag else None)
    assert body["capillary"]["enteredAt"] == rfc3339(CREATED + ahead)


def test_days_end_and_begin_in_the_organisations_zone(make_desk: Callable[..., Any], published: Published) -> None:
    desk = make_desk(org_zone="Europe/London")
    promotion = desk.take(published("promotionEarned")).transactions[0].body["capillary"]["promotion"]
    assert (promotion["startDate"], promotion["endDate"]) == ("2024-08-31T23:00:00.000Z", "2024-10-31T23:59:59.000Z")
    desk.take(published("pointsIssued"))
    assert desk.profile()["loyalty"]["pointsExpiration"][1]["pointsExpirationDate"] == "2025-09-30T22:59:59.000Z"


def _map(desk: Any, published: Published, **instore: Any) -> dict[str, Any]:
    outcome = desk.take(published("pointsExpired", customerIdentifiers={"customerId": 900000101, "instore": instore}))
    assert isinstance(outcome, Translated)
    found: dict[str, Any] = outcome.transactions[0].body
    return found


@pytest.mark.parametrize(
    ("member", "sent", "key", "value"),
    [
        ("email", " Member-0001@Example.COM ", "email", "member-0001@example.com"),
        ("email", "testuserfortata", "email", None),
        ("email", "a@b@c", "email", None),
        ("email", "A" * 64, "email_lc_sha256", "a" * 64),
        ("email", "a" * 32, "email_lc_sha256", None),
        ("mobile", "447700900101", "phone", "+447700900101"),
        ("mobile", 447700900101, "phone", "+447700900101"),
        ("mobile", "+44 7700 900101", "phone", "+447700900101"),
        ("mobile", "00447700900101", "phone", "+447700900101"),
        ("mobile", "07700900101", "phone", None),
        ("mobile", "1234567", "phone", None),
        ("mobile", "0000000000", "phone", None),
        ("mobile", "f" * 32, "phone", None),
        ("externalId", " CRM-1 ", "capillaryExternalId", "CRM-1"),
        ("externalId", "N/A", "capillaryExternalId", None),
        ("externalId", "000", "capillaryExternalId", None),
        ("cardNumbers", ["C1"], "capillaryCard", None),
    ],
)
def test_identity_values(desk: Any, published: Published, member: str, sent: Any, key: str, value: str | None) -> None:
    body = _map(desk, published, **{member: sent})
    assert [item["id"] for item in body["identityMap"].get(key, [])] == ([value] if value else [])
    assert ("hashed_identifier" in body["capillary"].get("quality", [])) is (sent == "a" * 32)


def test_identity_settings(make_desk: Callable[..., Any], published: Published) -> None:
    identity = {"primary": "adobe_sample", "key_case": "namespace", "cards": True, "customer_id_template": "{orgId}-{customerId}"}
    identity |= {"default_country_code": "44", "external_id_key": "crmId"}
    found = _map(
        make_desk(identity=identity),
        published,
        email="m@example.com",
        mobile="07700900101",
        externalId="E",
        cardNumbers=["C1", "C1"],
    )
    assert {key: [item["id"] for item in items] for key, items in found["identityMap"].items()} == {
        "capillaryUserId": ["700123-900000101"],
        "Email": ["m@example.com"],
        "Phone": ["+447700900101"],
        "crmId": ["E"],
        "capillaryCard": ["C1"],
    }
    assert [key for key, items in found["identityMap"].items() if items[0]["primary"]] == ["Email"]
    assert found["capillary"]["customerId"] == "900000101"


EMAIL, PHONE = "member-0001@example.com", "+447700900101"
EMAIL_SHA, PHONE_SHA = sha256(EMAIL.encode()).hexdigest(), sha256(PHONE.encode()).hexdigest()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"email": "pass", "phone": "pass"}, {"email": EMAIL, "phone": PHONE}),
        ({"email": "hash", "phone": "pass"}, {"email_lc_sha256": EMAIL_SHA, "phone": PHONE}),
        ({"email": "hash", "phone": "hash"}, {"email_lc_sha256": EMAIL_SHA, "phone_sha256_e.164": PHONE_SHA}),
        ({"email": "drop", "phone": "hash"}, {"phone_sha256_e.164": PHONE_SHA}),
        ({"email": "drop", "phone": "drop", "primary": "adobe_sample"}, {}),
        (
            {"email": "hash", "phone": "hash", "key_case": "namespace"},
            {"Email_LC_SHA256": EMAIL_SHA, "Phone_SHA256_E.164": PHONE_SHA},
        ),
    ],
)
def test_personal_identities_pass_are_hashed_or_dropped(
    make_desk: Callable[..., Any], published: Published, settings: dict[str, Any], shown: dict[str, str]
) -> None:
    desk = make_desk(identity=settings)
    (event,) = desk.take(published("pointsIssued")).transactions
    for body in (event.body, desk.profile()):
        identities = body["identityMap"]
        found = {key: items[0]["id"] for key, items in identities.items() if key.lower().startswith(("email", "phone"))}
        assert found == shown
        assert [item["primary"] for items in identities.values() for item in items].count(True) == 1
        raw = dumps(body)
        assert (EMAIL.encode() in raw, PHONE.encode() in raw) == (EMAIL in shown.values(), PHONE in shown.values())


def test_a_hashed_address_meets_the_one_capillary_hashed(make_desk: Callable[..., Any], published: Published) -> None:
    hashed = _map(make_desk(), published, email=EMAIL_SHA)["identityMap"]["email_lc_sha256"]
    assert _map(make_desk(identity={"email": "hash"}), published, email=EMAIL)["identityMap"]["email_lc_sha256"] == hashed


def test_configured_account_identifiers(make_desk: Callable[..., Any], published: Published) -> None:
    desk = make_desk(identity={"accounts": {"website.email": "webEmail"}}, emit_customer_updated_event=True)
    body = desk.take(published("customerUpdated")).transactions[0].body
    assert body["identityMap"]["webEmail"][0]["id"] == "member-0001@example.com"


def test_events_carry_what_the_state_knows_unless_told_otherwise(make_desk: Callable[..., Any], published: Published) -> None:
    for mode, expected in (("state", True), ("event", False)):
        desk = make_desk(identity={"event_identities": mode})
        desk.take(published("customerAdded"))
        assert ("email" in _map(desk, published)["identityMap"]) is expected


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"identity": {"primary": "email"}}, "identity.primary"),
        ({"identity.primari": "adobe_sample"}, "identity.primari"),
        ({"org_zone": "Mars/Base"}, "org_zone"),
        ({"store_zones": {"s1": "Nowhere"}}, "store_zones.s1"),
        ({"pii": {"names": "yes"}}, "pii.names"),
        ({"default_currency": "POUND"}, "default_currency"),
        ({"events": ["cardUpdated"]}, "events"),
        ({"identity": {"customer_id_template": "x"}}, "identity.customer_id_template"),
        ({"enrichment": {"transaction": True}}, "enrichment.transaction"),
    ],
)
def test_settings_errors_name_the_key(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        TranslationConfig.from_settings(settings)
    assert caught.value.path == key


def test_settings_may_be_nested_or_dotted() -> None:
    nested = TranslationConfig.from_settings({"pii": {"names": True}, "program": {"select": 4101}, "statuses": {"Gone": "left"}})
    dotted = TranslationConfig.from_settings({"pii.names": True, "program.select": "4101", "statuses": {"gone": "left"}})
    assert nested == dotted
    assert nested.statuses["active"] == "active"
    assert TranslationConfig.from_settings({}) == TranslationConfig()


def _plan(desk: Any, body: dict[str, Any]) -> list[tuple[str, str]]:
    event = normalise(dumps(body), body["createdAt"])
    assert isinstance(event, NormalisedEvent)
    states = {key: load(raw) for key, raw in desk.kept.items()}
    return sorted((call.kind, call.path) for call in plan(event, states, desk.programs, desk.config))


def test_calls_of_each_trigger(make_desk: Callable[..., Any], published: Published) -> None:
    desk = make_desk()
    me = "/v2/customers/900000101"
    assert _plan(desk, published("transactionAdded")) == [("C7", "/v2/transactions/880100001")]
    assert _plan(desk, published("pointsExpired")) == [("C3", f"{me}/loyaltyDetails")]
    bare = published("pointsExpired", customerIdentifiers={"customerId": 900000101})
    assert _plan(desk, bare) == [("C2", me), ("C3", f"{me}/loyaltyDetails")]
    assert _plan(desk, published("promotionEarned")) == [], "no profile payload follows"
    assert _plan(desk, published("customerAdded")) == [("C5", f"{me}/tierDetails")]
    desk.take(published("customerAdded"))
    assert _plan(desk, published("pointsExpired")) == [], "started at zero"
    assert _plan(desk, published("customerUpdated")) == [("C2", me)]
    assert _plan(desk, published("pointsExpiryChange")) == [("C6", f"{me}/pointsExpirySchedule")]
    assert _plan(desk, published("singlePointsExpiryUpdated")) == []
    nameless = published("tierRenewed", loyaltyProgramDetails=None)
    assert _plan(desk, nameless) == [("C5", f"{me}/tierDetails")]
    assert _plan(make_desk(enrichment={"member_state": False, "transaction": "off"}), published("transactionAdded")) == []
    assert ("C3", f"{me}/loyaltyDetails") in _plan(make_desk(enrichment={"repair": True}), published("pointsExpired"))


def test_withdrawn_zero_seed_asks_for_the_state(desk: Any, published: Published) -> None:
    desk.take(published("customerAdded"))
    desk.take(published("promotionIssued", _createdAt=1726133412480 - 6 * MINUTE))
    assert ("C3", "/v2/customers/900000101/loyaltyDetails") in _plan(desk, published("pointsExpired"))


def test_bill_type_is_asked_for(published: Published) -> None:
    body = published("transactionAdded", billType="RETURN")
    event = normalise(dumps(body), 0)
    assert isinstance(event, NormalisedEvent)
    required = TranslationConfig.from_settings({"enrichment.transaction": "required"})
    (call,) = plan(event, {}, Programs(), required)
    assert (call.key, call.required) == ("C7:700123:880100001", True)
    assert dict(call.query) == {"type": "RETURN", "tenders": "true"}


def test_members_of_every_kind(published: Published) -> None:
    def of(name: str) -> list[str]:
        event = normalise(dumps(published(name)), 0)
        assert isinstance(event, NormalisedEvent)
        return [customer for _, customer in members_of(event)]

    assert of("loyaltyCustomerMerge") == ["900000101", "900000555"]
    assert of("CouponIssue") == of("updateRewardTransaction") == of("pointsIssued") == ["900000101"]
    assert of("notInterestedBillAdded") == []


def test_programmes_take_the_newest_statement_whatever_the_order() -> None:
    old = {"id": 1, "name": "Old", "isDefault": False, "tiers": [{"tierNumber": 1, "tierName": " Blue "}]}
    new = {"id": 1, "name": "New", "isDefault": True, "tiers": None}
    for order in ((old, new, old), (new, old, old)):
        programs = Programs()
        for details in order:
            programs.learn("o", details, 2 if details is new else 1)
        program = Programs.load(programs.dump()).get("o", "1")
        assert program is not None
        assert (program.name, program.is_default, program.tiers) == ("New", True, {1: "Blue"})
        assert programs.default("o") == "1"


@pytest.mark.parametrize(
    ("value", "thousandths"),
    [
        (148.5, 148_500),
        (0.269, 269),
        (-333.333, -333_333),
        (1.0005, 1_000),  # half to even, of the decimal as it was written
        (2.0015, 2_002),
        (99_999_999_999.999, 99_999_999_999_999),
        (123_456_789_012.5, 123_456_789_012_500),
        ("12.345", 12_345),
        (148, 148_000),
    ],
)
def test_amounts_are_exact_in_thousandths(value: object, thousandths: int) -> None:
    assert milli(value) == thousandths


def test_the_choices_of_settings_are_those_of_their_types() -> None:
    plain = runpy.run_path(str(Path(__file__).parents[3] / "capstream" / "capillary" / "translation_config.py"))
    types = get_type_hints(plain["TranslationConfig"])
    assert {name: get_args(kind) for name, kind in types.items() if get_origin(kind) is Literal} == plain["CHOICES"]
