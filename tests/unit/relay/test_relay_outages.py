"""Outages and refusals: what the courier makes of each answer, and that everything arrives afterwards."""

import json
from typing import Any

import httpx
import pytest
from fake_edge import failing, refusing
from relay_rig import EVENT, PROFILE, Rig, points

from capstream.relay.ledger import read_cursor, read_health, read_lanes

OUTAGES = [
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.Response(500, json={}),
    httpx.Response(503, json={}),
    httpx.Response(429, json={}),
    httpx.Response(207, text="<html>garbage"),
    httpx.Response(207, json={"responses": []}),
    httpx.Response(404, json={"title": "Inlet not found"}),
    httpx.Response(400, json={"report": {"message": "Message has an invalid flow id"}}),
]


@pytest.mark.parametrize("answer", OUTAGES, ids=str)
@pytest.mark.parametrize("flow", [PROFILE, EVENT])
def test_an_outage_stops_one_flow_and_everything_arrives_after_it(rig: Rig, make_event: Any, answer: Any, flow: str) -> None:
    rig.receive(*(make_event(number) for number in range(1, 6)))
    waits: list[float] = []
    rig.on_wait = lambda seconds: waits.append(seconds) if seconds == 1.0 else None
    rig.edge.script(failing(flow, answer), failing(flow, answer), failing(flow, answer))
    rig.drain()
    assert len(rig.edge.events()) == 5
    assert points(rig.edge) == {"900000101": 50}
    assert waits == [1.0] * 7, "1 s, 2 s and 4 s, in slices of a second"
    assert read_cursor(rig.documents) == 5
    assert read_lanes(rig.documents) == {}
    assert not rig.letters()
    assert read_health(rig.documents)[f"nw/{flow.removeprefix('flow-')}"]["state"] == "ok"


def test_retry_after_is_honoured(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event())
    rig.edge.script(failing(EVENT, httpx.Response(429, headers={"retry-after": "30"}, json={})))
    before = rig.clock()
    rig.drain()
    assert rig.clock() - before >= 30_000


def slices(rig: Rig, make_event: Any, *, retry_after: str, refusals: int) -> int:
    """Return the seconds the profiles waited, refused so often, while the events were after 63 s."""
    rig.receive(make_event())
    waits: list[float] = []
    rig.on_wait = lambda seconds: waits.append(seconds) if seconds == 1.0 else None
    rig.edge.script(*[failing(EVENT, httpx.Response(503, json={}))] * 6)
    rig.edge.script(failing(PROFILE, httpx.Response(429, headers={"retry-after": retry_after}, json={})))
    rig.edge.script(*[failing(PROFILE, httpx.Response(503, json={}))] * (refusals - 1))
    rig.drain()
    assert len(rig.edge.events()) == len(rig.edge.profiles()) == 1
    return len(waits) - 63


def test_the_dataflow_that_gets_through_first_tells_the_others(rig: Rig, make_event: Any) -> None:
    """Alone the profiles' would have waited 30 + 2 + 4 + 8 + 16 + 32 s."""
    assert 60 <= slices(rig, make_event, retry_after="30", refusals=6) <= 65


def test_news_of_another_dataflow_does_not_shorten_what_retry_after_asked_for(rig: Rig, make_event: Any) -> None:
    assert slices(rig, make_event, retry_after="120", refusals=1) == 120


def test_one_401_is_answered_with_a_fresh_token(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event())
    rig.edge.script(failing(EVENT, httpx.Response(401, json={})))
    rig.drain()
    assert rig.edge.tokens == 2
    assert not [wait for wait in rig.waits if wait >= 1.0]
    assert len(rig.edge.events()) == 1


def test_a_flow_that_refuses_tokens_is_paused_and_resumes(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event())
    states: list[str] = []
    health = rig.documents

    def refuse(flow: str, _messages: Any) -> httpx.Response | None:
        found = read_health(health).get("nw/event")
        states.append(found["state"] if found else "none")
        return httpx.Response(403, json={}) if flow == EVENT else None

    rig.edge.script(*[refuse] * 4)
    rig.drain()
    assert "paused" in states
    assert read_health(health)["nw/event"]["state"] == "ok"
    assert len(rig.edge.events()) == 1


def test_records_refused_for_good_are_dead_letters_and_their_neighbours_are_not_sent_again(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 11)))
    rig.edge.script(refusing(lambda message: message["_id"].endswith(("event-3", "event-7")), message="bad record"))
    rig.drain()
    assert len(rig.edge.accepted[EVENT]) == 8
    letters = rig.letters()
    assert [(letter.class_, letter.reason, letter.event_id, letter.flow) for letter in letters] == [
        ("PLATFORM_REJECTED", "bad record", "event-3", "event"),
        ("PLATFORM_REJECTED", "bad record", "event-7", "event"),
    ]
    assert letters[0].last_status == 400
    assert "bad record" in (letters[0].last_body or "")
    assert json.loads(letters[0].payload)["_id"].endswith("event-3")
    assert read_cursor(rig.documents) == 10


def test_a_refused_request_is_bisected_down_to_the_culprit(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 65)))

    def spoilt(flow: str, messages: Any) -> httpx.Response | None:
        bad = [message for message in messages if message["_id"].endswith(("event-13", "event-40"))]
        return (
            httpx.Response(400, json={"report": {"message": "Message has unknown xdm format"}}) if bad and flow == EVENT else None
        )

    rig.edge.script(*[spoilt] * 100)
    rig.drain()
    assert len(rig.edge.accepted[EVENT]) == 62
    assert sorted(str(letter.event_id) for letter in rig.letters()) == ["event-13", "event-40"]
    assert len({message["_id"] for message in rig.edge.accepted[EVENT]}) == 62


def test_a_too_large_request_is_halved(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 41)))

    def limit(_flow: str, messages: Any) -> httpx.Response | None:
        return httpx.Response(413, json={}) if len(messages) > 7 else None

    rig.edge.script(*[limit] * 100)
    rig.drain()
    assert len(rig.edge.events()) == len(rig.edge.profiles()) == 40
    assert not rig.letters()


def test_a_source_without_an_address_waits_until_it_has_one(rig: Rig, make_event: Any) -> None:
    whole = rig.sources.table["nw"]
    bare: dict[str, Any] = {"orgId": whole.org_id, "ims": {"url": whole.ims.url, "clientId": "client-1"}}
    rig.sources.put("nw", bare)
    rig.receive(make_event(1))
    put_back = {**bare, "inletUrl": whole.inlet_url, "profileFlowId": PROFILE, "eventFlowId": EVENT}
    turns: list[int] = []
    advance = rig.clock.advance

    def mend(seconds: float) -> None:
        advance(seconds)
        turns.append(1)
        if len(turns) == 3:
            rig.sources.put("nw", put_back)

    rig.clock.advance = mend
    rig.drain()
    assert len(rig.edge.events()) == 1


def test_profiles_of_a_member_never_go_back_in_version(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 5) for number in range(1, 201)))
    rig.edge.script(failing(PROFILE, httpx.Response(503, json={})), failing(PROFILE, httpx.ReadError("reset")))
    rig.drain(portion=10)
    for customer in range(900, 905):
        versions = [
            message["capillary"]["stateVersion"]
            for message in rig.edge.accepted[PROFILE]
            if message["capillary"]["customerId"] == str(customer)
        ]
        assert versions == sorted(versions)
