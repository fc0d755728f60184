"""The courier: reads the journal, translates, posts, settles.

Entries are translated and posted in portions; while one is being posted the next is translated. One portion, or several while
a backlog waits, make a batch: when its last event is translated each member touched gets one snapshot, and when that is delivered
the batch is settled in one transaction with its cursor. A crash at any point repeats what was not settled: translation is
deterministic and payloads carry their ids, so a repetition has no effect. An endpoint that is down settles nobody: the portion
waits and is sent again.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.delivery import Health, Settled, Sleep, Timing
from capstream.relay.draft import Draft, Outbound
from capstream.relay.enrichment import Enrichment
from capstream.relay.feed import Feed
from capstream.relay.ledger import Ledger
from capstream.relay.outlets import Outlets
from capstream.relay.records import Kind
from capstream.relay.settling import count_lags, settle_verdicts
from capstream.relay.sources import BatchLimits, Sources
from capstream.storage.ports import Documents, Log

Checkpoint = Callable[[str], None]
"""Called with the name of each point at which a crash is interesting: translated, posted, settled."""

Verdicts = dict[tuple[str, Kind], list[Settled]]

_RESTART_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierSettings:
    """How the loop works. Units in the names."""

    portion: int = 2000  #: journal entries translated and posted together
    portions: int = 16  #: in a batch, while a backlog waits
    members: int = 8000  #: a batch that touched as many takes no further portion
    batch_ms: int = 2000  #: a batch as old takes no further portion: snapshots must not wait for slow API calls
    linger_s: float = 0.02  #: wait for more after a batch that was not full
    member_bytes: int = 96 * 1024 * 1024  #: of member states kept in memory
    enrichment_wait_s: float = 2.0  #: how long a batch waits for the Capillary API before it holds events back


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is outside: network, time, dice, and the crash points of tests."""

    client: httpx.AsyncClient
    clock: Clock
    sleep: Sleep = asyncio.sleep
    jitter: Callable[[], float] = random.random
    checkpoint: Checkpoint = lambda _name: None


@dataclass(slots=True)
class _Flight:
    """A translated portion on its way; with the last one of a batch the batch can be settled."""

    draft: Draft
    posting: asyncio.Task[Verdicts]
    is_last: bool


class Courier:
    """One for each journal. The only writer of `courier.db`."""

    def __init__(
        self, journal: Log, documents: Documents, sources: Sources, *, world: World, settings: CourierSettings | None = None
    ) -> None:
        self._settings = settings or CourierSettings()
        self._world = world
        self._sources = sources
        self._ledger = Ledger(documents, world.clock)
        timing = Timing(clock=world.clock, sleep=self._patiently, jitter=world.jitter)
        self._outlets = Outlets(world.client, sources, timing, self._report, self._ledger.report_token)
        enrichment = Enrichment(world.client, sources, world.clock, wait_s=self._settings.enrichment_wait_s)
        self._feed = Feed(
            journal, self._ledger, sources, enrichment=enrichment, timing=timing, member_bytes=self._settings.member_bytes
        )
        self._flight: _Flight | None = None

    def adapt(self, settings: CourierSettings) -> None:
        """Work with other settings from the next batch on; `member_bytes` and `enrichment_wait_s` stay."""
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is on its way then is left for the next start."""
        while not stop.is_set():
            try:
                await self._until(stop, is_idle_enough=False)
            except Exception as error:  # noqa: BLE001 - the loop's body: what is not settled is done again
                log.error("courier starts over from its cursor", action="courier_restart", exc=error)
                await self._start_over()
                await self._world.sleep(_RESTART_WAIT_S)
        await self._start_over()

    async def drain(self) -> None:
        """Work until the journal is settled and nothing is due. Errors: whatever breaks the loop."""
        try:
            await self._until(asyncio.Event(), is_idle_enough=True)
        finally:
            await self._start_over()

    async def _until(self, stop: asyncio.Event, *, is_idle_enough: bool) -> None:
        while not stop.is_set():
            draft, opened_ms = await self._feed.open(), self._world.clock()
            is_last = False
            while not is_last:
                is_last = await self._take(draft, opened_ms)
                flown = self._flight
                if flown is not None and not await self._land(flown, stop):
                    return
                has_work = not draft.is_empty()
                self._flight = self._start(draft, is_last) if has_work and not stop.is_set() else None
                if flown is not None and flown.is_last:
                    await asyncio.sleep(0)  # lets the next portion's requests leave before this commit
                    self._settle(flown.draft, draft)
            if not has_work and flown is None:
                if is_idle_enough and not self._feed.is_asking():
                    return
                await self._world.sleep(self._settings.linger_s)
            elif has_work and not draft.is_full:
                await self._world.sleep(self._settings.linger_s)

    async def _take(self, draft: Draft, opened_ms: int) -> bool:
        """Translate the next portion of a batch; return whether it is the last one."""
        settings = self._settings
        await self._feed.take(draft, settings.portion)
        is_large = draft.entries >= settings.portion * settings.portions or len(draft.dirty) >= settings.members
        is_old = self._world.clock() - opened_ms >= settings.batch_ms
        is_last = is_large or is_old or not draft.is_complete
        if is_last:
            self._feed.close(draft)
        if not draft.is_empty():
            self._world.checkpoint("translated")
        return is_last

    def _start(self, draft: Draft, is_last: bool) -> _Flight:
        return _Flight(draft, asyncio.create_task(self._post(self._feed.ship(draft), draft.linked)), is_last)

    async def _land(self, flight: _Flight, stop: asyncio.Event) -> bool:
        """Note the verdicts of a portion once every record has one; False when the courier has to stop before."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({flight.posting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not flight.posting.done():
            return False
        verdicts = flight.posting.result()
        self._world.checkpoint("posted")
        settle_verdicts(flight.draft, verdicts, now_ms=self._world.clock(), jitter=self._world.jitter)
        self._feed.landed(flight.draft)
        return True

    async def _post(self, outbound: Mapping[str, Outbound], linked: Mapping[str, str]) -> Verdicts:
        """Deliver everything of a portion, the two dataflows of each source at the same time."""
        tasks: dict[tuple[str, Kind], asyncio.Task[list[Settled]]] = {}
        async with asyncio.TaskGroup() as group:
            for source_key, records_of in outbound.items():
                source = self._sources.table.get(source_key)
                limits = source.limits if source else BatchLimits()
                for kind in ("event", "profile"):
                    if records := records_of.of(kind):
                        delivery = self._outlets.delivery(source_key, kind)
                        tasks[(source_key, kind)] = group.create_task(delivery.deliver(records, limits, linked))
        return {key: task.result() for key, task in tasks.items()}

    def _settle(self, draft: Draft, following: Draft) -> None:
        count_lags(draft, self._world.clock())
        self._ledger.settle(draft.settlement)
        self._feed.settled(draft, following)
        self._world.checkpoint("settled")

    async def _start_over(self) -> None:
        """Forget everything that is not settled."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.posting.cancel()
            await asyncio.gather(flight.posting, return_exceptions=True)
        await self._feed.start_over()

    async def _patiently(self, seconds: float) -> None:
        """Sleep, but wake up when somebody changes a source: the cause of the wait may be mended."""
        self._sources.refresh()
        table = self._sources.table
        while seconds > 0 and self._sources.table is table:
            await self._world.sleep(min(seconds, 1.0))
            seconds -= 1.0
            self._sources.refresh()

    def _report(self, source_key: str, kind: Kind, health: Health) -> None:
        self._ledger.report_health(source_key, kind, health)
