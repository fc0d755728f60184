"""Payloads that wait because only they were refused for now, and the later events of the same member, which wait behind them.

A member's events keep their order: while one waits, those that come after it do not overtake it. A snapshot needs no such care:
a newer one takes the place of one that waits. Bodies stay in the ledger; memory holds a key and a time for each that waits.
Source: streaming-ingestion.md 9, 16.
"""

from collections.abc import Mapping

import msgspec

from capstream.relay.answers import BEHIND
from capstream.relay.draft import Outbound
from capstream.relay.ledger import Ledger, parked_key
from capstream.relay.records import Parked, Record
from capstream.relay.settlement import Settlement

_AT_ONCE = 500
_MOST = 20_000

Line = tuple[str, str]
"""(source key, member): whose events wait one behind the other."""


class Parking:
    """The index of parked payloads. What is taken is out of `due` until its batch is settled, and stays in its line."""

    def __init__(self, ledger: Ledger, most: int = _MOST) -> None:
        self._ledger = ledger
        self._most = most
        self.reload()

    def __contains__(self, key: object) -> bool:
        return key in self.due

    def reload(self) -> None:
        """Read the index again from the ledger."""
        self.due: dict[str, int] = {}
        self._lines: dict[Line, list[str]] = {}
        self._line_of: dict[str, Line] = {}
        behind: list[tuple[int, str, Line]] = []
        for key, parked in self._ledger.parked_items():
            self.due[key] = parked.due_ms
            if parked.kind == "event":
                behind.append((parked.record.offset, key, (parked.source_key, parked.record.member)))
        for _, key, line in sorted(behind):
            self._join(key, line)

    def is_full(self) -> bool:
        """Return whether so many wait that no more of the journal may be read: memory is bounded, the journal is not."""
        return len(self.due) >= self._most

    def take(self, now_ms: int) -> dict[str, Parked]:
        """Return payloads that are due, those that waited longest first: of a member the first event alone until it is settled,
        then at once those that waited behind it."""
        taken: list[str] = []
        for _, key in sorted((at, key) for key, at in self.due.items() if at <= now_ms):
            if len(taken) >= _AT_ONCE:
                break
            taken += self._ripe(key)
        for key in taken:
            del self.due[key]
        found = self._ledger.parked(taken) if taken else {}
        return {key: found[key] for key in taken if key in found}

    def divert(self, outbound: Mapping[str, Outbound], settlement: Settlement, now_ms: int) -> None:
        """Keep back from what is to be posted the events of members one of whose events waits."""
        if not self._lines:
            return
        for source_key, out in outbound.items():
            passing: list[Record] = []
            for record in out.events:
                key, line = parked_key(source_key, "event", record.id), (source_key, record.member)
                is_taken = key in self._line_of and key not in self.due and key not in settlement.parked
                if line not in self._lines or is_taken:
                    passing.append(record)
                    continue
                waiting = msgspec.structs.replace(record, first_ms=record.first_ms or now_ms)
                settlement.parked[key] = Parked(source_key, "event", 0, BEHIND.reason, waiting)
                settlement.count(source_key, now_ms)["parked.event"] += 1
                self._join(key, line)
            out.events = passing

    def join(self, settlement: Settlement) -> None:
        """Note the events that a portion leaves waiting, so that the next portion does not overtake them."""
        for key, parked in settlement.parked.items():
            if parked.kind == "event":
                self._join(key, (parked.source_key, parked.record.member))

    def settled(self, settlement: Settlement) -> None:
        """Note what a settled batch parked, and what of it waits no longer."""
        for key in settlement.unparked - settlement.parked.keys():
            self.due.pop(key, None)
            self._leave(key)
        self.due.update({key: parked.due_ms for key, parked in settlement.parked.items()})

    def _ripe(self, key: str) -> list[str]:
        line = self._line_of.get(key)
        if line is None:
            return [key]
        keys = self._lines[line]
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

    def _join(self, key: str, line: Line) -> None:
        if key not in self._line_of:
            self._line_of[key] = line
            self._lines.setdefault(line, []).append(key)

    def _leave(self, key: str) -> None:
        line = self._line_of.pop(key, None)
        if line is None:
            return
        keys = self._lines[line]
        keys.remove(key)
        if not keys:
            del self._lines[line]
