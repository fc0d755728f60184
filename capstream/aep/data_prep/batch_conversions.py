"""Batch conversions: the rows of a batch, mapped into another dataset. Source: data-prep.md 1.2 (shapes are ASSUMPTIONs).

An order is kept by the gateway, which reads the rows of the batch and hands them on; they go the way of streamed messages, marked
with the order instead of an inlet. The pipeline maps them and writes down what became of them.
"""

from enum import StrEnum
from hashlib import sha256

import msgspec

from capstream.aep.call import Sandbox
from capstream.kernel.json import Json
from capstream.storage.ports import Reading, Transaction

CONVERSIONS = "batch_conversions"  #: control plane: {sandbox}/{id} -> BatchConversion
OPEN = "open_batch_conversions"  #: control plane: the same -> empty, until the gateway has seen the outcome
OUTCOMES = "batch_conversion_outcomes"  #: pipeline: {sandbox}/{id} -> Outcome
WARNED = "batch_conversion_warnings"  #: pipeline: {sandbox}/{id} -> records of which a field could not be mapped

MAPPER_ERROR = ("MAPPER-3700-400", "Mapper Transform Error")
FAILED_CODE = "CONNECTOR-2001-500"
STATUSES = ("queued", "processing", "success", "failed")

_MARK = "conversion/"


class Phase(StrEnum):
    """How far the gateway is with an order."""

    QUEUED = "queued"  #: the batch is still being filled, or its rows are not read yet
    PROCESSING = "processing"  #: its rows are being read
    HANDED_ON = "handedOn"  #: all rows are in the log, up to offset `end`
    FAILED = "failed"  #: they could not be read; `problem` says why


class BatchConversion(msgspec.Struct, kw_only=True):
    """One order."""

    id: str
    sandbox: Sandbox
    org_id: str
    dataset_id: str  #: destination
    batch_id: str  #: source
    source_dataset_id: str
    mapping_id: str
    mapping_version: int
    started_ms: int  #: no two of a sandbox have the same
    changed_ms: int
    user_id: str
    phase: Phase = Phase.QUEUED
    attempts: int = 0
    records: int = 0
    end: int = 0  #: offset of the last row in the inlet log
    problem: str = ""

    @property
    def key(self) -> str:
        return f"{self.sandbox.id}/{self.id}"

    @property
    def mark(self) -> str:
        """Return what stands in place of an inlet's id in the messages of its rows."""
        return _MARK + self.key


class Outcome(msgspec.Struct, kw_only=True):
    """What became of the rows."""

    completed_ms: int
    written: int
    batch_id: str = ""  #: of the rows, empty when there are none
    failed_id: str = ""  #: batch of the rejected records
    errors: list[tuple[str, str, int]] = []  #: (code, message, records)


_read = msgspec.json.Decoder(BatchConversion).decode
_read_outcome = msgspec.json.Decoder(Outcome).decode
_pack = msgspec.json.Encoder().encode


def order(change: Transaction, conversion: BatchConversion) -> None:
    """Store a new order."""
    taken = {_read(body).started_ms for _, body in change.scan(CONVERSIONS, prefix=f"{conversion.sandbox.id}/")}
    while conversion.started_ms in taken:
        conversion.started_ms += 1
    save(change, conversion)
    change.put(OPEN, [(conversion.key, b"")])


def save(change: Transaction, conversion: BatchConversion) -> None:
    """Store what changed."""
    change.put(CONVERSIONS, [(conversion.key, _pack(conversion))])


def finish(change: Transaction, key: str) -> None:
    """Note that nothing is left to be done."""
    change.delete(OPEN, [key])


def get(reading: Reading, sandbox_id: str, conversion_id: str) -> BatchConversion | None:
    """Return an order, or None."""
    body = reading.get(CONVERSIONS, f"{sandbox_id}/{conversion_id}")
    return None if body is None else _read(body)


def all_of(reading: Reading, sandbox_id: str) -> list[BatchConversion]:
    """Return the orders of a sandbox."""
    return [_read(body) for _, body in reading.scan(CONVERSIONS, prefix=f"{sandbox_id}/")]


def unfinished(reading: Reading) -> list[BatchConversion]:
    """Return the orders that are not finished."""
    keys = [key for key, _ in reading.scan(OPEN)]
    found = reading.get_many(CONVERSIONS, keys) if keys else {}
    return sorted((_read(body) for body in found.values()), key=lambda one: one.started_ms)


def of_mark(reading: Reading, mark: str) -> BatchConversion | None:
    """Return the order whose rows carry `mark`; None for messages of an inlet and for orders that are gone."""
    body = reading.get(CONVERSIONS, mark.removeprefix(_MARK)) if mark.startswith(_MARK) else None
    return None if body is None else _read(body)


def note_warnings(change: Transaction, mark: str, count: int) -> None:
    """Count records of an order that were written without a field that could not be mapped."""
    if count and mark.startswith(_MARK):
        key = mark.removeprefix(_MARK)
        change.put(WARNED, [(key, b"%d" % (count + warnings_of(change, key)))])


def warnings_of(reading: Reading, key: str) -> int:
    """Return how many records of an order were written without a field."""
    return int(reading.get(WARNED, key) or b"0")


def settle(change: Transaction, key: str, outcome: Outcome) -> None:
    """Store what became of the rows."""
    change.put(OUTCOMES, [(key, _pack(outcome))])


def outcome_of(reading: Reading, key: str) -> Outcome | None:
    """Return what became of the rows; None while they are on their way."""
    body = reading.get(OUTCOMES, key)
    return None if body is None else _read_outcome(body)


def activity_id(conversion_id: str) -> str:
    """Return the id of the one activity a conversion has."""
    return sha256(f"transform {conversion_id}".encode()).hexdigest()[:32]


def rendered(conversion: BatchConversion, outcome: Outcome | None) -> dict[str, Json]:
    """Return the Conversion object."""
    errors = [(FAILED_CODE, conversion.problem, conversion.records)] if conversion.problem else []
    made: dict[str, Json] = {}
    if outcome is not None:
        errors += outcome.errors
        named = {"destinationBatchId": outcome.batch_id, "failedBatchId": outcome.failed_id}
        made = {name: value for name, value in named.items() if value}
    changed_ms = max(conversion.changed_ms, outcome.completed_ms if outcome else 0)
    status = _status(conversion, outcome)
    activity: dict[str, Json] = {
        "id": activity_id(conversion.id),
        "type": "transform",
        "status": status,
        "recordCount": outcome.written if outcome else 0,
        "errors": [{"code": code, "message": message, "recordCount": count} for code, message, count in errors],
    }
    return {
        "id": conversion.id,
        "destinationDatasetId": conversion.dataset_id,
        "sourceBatchId": conversion.batch_id,
        "mappingSetId": conversion.mapping_id,
        "mappingSetVersion": conversion.mapping_version,
        "status": status,
        "createdDate": conversion.started_ms,
        "modifiedDate": changed_ms,
        "createdBy": conversion.user_id,
        "modifiedBy": conversion.user_id,
        **made,
        "activities": [activity],
    }


def _status(conversion: BatchConversion, outcome: Outcome | None) -> str:
    """Return the status; a conversion of which a record was rejected has failed, though its other records are written."""
    if outcome is not None:
        return "failed" if outcome.failed_id or outcome.written < conversion.records else "success"
    return "processing" if conversion.phase is Phase.HANDED_ON else str(conversion.phase)
