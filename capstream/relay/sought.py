"""Tells what of the relay's stores holds data of members that have to be taken out. Source: capillary.md 7.8."""

import re
from collections.abc import Iterable, Sequence

from capstream.capillary.envelope import Unreadable
from capstream.capillary.members import members_of
from capstream.capillary.normalise import normalise
from capstream.kernel.json import dumps, loads
from capstream.relay.dead_letters import DeadLetter
from capstream.relay.journal import Entry, Flag, decode, encode, erased
from capstream.relay.members import Key, member_name
from capstream.relay.records import Held, Record

_FEW = 16  # so many numbers are looked for one by one: faster than taking a body's numbers apart
_NUMBERS = re.compile(rb"\d+")
_VICTIM = re.compile(rb'"victimCustomerId":"(\d+)"')
_OWN_ID = "capillary:"


class Sought:
    """The members that are looked for."""

    def __init__(self, members: Iterable[Key]) -> None:
        self.members = frozenset(members)
        self._numbers = {customer.encode() for _, customer in self.members}
        self._by_customer: dict[str, list[Key]] = {}
        for key in sorted(self.members):
            self._by_customer.setdefault(key[1], []).append(key)

    def among(self, entries: Sequence[tuple[int, bytes]]) -> dict[int, set[Key]]:
        """Return the journal entries that hold data of the members, by offset, with whose it is."""
        found = {offset: self.of_entry(decode(record)) for offset, record in entries if self._mentions(record)}
        return {offset: keys for offset, keys in found.items() if keys}

    def of_entry(self, entry: Entry) -> set[Key]:
        """Return whose data a journal entry holds."""
        if entry.flags & Flag.TALLY:
            return set()
        if not entry.flags & Flag.COMMAND:
            return self.of_body(entry.body, entry.received_ms)
        if b'"payload"' not in entry.body:  # else a dead letter that a person mended
            return set()
        return self._named_in(entry.body)

    def of_body(self, body: bytes, received_ms: int) -> set[Key]:
        """Return whose data a webhook's body holds; of one that is no event nobody can tell: a number is enough."""
        if not self._mentions(body):
            return set()
        event = normalise(body, received_ms)
        return self._named_in(body) if isinstance(event, Unreadable) else set(self.members.intersection(members_of(event)))

    def of_record(self, record: Record) -> set[Key]:
        """Return whose data a payload holds. `member` is a customer id, or `namespace:id` where Capillary made the payload."""
        named = [record.member.rpartition(":")[2], *(number.decode() for number in _VICTIM.findall(record.body))]
        found = {key for customer in named for key in self._by_customer.get(customer, ())}
        return {key for key in found if not record.id.startswith(_OWN_ID) or _is_of_org(record.id, key[0])} if found else found

    def of_letter(self, letter: DeadLetter) -> set[Key]:
        """Return whose data a dead letter holds."""
        if letter.flow is not None:
            return self.of_record(Record(letter.payload_id or "", letter.member or "", letter.payload, letter.journal_offset))
        return self.of_body(letter.payload, letter.first_seen)

    def of_held(self, held: Held) -> set[Key]:
        """Return whose data an event holds that waits for Capillary's API."""
        return self.of_body(held.body, held.received_ms)

    def _mentions(self, text: bytes) -> bool:
        if len(self._numbers) <= _FEW:
            return any(number in text for number in self._numbers)
        return not self._numbers.isdisjoint(_NUMBERS.findall(text))

    def _named_in(self, body: bytes) -> set[Key]:
        return {key for number in set(_NUMBERS.findall(body)) for key in self._by_customer.get(number.decode(), ())}


def _is_of_org(payload_id: str, org_id: str) -> bool:
    return payload_id.startswith((f"{_OWN_ID}{org_id}:", f"{_OWN_ID}ready:"))


def names(members: Iterable[Key]) -> list[str]:
    """Return the names of members, in order."""
    return sorted(member_name(key) for key in members)


def redacted(record: bytes) -> bytes:
    """Return a journal record without the data of the member it is about: where and when it came stays."""
    entry = decode(record)
    if entry.flags & Flag.ERASED:
        return record
    if not entry.flags & Flag.COMMAND:
        return encode(erased(entry))
    command = loads(entry.body)
    command.pop("payload", None)
    return encode(Entry(entry.source_key, entry.received_ms, entry.flags, b"", dumps(command)))
