"""What the verdicts of a batch change: counters, parked payloads, dead letters."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from capstream.relay.answers import BEHIND, Delivered, Later, Rejected
from capstream.relay.dead_letters import of_payload
from capstream.relay.delivery import Settled
from capstream.relay.ledger import parked_key
from capstream.relay.records import Kind, Parked, Record
from capstream.relay.retry import next_delivery
from capstream.relay.settlement import Settlement, Tally
from capstream.relay.status import LAG_DIGITS, LAG_NAMES


def settle_verdicts(
    settlement: Settlement, source_key: str, kind: Kind, settled: Sequence[Settled], *, now_ms: int, jitter: Callable[[], float]
) -> None:
    """Add to a settlement what the verdicts on records of one dataflow mean."""
    counter = settlement.count(source_key, now_ms)
    delivered = 0
    for record, verdict in settled:
        if type(verdict) is Delivered:
            delivered += 1
            if record.attempts or record.dead_id or settlement.parked:
                _overcome(settlement, source_key, kind, record)
        elif isinstance(verdict, Rejected):
            _overcome(settlement, source_key, kind, record)
            letter = of_payload(record, verdict, source_key=source_key, kind=kind, now_ms=now_ms)
            settlement.dead[letter.id] = letter
            counter.add(f"rejected.{kind}")
            counter.add(f"dead.{letter.class_}")
        elif isinstance(verdict, Later):
            parked = _parked(source_key, kind, record, verdict, now_ms=now_ms, jitter=jitter())
            settlement.parked[parked_key(source_key, kind, record.id)] = parked
            counter.add(f"parked.{kind}")
    counter.add(f"delivered.{kind}", delivered)


def count_lags(settlement: Settlement, source_key: str, events: Iterable[tuple[int, int]], now_ms: int) -> None:
    """Count how long each event (received, createdAt) of a source took from its `createdAt` to its delivery."""
    tally, name, alike = Tally(), "", 0  # neighbours mostly count alike
    for received_ms, created_ms in events:
        found = settlement.count(source_key, received_ms)
        lag = LAG_NAMES[min(max(now_ms - created_ms, 0).bit_length(), LAG_DIGITS)]
        if found is not tally or lag != name:
            if alike:
                tally.add(name, alike)
            tally, name, alike = found, lag, 0
        alike += 1
    if alike:
        tally.add(name, alike)


def _overcome(settlement: Settlement, source_key: str, kind: Kind, record: Record) -> None:
    """Note that a payload waits no longer and is no dead letter, whatever it was before."""
    key = parked_key(source_key, kind, record.id)
    settlement.parked.pop(key, None)
    if record.attempts:
        settlement.unparked.add(key)
    if record.dead_id:
        settlement.revived.add(record.dead_id)
        settlement.count(source_key, record.first_ms).add(f"rejected.{kind}", -1)


def _parked(source_key: str, kind: Kind, record: Record, verdict: Later, *, now_ms: int, jitter: float) -> Parked:
    if verdict is BEHIND:
        waiting = msgspec.structs.replace(record, first_ms=record.first_ms or now_ms)
        return Parked(source_key, kind, 0, verdict.reason, waiting)
    attempts = record.attempts + 1
    again = next_delivery(attempts, asked_s=None, now_ms=now_ms, jitter=jitter)
    waiting = msgspec.structs.replace(record, attempts=attempts, first_ms=record.first_ms or now_ms)
    return Parked(source_key, kind, again.at_ms, f"{verdict.status}: {verdict.reason}", waiting)
