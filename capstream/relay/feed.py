"""What goes into the next batch: parked payloads, jobs, answered events, and the journal behind the cursor."""

from collections.abc import Sequence

from capstream.capillary.results import ApiCall
from capstream.kernel.clock import Clock
from capstream.relay.arrival import Arrival
from capstream.relay.dead_letters import DeadClass
from capstream.relay.delivery import Timing
from capstream.relay.draft import Draft
from capstream.relay.enrichment import Enrichment, Found
from capstream.relay.holding import Holding
from capstream.relay.jobs import Jobs, Wanted
from capstream.relay.journal import Entry, Flag, decode, tallied
from capstream.relay.lanes import Lanes
from capstream.relay.ledger import Ledger
from capstream.relay.parking import Parking
from capstream.relay.part import take_over
from capstream.relay.records import Due, Held, Record
from capstream.relay.settlement import Settlement, Tally
from capstream.relay.sharing import Dealt, Sharing
from capstream.relay.sources import Sources
from capstream.relay.translation import Ready, Translation, Way
from capstream.relay.translators import Translators
from capstream.relay.unpacking import why_packed
from capstream.storage.ports import Log

_FULL_SHARE = 4
_NOTE = int(Flag.COMMAND | Flag.TALLY)  # an int: enumerations are slow to combine
_PAGE = 512  # entries read at once
_SLICE = 64  # entries decoded, translated and encoded before the next are decoded: their objects fit the processor's cache


