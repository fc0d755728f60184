"""The courier after a crash, a failure and a stop: the far side holds the same."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import refusing
from relay_rig import EVENT, Rig, points

from capstream.relay.courier import Courier, World
from capstream.relay.ledger import read_cursor, read_lanes
from capstream.relay.sources import Sources


class Crash(BaseException):
    """The process dies here."""


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


def test_stopping_during_an_outage_leaves_the_outbox_for_the_next_start(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.down[EVENT] = httpx.Response(503, json={})

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
    assert read_lanes(rig.documents)["nw/event"]["waiting"] == 1
    rig.edge.down.clear()
    rig.drain()
    assert len(rig.edge.events()) == 1
