"""One dataflow of one source: posted with each portion while it keeps up, from its outbox by itself while it does not.

A dataflow that is down, or slow, is left behind: what it has yet to deliver goes to its outbox, and the courier reads on for the
others. A task of its own delivers the outbox in order; when nothing waits any more the dataflow takes part in the portions again.
Source: capillary.md 7, streaming-ingestion.md 9, 16.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capstream.relay.answers import Delivered
from capstream.relay.delivery import FlowDelivery, Settled, Timing
from capstream.relay.draft import Draft
from capstream.relay.ledger import Ledger
from capstream.relay.outbox import Outbox
from capstream.relay.parking import Parking
from capstream.relay.records import Due, LaneKey, Record, Segment, Stored
from capstream.relay.settlement import Settlement
from capstream.relay.settling import count_lags, settle_verdicts
from capstream.relay.sources import BatchLimits

Snapshots = Callable[[Settlement, str, Sequence[Due], Parking], tuple[list[Record], dict[str, str]]]
"""(settlement, source key, members, parking) -> their snapshots as they are now, and which members share an order."""

_FULL_WAIT_S = 1.0
_COVERED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneWorld:
    """What all lanes share. `settle` writes a settlement; `page` says how many payloads a catching-up lane may hold."""

    ledger: Ledger
    timing: Timing
    snapshots: Snapshots
    limits: Callable[[str], BatchLimits]
    settle: Callable[[Settlement], None]
    checkpoint: Callable[[str], None]
    page: Callable[[], int]


@dataclass(slots=True)
class Sent:
    """What of a portion is being posted to one dataflow."""

    lane: "Lane"
    records: Sequence[Record]
    created: Sequence[tuple[int, int]]  #: (received, createdAt) of events whose lag ends with this
    posting: asyncio.Task[list[Settled]]


@dataclass(frozen=True, slots=True)
class _Adopted:
    """A posting the courier did not wait for: its segments are dealt with when it ends."""

    sent: Sent
    segments: Mapping[str, int]
    parked: set[str]


class Lane:
    """The way to one dataflow. Memory holds at most a portion, or a page of the outbox."""

    def __init__(self, key: LaneKey, delivery: FlowDelivery, world: LaneWorld) -> None:
        self.key = key
        self.outbox = Outbox(world.ledger, key)
        self.parking = Parking(world.ledger, key)
        self.catching_up: asyncio.Task[None] | None = None
        self._delivery = delivery
        self._world = world
        self._stored = asyncio.Event()
        self._adopted: _Adopted | None = None
        self._covered: dict[tuple[str, str], int] = {}  # members -> newest segment when their snapshot was made

    def is_behind(self) -> bool:
        """Return whether what comes now has to wait in the outbox."""
        return self.catching_up is not None or not self.outbox.is_empty() or self.parking.is_full()

    def is_troubled(self) -> bool:
        """Return whether the dataflow is refused or cannot be reached."""
        return self._delivery.health.state != "ok"

    def ship(self, draft: Draft, records: list[Record], created: Sequence[tuple[int, int]]) -> Sent | None:
        """Post a portion's records, or let them wait in the outbox. `created`: events whose lag ends with the delivery."""
        settlement, now = draft.settlement, self._world.timing.clock()
        if not self.is_behind():
            passing = self.parking.divert(records, settlement, now)
            limits = self._world.limits(self.key[0])
            return Sent(self, passing, created, asyncio.create_task(self._delivery.deliver(passing, limits, draft.linked)))
        back = self.parking.taken(settlement, records)
        if back:
            settlement.unparked -= back
            self.parking.give_back(back)
            records = [record for record in records if self._parked_key(record) not in back]
        if not records:
            count_lags(settlement, self.key[0], created, now)
        self.outbox.add(settlement, records, created=created, oldest_ms=draft.since_ms or now)
        self.catch_up()
        return None

    def wait(self, draft: Draft, due: Sequence[Due]) -> None:
        """Let snapshots wait in the outbox."""
        self.outbox.add(draft.settlement, (), due, oldest_ms=draft.since_ms or self._world.timing.clock())
        self.catch_up()

    def landed(self, draft: Draft, sent: Sent) -> None:
        """Add to a batch what the verdicts on one of its portions mean. Errors: what the posting raised."""
        timing = self._world.timing
        now = timing.clock()
        settle_verdicts(draft.settlement, *self.key, sent.posting.result(), now_ms=now, jitter=timing.jitter)
        self.parking.join(draft.settlement)
        count_lags(draft.settlement, self.key[0], sent.created, now)

    def fall_behind(self, draft: Draft, sent: Sent) -> None:
        """Stop waiting for a posting: the batch is settled without it, and what comes after it waits in the outbox."""
        settlement = draft.settlement
        parked = self.parking.taken(settlement, sent.records)
        settlement.unparked -= parked
        records = [record for record in sent.records if not parked or self._parked_key(record) not in parked]
        oldest_ms = draft.since_ms or self._world.timing.clock()
        segments = self.outbox.add(settlement, records, created=sent.created, oldest_ms=oldest_ms)
        self._adopted = _Adopted(sent, segments, parked)
        self.catch_up()

    def settled(self, segments: Iterable[str]) -> None:
        """Note that a batch with segments of this lane is settled."""
        self.outbox.settled(segments)
        self._stored.set()

    def catch_up(self) -> None:
        """Begin to deliver the outbox, unless that goes on already."""
        if self.catching_up is None:
            self.catching_up = asyncio.create_task(self._catch_up())

    async def start_over(self) -> None:
        """Forget what is not settled."""
        tasks: list[asyncio.Task[Any]] = [self.catching_up] if self.catching_up is not None else []
        tasks += [self._adopted.sent.posting] if self._adopted is not None else []
        self.catching_up = self._adopted = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._covered.clear()
        self.outbox.reload()
        self.parking.reload()

    async def _catch_up(self) -> None:
        if self._adopted is not None:
            await self._end_adopted(self._adopted)
            self._adopted = None
        while True:
            parked = self.parking.take(self._world.timing.clock())
            page = {} if self.parking.is_full() else self.outbox.page(self._world.page())
            if parked or page:
                settlement = Settlement()
                settlement.unparked |= parked.keys()
                await self._deliver(settlement, [each.record for each in parked.values()], page)
            elif self.parking.is_full():
                await self._world.timing.sleep(_FULL_WAIT_S)
            elif self.outbox.is_empty():
                self._covered.clear()
                self.catching_up = None
                return
            else:
                await self._next_batch()

    async def _end_adopted(self, adopted: _Adopted) -> None:
        verdicts = await adopted.sent.posting
        while adopted.segments.keys() & self.outbox.unstored:
            await self._next_batch()
        settlement = Settlement()
        settlement.unparked |= adopted.parked
        self._settle(settlement, verdicts, adopted.segments, adopted.sent.created)

    async def _next_batch(self) -> None:
        self._stored.clear()
        await self._stored.wait()

    async def _deliver(self, settlement: Settlement, records: list[Record], page: Mapping[str, tuple[Stored, Segment]]) -> None:
        """Deliver parked payloads and a page of the outbox, and settle them."""
        source_key, now, newest = self.key[0], self._world.timing.clock(), self.outbox.last()
        due: list[Due] = []
        created: list[tuple[int, int]] = []
        for key, (_, segment) in page.items():
            records += segment.records
            created += segment.created
            number = int(key.rpartition("/")[2])
            due += [each for each in segment.due if self._covered.get((each[0], each[1]), 0) < number]
        snapshots, linked = self._world.snapshots(settlement, source_key, due, self.parking) if due else ([], {})
        passing = self.parking.divert(records + snapshots, settlement, now)
        verdicts = await self._delivery.deliver(passing, self._world.limits(source_key), linked) if passing else []
        self._settle(settlement, verdicts, {key: stored.count for key, (stored, _) in page.items()}, created)
        self._note_covered(due, verdicts, newest)

    def _settle(
        self,
        settlement: Settlement,
        verdicts: Sequence[Settled],
        segments: Mapping[str, int],
        created: Sequence[tuple[int, int]],
    ) -> None:
        timing, now = self._world.timing, self._world.timing.clock()
        settle_verdicts(settlement, *self.key, verdicts, now_ms=now, jitter=timing.jitter)
        self.parking.join(settlement)
        count_lags(settlement, self.key[0], created, now)
        if segments:
            settlement.sent[self.key] = dict(segments)
        self._world.checkpoint("caught_up")
        self._world.settle(settlement)
        self._world.checkpoint("outbox_settled")

    def _note_covered(self, due: Sequence[Due], verdicts: Sequence[Settled], newest: int) -> None:
        """Remember whose snapshot is delivered: what waits of them in segments up to `newest` is in it."""
        delivered = {record.member for record, verdict in verdicts if type(verdict) is Delivered}
        if len(self._covered) > _COVERED:
            self._covered.clear()
        self._covered.update({(org, customer): newest for org, customer, _ in due if customer in delivered})

    def _parked_key(self, record: Record) -> str:
        return f"{self.key[0]}/{self.key[1]}/{record.id}"
