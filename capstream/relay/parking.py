"""Payloads of one dataflow that wait because only they were refused for now, and the later events of the same member, which
wait behind them.

A member's events keep their order: while one waits, those that come after it do not overtake it. A snapshot needs no such care:
a newer one takes the place of one that waits. Bodies stay in the ledger; memory holds a key and a time for each that waits.
Source: streaming-ingestion.md 9, 16.
"""

from collections.abc import Iterable, Sequence

import msgspec

from capstream.relay.answers import BEHIND
from capstream.relay.ledger import Ledger, parked_key
from capstream.relay.records import LaneKey, Parked, Record
from capstream.relay.settlement import Settlement

_AT_ONCE = 500
_MOST = 20_000


class Parking:
    """The index of a dataflow's parked payloads. What is taken is out of `due` until it is settled, and stays in its line."""

    def __init__(self, ledger: Ledger, lane: LaneKey, most: int = _MOST) -> None:
        self._ledger = ledger
        self._source_key, self._kind = lane
        self._most = most
        self.reload()

    def __contains__(self, key: object) -> bool:
        return key in self.due

    def reload(self) -> None:
        """Read the index again from the ledger."""
        self.due: dict[str, int] = {}
        self._lines: dict[str, list[str]] = {}  #: by member
        self._line_of: dict[str, str] = {}
        behind: list[tuple[int, str, str]] = []
        for key, parked in self._ledger.parked_items(f"{self._source_key}/{self._kind}/"):
            self.due[key] = parked.due_ms
            if parked.kind == "event":
                behind.append((parked.record.offset, key, parked.record.member))
        for _, key, member in sorted(behind):
            self._join(key, member)

    def is_full(self) -> bool:
        """Return whether so many wait that no more may be posted: memory is bounded, the outbox is not."""
        return len(self.due) >= self._most

    def take(self, now_ms: int) -> dict[str, Parked]:
        """Return payloads that are due, those that waited longest first: of a member the first event alone until it is settled,
        then at once those that waited behind it."""
        if not self.due:
            return {}
        taken: list[str] = []
        for _, key in sorted((at, key) for key, at in self.due.items() if at <= now_ms):
            if len(taken) >= _AT_ONCE:
                break
            taken += self._ripe(key)
        for key in taken:
            del self.due[key]
        found = self._ledger.parked(taken) if taken else {}
        return {key: found[key] for key in taken if key in found}

    def taken(self, settlement: Settlement, records: Sequence[Record]) -> set[str]:
        """Return the keys of those records that were taken from here for a batch that is not settled yet."""
        return {
            key
            for record in records
            if record.first_ms and (key := parked_key(self._source_key, self._kind, record.id)) in settlement.unparked
        }

    def give_back(self, keys: Iterable[str]) -> None:
        """Let what was taken wait again, each at its place: it was not posted."""
        self.due.update(dict.fromkeys(keys, 1))  # at once, but of a member one alone

    def withdraw(self, keys: Iterable[str]) -> set[str]:
        """Take payloads out of what waits, for good once that is settled; return those that were not being posted."""
        return {key for key in keys if self.due.pop(key, None) is not None}

    def divert(self, records: list[Record], settlement: Settlement, now_ms: int) -> list[Record]:
        """Keep back from what is to be posted the events of members one of whose events waits; return the others."""
        if not self._lines:
            return records
        passing: list[Record] = []
        for record in records:
            key, member = parked_key(self._source_key, self._kind, record.id), record.member
            is_taken = key in self._line_of and key not in self.due and key not in settlement.parked
            if member not in self._lines or is_taken:
                passing.append(record)
                continue
            waiting = msgspec.structs.replace(record, first_ms=record.first_ms or now_ms)
            settlement.parked[key] = Parked(self._source_key, self._kind, 0, BEHIND.reason, waiting)
            settlement.count(self._source_key, now_ms).add("parked.event")
            self._join(key, member)
        return passing

    def join(self, settlement: Settlement) -> None:
        """Note the events that a portion leaves waiting, so that the next portion does not overtake them."""
        for key, parked in settlement.parked.items():
            if parked.kind == "event" and self._kind == "event" and parked.source_key == self._source_key:
                self._join(key, parked.record.member)

    def settled(self, parked: dict[str, int], unparked: Iterable[str]) -> None:
        """Note what was settled: what is parked, with the times when it is due, and what waits no longer."""
        for key in unparked:
            self.due.pop(key, None)
            self._leave(key)
        self.due.update(parked)

    def _ripe(self, key: str) -> list[str]:
        member = self._line_of.get(key)
        if member is None:
            return [key]
        keys = self._lines[member]
        if keys[0] != key:
            return []
        if self.due[key]:
            return [key]
        ripe: list[str] = []
        for each in keys[:_AT_ONCE]:
            if self.due.get(each, 1):
                break
            ripe.append(each)
        return ripe

    def _join(self, key: str, member: str) -> None:
        if key not in self._line_of:
            self._line_of[key] = member
            self._lines.setdefault(member, []).append(key)

    def _leave(self, key: str) -> None:
        member = self._line_of.pop(key, None)
        if member is None:
            return
        keys = self._lines[member]
        keys.remove(key)
        if not keys:
            del self._lines[member]
