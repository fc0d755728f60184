"""The courier: reads the journal, translates, posts, settles.

Entries are translated and posted in portions; while one is being posted the next is translated. One portion, or several while
a backlog waits, make a batch: when its last event is translated each member touched gets one snapshot, and when that is delivered
the batch is settled in one transaction with its cursor. A crash at any point repeats what was not settled: translation is
deterministic and payloads carry their ids, so a repetition has no effect. A dataflow that is down or slow stops nobody: what it
has yet to deliver goes to its outbox in the same transaction, and is delivered from there by a task of its own (`lane.py`).
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.delivery import Health, Sleep, Timing
from capstream.relay.draft import Draft
from capstream.relay.enrichment import Enrichment
from capstream.relay.feed import Feed
from capstream.relay.lane import LaneWorld, Sent
from capstream.relay.lanes import Lanes
from capstream.relay.ledger import Ledger
from capstream.relay.outlets import Outlets
from capstream.relay.records import Kind
from capstream.relay.settlement import Settlement
from capstream.relay.sources import BatchLimits, Sources
from capstream.relay.translators import Translators, Unshareable
from capstream.storage.ports import Log, Shreddable

Checkpoint = Callable[[str], None]
"""Called with the name of each point at which a crash is interesting: translated, posted, settled; of an outbox: caught_up,
outbox_settled; when members are taken out: about_to_erase, erased."""

_RESTART_WAIT_S = 1.0
_PAGES = (500, 4000, 8000)  # payloads a lane that catches up holds: at least, at most, and all such lanes together


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierSettings:
    """How the loop works. Units in the names."""

    portion: int = 1800  #: journal entries translated and posted together; their four lanes rarely exceed a request of 500
    portions: int = 32  #: in a batch, while a backlog waits
    members: int = 6000  #: a batch that touched as many takes no further portion
    batch_ms: int = 4000  #: a batch as old takes no further portion: snapshots must not wait for slow API calls
    linger_s: float = 0.02  #: wait for more after a batch that was not full
    patience_s: float = 2.0  #: how long a portion waits for a slow dataflow before it goes on without it
    member_bytes: int = 44 * 1024 * 1024  #: of member states in memory; with less, batches end sooner: more snapshots
    log_bytes: int = 1024  #: of a member's log, above which it is kept beside the state
    enrichment_wait_s: float = 2.0  #: how long a batch waits for the Capillary API before it holds events back


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is outside: network, time, dice, and the crash points of tests."""

    client: httpx.AsyncClient
    clock: Clock
    sleep: Sleep = asyncio.sleep
    jitter: Callable[[], float] = random.random
    checkpoint: Checkpoint = lambda _name: None
    erased: Callable[[], None] = lambda: None  #: called when members were taken out of the books


@dataclass(slots=True)
class _Flight:
    """A translated portion on its way; with the last one of a batch the batch can be settled."""

    draft: Draft
    sent: list[Sent]
    is_last: bool


