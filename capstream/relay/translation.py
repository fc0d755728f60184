"""From arrivals to payloads: normalise, tell repeats, load members, enrich, translate, take snapshots."""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from capstream.capillary.enrichment import plan
from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.history import is_imported
from capstream.capillary.members import resolve
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.results import ApiCall, Outcome, Refused, Skipped, Translated
from capstream.capillary.translate import awaits_tier_list, members_of, profile_payload, translate
from capstream.capillary.vocabulary import MAPPED
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import dumps
from capstream.relay.answers import Rejected
from capstream.relay.arrival import Arrival
from capstream.relay.batching import link
from capstream.relay.dead_letters import DeadClass, of_payload
from capstream.relay.draft import Draft
from capstream.relay.enrichment import Found
from capstream.relay.ledger import Ledger, parked_key
from capstream.relay.members import Key, Members, member_name
from capstream.relay.parking import Parking
from capstream.relay.ready_made import ready_made
from capstream.relay.records import Due, Kind, Record
from capstream.relay.settlement import Settlement
from capstream.relay.sources import Sources
from capstream.relay.tombstones import Tombstones

_YIELD_EVERY = 64
_COUNTED: dict[Kind, str] = {"event": "payloads.event", "profile": "payloads.profile"}
_COUNTED_KINDS: dict[str, str] = {name: f"event.{name}" for name in MAPPED}
_SIZE_LIMIT: dict[Kind, int] = {"event": 10 * 1024, "profile": 100 * 1024}
"""Above these Profile drops a record without a word. Source: guardrails.md 4, 10."""

Ready = tuple[Arrival, NormalisedEvent, list[Key]]
"""A readable event that is no repeat, and the members it is about."""

Way = tuple[bool, Container[str]]
"""Whether a dataflow is behind, and the keys of what is parked of it."""


