"""Refusing begins at a high mark and ends at a lower one, by cause."""

from typing import Any

import pytest

from capstream import config
from capstream.kernel.errors import InputError
from capstream.relay.back_pressure import Gate, HighWater

MARK = HighWater(backlog=1000, free_bytes=900, outbox_bytes=100, resume_percent=90)


class World:
    """What the gate looks at; a look is due with every question."""

    def __init__(self) -> None:
        self.backlog, self.free, self.now = 0, 10**6, 0
        self.lanes: dict[str, Any] = {}
        self.quotas: dict[str, int] = {}
        self.gate = self.fresh()

    def fresh(self) -> Gate:
        lanes, quotas = lambda: self.lanes, lambda: self.quotas
        return Gate(lambda: self.backlog, lambda: self.free, MARK, lanes=lanes, quotas=quotas)

    def refused(self, source: str = "nw") -> bool:
        self.now += 1000
        return not self.gate.is_open(self.now, source)


def behind(event: int, profile: int, taken: int = 0) -> dict[str, Any]:
    return {"nw/event": {"waiting": event, "bytes": taken}, "nw/profile": {"waiting": profile, "bytes": 1}}


@pytest.mark.parametrize(
    ("what", "values", "refused"),
    [
        ("backlog", [1000, 1001, 1000, 901, 900, 901, 1000, 1001], [0, 1, 1, 1, 0, 0, 0, 1]),
        ("free", [900, 899, 900, 999, 1000, 999, 900, 899], [0, 1, 1, 1, 0, 0, 0, 1]),
        ("lanes", [behind(1, 1, size) for size in (100, 101, 100, 91, 90, 91, 101)], [0, 1, 1, 1, 0, 0, 1]),
        ("lanes", [behind(2000, n) for n in (1000, 1001, 901, 900, 1000, 1001)], [0, 1, 1, 0, 0, 1]),
        ("lanes", [behind(1, 1, 101), {}, behind(1, 1, 95)], [1, 0, 0]),
        ("quotas", [{"nw": 50}, {"nw": 49}, {"nw": 55}, {"nw": 56}, {}], [0, 1, 1, 0, 0]),
    ],
)
def test_between_the_marks_answers_stay_what_they_were(what: str, values: list[Any], refused: list[int]) -> None:
    world = World()
    if what == "quotas":
        world.lanes = behind(1, 1, 50)
    found = []
    for value in values:
        setattr(world, what, value)
        found.append(int(world.refused()))
    assert found == refused


def test_each_cause_and_each_source_has_a_memory_of_its_own() -> None:
    world = World()
    world.free = 0
    assert world.refused()
    world.free, world.backlog = 10**6, 950  # the backlog never was above its mark
    assert not world.refused()
    world.lanes = behind(1, 1, 101)
    assert (world.refused(), world.refused("eu")) == (True, False)
    world.lanes = {**behind(1, 1, 95), "eu/event": {"waiting": 1, "bytes": 95}}
    assert (world.refused(), world.refused("eu")) == (True, False)


def test_what_people_are_told_is_what_senders_are_answered() -> None:
    world = World()
    world.backlog, world.free, world.lanes = 1001, 1, behind(1, 1, 101)
    assert world.gate.refusing(0) == {
        "*": "1001 webhooks wait for delivery; relay.backlog_limit is 1000, at 900 they are taken again",
        "nw": "what waits for its event dataflow takes 101 bytes of disk; it may take 100, at 90 they are taken again",
    }
    world.backlog, world.lanes = 950, {}
    assert world.gate.refusing(1000)["*"].startswith("950 webhooks wait")
    world.backlog = 900
    assert world.gate.refusing(2000) == {
        "*": "only 1 bytes of disk are free; relay.min_free_bytes is 900, with 1000 they are taken again"
    }
    world.free = 1000
    assert world.gate.refusing(3000) == {}
    assert world.fresh().is_open(0, "nw")


def test_a_mark_that_moves_holds_at_the_next_look() -> None:
    world = World()
    world.backlog = 1001
    assert world.refused()
    world.gate.move(HighWater(backlog=2000, free_bytes=1))
    assert not world.refused()


@pytest.mark.parametrize(("percent", "told"), [("0", "too little"), ("101", "too much")])
def test_the_share_is_a_share(percent: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        config.load({"CAPSTREAM_RELAY_RESUME_PERCENT": percent})
