"""What waits on disk for one dataflow that is behind: segments in `courier.db`, first in, first out.

A segment is written in the transaction that moves the courier's cursor past its webhooks, and goes in the one that settles it.
"""

import zlib
from collections.abc import Iterable, Sequence

import msgspec

from capstream.kernel.json import dumps
from capstream.relay.ledger import Ledger
from capstream.relay.records import Due, LaneKey, Record, Segment, Stored
from capstream.relay.settlement import Settlement

_SEGMENT = 500  # payloads: what is read for one request is not much more than the request
_ROWS = 16
_LEVEL = 1  # webhooks of a kind are much alike: a sixth is left, for 7 µs an event

_encode = msgspec.msgpack.Encoder().encode
_segment = msgspec.msgpack.Decoder(Segment).decode


def pack(segment: Segment, oldest_ms: int) -> Stored:
    """Return a segment as it is stored."""
    offset = segment.records[0].offset if segment.records else segment.due[0][2]
    count = len(segment.records) + len(segment.due)
    return Stored(count, offset, oldest_ms, zlib.compress(_encode(segment), _LEVEL))


def unpack(stored: Stored) -> Segment:
    """Return the segment of what is stored."""
    return _segment(zlib.decompress(stored.packed))


def repacked(stored: Stored, records: list[Record], due: list[Due], created: list[tuple[int, int]]) -> Stored | None:
    """Return a stored segment with other content, None when nothing waits in it any more."""
    count = len(records) + len(due)
    packed = zlib.compress(_encode(Segment(records, due, created)), _LEVEL)
    return Stored(count, stored.offset, stored.oldest_ms, packed) if count else None


class Outbox:
    """The outbox of one dataflow: its bodies lie in the ledger, memory holds how many there are."""

    def __init__(self, ledger: Ledger, lane: LaneKey) -> None:
        self._ledger = ledger
        self._lane = lane
        self._prefix = f"{lane[0]}/{lane[1]}/"
        self._last = 0  #: number of the newest segment
        self.reload()

    def reload(self) -> None:
        """Read again from the ledger how much waits."""
        self.unstored: set[str] = set()  #: segments whose batch is not settled yet
        self._head, self._last = self._ledger.outbox_ends(self._prefix)
        known = self._ledger.lane(self._prefix[:-1]) if self._head else {}
        self._waiting = int(known.get("waiting", 0))
        self._bytes = int(known.get("bytes", 0))
        self._since_ms = int(known.get("sinceMs", 0))
        self._next = (self._waiting, self._bytes, self._head, self._since_ms)

    def is_empty(self) -> bool:
        """Return whether nothing waits, neither stored nor in a batch that is not settled yet."""
        return self._head is None and not self.unstored

    def last(self) -> int:
        """Return the number of the newest segment."""
        return self._last

    def add(
        self,
        settlement: Settlement,
        records: Sequence[Record],
        due: Sequence[Due] = (),
        created: Sequence[tuple[int, int]] = (),
        *,
        oldest_ms: int,
    ) -> dict[str, int]:
        """Let payloads and snapshots wait behind what waits; return the keys of their segments, with the payloads in each."""
        made: dict[str, int] = {}
        parts = [Segment(list(records[at : at + _SEGMENT]), [], []) for at in range(0, len(records), _SEGMENT)]
        parts += [Segment([], list(due[at : at + _SEGMENT]), []) for at in range(0, len(due), _SEGMENT)]
        for index, part in enumerate(parts):
            self._last += 1
            key = f"{self._prefix}{self._last:012d}"
            whole = Segment(part.records, part.due, list(created)) if index == len(parts) - 1 else part
            stored = pack(whole, oldest_ms)
            settlement.outbox.setdefault(self._lane, {})[key] = stored
            self.unstored.add(key)
            made[key] = stored.count
        return made

    def page(self, most: int) -> dict[str, tuple[Stored, Segment]]:
        """Return the oldest stored segments, of about `most` payloads."""
        found: dict[str, tuple[Stored, Segment]] = {}
        count, after = 0, ""
        while count < most:
            rows = self._ledger.outbox(self._prefix, after=after, limit=_ROWS)
            for key, stored in rows:
                found[key] = (stored, unpack(stored))
                count += stored.count
                if count >= most:
                    break
            if len(rows) < _ROWS:
                break
            after = rows[-1][0]
        return found

    def sum_up(self, settlement: Settlement, now_ms: int) -> None:
        """Add to a settlement that is about to be written how far behind the dataflow is then."""
        added, sent = settlement.outbox.get(self._lane, {}), settlement.sent.get(self._lane, {})
        waiting = self._waiting + sum(each.count for each in added.values()) - sum(sent.values())
        taken = self._bytes + sum(len(each.packed) for each in added.values()) - self._ledger.outbox_bytes(list(sent))
        head = self._head
        if sent:
            following = self._ledger.outbox(self._prefix, after=max(sent), limit=1)
            head = following[0][1] if following else None
        head = head or next(iter(added.values()), None)
        since_ms = 0 if head is None else self._since_ms or now_ms
        self._next = (waiting, taken, head, since_ms)
        facts = {"waiting": waiting, "bytes": taken, "sinceMs": since_ms}
        told = b"" if head is None else dumps({**facts, "offset": head.offset, "oldestMs": head.oldest_ms})
        settlement.lanes[self._prefix[:-1]] = told

    def settled(self, keys: Iterable[str]) -> None:
        """Note that what was summed up last is written, and with it the segments under `keys`."""
        self._waiting, self._bytes, self._head, self._since_ms = self._next
        self.unstored.difference_update(keys)