class Translation:
    """Translates arrivals with what is known about members and programmes."""

    def __init__(self, ledger: Ledger, sources: Sources, *, clock: Clock, member_bytes: int, log_bytes: int) -> None:
        self._ledger = ledger
        self._sources = sources
        self._clock = clock
        self.members = Members(ledger, member_bytes, log_bytes)
        self._tombstones = Tombstones(ledger.documents)
        self._now_ms = clock()  #: when the slice in hand was begun
        self.start_over()

    def start_over(self) -> None:
        """Forget what is not settled."""
        self.members.forget()
        self._tombstones.reload()
        stored = self._ledger.programs()
        self.programs = Programs.load(stored) if stored else Programs()
        self._revision = self.programs.revision
        self._awaiting = self._ledger.awaiting()

    def know(self, programs: bytes) -> None:
        """Take over what another process knows about programmes."""
        self.programs = Programs.load(programs)
        self._revision = self.programs.revision

    def note_awaiting(self, awaiting: Mapping[str, bool]) -> None:
        """Take over which members wait for a tier list, and which no more, as another process found it."""
        for name, waits in awaiting.items():
            (self._awaiting.add if waits else self._awaiting.discard)(name)

    def readable(self, draft: Draft, arrivals: Iterable[Arrival]) -> list[Ready]:
        """Return the events to translate; what is none is settled. Their members are in memory."""
        self._now_ms = self._clock()
        ready: list[Ready] = []
        for arrival in arrivals:
            source = self._sources.table.get(arrival.source_key)
            if source is not None and source.preset == "adobe-ready":
                self._forward(draft, arrival)
                continue
            event = normalise(arrival.body, arrival.received_ms)
            if not isinstance(event, NormalisedEvent):
                draft.dead(arrival, event.code, event.reason, pointer=event.pointer)
            elif source is None:
                draft.dead(arrival, DeadClass.UNKNOWN_SOURCE, "its source does not exist any more", event=event)
            else:
                keys = members_of(event)
                if self._tombstones.hashes and self._tombstones.cover(keys, event.created_at_ms):
                    _leave_out(draft, arrival)
                else:
                    ready.append((arrival, event, keys))
        self.members.hold([key for _, _, keys in ready for key in keys])
        return ready

    def _forward(self, draft: Draft, arrival: Arrival) -> None:
        """Send a body that is a payload already; a dead one is sent again as it was edited, else as it came."""
        found = ready_made(arrival.body, arrival.offset)
        if isinstance(found, Unreadable):
            draft.dead(arrival, found.code, found.reason, pointer=found.pointer)
            return
        kind, record = found
        if arrival.only is not None:
            kind, dead = arrival.only
            draft.out(arrival.source_key).of(kind).append(
                Record(dead.id, dead.member, record.body, dead.offset, dead.attempts, dead.first_ms, dead.dead_id)
            )
            return
        draft.revive(arrival)
        draft.count_settled(arrival, "processed")
        self._send(draft, arrival.source_key, kind, record)

    def calls(self, arrival: Arrival, event: NormalisedEvent) -> list[ApiCall]:
        """Return the API calls an event would like to be answered first."""
        return plan(event, self.members.states, self.programs, self._sources.translations[arrival.source_key])

    async def translate(
        self, draft: Draft, ready: Sequence[Ready], answers: Found, held_back: frozenset[int] = frozenset()
    ) -> None:
        """Translate events into the batch, in order; of those in `held_back` (by offset) the transactions are left out."""
        for index, (arrival, event, keys) in enumerate(ready):
            if index % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)  # answers to what is being posted come in
            self._one(draft, arrival, event, keys, answers=answers, with_transactions=arrival.offset not in held_back)
        self.members.release()

    def _one(
        self, draft: Draft, arrival: Arrival, event: NormalisedEvent, keys: list[Key], *, answers: Found, with_transactions: bool
    ) -> None:
        draft.dirty.update(self.members.recall(event, keys, answers))
        outcome = self._outcome(arrival, event, answers)
        if arrival.only is not None:
            self._repeat_payload(draft, arrival, outcome, keys)
            return
        if type(outcome) is Refused:
            draft.dead(arrival, outcome.code, outcome.reason, pointer=outcome.pointer, event=event)
            return
        draft.revive(arrival)
        counter = draft.settlement.count(arrival.source_key, arrival.received_ms)
        if type(outcome) is Skipped:
            counter.add(f"skipped.{outcome.reason}")
            draft.count_settled(arrival, "skipped")
            return
        draft.count_settled(arrival, "processed")
        if is_imported(event):
            counter.add("event.imported")
        elif not arrival.is_replay:
            counter.add(_COUNTED_KINDS.get(event.event_name) or f"event.{event.event_name}")
            draft.created.setdefault(arrival.source_key, []).append((arrival.received_ms, event.created_at_ms))
        if with_transactions:
            for payload in outcome.transactions:
                record = Record(payload.id, payload.member, dumps(payload.body), arrival.offset)
                self._send(draft, arrival.source_key, "event", record)
        self._note_members(draft, arrival, outcome, keys)

    def _outcome(self, arrival: Arrival, event: NormalisedEvent, answers: Found) -> Outcome:
        config = self._sources.translations[arrival.source_key]
        try:
            return translate(event, self.members.states, self.programs, config, answers)
        except Exception as error:  # noqa: BLE001 - the loop's body: one event must not stop the feed; it is kept for a replay
            log.error("translation failed", action="translation_bug", exc=error, offset=arrival.offset, event=event.event_name)
            return Refused(DeadClass.TRANSLATION_BUG, f"the translation raised {type(error).__name__}")

    def _note_members(self, draft: Draft, arrival: Arrival, outcome: Translated, keys: list[Key]) -> None:
        """Note whose state changed, whose snapshot is due, who waits for a tier list, whose data has to go."""
        states = self.members.states
        for key in keys:
            draft.dirty.add(key)
            if (state := states.get(key)) is not None and state.merged_into is not None:
                draft.dirty.add(resolve(states, key).key)
        touched = outcome.touched
        if touched:
            draft.touch(arrival.source_key, touched, arrival.offset)
            if len(touched) > 1:
                link(draft.linked, [customer for _, customer in touched])
        if outcome.learned is not None:
            self._touch_awaiting(draft, arrival)
        for key in outcome.deleted:
            self._queue_privacy(draft, arrival, key)
        for note in outcome.notes:
            log.warning("API answer unreadable", action="capillary_answer_unreadable", offset=arrival.offset, note=note)

    def _touch_awaiting(self, draft: Draft, arrival: Arrival) -> None:
        """A tier list came: the members that only waited for it are sent again. Source: capillary.md 7.5 (5)."""
        waiting = sorted(name.split("/", 2) for name in self._awaiting)
        keys = [(org, customer) for source_key, org, customer in waiting if source_key == arrival.source_key]
        self.members.hold(keys)
        draft.touch(arrival.source_key, [key for key in keys if key in self.members.states], arrival.offset)

    def _queue_privacy(self, draft: Draft, arrival: Arrival, key: Key) -> None:
        state = self.members.states[key]
        identities = {kind: register[0] for kind, register in state.identities.items()}
        body = {"sourceKey": arrival.source_key, "orgId": key[0], "customerId": key[1], "identities": identities}
        draft.settlement.privacy.append((member_name(key), dumps({**body, "requestedAtMs": arrival.received_ms})))

    def _repeat_payload(self, draft: Draft, arrival: Arrival, outcome: Outcome, keys: list[Key]) -> None:
        """Send one dead payload again: as the event is translated now, else as it was."""
        kind, dead = arrival.only or ("event", Record("", "", b"", 0))
        body = dead.body
        if kind == "event" and isinstance(outcome, Translated):
            body = next((dumps(payload.body) for payload in outcome.transactions if payload.id == dead.id), body)
        elif kind == "profile":
            states = self.members.states
            places = [resolve(states, key).key for key in keys]
            key = next((key for key in (*keys, *places) if key[1] == dead.member and key in states), None)
            if key is not None:
                body = dumps(
                    profile_payload(key, states[key], self.programs, self._sources.translations[arrival.source_key]).body
                )
        record = Record(dead.id, dead.member, body, dead.offset, dead.attempts, dead.first_ms, dead.dead_id)
        draft.out(arrival.source_key).of(kind).append(record)

    def _send(self, draft: Draft, source_key: str, kind: Kind, record: Record) -> None:
        if self._fits(draft.settlement, source_key, kind, record):
            draft.out(source_key).of(kind).append(record)

    def _fits(self, settlement: Settlement, source_key: str, kind: Kind, record: Record) -> bool:
        """Count a payload; one that is too large becomes a dead letter."""
        counter = settlement.count(source_key, self._now_ms)
        counter.add(_COUNTED[kind])
        if len(record.body) <= _SIZE_LIMIT[kind]:
            return True
        reason = f"the record has {len(record.body)} bytes; above {_SIZE_LIMIT[kind]} Profile drops it"
        letter = of_payload(
            record, Rejected(0, reason, code=DeadClass.OVERSIZED_RECORD), source_key=source_key, kind=kind, now_ms=self._now_ms
        )
        settlement.dead[letter.id] = letter
        counter.add(f"oversized.{kind}")
        return False

    def snapshots(self, draft: Draft, ways: Callable[[str], Way]) -> None:
        """Add the profile payload of every touched member, once, and what the batch leaves behind in the ledger.

        `ways` tells of a source's profile dataflow whether it is behind (then only the members are noted, their snapshots are
        made when it has come so far), and what is parked of it.
        """
        self._now_ms = self._clock()
        self.members.release()
        states, programs = self.members.states, self.programs
        for source_key, touched in draft.touched.items():
            self.members.load([key for key in touched if key not in states])  # who awaited a tier list need not be at hand
            is_behind, parked = ways(source_key)
            config = self._sources.translations[source_key]
            if is_behind:
                draft.due[source_key] = [(key[0], key[1], offset) for key, offset in touched.items()]
            for key, offset in touched.items():
                state = states[key]
                if not is_behind:
                    payload = profile_payload(key, state, programs, config)
                    self.supersede(draft.settlement, source_key, payload.id, parked)
                    self._send(draft, source_key, "profile", Record(payload.id, payload.member, dumps(payload.body), offset))
                self._note_awaiting(draft, source_key, key, awaits_tier_list(key[0], state, programs, config))
        self.members.write(draft.settlement, draft.dirty)
        if programs.revision != self._revision:
            self._revision = programs.revision
            draft.settlement.programs = programs.dump()

    def due_snapshots(
        self, settlement: Settlement, source_key: str, due: Sequence[Due], parked: Parking
    ) -> tuple[list[Record], dict[str, str]]:
        """Return the snapshots of members as they are now, the newest cause last, and which members share an order."""
        self._sources.refresh()
        self._now_ms = self._clock()
        config = self._sources.translations.get(source_key)
        newest = self._newest(due)
        found: list[Record] = []
        linked: dict[str, str] = {}
        for key, offset in newest.items():
            state = self.members.states.get(key)
            if state is None:
                continue
            if state.merged_into is not None:
                link(linked, [key[1], resolve(self.members.states, key).key[1]])
            if config is None:  # the source is gone: the inlet will say so, and the dead letter names the member
                found.append(Record(f"capillary:{key[0]}:member:{key[1]}", key[1], b"{}", offset))
                continue
            payload = profile_payload(key, state, self.programs, config)
            self.supersede(settlement, source_key, payload.id, parked)
            record = Record(payload.id, payload.member, dumps(payload.body), offset)
            if self._fits(settlement, source_key, "profile", record):
                found.append(record)
        return found, linked

    def _newest(self, due: Sequence[Due]) -> dict[Key, int]:
        """Return the members that are due, each once, with the newest cause; one that was merged comes before its survivor."""
        newest: dict[Key, int] = {}
        for org, customer, offset in due:
            newest.pop((org, customer), None)
            newest[(org, customer)] = offset
        self.members.load(newest)
        for key in list(newest):
            survivor = resolve(self.members.states, key).key
            if survivor != key and survivor in newest:
                newest[survivor] = newest.pop(survivor)
        return newest

    def supersede(self, settlement: Settlement, source_key: str, payload_id: str, parked: Container[str]) -> None:
        """Drop a parked snapshot that a newer one replaces."""
        key = parked_key(source_key, "profile", payload_id)
        if key in parked:
            settlement.unparked.add(key)
            settlement.count(source_key, self._now_ms).add("coalesced.profile")

    def _note_awaiting(self, draft: Draft, source_key: str, key: Key, waits: bool) -> None:
        name = f"{source_key}/{member_name(key)}"
        if waits != (name in self._awaiting):
            draft.settlement.awaiting[name] = waits
            (self._awaiting.add if waits else self._awaiting.discard)(name)


def _leave_out(draft: Draft, arrival: Arrival) -> None:
    """Settle a webhook about a member who was taken out after it was created. Source: ADR 0015."""
    draft.revive(arrival)
    draft.settlement.count(arrival.source_key, arrival.received_ms).add("skipped.erased")
    draft.count_settled(arrival, "skipped")
    draft.settlement.late.add(arrival.offset)
