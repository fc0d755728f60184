"""What happened to runs, in order: written with the run itself, read by who tells people about it."""

from typing import NamedTuple

import msgspec

from capstream.storage.ports import Reading, Transaction

SIGNALS = "run_signals"  #: {number:016} -> Signal; numbers rise without an end

OPENED, CLOSED = "opened", "closed"


class Signal(NamedTuple):
    """A run opened, or it closed (again, when late records changed its status)."""

    kind: str
    run_key: str  #: {sandbox}/{flow}/{hour}
    at_ms: int


_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Signal).decode


def give(change: Transaction, kind: str, run_key: str, at_ms: int) -> None:
    """Write a signal in the transaction that changes the run."""
    newest = change.scan(SIGNALS, reverse=True, limit=1)
    number = int(newest[0][0]) + 1 if newest else 1
    change.put(SIGNALS, [(f"{number:016}", _pack(Signal(kind, run_key, at_ms)))])


def after(reading: Reading, number: int, limit: int) -> list[tuple[int, Signal]]:
    """Return up to `limit` signals with numbers above `number`, in order."""
    return [(int(key), _read(body)) for key, body in reading.scan(SIGNALS, after=f"{number:016}", limit=limit)]


def forget(change: Transaction, before_ms: int) -> int:
    """Delete signals older than an instant, all but the newest: its number must not be given twice."""
    items = change.scan(SIGNALS)[:-1]
    return change.delete(SIGNALS, [key for key, body in items if _read(body).at_ms < before_ms])
