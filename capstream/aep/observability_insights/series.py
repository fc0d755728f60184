"""What was counted, by the minute: one document for each subject and UTC hour, written by who counts.

A subject is `dataset/{id}`, `inlet/{id}` or `graph`. A record is counted in the minute in which the inlet received it, so the
counts of a day and the runs of that day add up (monitoring-alerts.md 1). The metrics made of it: monitoring-alerts.md 6.3.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from capstream.storage.ports import Reading, Transaction

SERIES = "series"  #: {sandbox}/{subject}/{hour:08} -> {minute of the hour: {counter: number}}

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

Counts = Mapping[str, int]

_Hour = dict[int, dict[str, int]]
_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(_Hour).decode


class Point(NamedTuple):
    """What was counted for one subject in one minute."""

    subject: str
    at_ms: int  #: start of the minute
    counts: Counts


def dataset(dataset_id: str) -> str:
    """Return the subject of a dataset."""
    return f"dataset/{dataset_id}"


def inlet(inlet_id: str) -> str:
    """Return the subject of an inlet."""
    return f"inlet/{inlet_id}"


GRAPH = "graph/all"
"""The subject of a sandbox's identity graph."""


def add(change: Transaction, sandbox_id: str, subject: str, at_ms: int, counts: Counts) -> None:
    """Add to the counts of the minute of `at_ms`; counters of 0 are left out."""
    _change(change, (sandbox_id, subject), at_ms, {name: number for name, number in counts.items() if number}, adds=True)


def note(change: Transaction, sandbox_id: str, subject: str, at_ms: int, levels: Counts) -> None:
    """Set levels, as of the minute of `at_ms`: they say how many there are, not how many came."""
    _change(change, (sandbox_id, subject), at_ms, levels, adds=False)


def _change(change: Transaction, whose: tuple[str, str], at_ms: int, counts: Counts, *, adds: bool) -> None:
    if not counts:
        return
    hour, rest = divmod(at_ms, HOUR_MS)
    key = f"{whose[0]}/{whose[1]}/{hour:08}"
    body = change.get(SERIES, key)
    minutes = _read(body) if body else {}
    held = minutes.setdefault(rest // MINUTE_MS, {})
    for name, number in counts.items():
        held[name] = (held.get(name, 0) if adds else 0) + number
    change.put(SERIES, [(key, _pack(minutes))])


def read(reading: Reading, sandbox_id: str, subject: str, start_ms: int, end_ms: int) -> Iterator[Point]:
    """Yield the points of every subject that starts with `subject`, minutes from `start_ms` to `end_ms`, both included."""
    first, last = start_ms // HOUR_MS, end_ms // HOUR_MS
    for key, body in reading.scan(SERIES, prefix=f"{sandbox_id}/{subject}"):
        _, kind, name, hour = key.split("/")
        if not first <= int(hour) <= last:
            continue
        for minute, counts in sorted(_read(body).items()):
            at_ms = int(hour) * HOUR_MS + minute * MINUTE_MS
            if start_ms <= at_ms <= end_ms:
                yield Point(f"{kind}/{name}", at_ms, counts)


def hour(reading: Reading, sandbox_id: str, subject: str, number: int) -> Counts:
    """Return what was counted for a subject in one hour (since 1970)."""
    body = reading.get(SERIES, f"{sandbox_id}/{subject}/{number:08}")
    counts: Counter[str] = Counter()
    for minute in (_read(body) if body else {}).values():
        counts.update(minute)
    return counts


def forget(change: Transaction, sandbox_id: str, subject: str) -> int:
    """Delete what was counted for a subject; return how many hours that were."""
    return change.delete(SERIES, [key for key, _ in change.scan(SERIES, prefix=f"{sandbox_id}/{subject}/")])
