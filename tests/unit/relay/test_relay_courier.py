"""The courier: nothing lost, nothing out of order, one verdict a record, whatever network and process do."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import FakeEdge, failing, refusing
from relay_rig import Rig

from capstream.relay.courier import Courier, World
from capstream.relay.journal import NO_KEY, Flag, command, tally
from capstream.relay.ledger import read_cursor, read_health, read_privacy, read_waiting
from capstream.relay.parking import Parking
from capstream.relay.sources import Sources

PROFILE, EVENT = "flow-profile", "flow-event"


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


def points(edge: FakeEdge) -> dict[str, Any]:
    return {profile["capillary"]["customerId"]: profile["loyalty"]["points"] for profile in edge.profiles().values()}


def test_events_reach_both_flows_and_the_cursor_follows(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 3) for number in range(1, 31)))
    rig.drain()
    assert set(rig.edge.events()) == {f"capillary:700123:pointsIssued:event-{number}" for number in range(1, 31)}
    assert points(rig.edge) == {"900": 300, "901": 280, "902": 290}
    assert read_cursor(rig.documents) == 30


def test_snapshots_of_a_batch_are_coalesced(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number) for number in range(1, 31)))
    rig.drain()
    assert len(rig.edge.accepted[PROFILE]) == 1
    assert len(rig.edge.accepted[EVENT]) == 30


def test_every_request_carries_at_most_five_hundred_records(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 1201)))
    rig.drain()
    assert max(len(messages) for _, messages in rig.edge.requests) <= 500
    assert len(rig.edge.events()) == len(rig.edge.profiles()) == 1200


def test_a_backlog_is_settled_in_batches_of_several_portions_with_one_snapshot_each(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number) for number in range(1, 121)))
    rig.drain(portion=10, portions=8)
    sizes = [len(messages) for flow, messages in rig.edge.requests if flow == EVENT]
    assert sizes == [10] * 12
    assert len(rig.edge.accepted[PROFILE]) == 2


def test_a_batch_ends_when_it_touched_enough_members(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number) for number in range(1, 41)))
    rig.drain(portion=10, portions=8, members=20)
    assert [len(messages) for flow, messages in rig.edge.requests if flow == PROFILE] == [20, 20]


def test_small_batches_give_the_same_result_as_large_ones(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 7) for number in range(1, 101)))
    rig.drain(portion=9)
    assert points(rig.edge) == {str(900 + rest): 10 * max(n for n in range(1, 101) if n % 7 == rest) for rest in range(7)}
    assert len(rig.edge.events()) == 100


@pytest.mark.parametrize("member_bytes", [0, 20_000, 10**8])
def test_a_state_that_had_to_leave_memory_is_read_again(rig: Rig, make_event: Any, member_bytes: int) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 7) for number in range(1, 99)))
    rig.drain(portion=9, portions=1, member_bytes=member_bytes)
    facts = {body["capillary"]["customerId"]: body["capillary"]["stateVersion"] for body in rig.edge.profiles().values()}
    assert facts == {str(900 + rest): 14 for rest in range(7)}


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
def test_an_outage_settles_nobody_and_everything_arrives_after_it(rig: Rig, make_event: Any, answer: Any, flow: str) -> None:
    rig.receive(*(make_event(number) for number in range(1, 6)))
    settled_during: list[int] = []
    rig.on_wait = lambda seconds: settled_during.append(read_cursor(rig.documents)) if seconds == 1.0 else None
    rig.edge.script(failing(flow, answer), failing(flow, answer), failing(flow, answer))
    rig.drain()
    assert len(rig.edge.events()) == 5
    assert points(rig.edge) == {"900000101": 50}
    assert settled_during == [0] * 7, "1 s, 2 s and 4 s, in slices of a second"
    assert not rig.letters()
    assert read_health(rig.documents)[f"nw/{flow.removeprefix('flow-')}"]["state"] == "ok"


def test_retry_after_is_honoured(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event())
    rig.edge.script(failing(EVENT, httpx.Response(429, headers={"retry-after": "30"}, json={})))
    before = rig.clock()
    rig.drain()
    assert rig.clock() - before >= 30_000


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


def test_records_refused_for_now_wait_alone_and_come_later(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 6)))
    busy = refusing(lambda message: message["_id"].endswith("event-2"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.drain()
    assert read_cursor(rig.documents) == 5
    assert read_waiting(rig.documents)["parked"] == 1
    rig.clock.advance(1)
    rig.drain()
    rig.clock.advance(1)
    rig.drain()
    assert read_waiting(rig.documents)["parked"] == 1, "the second wait is longer"
    rig.clock.advance(1)
    rig.drain()
    assert read_waiting(rig.documents)["parked"] == 0
    assert len(rig.edge.accepted[EVENT]) == 5
    assert rig.status()["balanced"]


def order(edge: FakeEdge) -> list[int]:
    return [int(message["_id"].rpartition("-")[2]) for message in edge.accepted.get(EVENT, [])]


def test_later_events_of_a_member_do_not_overtake_a_parked_one(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(*[busy] * 6)
    rig.receive(make_event(1, customer=1))
    rig.drain()
    for number in range(2, 8):
        rig.receive(make_event(number, customer=1), make_event(number + 100, customer=2))
        rig.drain()
    assert order(rig.edge) == [102, 103, 104, 105, 106, 107]
    assert read_waiting(rig.documents)["parked"] == 7
    assert points(rig.edge)["1"] == 70, "snapshots do not wait for events"
    for _ in range(6):
        rig.clock.advance(600)
        rig.drain()
    assert order(rig.edge)[6:] == [1, 2, 3, 4, 5, 6, 7]
    assert read_waiting(rig.documents)["parked"] == 0
    assert not rig.letters()
    assert rig.status()["balanced"]


@pytest.mark.parametrize("portions", [1, 16])
def test_later_portions_do_not_overtake_a_parked_event(rig: Rig, make_event: Any, portions: int) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.receive(*(make_event(number, customer=1) for number in range(1, 31)))
    rig.drain(portion=1, portions=portions)
    for _ in range(2):
        rig.clock.advance(600)
        rig.drain(portion=1, portions=portions)
    assert order(rig.edge) == list(range(1, 31))


def test_later_requests_of_a_portion_do_not_overtake_a_parked_event(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.receive(*(make_event(number, customer=1) for number in range(1, 1201)))
    rig.drain(portion=1200)
    first = next(len(messages) for flow, messages in rig.edge.requests if flow == EVENT)
    for _ in range(2):
        rig.clock.advance(600)
        rig.drain(portion=1200)
    sent = order(rig.edge)
    assert sent[: first - 1] == list(range(2, first + 1)), "what went in one request with it was taken at once"
    assert sent[first - 1 :] == [1, *range(first + 1, 1201)]


def test_what_waits_behind_a_refused_event_goes_when_that_is_a_dead_letter(rig: Rig, make_event: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy"))
    rig.receive(make_event(1, customer=1))
    rig.drain()
    rig.receive(make_event(2, customer=1))
    rig.drain()
    rig.edge.script(*[refusing(lambda message: message["_id"].endswith("event-1"), 400, "bad")] * 4)
    rig.clock.advance(600)
    rig.drain()
    assert order(rig.edge) == [2]
    assert [letter.event_id for letter in rig.letters()] == ["event-1"]
    assert read_waiting(rig.documents)["parked"] == 0


def test_the_journal_waits_while_too_many_payloads_are_parked(rig: Rig, make_event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parking.__init__, "__defaults__", (5,))
    busy = refusing(lambda message: "event" in message["_id"], 503, "busy")
    rig.edge.script(*[busy] * 4)
    for number in range(1, 21):
        rig.receive(make_event(number, customer=number))
    rig.drain(portion=5, portions=1)
    assert read_cursor(rig.documents) < 20
    for _ in range(10):
        rig.clock.advance(600)
        rig.drain(portion=5, portions=1)
    assert read_cursor(rig.documents) == 20
    assert sorted(order(rig.edge)) == list(range(1, 21))


def test_a_newer_snapshot_takes_the_place_of_a_parked_one(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: "member" in message["_id"], 503))
    rig.drain()
    rig.receive(make_event(2))
    rig.drain()
    rig.clock.advance(3600)
    rig.drain()
    assert [message["loyalty"]["points"] for message in rig.edge.accepted[PROFILE]] == [20]
    assert read_waiting(rig.documents)["parked"] == 0


CONTENT = [
    (b"not json", 0, "INVALID_BODY"),
    (b"", 0, "INVALID_BODY"),
    (b'{"eventName":"pointsIssued","eventId":"x","orgId":1,"createdAt":1731000000000,"data":{}}', 0, "NO_IDENTITY"),
    (b'{"eventName":"neverHeardOf","eventId":"x","orgId":1,"createdAt":1731000000000,"data":{}}', 0, "UNKNOWN_EVENT"),
    (b'{"a":"' + b"x" * 100, Flag.TOO_LARGE, "TOO_LARGE"),
    (b"{}", Flag.CONFLICT, "CONFLICTING_DUPLICATE"),
]


@pytest.mark.parametrize(("body", "flags", "code"), CONTENT, ids=[code for _, _, code in CONTENT])
def test_content_that_is_no_event_is_a_dead_letter_and_stops_nothing(
    rig: Rig, make_event: Any, body: bytes, flags: int, code: str
) -> None:
    rig.receive(make_event(1))
    rig.receive(body, flags=flags)
    rig.receive(make_event(2))
    rig.drain()
    (letter,) = rig.letters()
    assert (letter.class_, letter.payload, letter.journal_offset, letter.flow) == (code, body, 2, None)
    assert letter.reason
    assert len(rig.edge.events()) == 2
    assert rig.status()["balanced"]


def test_an_unmapped_event_is_skipped(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1, name="cardUpdated"))
    rig.drain()
    assert not rig.letters()
    assert rig.status()["sources"]["nw"]["skippedByReason"] == {"UNMAPPED_EVENT": 1}


def test_events_of_a_removed_source_are_kept(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1), source="gone")
    rig.receive(make_event(2))
    rig.drain()
    assert [(letter.class_, letter.source_key) for letter in rig.letters()] == [("UNKNOWN_SOURCE", "gone")]
    assert len(rig.edge.events()) == 1


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


def test_oversized_records_are_dead_letters(rig: Rig, make_event: Any) -> None:
    notes = [{"key": f"field_{number}", "value": "x" * 200} for number in range(60)]
    rig.receive(make_event(1, name="customerAdded", loyaltyType="loyalty", source="INSTORE", customFields=notes))
    rig.drain()
    (letter,) = rig.letters()
    assert letter.class_ == "OVERSIZED_RECORD"
    assert letter.flow == "event"
    assert len(rig.edge.profiles()) == 1


def replay(rig: Rig, name: str, **details: Any) -> None:
    rig.journal.append([command(name, rig.clock(), **details)])
    rig.drain()


def test_a_dead_payload_is_replayed_once_mended(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-1")))
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"ids": [letter.id]})
    assert not rig.letters()
    assert len(rig.edge.events()) == 1
    status = rig.status()["sources"]["nw"]
    assert (status["flows"]["event"]["delivered"], status["flows"]["event"]["rejected"]) == (1, 0)


def test_a_replay_that_fails_again_stays_one_letter_and_counts_its_attempts(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    bad = refusing(lambda message: message["_id"].endswith("event-1"))
    rig.edge.script(bad, bad)
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"class": "PLATFORM_REJECTED"})
    (again,) = rig.letters()
    assert (again.id, again.attempts) == (letter.id, 2)
    assert rig.status()["sources"]["nw"]["flows"]["event"]["rejected"] == 1


def test_a_dead_profile_is_replayed_with_the_state_of_now(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: "member" in message["_id"]))
    rig.drain()
    (letter,) = rig.letters()
    rig.receive(make_event(2))
    rig.drain()
    replay(rig, "replay_letters", filter={"ids": [letter.id]})
    assert [message["loyalty"]["points"] for message in rig.edge.accepted[PROFILE]] == [20, 20]
    assert not rig.letters()


def test_a_dead_webhook_is_replayed_with_an_edited_body(rig: Rig, make_event: Any) -> None:
    rig.receive(b'{"broken"')
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"ids": [letter.id]}, payload=json.loads(make_event(5)))
    assert not rig.letters()
    assert points(rig.edge) == {"900000101": 50}
    status = rig.status()
    assert status["balanced"]
    assert (status["sources"]["nw"]["deadLettered"], status["sources"]["nw"]["processed"]) == (0, 1)


def test_discarded_letters_are_gone(rig: Rig, make_event: Any) -> None:
    rig.receive(*[b"x"] * 250)
    rig.drain()
    replay(rig, "discard_letters", filter={"class": "INVALID_BODY"})
    assert not rig.letters()
    assert rig.status()["sources"]["nw"]["deadLettered"] == 250
    assert rig.status()["balanced"]


def test_a_range_of_the_journal_is_replayed_with_the_same_ids(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 2) for number in range(1, 501)))
    rig.drain()
    before = rig.edge.events()
    replay(rig, "replay_range", range={"fromOffset": 11, "toOffset": 490, "customerId": "901"})
    assert len(rig.edge.accepted[EVENT]) == 500 + 240
    assert rig.edge.events() == before
    assert points(rig.edge) == {"900": 5000, "901": 4990}
    assert rig.status()["sources"]["nw"]["processed"] == 500


def test_tallies_and_lags_are_counted(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1), make_event(2))
    rig.journal.append([tally({"nw": 3}, rig.clock())], keys=[NO_KEY])
    rig.drain()
    status = rig.status()
    source = status["sources"]["nw"]
    assert (source["received"], source["duplicates"], source["processed"]) == (5, 3, 2)
    assert source["events"] == {"pointsIssued": 2}
    assert source["lagMs"]["p50"] >= rig.clock() - 1_731_000_002_000 - 60_000
    assert status["journal"]["pending"] == 0


STREAM = [(number, 900 + number % 5) for number in range(1, 61)]


def crash_at(name: str, occurrence: int) -> Callable[[str], None]:
    seen: list[str] = []

    def checkpoint(point: str) -> None:
        seen.append(point)
        if seen.count(name) == occurrence and point == name:
            raise Crash(name)

    return checkpoint


@pytest.mark.parametrize("point", ["translated", "posted", "settled"])
@pytest.mark.parametrize(("occurrence", "portions"), [(1, 1), (2, 1), (4, 1), (1, 3), (2, 3)])
def test_after_a_crash_the_far_side_holds_the_same(
    tmp_path: Path, sources: Sources, clock: Any, make_event: Any, point: str, occurrence: int, portions: int
) -> None:
    held = []
    for crashes in (False, True):
        folder = tmp_path / str(crashes)
        folder.mkdir()
        rig = Rig(folder, sources, type(clock)())
        rig.receive(
            *(make_event(number, customer=customer) for number, customer in STREAM), b"broken", make_event(99, name="cardUpdated")
        )
        rig.edge.script(refusing(lambda message: message["_id"].endswith("event-17")))
        if crashes:
            with pytest.raises(Crash):
                rig.drain(checkpoint=crash_at(point, occurrence), portion=10, portions=portions)
            rig.edge.script(refusing(lambda message: message["_id"].endswith("event-17")))
        rig.drain(portion=10)
        profiles = rig.edge.profiles()
        events = {key: value for key, value in rig.edge.events().items() if not key.endswith("event-17")}
        letters = [(letter.class_, letter.event_id) for letter in rig.letters() if letter.event_id != "event-17"]
        assert rig.status()["balanced"]
        held.append((profiles, events, letters, read_cursor(rig.documents)))
        rig.close()
    assert held[0] == held[1]
    assert len(held[0][1]) == 59


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
        assert versions == sorted(set(versions))


def test_the_loop_starts_over_after_an_unexpected_failure_and_stops_when_told(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    failures: list[str] = []

    def fail_once(point: str) -> None:
        if point == "posted" and not failures:
            failures.append(point)
            raise RuntimeError("unexpected")

    async def main() -> None:
        stop = asyncio.Event()

        async def sleep(_: float) -> None:
            if read_cursor(rig.documents) == 1:
                stop.set()
            await asyncio.sleep(0)

        async with httpx.AsyncClient(transport=httpx.MockTransport(rig.edge)) as client:
            world = World(client=client, clock=rig.clock, sleep=sleep, jitter=lambda: 0.0, checkpoint=fail_once)
            await Courier(rig.journal, rig.documents, rig.sources, world=world).run(stop)

    asyncio.run(main())
    assert failures
    assert len(rig.edge.events()) == 1
    assert points(rig.edge) == {"900000101": 10}


def test_stopping_during_an_outage_leaves_the_batch_for_the_next_start(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    down = failing(EVENT, httpx.Response(503, json={}))
    rig.edge.script(*[down] * 1000)

    async def main() -> None:
        stop = asyncio.Event()
        turns: list[int] = []

        async def sleep(_: float) -> None:
            turns.append(1)
            if len(turns) > 20:
                stop.set()
            await asyncio.sleep(0)

        async with httpx.AsyncClient(transport=httpx.MockTransport(rig.edge)) as client:
            world = World(client=client, clock=rig.clock, sleep=sleep, jitter=lambda: 0.0)
            await Courier(rig.journal, rig.documents, rig.sources, world=world).run(stop)

    asyncio.run(main())
    assert read_cursor(rig.documents) == 0
    rig.edge.scripts.clear()
    rig.drain()
    assert len(rig.edge.events()) == 1


def test_a_merge_sends_the_victim_before_the_survivor_through_one_lane(rig: Rig, make_event: Any) -> None:
    merge = json.loads(make_event(50, name="loyaltyCustomerMerge"))
    merge["data"] = {
        "survivorCustomerIdentifiers": {"customerId": 901},
        "victimCustomerIdentifiers": {"customerId": 902},
        "survivorCustomerLoyaltySummary": [
            {"loyaltyProgramId": 4101, "lifetimePoints": 77, "currentPoints": 77, "promisedPoints": 0}
        ],
    }
    others = [make_event(number, customer=1000 + number) for number in range(3, 40)]
    rig.receive(
        make_event(1, customer=901),
        make_event(2, customer=902),
        *others,
        json.dumps(merge).encode(),
        make_event(60, customer=902),
    )
    whole = rig.sources.table["nw"]
    limits = {"records": 10, "lanes": 4}
    flows = {"inletUrl": whole.inlet_url, "profileFlowId": PROFILE, "eventFlowId": EVENT, "limits": limits}
    rig.sources.put("nw", {"orgId": whole.org_id, "ims": {"url": whole.ims.url, "clientId": "client-1"}, **flows})
    rig.drain()
    order = [message["_id"].rsplit(":", 1)[1] for message in rig.edge.accepted[PROFILE]]
    assert order.index("902") < order.index("901")
    assert rig.edge.profiles()["capillary:700123:member:902"]["loyalty"]["status"] == "merged"
    assert not rig.letters()


def test_members_that_wait_for_a_tier_list_are_sent_again_when_it_comes(rig: Rig, make_event: Any) -> None:
    added = make_event(
        1, customer=901, name="customerAdded", loyaltyType="loyalty", source="INSTORE", enteredAt=1_731_000_001_000
    )
    rig.receive(added)
    rig.drain()
    assert "tier" not in rig.edge.profiles()["capillary:700123:member:901"]["loyalty"]
    rig.receive(make_event(2, customer=902))
    rig.drain()
    assert rig.edge.profiles()["capillary:700123:member:901"]["loyalty"]["tier"] == "Bronze"
    sent = len(rig.edge.accepted[PROFILE])
    rig.receive(make_event(3, customer=902))
    rig.drain()
    assert len(rig.edge.accepted[PROFILE]) == sent + 1


def test_a_deleted_member_enters_the_privacy_queue(rig: Rig, make_event: Any) -> None:
    rig.receive(
        make_event(1), make_event(2, name="customerUpdated", customerStatus={"currentLabel": "Deleted"}, updatedFields=[])
    )
    rig.drain()
    (request,) = read_privacy(rig.documents)
    assert (request["customerId"], request["sourceKey"]) == ("900000101", "nw")
    assert request["identities"]
