"""The courier: reads the journal, translates, posts, settles.

While one batch is being posted the next is read and translated; batches are settled strictly in order, each in one
transaction with its cursor. A crash at any point repeats what was not settled: translation is deterministic and payloads
carry their ids, so a repetition has no effect. An endpoint that is down settles nobody: the batch waits and is sent again.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.delivery import Health, Settled, Sleep, Timing
from capstream.relay.draft import Draft
from capstream.relay.enrichment import Enrichment
from capstream.relay.feed import Feed
from capstream.relay.ledger import Ledger
from capstream.relay.outlets import Outlets
from capstream.relay.records import Kind
from capstream.relay.settling import settle_verdicts
from capstream.relay.sources import BatchLimits, Sources
from capstream.storage.ports import Documents, Log

Checkpoint = Callable[[str], None]
"""Called with the name of each point at which a crash is interesting: translated, posted, settled."""

Verdicts = dict[tuple[str, Kind], list[Settled]]

_RESTART_WAIT_S = 1.0
_BACKLOG_DOUBLINGS = 2  # of the usual batch


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierSettings:
    """How the loop works. Units in the names."""

    read_ahead: int = 2000  #: journal entries in a batch; up to four times as many while a backlog waits
    linger_s: float = 0.02  #: wait for more after a batch that was not full
    member_states: int = 50_000  #: kept in memory
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
    """A translated batch on its way."""

    draft: Draft
    posting: asyncio.Task[Verdicts]


class Courier:
    """One for each journal. The only writer of `courier.db`."""

    def __init__(
        self, journal: Log, documents: Documents, sources: Sources, *, world: World, settings: CourierSettings | None = None
    ) -> None:
        self._settings = settings or CourierSettings()
        self._world = world
        self._sources = sources
        self._ledger = Ledger(documents)
        timing = Timing(clock=world.clock, sleep=self._patiently, jitter=world.jitter)
        self._outlets = Outlets(world.client, sources, timing, self._report)
        enrichment = Enrichment(world.client, sources, world.clock, wait_s=self._settings.enrichment_wait_s)
        self._feed = Feed(
            journal, self._ledger, sources, enrichment=enrichment, timing=timing, member_states=self._settings.member_states
        )
        self._flight: _Flight | None = None
        self._reach = self._settings.read_ahead
        self._complete_in_a_row = 0

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
            draft = await self._feed.next(self._reach)
            self._adapt(draft)
            if draft is not None:
                self._world.checkpoint("translated")
            flown = self._flight
            verdicts = await self._landed(flown, stop) if flown else {}
            if verdicts is None:
                return
            self._flight = self._start(draft) if draft is not None and not stop.is_set() else None
            if flown is not None:
                await asyncio.sleep(0)  # lets the next batch's requests leave before this one's commit
                self._settle(flown.draft, verdicts)
            if draft is None and flown is None:
                if is_idle_enough and not self._feed.is_asking():
                    return
                await self._world.sleep(self._settings.linger_s)
            elif draft is not None and not draft.is_full:
                await self._world.sleep(self._settings.linger_s)

    def _adapt(self, draft: Draft | None) -> None:
        """Take larger batches while they come out full: a member's snapshots fall together and each commit settles more."""
        is_complete = draft is not None and draft.is_complete
        self._complete_in_a_row = self._complete_in_a_row + 1 if is_complete else 0
        doublings = min(
            max(self._complete_in_a_row - 1, 0), _BACKLOG_DOUBLINGS
        )  # one full batch is a burst, the second a backlog
        self._reach = self._settings.read_ahead << doublings

    def _start(self, draft: Draft) -> _Flight:
        return _Flight(draft, asyncio.create_task(self._post(draft)))

    async def _landed(self, flight: _Flight, stop: asyncio.Event) -> Verdicts | None:
        """Return the verdicts of a batch once every record has one; None when the courier has to stop before."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({flight.posting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not flight.posting.done():
            return None
        verdicts = flight.posting.result()
        self._world.checkpoint("posted")
        return verdicts

    async def _post(self, draft: Draft) -> Verdicts:
        """Deliver everything of a batch, the two dataflows of each source at the same time."""
        tasks: dict[tuple[str, Kind], asyncio.Task[list[Settled]]] = {}
        async with asyncio.TaskGroup() as group:
            for source_key, outbound in draft.outbound.items():
                source = self._sources.table.get(source_key)
                limits = source.limits if source else BatchLimits()
                for kind in ("event", "profile"):
                    if records := outbound.of(kind):
                        delivery = self._outlets.delivery(source_key, kind)
                        tasks[(source_key, kind)] = group.create_task(delivery.deliver(records, limits, draft.linked))
        return {key: task.result() for key, task in tasks.items()}

    def _settle(self, draft: Draft, verdicts: Verdicts) -> None:
        now = self._world.clock()
        settle_verdicts(draft, verdicts, now_ms=now, jitter=self._world.jitter)
        self._ledger.settle(draft.settlement)
        self._feed.settled(draft, self._flight.draft if self._flight else None)
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
