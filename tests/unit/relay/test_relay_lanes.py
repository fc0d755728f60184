"""Each dataflow of each source by itself: one that is down or slow stops nobody, and loses and doubles nothing."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from conftest import SOURCE
from fake_edge import FakeEdge, refusing
from relay_rig import EVENT, PROFILE, Rig, points

from capstream.relay import event_index, journal
from capstream.relay.alerting import Thresholds
from capstream.relay.back_pressure import HighWater, refusals, source_levels
from capstream.relay.ledger import read_cursor, read_lanes, read_outbox, read_positions, read_waiting
from capstream.relay.watch import Watch

BUSY = httpx.Response(503, json={})
EU = {"inletUrl": "https://platform.test/collection/eu", "profileFlowId": "eu-profile", "eventFlowId": "eu-event"}


class Crash(BaseException):
    """The process dies here."""


def receive(rig: Rig, make_event: Any, numbers: Iterable[int], *, source: str = "nw") -> None:
    for number in numbers:
        rig.receive(make_event(number, customer=900 + number % 3), source=source)


def sent(edge: FakeEdge, flow: str = EVENT) -> list[int]:
    return [int(message["_id"].rpartition("-")[2]) for message in edge.accepted.get(flow, [])]


def settled(rig: Rig, offset: int) -> Any:
    return lambda: read_cursor(rig.documents) >= offset


def outcomes(rig: Rig) -> list[str]:
    rows = [event_index.row_of(offset, journal.decode(record)) for offset, record in rig.journal.read(0, 1000)]
    return list(event_index._Books(rig.documents, rig.journal).outcomes([row for row in rows if row is not None]).values())


def by_member(numbers: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        found[number % 3].append(number)
    return dict(found)


def refused(mark: HighWater, lanes: Any, quotas: dict[str, int]) -> set[str]:
    return {about for about, _ in refusals(source_levels(mark, lanes, quotas), {})}


def watched(rig: Rig, **limits: float) -> Any:
    return Watch(
        journal=rig.journal,
        courier=rig.documents,
        clock=rig.clock,
        free_bytes=lambda: 10**12,
        thresholds=lambda: Thresholds(**limits),
        sources=lambda: rig.sources.table,
    ).state()


def test_the_profile_flow_goes_on_while_the_transaction_flow_is_down(rig: Rig, make_event: Any) -> None:
    rig.edge.down[EVENT] = BUSY
    receive(rig, make_event, range(1, 31))
    rig.work(settled(rig, 30), portion=10, portions=1)
    assert points(rig.edge) == {"900": 300, "901": 280, "902": 290}
    assert sent(rig.edge) == []
    rig.clock.advance(400)
    receive(rig, make_event, range(31, 41))
    rig.work(settled(rig, 40), portion=10, portions=1)
    found = watched(rig)
    assert found["behind"] == {"nw/event": 40, "nw/profile": 0}
    assert found["lag"]["nw/event"] >= 400
    assert found["lag"]["nw/profile"] == found["oldestPendingS"] == 0
    assert [(alert["name"], alert["about"]) for alert in found["alerts"]] == [("lag", "nw/event")]
    assert read_positions(rig.documents) == {"nw/event": 0}
    assert outcomes(rig) == ["pending"] * 40
    rig.edge.down.clear()
    rig.drain(portion=10, portions=1)
    assert sent(rig.edge) == list(range(1, 41)), "in order, nothing lost or doubled"
    assert read_lanes(rig.documents) == {}
    assert outcomes(rig) == ["processed"] * 40
    assert watched(rig)["behind"] == {"nw/event": 0, "nw/profile": 0}
    flow = rig.status()["sources"]["nw"]["flows"]["event"]
    assert (flow["payloads"], flow["delivered"]) == (40, 40)
    assert rig.status()["balanced"]


def test_of_a_profile_flow_that_was_down_only_the_newest_snapshots_are_sent(rig: Rig, make_event: Any) -> None:
    rig.edge.down[PROFILE] = BUSY
    receive(rig, make_event, range(1, 61))
    rig.work(settled(rig, 60), portion=3, portions=1)
    assert sent(rig.edge) == list(range(1, 61))
    rig.edge.down.clear()
    receive(rig, make_event, range(61, 64))
    rig.drain(portion=3, portions=1)
    found = [message["_id"].rpartition(":")[2] for message in rig.edge.accepted[PROFILE]]
    assert len(found) <= 9, "those that were posted at first, those of now, and those of the last batch"
    assert points(rig.edge) == {"900": 630, "901": 610, "902": 620}
    flow = rig.status()["sources"]["nw"]["flows"]["profile"]
    assert flow["payloads"] == flow["delivered"] + flow["coalesced"]


def test_a_source_goes_on_while_the_endpoint_of_another_is_down(rig: Rig, make_event: Any) -> None:
    rig.sources.put("eu", SOURCE | EU)
    rig.edge.down |= dict.fromkeys(("eu-event", "eu-profile"), httpx.ConnectError("refused"))
    for first in range(1, 31, 5):
        receive(rig, make_event, range(first, first + 5))
        receive(rig, make_event, range(first, first + 5), source="eu")
    rig.work(settled(rig, 60), portion=10, portions=1)
    assert sent(rig.edge) == list(range(1, 31))
    assert read_lanes(rig.documents).keys() == {"eu/event", "eu/profile"}
    lanes = read_lanes(rig.documents)
    assert refused(HighWater(backlog=1), lanes, {}) == {"eu"}
    assert refused(HighWater(outbox_bytes=10**6), lanes, {}) == set()
    assert refused(HighWater(outbox_bytes=10**6), lanes, {"eu": lanes["eu/event"]["bytes"] - 1, "nw": 1}) == {"eu"}
    stored = read_outbox(rig.documents, limit=1000)
    assert sum(lane["bytes"] for lane in lanes.values()) == sum(len(each.packed) for _, each in stored)
    rig.edge.down.clear()
    rig.drain(portion=10, portions=1)
    assert sent(rig.edge, "eu-event") == list(range(1, 31))
    assert {message["_id"] for message in rig.edge.accepted["eu-profile"]} == rig.edge.profiles().keys()
    assert read_waiting(rig.documents)["outbox"] == 0


def test_a_slow_flow_is_left_behind_and_what_it_has_taken_is_not_sent_again(rig: Rig, make_event: Any) -> None:
    class Slow(FakeEdge):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = await super().__call__(request)
            if request.headers.get("x-adobe-flow-id") == EVENT and len(self.accepted[EVENT]) <= 10:
                while read_cursor(rig.documents) < 30:
                    await asyncio.sleep(0.001)
            return answer

    rig.edge = Slow()
    receive(rig, make_event, range(1, 31))
    rig.drain(portion=10, portions=1, patience_s=0.01)
    assert sent(rig.edge) == list(range(1, 31))
    assert read_lanes(rig.documents) == {}


def test_events_in_the_outbox_do_not_overtake_a_parked_one(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-3"), 503, "busy")
    rig.edge.script(busy, busy)
    receive(rig, make_event, range(1, 7))
    rig.drain(portion=1, portions=1)
    rig.edge.down[EVENT] = BUSY
    receive(rig, make_event, range(7, 31))
    rig.work(settled(rig, 30), portion=5, portions=1)
    rig.edge.down.clear()
    for _ in range(3):
        rig.clock.advance(600)
        rig.drain(portion=5, portions=1)
    assert all(numbers == sorted(numbers) for numbers in by_member(sent(rig.edge)).values())
    assert sorted(sent(rig.edge)) == list(range(1, 31))
    assert read_waiting(rig.documents)["parked"] == 0


def test_a_merge_while_the_flow_is_down_sends_the_victim_first(rig: Rig, make_event: Any) -> None:
    rig.edge.down[PROFILE] = BUSY
    merge = json.loads(make_event(50, name="loyaltyCustomerMerge"))
    merge["data"] = {
        "survivorCustomerIdentifiers": {"customerId": 901},
        "victimCustomerIdentifiers": {"customerId": 902},
        "survivorCustomerLoyaltySummary": [
            {"loyaltyProgramId": 4101, "lifetimePoints": 77, "currentPoints": 77, "promisedPoints": 0}
        ],
    }
    rig.receive(make_event(1, customer=900))
    rig.work(lambda: "nw/profile" in read_lanes(rig.documents))
    rig.receive(make_event(2, customer=901), make_event(3, customer=902), json.dumps(merge).encode())
    rig.work(settled(rig, 4))
    rig.edge.down.clear()
    rig.drain()
    order = [message["_id"].rsplit(":", 1)[1] for message in rig.edge.accepted[PROFILE]]
    assert order.index("902") < order.index("901")
    assert rig.edge.profiles()["capillary:700123:member:902"]["loyalty"]["status"] == "merged"


def test_what_waits_for_a_removed_source_becomes_dead_letters(rig: Rig, make_event: Any) -> None:
    rig.sources.put("eu", SOURCE | EU)
    rig.edge.down |= dict.fromkeys(("eu-event", "eu-profile"), BUSY)
    receive(rig, make_event, range(1, 7), source="eu")
    rig.work(settled(rig, 6), portion=2, portions=1)
    rig.sources.delete("eu")
    rig.drain()
    letters = rig.letters()
    assert {letter.class_ for letter in letters} == {"UNKNOWN_SOURCE"}
    assert sorted(str(letter.event_id) for letter in letters if letter.flow == "event") == [f"event-{n}" for n in range(1, 7)]
    assert {letter.member for letter in letters if letter.flow == "profile"} == {"900", "901", "902"}
    assert read_lanes(rig.documents) == {}


CRASHES = [("caught_up", 1), ("caught_up", 2), ("outbox_settled", 1), ("outbox_settled", 2), ("settled", 2), ("translated", 3)]


@pytest.mark.parametrize("flow", [EVENT, PROFILE])
@pytest.mark.parametrize(("point", "occurrence"), CRASHES)
def test_a_crash_while_a_flow_is_behind_or_catches_up_loses_and_doubles_nothing(
    rig: Rig, make_event: Any, flow: str, point: str, occurrence: int
) -> None:
    left = occurrence

    def die(name: str) -> None:
        nonlocal left
        left -= name == point
        if name == point and left == 0:
            raise Crash(name)

    rig.edge.down[flow] = BUSY
    receive(rig, make_event, range(1, 31))
    if point in ("settled", "translated"):
        with pytest.raises(Crash):
            rig.work(lambda: False, checkpoint=die, portion=5, portions=1)
    rig.work(settled(rig, 30), portion=5, portions=1)
    rig.edge.down.clear()
    if point not in ("settled", "translated"):
        receive(rig, make_event, range(31, 34))
        with pytest.raises(Crash):
            rig.drain(checkpoint=die, portion=5, portions=1)
    rig.drain(portion=5, portions=1)
    last = read_cursor(rig.documents)
    assert rig.edge.events().keys() == {f"capillary:700123:pointsIssued:event-{number}" for number in range(1, last + 1)}
    firsts = list(dict.fromkeys(sent(rig.edge)))
    assert all(numbers == sorted(numbers) for numbers in by_member(firsts).values())
    assert points(rig.edge) == {str(900 + rest): 10 * max(n for n in range(1, last + 1) if n % 3 == rest) for rest in range(3)}
    assert rig.status()["balanced"]
    assert read_lanes(rig.documents) == {}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_each_member_keeps_its_order_in_each_flow(rig: Rig, make_event: Any, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    rig.sources.put("nw", SOURCE | {"limits": {"records": 1, "lanes": 2}})
    busy = refusing(lambda _: dice.random() < 0.2, 503, "busy")
    for first in range(1, 61, 12):
        rig.edge.down = {flow: BUSY for flow in (EVENT, PROFILE) if dice.random() < 0.5}
        rig.edge.scripts = [busy] * 200
        receive(rig, make_event, range(first, first + 12))
        crash_at = dice.randrange(3, 40)
        seen: list[str] = []

        def die(name: str, crash_at: int = crash_at, seen: list[str] = seen) -> None:
            seen.append(name)
            if len(seen) == crash_at:
                raise Crash(name)

        try:
            rig.work(settled(rig, first + 11), checkpoint=die, portion=dice.choice([1, 3, 7]), portions=dice.choice([1, 4]))
        except Crash:
            continue
    rig.edge.down, rig.edge.scripts = {}, []
    for _ in range(30):
        rig.clock.advance(600)
        rig.drain(portion=7)
    firsts = list(dict.fromkeys(sent(rig.edge)))
    assert sorted(firsts) == list(range(1, 61))
    assert all(numbers == sorted(numbers) for numbers in by_member(firsts).values()), firsts
    assert points(rig.edge) == {"900": 600, "901": 580, "902": 590}
    assert read_waiting(rig.documents) == {"parked": 0, "held": 0, "outbox": 0, "deadLetters": 0}
    assert rig.status()["balanced"]