class Feed:
    """Makes batches. `position` runs ahead of the settled cursor while a batch is on its way."""

    def __init__(
        self,
        journal: Log,
        ledger: Ledger,
        sources: Sources,
        *,
        enrichment: Enrichment,
        timing: Timing,
        member_bytes: int,
        log_bytes: int,
        translators: Translators,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._sources = sources
        self._enrichment = enrichment
        self._clock: Clock = timing.clock
        self._translation = Translation(ledger, sources, clock=timing.clock, member_bytes=member_bytes, log_bytes=log_bytes)
        self._sharing = Sharing(translators, self._translation, sources)
        self._member_bytes, self._log_bytes = member_bytes, log_bytes
        self._holding = Holding(ledger, enrichment, timing)
        self._jobs = Jobs(ledger, journal)
        self._position = ledger.cursor()
        self._ahead: Dealt | None = None  #: what was given to translators and is not taken yet

    async def open(self, draft: Draft, lanes: Lanes) -> None:
        """Begin a batch with what was waiting: parked payloads of lanes that keep up, held events, jobs."""
        self._sources.refresh()
        for key, parked in lanes.take_parked(self._clock()).items():
            draft.out(parked.source_key).of(parked.kind).append(parked.record)
            draft.settlement.unparked.add(key)
        await self._take_held(draft)
        work = self._jobs.work(draft, lanes.withdraw)
        if work:
            wanted = {arrival.offset: what for arrival, what in work}
            ready = self._translation.readable(draft, [arrival for arrival, _ in work])
            await self._translate(draft, [item for item in ready if _is_wanted(item, wanted[item[0].offset])])

    def is_to_switch(self, lanes: Lanes) -> bool:
        """Return whether batches are to be shared with translators from now on, or no more; first everything is to be settled."""
        is_plain = self._holding.is_empty() and self._jobs.is_idle() and lanes.is_idle() and not self._enrichment.serves_any()
        return self._sharing.is_on != (is_plain and self._sharing.is_wanted(self._position))

    def note(self, draft: Draft, portion: int, lanes: Lanes) -> bool:
        """Note how much there is for a batch so far; return whether it had better end, because the next one can be shared."""
        is_crowded = draft.is_crowded or self._translation.members.is_full()
        return self._sharing.note(draft.entries, portion, is_crowded=is_crowded) and self.is_to_switch(lanes)

    async def switch(self) -> None:
        """Begin to share batches, or end it. Everything is settled. Errors: Unshareable."""
        if self._sharing.is_on:
            self._sharing.end()
        else:
            await self._sharing.begin(member_bytes=self._member_bytes, log_bytes=self._log_bytes)

    def stay_alone(self) -> None:
        """Note that what lies behind the cursor cannot be shared."""
        self._sharing.stay_alone(self._position)

    async def take(self, draft: Draft, portion: int, *, has_room: bool = False) -> None:
        """Translate up to `portion` entries behind the position, in slices; calls of the Capillary API want one slice.

        `has_room`: the batch may take another portion after this one.
        """
        if self._sharing.is_on:
            await self._take_shared(draft, portion, has_room=has_room)
            return
        start = self._position
        end = start + portion
        page, size = (portion, portion) if self._enrichment.serves_any() else (_PAGE, _SLICE)
        members = self._translation.members
        while self._position < end and not (self._position > start and members.is_full()):
            entries = self._journal.read(self._position, min(page, end - self._position))
            if not entries:
                break
            draft.settlement.cursor = self._position = entries[-1][0]
            for first in range(0, len(entries), size):
                decoded = [(offset, decode(record)) for offset, record in entries[first : first + size]]
                arrivals = self._arrivals(draft, decoded)
                if arrivals:
                    await self._translate(draft, self._translation.readable(draft, arrivals))
        taken = self._position - start
        draft.entries += taken
        draft.is_full = taken * _FULL_SHARE >= portion or members.is_full()
        draft.is_complete = taken >= portion and not members.is_full()

    async def _take_shared(self, draft: Draft, portion: int, *, has_room: bool) -> None:
        """Translate as many entries together with the translators, each those of its own members.

        While they do they are given the next portion, so that they need not wait for what the courier does beside.
        """
        dealt, self._ahead = self._ahead or await self._deal(portion), None
        draft.is_full, draft.is_complete = dealt.count * _FULL_SHARE >= portion, dealt.count >= portion
        if not dealt.count:
            return
        draft.is_shared = True
        draft.settlement.cursor = self._position = dealt.last
        draft.entries += dealt.count
        draft.since_ms = draft.since_ms or dealt.since_ms
        for first in range(0, len(dealt.own), _SLICE):
            ready = self._translation.readable(draft, self._arrivals(draft, dealt.own[first : first + _SLICE]))
            self._sharing.check(ready)
            await self._translation.translate(draft, ready, {})
        is_full = self._translation.members.is_full()
        if has_room and draft.is_complete and not is_full and not draft.is_crowded:
            self._ahead = await self._deal(portion)
        draft.others_dirty, draft.is_crowded = 0, is_full
        for part in await self._sharing.parts():
            take_over(draft, part)
            draft.others_dirty += part.dirty
            draft.is_crowded = draft.is_crowded or part.is_full
        draft.is_complete = draft.is_complete and not draft.is_crowded

    async def _deal(self, portion: int) -> Dealt:
        dealt = self._sharing.deal(self._journal.read(self._position, portion))
        if dealt.count:
            await self._sharing.give(dealt.others)
        return dealt

    def is_ahead(self) -> bool:
        """Return whether translators are at work on what has to be part of the batch yet."""
        return self._ahead is not None

    async def close(self, draft: Draft, lanes: Lanes) -> None:
        """End a batch: every member it touched gets one snapshot."""
        if draft.is_shared:
            await self._sharing.close()
        self._translation.snapshots(draft, lambda source_key: _way(lanes, source_key))
        if not draft.is_shared:
            return
        while (part := await self._sharing.piece()) is not None:
            for source_key, (_, profiles) in part.payloads.items():
                parked = lanes.of(source_key, "profile").parking
                for profile in profiles if parked.due else ():
                    self._translation.supersede(draft.settlement, source_key, profile.id, parked)
            self._translation.note_awaiting(part.awaiting)
            take_over(draft, part)

    def due_snapshots(
        self, settlement: Settlement, source_key: str, due: Sequence[Due], parked: Parking
    ) -> tuple[list[Record], dict[str, str]]:
        """Return the snapshots of members as they are now, and which of them share an order."""
        return self._translation.due_snapshots(settlement, source_key, due, parked)

    def is_asking(self) -> bool:
        """Return whether answers for held events are on their way."""
        return self._holding.is_asking()

    def is_erasing(self) -> bool:
        """Return whether members are being taken out."""
        return self._jobs.is_erasing()

    def is_ready_to_erase(self) -> bool:
        """Return whether members wait to be taken out of the books, with nothing on its way."""
        return self._jobs.is_ready_to_erase()

    async def erase(self) -> None:
        """Take them out. Errors: StorageUnavailable."""
        self._jobs.erase(self._clock())
        await self.start_over()

    def settled(self, draft: Draft) -> None:
        """Note that a batch is settled."""
        self._translation.members.settled(draft.settlement)
        self._sharing.settled(draft)
        for act in draft.on_settled:
            act()

    def shrink(self, drafts: Sequence[Draft]) -> None:
        """Let go of member states that take too much memory, but of none that `drafts` changed: they are not settled yet."""
        self._translation.members.shrink([draft.dirty for draft in drafts])

    async def start_over(self) -> None:
        """Forget what is not settled and go back to the cursor."""
        await self._holding.start_over()
        await self._enrichment.stop()
        self._sharing.start_over()
        self._ahead = None
        self._translation.start_over()
        self._jobs.reload()
        self._position = self._ledger.cursor()

    def _arrivals(self, draft: Draft, entries: Sequence[tuple[int, Entry]]) -> list[Arrival]:
        """Return the webhooks among the entries; what needs no translation is settled in the batch."""
        arrivals: list[Arrival] = []
        count = draft.settlement.count
        if not draft.since_ms:
            draft.since_ms = entries[0][1].received_ms
        tally, journalled = Tally(), 0
        for offset, entry in entries:
            flags = entry.flags
            if flags & _NOTE:
                self._take_note(draft, offset, entry)
                continue
            arrival = Arrival(offset, entry.source_key, entry.received_ms, entry.body)
            found = count(arrival.source_key, arrival.received_ms)
            if found is not tally:
                tally.add("journalled", journalled)
                tally, journalled = found, 0
            journalled += 1
            if flags:
                _refuse(draft, arrival, entry)
            else:
                arrivals.append(arrival)
        tally.add("journalled", journalled)
        return arrivals

    def _take_note(self, draft: Draft, offset: int, entry: Entry) -> None:
        if entry.flags & Flag.COMMAND:
            self._jobs.accept(draft, offset, entry)
            return
        for source_key, repeats in tallied([entry]).items():
            draft.settlement.count(source_key, entry.received_ms).add("duplicates.receiver", repeats)

    async def _translate(self, draft: Draft, ready: Sequence[Ready]) -> None:
        """Enrich what can be enriched at once, hold the rest, translate."""
        wanted = self._wanted(ready)
        if wanted is None:
            await self._translation.translate(draft, ready, {})
            return
        answers = await self._ask(ready, wanted)
        now, left_out = self._answered(draft, ready, wanted, answers)
        await self._translation.translate(draft, now, answers, left_out)

    def _wanted(self, ready: Sequence[Ready]) -> list[list[ApiCall]] | None:
        """Return the calls each event would like to be answered; None when no source of theirs is enriched."""
        served = {key for key in {arrival.source_key for arrival, _, _ in ready} if self._enrichment.serves(key)}
        if not served:
            return None
        wanted: list[list[ApiCall]] = []
        for item in ready:
            arrival = item[0]
            asks = arrival.only is None and arrival.source_key in served
            wanted.append(self._calls(item) if asks else [])
        return wanted

    def _answered(
        self, draft: Draft, ready: Sequence[Ready], wanted: Sequence[list[ApiCall]], answers: Found
    ) -> tuple[list[Ready], frozenset[int]]:
        """Return the events that need not wait, and those (by offset) whose transactions wait; what waits is held."""
        left_out: set[int] = set()
        now: list[Ready] = []
        for item, calls in zip(ready, wanted, strict=True):
            missing = [call for call in calls if call.key not in answers]
            if missing:
                self._holding.hold(draft, item[0], missing)
                if any(call.required for call in missing):
                    draft.count_settled(item[0], "processed")
                    draft.revive(item[0])
                    continue
                if any(call.kind == "C7" for call in missing):
                    left_out.add(item[0].offset)
            now.append(item)
        return now, frozenset(left_out)

    def _calls(self, item: Ready) -> list[ApiCall]:
        calls = self._translation.calls(item[0], item[1])
        return [call for call in calls if call.required or not self._enrichment.is_fresh(call)]

    async def _ask(self, ready: Sequence[Ready], wanted: Sequence[list[ApiCall]]) -> Found:
        by_source: dict[str, dict[str, ApiCall]] = {}
        for item, calls in zip(ready, wanted, strict=True):
            for call in calls:
                by_source.setdefault(item[0].source_key, {})[call.key] = call
        answers: Found = {}
        for source_key, asked in by_source.items():
            answers |= await self._enrichment.ask(source_key, list(asked.values()))
        return answers

    async def _take_held(self, draft: Draft) -> None:
        """Ask for held events whose time has come, and translate again those that were answered or given up."""
        for key, held in self._holding.due().items():
            for item in self._translation.readable(draft, [_arrival(held)]):
                self._holding.ask(key, held, self._calls(item))
        for held, answers in self._holding.answered(draft):
            ready = self._translation.readable(draft, [_arrival(held)])
            left_out = frozenset({held.offset}) if held.what == "profile" else frozenset()
            await self._translation.translate(draft, ready, answers, left_out)


def _way(lanes: Lanes, source_key: str) -> Way:
    lane = lanes.of(source_key, "profile")
    return lane.is_behind(), lane.parking


def _arrival(held: Held) -> Arrival:
    return Arrival(held.offset, held.source_key, held.received_ms, held.body, is_replay=True, was_processed=held.what == "event")


def _is_wanted(item: Ready, wanted: Wanted) -> bool:
    event_name, customer_id = wanted
    _, event, keys = item
    return event_name in (None, event.event_name) and (
        customer_id is None or any(customer == customer_id for _, customer in keys)
    )


def _refuse(draft: Draft, arrival: Arrival, entry: Entry) -> None:
    if entry.flags & Flag.TOO_LARGE:
        draft.dead(arrival, DeadClass.TOO_LARGE, "the body exceeded the receiver's limit; only its beginning was kept")
    elif entry.flags & Flag.PACKED:
        draft.dead(arrival, DeadClass.INVALID_BODY, why_packed(entry.headers))
    else:
        draft.dead(arrival, DeadClass.CONFLICTING_DUPLICATE, "an earlier event has the same id and other data")
