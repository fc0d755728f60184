"""Law: a member's snapshot does not depend on the order in which events arrive, nor on how often. Source: capillary.md 7.5."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Translated
from capstream.capillary.state import dump, load
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.kernel.json import dumps

_BODIES = Path(__file__).resolve().parents[2] / "cases" / "capillary-events"
_PUBLISHED = [json.loads(path.read_text()) for path in sorted(_BODIES.glob("*.json"))]
_ORG, _START = "700123", 1_726_000_000_000
_CONFIG = TranslationConfig.from_settings({"identity": {"cards": True}, "pii": {"names": True}})
_TIERS = [{"tierNumber": number, "tierName": name} for number, name in enumerate(("Blue", "Silver", "Gold"), 1)]
_DETAILS = {"id": 4101, "name": "CircleDefaultProgram", "isDefault": True, "pointsToCurrencyRatio": 0.05, "tiers": _TIERS}

Body = dict[str, Any]


def _snapshots(bodies: list[Body], *, stored: bool) -> dict[str, Any]:
    """Return every member's profile payload after the bodies arrived in this order."""
    states: dict[tuple[str, str], MemberState] = {}
    programs = Programs()
    for body in bodies:
        event = normalise(dumps(body), _START)
        assert isinstance(event, NormalisedEvent)
        translate(event, states, programs, _CONFIG, {})
        if stored:
            states = {key: load(dump(state)) for key, state in states.items()}
    return {key[1]: profile_payload(key, state, programs, _CONFIG).body for key, state in states.items()}


@st.composite
def _arrivals(draw: st.DrawFn, bodies: list[Body]) -> list[Body]:
    order = draw(st.permutations(bodies))
    repeated = draw(st.lists(st.sampled_from(bodies), max_size=4))
    at = [draw(st.integers(0, len(order))) for _ in repeated]
    for position, body in zip(at, repeated, strict=True):
        order.insert(position, body)
    return order


def _comparable(snapshots: dict[str, Any]) -> dict[str, Any]:
    """Leave out the version of merged members: what arrives after the merge counts for the survivor."""
    for body in snapshots.values():
        if body["loyalty"].get("status") == "merged":
            del body["capillary"]["stateVersion"], body["capillary"]["asOf"], body["capillary"]["lastEvent"]
        for items in body["identityMap"].values():
            items.sort(key=lambda item: item["id"])
    return snapshots


@settings(max_examples=60, deadline=None)
@given(_arrivals(_PUBLISHED))
def test_published_bodies_in_any_order(arrivals: list[Body]) -> None:
    expected = _comparable(_snapshots(sorted(_PUBLISHED, key=lambda body: body["createdAt"]), stored=False))
    assert _comparable(_snapshots(arrivals, stored=True)) == expected


_POINTS = st.integers(1, 4000).map(lambda thousandths: thousandths / 8)
_DAYS = st.sampled_from(("2024-10-31", "2024-11-30", "2025-01-31", "2124-01-01"))
_GAPS = st.sampled_from((0, 1, 500, 60_000, 3 * 86_400_000))
_STEPS = st.one_of(
    st.tuples(st.just("pointsIssued"), _POINTS, _DAYS),
    st.tuples(st.just("pointsRedeemed"), _POINTS, st.sampled_from(("r1", "r2"))),
    st.tuples(st.just("redeemedPointsReversed"), _POINTS, st.sampled_from(("r1", "r2"))),
    st.tuples(st.just("issuedPointsReversed"), _POINTS, st.sampled_from(("b1", "b2"))),
    st.tuples(st.just("pointsExpired"), _POINTS, st.none()),
    st.tuples(st.just("pointsExpiryChange"), _POINTS, _DAYS),
    st.tuples(st.just("pointsTransferredReceived"), _POINTS, st.none()),
    st.tuples(st.just("manualPointsAdjustment"), _POINTS, st.none()),
    st.tuples(st.sampled_from(("tierUpgraded", "tierRenewed", "tierDowngraded")), st.integers(1, 3), st.none() | _DAYS),
    st.tuples(st.sampled_from(("customerUpdated", "customerAdded")), st.sampled_from(("Bristol", "Bath", "")), st.none()),
    st.tuples(st.just("transactionAdded"), _POINTS, st.sampled_from(("REGULAR", "RETURN"))),
    st.tuples(st.just("promotionIssued"), st.none(), st.none()),
)


