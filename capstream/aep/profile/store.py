"""Writes fragments and events inside the pipeline's transaction. Source: profile.md 1, streaming-ingestion.md 10."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, final

import msgspec

from capstream.aep.identity_service.rules import Identity
from capstream.aep.profile.model import (
    COUNTS,
    EVENT_BYTES,
    EVENTS,
    FRAGMENTS,
    PROFILES,
    RECORD_BYTES,
    Operation,
    StoredEvent,
    StoredFragment,
    StoredIdentity,
)
from capstream.aep.profile.rules import is_stale, patched
from capstream.kernel.json import dumps, loads
from capstream.storage.ports import Transaction

_pack: Final = msgspec.msgpack.Encoder().encode
_read: Final = msgspec.msgpack.Decoder(StoredFragment).decode


@final
class Record:
    """A mapped record that Profile takes, `entity` being its JSON text."""

    def __init__(
        self,
        dataset_id: str,
        primary: Identity,
        identities: Sequence[Identity],
        entity: bytes,
        ingested_ms: int,
        seq: int,
        updated_ms: int,
        batch_id: str,
        operation: Operation,
        appended: Collection[tuple[str, ...]],
    ) -> None:
        """`appended`: places of arrays that a merge appends to."""
        self.dataset_id = dataset_id
        self.primary = primary
        self.identities = identities
        self.entity = entity
        self.ingested_ms = ingested_ms
        self.seq = seq
        self.updated_ms = updated_ms
        self.batch_id = batch_id
        self.operation = operation
        self.appended = appended


Event = tuple[str, StoredEvent]
"""(XID, event) of a mapped experience event that Profile takes."""


def record_problem(size: int) -> str:
    """Return why Profile drops a record of this many bytes, empty when it takes it."""
    return f"the record has {size} bytes, Profile takes {RECORD_BYTES}" if size > RECORD_BYTES else ""


def event_problem(size: int) -> str:
    """Return why Profile drops an event of this many bytes, empty when it takes it."""
    return f"the event has {size} bytes, Profile takes {EVENT_BYTES}" if size > EVENT_BYTES else ""


def write_events(change: Transaction, sandbox_id: str, events: Iterable[Event]) -> int:
    """Store events whose (dataset, identity, `_id`) is new and return how many were: the first one wins."""
    prefix = f"{sandbox_id}/"
    return change.insert(EVENTS, [(f"{prefix}{xid}/{e.dataset_id}/{e.event_id}", _pack(e)) for xid, e in events])


def write_records(change: Transaction, sandbox_id: str, records: Sequence[Record]) -> None:
    """Apply records to their fragments in the order given."""
    prefix = f"{sandbox_id}/"
    keys = [f"{prefix}{record.primary.xid}/{record.dataset_id}" for record in records]
    stored = change.get_many(FRAGMENTS, list(dict.fromkeys(keys)))
    before = {key: _read(body) for key, body in stored.items()}
    after: dict[str, StoredFragment | None] = dict(before)
    owners: dict[str, Record] = {}
    for key, record in zip(keys, records, strict=True):
        owners[key] = record
        old = after.get(key)
        if old is None or not is_stale(old.updated_ms, record.updated_ms):
            after[key] = _applied(old, record)
    changed = {key: fragment for key, fragment in after.items() if fragment is not before.get(key)}
    change.put(FRAGMENTS, [(key, _pack(fragment)) for key, fragment in changed.items() if fragment is not None])
    gone = [key for key, fragment in changed.items() if fragment is None]
    if gone:
        change.delete(FRAGMENTS, gone)
    new = [owners[key] for key in changed if key not in before and changed[key] is not None]
    lost = [owners[key] for key in gone if key in before]
    _count(change, sandbox_id, new, lost)


def _applied(old: StoredFragment | None, record: Record) -> StoredFragment | None:
    if record.operation is Operation.DELETE:
        return None
    entity = record.entity
    updated_ms = record.updated_ms
    named = record.identities
    identities = [StoredIdentity(i.xid, i.nsid, i.value) for i in named if i.xid != record.primary.xid]
    if record.operation is Operation.MERGE and old is not None:
        # Upserts never update, replace or remove identities. Source: streaming-ingestion.md 10 (5).
        merged = patched(loads(old.entity), loads(entity), record.appended)
        entity, updated_ms = dumps(merged), updated_ms or old.updated_ms
        identities = list(old.identities[1:])
    primary = StoredIdentity(record.primary.xid, record.primary.nsid, record.primary.value)
    return StoredFragment(
        record.dataset_id, (primary, *identities), record.ingested_ms, record.seq, updated_ms, record.batch_id, entity
    )


def _count(change: Transaction, sandbox_id: str, new: Sequence[Record], lost: Sequence[Record]) -> None:
    if not new and not lost:
        return
    change.insert(PROFILES, [(f"{sandbox_id}/{record.primary.xid}", b"") for record in new])
    steps: dict[str, int] = {}
    for records, step in ((new, 1), (lost, -1)):
        for record in records:
            for key in (f"{sandbox_id}/dataset/{record.dataset_id}", f"{sandbox_id}/namespace/{record.primary.nsid}"):
                steps[key] = steps.get(key, 0) + step
    held = change.get_many(COUNTS, list(steps))
    change.put(COUNTS, [(key, b"%d" % (int(held.get(key, b"0")) + step)) for key, step in steps.items()])
