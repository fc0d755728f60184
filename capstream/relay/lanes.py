"""All dataflows of all sources, each delivered, parked and caught up by itself."""

import asyncio
from collections.abc import Iterable, Iterator

from capstream.relay.delivery import FlowDelivery
from capstream.relay.draft import Draft
from capstream.relay.lane import Lane, LaneWorld, Sent
from capstream.relay.outlets import Outlets
from capstream.relay.records import Kind, LaneKey, Parked
from capstream.relay.settlement import Settlement
from capstream.relay.settling import count_lags

_KINDS: tuple[Kind, Kind] = ("event", "profile")


class Lanes:
    """The lanes, made when first needed; at a start those with something that waits."""

    def __init__(self, outlets: Outlets, world: LaneWorld) -> None:
        self._outlets = outlets
        self._world = world
        self._lanes: dict[LaneKey, Lane] = {}
        self._find()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def of(self, source_key: str, kind: Kind) -> Lane:
        """Return the lane to one dataflow of a source."""
        key = (source_key, kind)
        found = self._lanes.get(key)
        if found is None:
            delivery: FlowDelivery = self._outlets.delivery(source_key, kind)
            found = self._lanes[key] = Lane(key, delivery, self._world)
        return found

    def resume(self) -> None:
        """Let the lanes that are behind catch up. Errors: whatever broke one of them."""
        for lane in self._lanes.values():
            if lane.catching_up is not None and lane.catching_up.done():
                lane.catching_up.result()
            elif lane.is_behind():
                lane.catch_up()

    def take_parked(self, now_ms: int) -> dict[str, Parked]:
        """Return the parked payloads that are due of the lanes that keep up; the others take theirs themselves."""
        found: dict[str, Parked] = {}
        for lane in self._lanes.values():
            if lane.parking.due and not lane.is_behind():
                found |= lane.parking.take(now_ms)
        return found

    def withdraw(self, keys: Iterable[str]) -> set[str]:
        """Take parked payloads out of what waits; return those that were not being posted."""
        return {key for each in keys for key in self._lane_of(each).parking.withdraw([each])}

    def ship(self, draft: Draft) -> list[Sent]:
        """Post what a portion has for the lanes that keep up, and let the rest wait in their outboxes."""
        sent: list[Sent] = []
        created, draft.created = draft.created, {}
        for source_key, out in draft.ship().items():
            for kind in _KINDS:
                records = out.of(kind)
                if not records:
                    continue
                made = created.pop(source_key, []) if kind == "event" else []
                if (posted := self.of(source_key, kind).ship(draft, records, made)) is not None:
                    sent.append(posted)
        for source_key, events in created.items():
            count_lags(draft.settlement, source_key, events, self._world.timing.clock())
        due, draft.due = draft.due, {}
        for source_key, members in due.items():
            self.of(source_key, "profile").wait(draft, members)
        return sent

    def settle(self, settlement: Settlement) -> None:
        """Write a settlement, and note what it means for the lanes. Errors: StorageUnavailable."""
        touched = [self.of(*key) for key in {**settlement.outbox, **settlement.sent}]
        for lane in touched:
            lane.outbox.sum_up(settlement, self._world.timing.clock())
        self._world.ledger.settle(settlement)
        for lane in touched:
            lane.settled(settlement.outbox.get(lane.key, ()))
        self._note_parked(settlement)

    def is_idle(self) -> bool:
        """Return whether no lane is behind."""
        return not any(lane.is_behind() for lane in self._lanes.values())

    def behind(self) -> int:
        """Return how many lanes catch up."""
        return sum(lane.catching_up is not None for lane in self._lanes.values())

    async def progress(self, most_s: float) -> None:
        """Wait until a lane has caught up, for some seconds at most."""
        tasks = [lane.catching_up for lane in self._lanes.values() if lane.catching_up is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)

    async def start_over(self) -> None:
        """Forget what is not settled."""
        await asyncio.gather(*(lane.start_over() for lane in self._lanes.values()))
        self._find()

    def _find(self) -> None:
        for name in {*self._world.ledger.lanes(), *self._world.ledger.parked_lanes()}:
            self._lane(name)

    def _note_parked(self, settlement: Settlement) -> None:
        if not settlement.parked and not settlement.unparked:
            return
        due: dict[str, dict[str, int]] = {}
        for key, parked in settlement.parked.items():
            due.setdefault(_lane_of(key), {})[key] = parked.due_ms
        gone: dict[str, list[str]] = {}
        for key in settlement.unparked - settlement.parked.keys():
            gone.setdefault(_lane_of(key), []).append(key)
        for name in {**due, **gone}:
            self._lane(name).parking.settled(due.get(name, {}), gone.get(name, ()))

    def _lane_of(self, parked_key: str) -> Lane:
        return self._lane(_lane_of(parked_key))

    def _lane(self, name: str) -> Lane:
        source_key, _, kind = name.rpartition("/")
        return self.of(source_key, "event" if kind == "event" else "profile")


def _lane_of(parked_key: str) -> str:
    """Return the `source/flow` of the key of a parked payload."""
    source_key, kind, _ = parked_key.split("/", 2)
    return f"{source_key}/{kind}"
