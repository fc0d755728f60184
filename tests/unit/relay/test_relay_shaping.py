"""Requests to an inlet keep to the published guardrails, or to what the source says; one organisation shares one pace."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SOURCE, FixedClock
from relay_rig import Rig

from capstream.relay.shaping import Pace, published
from capstream.relay.sources import Sources


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


def turns(pace: Pace, clock: FixedClock, sizes: list[int]) -> list[float]:
    """Return when each of some requests may be sent, in seconds after the first was asked for."""
    start_ms, found = clock.now_ms, []
    for size in sizes:
        asyncio.run(pace.take(size))
        found.append((clock.now_ms - start_ms) / 1000)
    return found


def paced(clock: FixedClock, requests: int, messages: int) -> Pace:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return Pace(requests, messages, clock, sleep)


@pytest.mark.parametrize(
    ("requests", "messages", "sizes", "expected"),
    [
        (0, 100, [50, 50, 100, 1], [0.0, 0.5, 1.0, 2.0]),
        (2, 0, [1, 1000, 1], [0.0, 0.5, 1.0]),
        (2, 100, [100, 1, 1], [0.0, 1.0, 1.5]),
        (0, 0, [9, 9], [0.0, 0.0]),
    ],
)
def test_requests_are_spread(clock: FixedClock, requests: int, messages: int, sizes: list[int], expected: list[float]) -> None:
    assert turns(paced(clock, requests, messages), clock, sizes) == pytest.approx(expected, abs=0.002)


def test_what_was_not_used_is_not_made_up_for(clock: FixedClock) -> None:
    pace = paced(clock, 1, 0)
    turns(pace, clock, [1])
    clock.advance(100)
    assert turns(pace, clock, [1, 1]) == [0.0, 1.0]


def test_a_clock_that_is_put_back_stops_nothing(clock: FixedClock) -> None:
    pace = paced(clock, 1, 0)
    turns(pace, clock, [1, 1])
    clock.advance(-86_400)
    assert turns(pace, clock, [1, 1]) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("url", "limits"),
    [
        ("https://dcs.adobedc.net/collection/9d41", (1_000, 10_000)),
        ("https://platform.adobe.io/x", (1_000, 10_000)),
        ("http://localhost:8787/collection/9d41", (0, 0)),
        ("https://notadobedc.net/collection/1", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_published_figures_are_those_of_adobes_addresses(url: str, limits: tuple[int, int]) -> None:
    assert published(url) == limits


def test_both_dataflows_of_an_organisation_share_the_pace(rig: Rig, sources: Sources, make_event: Any) -> None:
    sources.put("nw", SOURCE | {"limits": {"records": 5, "messagesPerSecond": 10}})
    rig.receive(*(make_event(number, customer=900 + number) for number in range(1, 41)))
    before_ms = rig.clock()
    rig.drain()
    messages = sum(len(sent) for _, sent in rig.edge.requests)
    assert messages >= 80
    assert (rig.clock() - before_ms) / 1000 >= (messages - 5) / 10 - 0.1
    assert len(rig.edge.events()) == 40
