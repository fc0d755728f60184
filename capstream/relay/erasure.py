"""Taking a member's data out of the relay's stores, for a privacy request. Source: capillary.md 7.8.

The server is stopped meanwhile. What was settled goes: bodies in the journal, the member's state, letters, parked and held
payloads, index rows. What still waits for delivery stays, and is told. Doing it again finishes what was cut off.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from capstream.capillary.envelope import Unreadable
from capstream.capillary.members import members_of
from capstream.capillary.normalise import normalise
from capstream.capillary.state import load
from capstream.kernel.json import dumps, loads
from capstream.relay import dead_letters
from capstream.relay.journal import Entry, Flag, decode, encode, erased
from capstream.relay.ledger import erase_member, read_cursor, read_held, read_outbox, read_parked, read_states
from capstream.relay.outbox import unpack
from capstream.relay.records import Parked
from capstream.storage.ports import Documents, Index, Log, Shreddable

_PAGE = 1000
_AT_ONCE = 200  # entries rewritten in one commit


@dataclass(slots=True)
class Erased:
    """How much went. `left` waits for delivery still; `linked` are members this one was merged with."""

    journal: int = 0
    index_rows: int = 0
    states: int = 0
    dead_letters: int = 0
    parked: int = 0
    held: int = 0
    left: int = 0
    linked: list[str] = field(default_factory=list)


class Erasure:
    """Erases one member of one organisation."""

    def __init__(self, journal: Log, courier: Shreddable, index: Index, *, org_id: str, customer_id: str) -> None:
        self._journal = journal
        self._courier = courier
        self._index = index
        self._org_id = org_id
        self._customer_id = customer_id
        self._number = re.compile(rb"(?<!\d)%b(?!\d)" % customer_id.encode())

    def run(self, now_ms: int) -> Erased:
        """Erase the member; return how much went. Errors: StorageUnavailable."""
        found = Erased(linked=self._linked())
        offsets = self._erase_journal(found)
        self._erase_books(found, offsets, now_ms)
        found.index_rows = sum(self._index.erase(facet, self._customer_id) for facet in ("member", "other_member"))
        found.left += self._waiting()
        return found

    def _linked(self) -> list[str]:
        name = f"{self._org_id}/{self._customer_id}"
        states = [load(body) for _, body in read_states(self._courier, after="", limit=1, only=name)]
        linked = {str(state.merged_into[0]) for state in states if state.merged_into}
        return sorted(linked.union(*(state.merged for state in states)) if states else linked)

    def _erase_journal(self, found: Erased) -> set[int]:
        """Rewrite the settled entries of the member; return their offsets."""
        cursor, offsets, batch = read_cursor(self._courier), set[int](), list[int]()
        for offset in self._offsets():
            if offset > cursor:
                found.left += 1
                continue
            offsets.add(offset)
            batch.append(offset)
            if len(batch) == _AT_ONCE:
                found.journal += self._journal.redact(batch, _redacted)
                batch.clear()
        found.journal += self._journal.redact(batch, _redacted)
        return offsets

    def _offsets(self) -> Iterator[int]:
        after = 0
        while page := self._journal.read(after, _PAGE):
            after = page[-1][0]
            for offset, record in page:
                if self._number.search(record) and self._is_meant(decode(record)):
                    yield offset

    def _is_meant(self, entry: Entry) -> bool:
        if entry.flags & Flag.TALLY:
            return False
        if entry.flags & Flag.COMMAND:
            return b'"payload"' in entry.body  # a dead letter that a person mended
        event = normalise(entry.body, entry.received_ms)
        if isinstance(event, Unreadable):  # nobody can tell whose it is: the number is enough
            return self._number.search(entry.body) is not None
        return (self._org_id, self._customer_id) in members_of(event)

    def _erase_books(self, found: Erased, offsets: set[int], now_ms: int) -> None:
        letters = [letter for letter in self._letters() if self._is_theirs(letter, offsets)]
        given_up = [key for key, each in self._discarded() if self._is_theirs(each.letter, offsets)]
        parked = [key for key, each in _pages(self._courier) if each.record.member == self._customer_id]
        held = [key for key, each in read_held(self._courier) if each.offset in offsets]
        found.dead_letters, found.parked, found.held = len(letters) + len(given_up), len(parked), len(held)
        with self._courier.transaction(overwriting=True) as transaction:
            dead_letters.drop(transaction, [letter.id for letter in letters])
            dead_letters.forget_discarded(transaction, given_up)
            found.states = erase_member(transaction, self._org_id, self._customer_id, parked=parked, held=held, now_ms=now_ms)

    def _is_theirs(self, letter: dead_letters.DeadLetter, offsets: set[int]) -> bool:
        return letter.journal_offset in offsets or self._customer_id in (letter.customer_id, letter.member)

    def _letters(self) -> Iterator[dead_letters.DeadLetter]:
        after = ""
        while page := dead_letters.find(self._courier, dead_letters.Filter(), after=after, limit=_PAGE):
            yield from page
            after = page[-1].id

    def _discarded(self) -> Iterator[tuple[str, dead_letters.Discarded]]:
        before = ""
        while page := dead_letters.find_discarded(self._courier, before=before, limit=_PAGE):
            yield from page
            before = page[-1][0]

    def _waiting(self) -> int:
        """Return how many payloads of the member wait in outboxes."""
        segments = (unpack(stored) for stored in read_outbox(self._courier))
        return sum(
            sum(record.member == self._customer_id for record in segment.records)
            + sum(due[1] == self._customer_id for due in segment.due)
            for segment in segments
        )


def _pages(courier: Documents) -> Iterator[tuple[str, Parked]]:
    after = ""
    while page := read_parked(courier, after=after, limit=_PAGE):
        yield from page
        after = page[-1][0]


def _redacted(record: bytes) -> bytes:
    entry = decode(record)
    if not entry.flags & Flag.COMMAND:
        return encode(erased(entry))
    command = loads(entry.body)
    command.pop("payload", None)
    return encode(Entry(entry.source_key, entry.received_ms, entry.flags, b"", dumps(command)))