def _data(kind: str, value: Any, detail: Any, balance: float) -> Body:
    """Return the members of one event of a made-up but consistent history."""
    trigger = {"name": "Any", "identifiers": [{"key": "billId", "value": "b1" if detail is None else detail}]}
    programs = [{"programId": 4101, "pointsRedeemed": value, "programCurrentPoints": balance}]
    members: dict[str, Body] = {
        "pointsIssued": {
            "programCurrentPoints": balance,
            "programLifetimePoints": balance,
            "regularPointsIssued": value,
            "regularPointsBreakup": [{"points": value, "expiryAt": detail}],
        },
        "pointsRedeemed": {"totalPointsRedeemed": value, "redemptionFromEarningPrograms": programs},
        "redeemedPointsReversed": {"redeemedPointsReversed": value, "redeemedPointsReversedDetails": {"available": value}},
        "issuedPointsReversed": {
            "programCurrentPoints": balance,
            "totalIssuedPointsReversed": value,
            "regularPointsReversed": value,
        },
        "pointsExpired": {"pointsExpired": value},
        "pointsExpiryChange": {
            "updatedPointsExpiryBreakup": [{"points": value, "pointsPreviousExpiryDate": "2024-10-31", "newExpiryDate": detail}]
        },
        "pointsTransferredReceived": {"totalPointsTransferred": value},
        "manualPointsAdjustment": {"totalPoinstDeducted": str(value)},
        "tierUpgraded": {"upgradedTierNumber": value, "tierExpiryDate": detail},
        "tierRenewed": {"currentTierNumber": value, "tierExpiryDate": detail},
        "tierDowngraded": {"downgradedTierNumber": value, "tierExpiryDate": detail},
        "customerUpdated": {"source": "INSTORE", "extendedFields": [{"key": "city", "value": value}], "firstName": value},
        "customerAdded": {"loyaltyType": "loyalty", "extendedFields": [{"key": "city", "value": value}]},
        "transactionAdded": {"transactionId": 7, "amount": value, "billType": detail},
        "promotionIssued": {"promotionId": 1},
    }
    if kind in ("pointsRedeemed", "redeemedPointsReversed"):
        trigger["identifiers"] = [{"key": "redemptionId", "value": detail}]
    return {"loyaltyProgramId": 4101, "loyaltyProgramDetails": _DETAILS, "triggeringActivity": trigger, **members[kind]}


@st.composite
def _histories(draw: st.DrawFn) -> list[Body]:
    at, balance, bodies = _START, 0.0, []
    for number, (kind, value, detail) in enumerate(draw(st.lists(_STEPS, min_size=2, max_size=12))):
        at += draw(_GAPS)
        balance += value if isinstance(value, float) else 0.0
        identifiers = {"customerId": 1, "instore": {"email": f"member-{draw(st.integers(1, 2)):04d}@example.com"}}
        data = {"customerIdentifiers": identifiers, **_data(kind, value, detail, balance)}
        body: Body = {
            "eventName": kind,
            "eventId": f"{number * 7919 % 1000:03d}-{number}",
            "orgId": 700123,
            "createdAt": at,
            "data": data,
        }
        if draw(st.booleans()):
            body["eventLogId"] = draw(st.integers(1, 5))
        bodies.append(body)
    return bodies


@settings(max_examples=300, deadline=None)
@given(_histories().flatmap(lambda history: st.tuples(st.just(history), _arrivals(history))))
def test_any_history_in_any_order(drawn: tuple[list[Body], list[Body]]) -> None:
    history, arrivals = drawn
    assert _comparable(_snapshots(arrivals, stored=False)) == _comparable(_snapshots(history, stored=False))


@st.composite
def _merged_histories(draw: st.DrawFn) -> list[Body]:
    """Return histories of two members, the merge of the second into the first, and events of either after it."""
    bodies = draw(_histories())
    for body in bodies:
        body["data"]["customerIdentifiers"]["customerId"] = draw(st.sampled_from((1, 2)))
    merge = {
        "survivorCustomerIdentifiers": {"customerId": 1},
        "victimCustomerIdentifiers": {"customerId": 2},
        "survivorCustomerLoyaltySummary": [
            {"loyaltyProgramId": 4101, "currentPoints": 5.5, "lifetimePoints": 9, "tierNumber": 2}
        ],
        "loyaltyProgramDetails": _DETAILS,
    }
    at = draw(st.sampled_from([body["createdAt"] for body in bodies])) + draw(st.sampled_from((0, 7)))
    bodies.append({"eventName": "loyaltyCustomerMerge", "eventId": "merge", "orgId": 700123, "createdAt": at, "data": merge})
    return bodies


def _points_of_survivor(snapshots: dict[str, Any]) -> Any:
    body = _comparable(snapshots)["1"]
    return body["loyalty"] | {"rewards": None}, body["identityMap"], body["capillary"].get("programs")


@settings(max_examples=300, deadline=None)
@given(_merged_histories().flatmap(lambda history: st.tuples(st.just(history), _arrivals(history))))
def test_merged_ledgers_in_any_order(drawn: tuple[list[Body], list[Body]]) -> None:
    history, arrivals = drawn
    assert _points_of_survivor(_snapshots(arrivals, stored=True)) == _points_of_survivor(_snapshots(history, stored=False))


@settings(max_examples=100, deadline=None)
@given(_histories())
def test_repetition_changes_nothing_and_payloads_repeat(history: list[Body]) -> None:
    states: dict[tuple[str, str], MemberState] = {}
    programs, payloads = Programs(), []
    for body in [*history, *history]:
        event = normalise(dumps(body), _START)
        assert isinstance(event, NormalisedEvent)
        outcome = translate(event, states, programs, _CONFIG, {})
        assert isinstance(outcome, Translated)
        payloads.append([payload.id for payload in outcome.transactions])
    assert payloads[: len(history)] == payloads[len(history) :]
    assert _snapshots(history, stored=False) == {
        key[1]: profile_payload(key, state, programs, _CONFIG).body for key, state in states.items()
    }


@settings(max_examples=200, deadline=None)
@given(_histories())
def test_schedule_never_exceeds_the_balance(history: list[Body]) -> None:
    for body in _snapshots(history, stored=False).values():
        entries = body["loyalty"].get("pointsExpiration", [])
        assert all(entry["pointsExpiring"] > 0 for entry in entries)
        dates = [entry["pointsExpirationDate"] for entry in entries]
        assert dates == sorted(set(dates))
        if "points" in body["loyalty"]:
            assert sum(round(entry["pointsExpiring"] * 1000) for entry in entries) <= max(
                0, round(body["loyalty"]["points"] * 1000)
            )
