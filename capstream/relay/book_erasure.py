"""Takes members out of the courier's books: their state, letters, parked and held payloads, and what waits in outboxes.

Outboxes can be large, so they are looked through in slices while the courier works. Then, with nothing on its way, everything
goes in one transaction, which also says so: a crash before it changes nothing, and what was done twice has no effect.
Source: capillary.md 7.8.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from capstream.capillary.state import load
from capstream.relay import dead_letters, privacy
from capstream.relay.ledger import (
    add_counts,
    erase_members,
    note_cursor,
    read_cursor,
    read_held,
    read_lanes,
    read_outbox,
    read_parked,
    read_states,
    replace_segments,
)
from capstream.relay.members import Key, member_name
from capstream.relay.outbox import repacked, unpack
from capstream.relay.records import Stored
from capstream.relay.settlement import Tally
from capstream.relay.sought import Sought, names
from capstream.storage.ports import Reading, Shreddable

_SLICE = 16  # segments of an outbox
_PAGE = 500

_DAY_MS = 86_400_000

Counts = dict[Key, Counter[str]]
"""What of each member went, by where it was."""

Lost = dict[str, Tally]
"""Payloads that will not be delivered any more, by source."""


class BookErasure:
    """The members one command names. Others may write between two `survey`s; during `erase` nothing may be on its way."""

    def __init__(self, documents: Shreddable, members: Sequence[Key], sweep: int = 0) -> None:
        """`sweep`: which the command is of; one that was given twice adds to what the first took out."""
        self._documents = documents
        self._sweep = sweep
        self._sought = Sought(members)
        self._seen: dict[str, str] = {}  #: by lane, the last segment that was looked at
        self._found: set[str] = set()
        self._after = ""
        self.is_surveyed = False

    def survey(self) -> None:
        """Look through the next few segments of outboxes."""
        self._after = self._look(read_outbox(self._documents, after=self._after, limit=_SLICE)) or self._after

    def _look(self, page: Sequence[tuple[str, Stored]]) -> str:
        for key, stored in page:
            self._seen[key.rpartition("/")[0]] = key
            segment = unpack(stored)
            if any(map(self._sought.of_record, segment.records)) or any(due[:2] in self._sought.members for due in segment.due):
                self._found.add(key)
        self.is_surveyed = len(page) < _SLICE
        return page[-1][0] if page else ""

    def erase(self, command: int, now_ms: int, *, job: str = "", moves_cursor: bool = False) -> None:
        """Take everything out; each member's request is met then. Errors: StorageUnavailable.

        `command`: the offset that asked for it; `job`: what is done with it; `moves_cursor`: of a stopped courier, past it.
        """
        self._look_at_the_rest()
        counts: Counts = {key: Counter() for key in sorted(self._sought.members)}
        lost: Lost = {}
        letters, discarded = list(self._letters(counts)), list(self._discarded(counts))
        parked, held = list(self._parked(counts, lost)), list(self._held(counts))
        linked = {key: _linked(self._documents, key) for key in counts}
        through = command if moves_cursor else read_cursor(self._documents)
        with self._documents.transaction(overwriting=True) as transaction:
            dead_letters.drop(transaction, letters)
            dead_letters.forget_discarded(transaction, discarded)
            replace_segments(transaction, self._segments(counts, lost))
            gone = erase_members(transaction, names(counts), parked=parked, held=held, job=job)
            add_counts(transaction, {(source_key, now_ms // _DAY_MS): counter for source_key, counter in lost.items()})
            for key in counts:
                counts[key]["states"] += member_name(key) in gone
                facts = {"erasedAtMs": now_ms, "command": command, "through": through, "sweep": self._sweep}
                privacy.meet(transaction, member_name(key), facts, erased=counts[key], linked=linked[key])
            if moves_cursor:
                note_cursor(transaction, command)

    def _look_at_the_rest(self) -> None:
        while not self.is_surveyed:
            self.survey()
        for lane in read_lanes(self._documents):
            after = self._seen.get(lane, "")
            while page := read_outbox(self._documents, prefix=f"{lane}/", after=after, limit=_SLICE):
                after = self._look(page)
        self.is_surveyed = True

    def _letters(self, counts: Counts) -> Iterator[str]:
        after = ""
        while page := dead_letters.find(self._documents, dead_letters.Filter(), after=after, limit=_PAGE):
            after = page[-1].id
            for letter in page:
                if keys := self._sought.of_letter(letter):
                    _count(counts, keys, "dead_letters")
                    yield letter.id

    def _discarded(self, counts: Counts) -> Iterator[str]:
        before = ""
        while page := dead_letters.find_discarded(self._documents, before=before, limit=_PAGE):
            before = page[-1][0]
            for key, each in page:
                if keys := self._sought.of_letter(each.letter):
                    _count(counts, keys, "dead_letters")
                    yield key

    def _parked(self, counts: Counts, lost: Lost) -> Iterator[str]:
        after = ""
        while page := read_parked(self._documents, after=after, limit=_PAGE):
            after = page[-1][0]
            for key, each in page:
                if keys := self._sought.of_record(each.record):
                    _count(counts, keys, "parked")
                    lost.setdefault(each.source_key, Tally()).add(f"erased.{each.kind}")
                    yield key

    def _held(self, counts: Counts) -> Iterator[str]:
        for key, each in read_held(self._documents):
            if keys := self._sought.of_held(each):
                _count(counts, keys, "held")
                yield key

    def _segments(self, counts: Counts, lost: Lost) -> Iterator[tuple[str, Stored, Stored | None]]:
        """Yield each segment that changes: as it is, and as it will be, None when nothing is left of it."""
        for wanted in sorted(self._found):
            for key, stored in read_outbox(self._documents, keys=[wanted]):
                segment = unpack(stored)
                for record in segment.records:
                    _count(counts, self._sought.of_record(record), "outbox")
                for each in segment.due:
                    _count(counts, self._sought.members & {each[:2]}, "outbox")
                records = [record for record in segment.records if not self._sought.of_record(record)]
                due = [each for each in segment.due if each[:2] not in self._sought.members]
                source_key, kind, _ = key.rsplit("/", 2)
                lost.setdefault(source_key, Tally()).add(f"erased.{kind}", len(segment.records) - len(records))
                yield key, stored, repacked(stored, records, due, segment.created)


def _count(counts: Counts, keys: set[Key] | frozenset[Key], name: str) -> None:
    for key in keys:
        counts[key][name] += 1


def _linked(store: Reading, key: Key) -> list[str]:
    """Return the members a member was merged with: they may be the same person."""
    states = [load(body) for _, body in read_states(store, after="", limit=1, only=member_name(key))]
    survivors = {str(state.merged_into[0]) for state in states if state.merged_into}
    return sorted(survivors.union(*(state.merged for state in states)) if states else survivors)