class Courier:
    """One for each journal. The only writer of `courier.db`."""

    def __init__(
        self,
        journal: Log,
        documents: Shreddable,
        sources: Sources,
        *,
        world: World,
        settings: CourierSettings | None = None,
        translators: Translators | None = None,
    ) -> None:
        self._settings = settings or CourierSettings()
        self._world = world
        self._sources = sources
        self._ledger = Ledger(documents, world.clock)
        timing = Timing(clock=world.clock, sleep=self._patiently, rest=self._rest_before_try, jitter=world.jitter)
        outlets = Outlets(world.client, sources, timing, self._report, self._ledger.report_token)
        enrichment = Enrichment(world.client, sources, world.clock, wait_s=self._settings.enrichment_wait_s)
        self._feed = Feed(
            journal,
            self._ledger,
            sources,
            enrichment=enrichment,
            timing=timing,
            member_bytes=self._settings.member_bytes,
            log_bytes=self._settings.log_bytes,
            translators=translators or Translators(),
        )
        lane_world = LaneWorld(
            ledger=self._ledger,
            timing=timing,
            snapshots=self._feed.due_snapshots,
            limits=self._limits,
            settle=self._settle_lane,
            checkpoint=world.checkpoint,
            page=self._page,
        )
        self._lanes = Lanes(outlets, lane_world)
        self._draft: Draft | None = None
        self._flight: _Flight | None = None
        self._flown: Draft | None = None  #: posted whole, about to be settled
        self._recoveries = 0  #: how often a dataflow was delivered again after trouble
        self._news = asyncio.Event()  #: a posting ended, a dataflow got into trouble, or the courier has to stop

    def adapt(self, settings: CourierSettings) -> None:
        """Work with other settings from the next batch on; `member_bytes`, `log_bytes` and `enrichment_wait_s` stay."""
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
        """Work until the journal is settled, no outbox holds anything and nothing is due. Errors: whatever breaks the loop."""
        try:
            await self._until(asyncio.Event(), is_idle_enough=True)
        finally:
            await self._start_over()

    async def _until(self, stop: asyncio.Event, *, is_idle_enough: bool) -> None:
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._news.set())
        try:
            while not stop.is_set():
                try:
                    if await self._batch(stop, is_idle_enough=is_idle_enough):
                        break
                except Unshareable as why:
                    log.info("the courier goes on alone", action="sharing_broken", reason=str(why))
                    await self._start_over()
                    self._feed.stay_alone()
        finally:
            stopping.cancel()

    async def _batch(self, stop: asyncio.Event, *, is_idle_enough: bool) -> bool:
        """Make one batch, post it and settle the one before; return whether there is nothing to do or the courier has to stop."""
        if self._feed.is_ready_to_erase():
            await self._erase()
        if self._feed.is_to_switch(self._lanes):
            if not await self._come_to_rest(stop):
                return True
            await self._feed.switch()
        self._lanes.resume()
        draft = self._draft = Draft()  # known before anything is in it: its states must not leave memory
        await self._feed.open(draft, self._lanes)
        opened_ms, is_last = self._world.clock(), False
        while not is_last:
            is_last = await self._take(draft, opened_ms)
            flown = self._flight
            if flown is not None and not await self._land(flown, stop):
                return True
            self._flown = flown.draft if flown is not None and flown.is_last else None
            has_work = not draft.is_empty()
            self._flight = self._start(draft, is_last) if has_work and not stop.is_set() else None
            if flown is not None and flown.is_last:
                await asyncio.sleep(0)  # lets the next portion's requests leave before this commit
                self._settle(flown.draft)
        if not has_work and flown is None:
            return await self._rest(is_idle_enough=is_idle_enough)
        if has_work and not draft.is_full:
            await self._world.sleep(self._settings.linger_s)
        return False

    async def _come_to_rest(self, stop: asyncio.Event) -> bool:
        """Settle what is on its way, the last portion of a batch. False: the courier has to stop."""
        flown = self._flight
        if flown is None:
            return True
        if not await self._land(flown, stop):
            return False
        self._flight, self._flown = None, flown.draft
        self._settle(flown.draft)
        return True

    async def _rest(self, *, is_idle_enough: bool) -> bool:
        """Wait for something to do; return whether that is over."""
        if not is_idle_enough:
            await self._world.sleep(self._settings.linger_s)
            return False
        if self._lanes.is_idle():
            if not self._feed.is_asking() and not self._feed.is_erasing():
                return True
            await self._world.sleep(self._settings.linger_s)
        else:
            await self._lanes.progress(self._settings.linger_s)
        return False

    async def _take(self, draft: Draft, opened_ms: int) -> bool:
        """Translate the next portion of a batch; return whether it is the last one."""
        portion = self._settings.portion
        await self._feed.take(draft, portion, has_room=not self._is_enough(draft, opened_ms, portion))
        is_last = self._is_enough(draft, opened_ms, 0) or not draft.is_complete
        is_last = (self._feed.note(draft, portion, self._lanes) or is_last) and not self._feed.is_ahead()
        if is_last:
            await self._feed.close(draft, self._lanes)
        if not draft.is_empty():
            self._world.checkpoint("translated")
        return is_last

    def _is_enough(self, draft: Draft, opened_ms: int, coming: int) -> bool:
        """Return whether a batch may take nothing further once it has as many entries more."""
        settings = self._settings
        is_large = draft.entries + coming >= settings.portion * settings.portions
        is_wide = len(draft.dirty) + draft.others_dirty >= settings.members
        return is_large or is_wide or self._world.clock() - opened_ms >= settings.batch_ms

    def _start(self, draft: Draft, is_last: bool) -> _Flight:
        sent = self._lanes.ship(draft)
        for each in sent:
            each.posting.add_done_callback(lambda _: self._news.set())
        return _Flight(draft, sent, is_last)

    async def _land(self, flight: _Flight, stop: asyncio.Event) -> bool:
        """Note the verdicts of a portion; go on without dataflows that are in trouble or slow. False: the courier has to stop."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.patience_s
        while flight.sent:
            self._news.clear()
            flight.sent = [sent for sent in flight.sent if not self._has_landed(flight.draft, sent, is_late=loop.time() >= until)]
            if not flight.sent:
                break
            if stop.is_set():
                return False
            await self._news_or(until - loop.time())
        self._world.checkpoint("posted")
        return True

    def _has_landed(self, draft: Draft, sent: Sent, *, is_late: bool) -> bool:
        """Note the verdicts of one dataflow, or leave it behind; return whether one of them was done."""
        if sent.posting.done():
            sent.lane.landed(draft, sent)
        elif is_late or sent.lane.is_troubled():
            sent.lane.fall_behind(draft, sent)
        else:
            return False
        return True

    async def _news_or(self, most_s: float) -> None:
        try:
            async with asyncio.timeout(most_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _settle(self, draft: Draft) -> None:
        self._lanes.settle(draft.settlement)
        self._feed.settled(draft)
        self._flown = None
        self._shrink()
        self._world.checkpoint("settled")

    def _settle_lane(self, settlement: Settlement) -> None:
        self._lanes.settle(settlement)
        self._shrink()

    def _shrink(self) -> None:
        """Let go of member states, but of none that a batch changed which is not settled yet."""
        drafts = (self._flown, self._flight.draft if self._flight is not None else None, self._draft)
        self._feed.shrink([draft for draft in drafts if draft is not None])

    async def _start_over(self) -> None:
        """Forget everything that is not settled."""
        flight, self._flight, self._flown, self._draft = self._flight, None, None, None
        postings = [sent.posting for sent in flight.sent] if flight is not None else []
        for posting in postings:
            posting.cancel()
        await asyncio.gather(*postings, return_exceptions=True)
        await self._lanes.start_over()
        await self._feed.start_over()

    async def _erase(self) -> None:
        """Take members out of the books, with nothing on its way: what was is sent again, but for what is theirs."""
        await self._start_over()
        self._world.checkpoint("about_to_erase")
        await self._feed.erase()
        self._world.erased()
        self._world.checkpoint("erased")

    async def _patiently(self, seconds: float) -> None:
        await self._rest_before_try(seconds, seconds)

    async def _rest_before_try(self, seconds: float, least_s: float) -> None:
        """Sleep, but wake up when the cause may be mended: somebody changed a source, or another dataflow got through.

        After a long outage tries are minutes apart: the dataflow that tries first tells the others, which need not wait for
        their turn then, only until `least_s`, what the endpoint asked them to wait.
        """
        self._sources.refresh()
        table, recoveries, slept = self._sources.table, self._recoveries, 0.0
        while slept < seconds and self._sources.table is table and (slept < least_s or self._recoveries == recoveries):
            await self._world.sleep(min(seconds - slept, 1.0))
            slept += 1.0
            self._sources.refresh()

    def _report(self, source_key: str, kind: Kind, health: Health) -> None:
        self._ledger.report_health(source_key, kind, health)
        self._recoveries += health.state == "ok"
        self._news.set()

    def _limits(self, source_key: str) -> BatchLimits:
        source = self._sources.table.get(source_key)
        return source.limits if source else BatchLimits()

    def _page(self) -> int:
        least, most, together = _PAGES
        return max(least, min(most, together // max(self._lanes.behind(), 1)))
