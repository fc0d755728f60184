"""Catalog batches of streamed records: one for each dataset, flow and window, a second one for what was rejected in it.

Kept in the pipeline's documents. Source: catalog.md 6.1, streaming-ingestion.md 8 and 11, batch-ingestion.md A6.
"""

from collections.abc import Container, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from capstream.aep.observability_insights import catalogue, series
from capstream.kernel.ids import new_ulid
from capstream.storage.ports import Documents, Reading, Transaction

BATCHES = "batches"  #: {sandbox}/{batch} -> BatchRecord
WINDOWS = "windows"  #: {dataset}/{flow} -> Window
LATEST = "latest_batches"  #: {sandbox}/{dataset} -> Latest

MAPPER_CODE = "MAPPER-3700-400"
FAILED_RUN_CODE = "CONNECTOR-2001-500"


class Stage(StrEnum):
    """Where a record was refused; each has a counter of its own in the batch's metrics."""

    ENVELOPE = "unknown"  #: refused at the endpoint, or nothing knows what to do with it
    MAPPER = "mapper"
    VALIDATION = "streamingValidation"
    LAKE = "lake"


class BatchStatus(StrEnum):
    """The states a streamed batch goes through."""

    PROCESSING = "processing"  #: its window is open
    SUCCESS = "success"  #: its window is closed
    FAILED = "failed"  #: holds rejected records
    INACTIVE = "inactive"  #: was taken back


class Source(NamedTuple):
    """What the records of a batch come from and go to."""

    sandbox_id: str
    org_id: str
    dataset_id: str
    flow_id: str  #: empty for records routed by their dataset
    diagnostics: bool = False  #: details of what fails are shown
    partial_percent: float | None = None  #: share of failed records up to which ingestion is a success
    run_ms: int = 0  #: beginning of the file run the records belong to; such a run has batches of its own
    format: str = "json"  #: of what came in

    @property
    def key(self) -> str:
        return f"{self.dataset_id}/{self.flow_id}" + (f"/{self.run_ms}" if self.run_ms else "")


class Window(msgspec.Struct, array_like=True):
    """The batches that take the records of one dataset and flow at present."""

    sandbox_id: str
    opened_ms: int
    batch_id: str = ""  #: empty until the first row
    failed_id: str = ""  #: empty until the first rejected record
    size: int = 0
    held: bool = False  #: stays open until its run is closed


class BatchRecord(msgspec.Struct, array_like=True):
    """A batch as it is stored; `rendered` gives Catalog's form."""

    id: str
    sandbox_id: str
    org_id: str
    dataset_id: str
    flow_id: str
    status: str
    created_ms: int
    updated_ms: int
    completed_ms: int = 0
    revision: int = 0
    records: int = 0  #: rows written, or records rejected when the batch is a failed one
    size: int = 0
    invalid: dict[str, int] = {}  #: Stage, `profile`, `identity` -> records
    errors: dict[str, tuple[str, int]] = {}  #: code -> (description of the first, records)
    profiled: int = 0  #: rows that Profile took
    diagnostics: bool = False
    partial_percent: float | None = None
    format: str = "json"


class Latest(msgspec.Struct, array_like=True):
    """The newest batches of a dataset, and what all of them brought."""

    batch_id: str = ""
    status: str = ""
    success_id: str = ""
    failed_id: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    rows: int = 0
    size: int = 0


class Written(NamedTuple):
    """What one micro-batch added to a success batch."""

    records: int
    size: int
    invalid_profile: int
    invalid_identity: int
    profiled: int = 0


class Refused(NamedTuple):
    """One rejected record, as its batch counts it."""

    stage: Stage
    errors: Sequence[tuple[str, str]]  #: (code, description)
    size: int


_pack = msgspec.msgpack.Encoder().encode
read_batch = msgspec.msgpack.Decoder(BatchRecord).decode
"""Return the BatchRecord of stored bytes."""

read_latest = msgspec.msgpack.Decoder(Latest).decode
"""Return the Latest of stored bytes."""

_read_window = msgspec.msgpack.Decoder(Window).decode


class Windows:
    """The open windows and the batches they fill. Written by the pipeline only.

    A batch that rows will carry is stored before its first row is committed to the lake: after a crash between the two
    commits the rows still name a batch that exists.
    """

    def __init__(self, documents: Documents, *, flush_ms: int = 60_000, flush_bytes: int = 64 * 1024 * 1024) -> None:
        self._documents = documents
        self._flush_ms = flush_ms
        self._flush_bytes = flush_bytes

    def batch_ids(self, sources: Iterable[Source], now_ms: int, *, in_lake: Container[str] = ()) -> dict[Source, str]:
        """Return the batch that takes each source's rows now; opens those that are missing, durably.

        `in_lake` names datasets of which rows were committed that are not counted yet: they carry the window's batch.
        """
        wanted = list(dict.fromkeys(sources))
        windows = self._windows(self._documents, wanted)
        missing = [
            s for s in wanted if not windows[s].batch_id or (self._is_over(windows[s], now_ms) and s.dataset_id not in in_lake)
        ]
        if missing:
            with self._documents.transaction() as change:
                for source in missing:
                    windows[source] = self._opened(change, source, windows[source], now_ms)
        return {source: windows[source].batch_id for source in wanted}

    def failed_id(self, change: Transaction, source: Source, now_ms: int) -> str:
        """Return the batch that takes the source's rejected records now."""
        window = self._windows(change, [source])[source]
        if self._is_over(window, now_ms):
            self._close(change, window, now_ms)
            window = Window(source.sandbox_id, now_ms, held=bool(source.run_ms))
        if not window.failed_id:
            window.failed_id, window.opened_ms = new_ulid(now_ms), window.opened_ms or now_ms
            self._new_batch(change, source, window.failed_id, BatchStatus.FAILED, now_ms)
            series.add(change, source.sandbox_id, series.dataset(source.dataset_id), now_ms, {catalogue.BATCHES_BAD: 1})
            change.put(WINDOWS, [(source.key, _pack(window))])
        return window.failed_id

    def add_written(self, change: Transaction, source: Source, batch_id: str, written: Written, *, now_ms: int) -> None:
        """Count rows into a batch."""
        batch = _stored(change, source.sandbox_id, batch_id)
        batch.records += written.records
        batch.size += written.size
        batch.profiled += written.profiled
        for stage, count in (("profile", written.invalid_profile), ("identity", written.invalid_identity)):
            if count:
                batch.invalid[stage] = batch.invalid.get(stage, 0) + count
        _save(change, batch, now_ms, added=written)
        window = self._windows(change, [source])[source]
        if window.batch_id == batch_id:
            window.size += written.size
            change.put(WINDOWS, [(source.key, _pack(window))])

    def add_refused(self, change: Transaction, source: Source, refused: Sequence[Refused], now_ms: int) -> str:
        """Count rejected records into the source's failed batch and return its id."""
        batch = _stored(change, source.sandbox_id, self.failed_id(change, source, now_ms))
        for record in refused:
            batch.records += 1
            batch.size += record.size
            batch.invalid[record.stage] = batch.invalid.get(record.stage, 0) + 1
            for code, description in dict(record.errors).items():
                first, count = batch.errors.get(code, (description, 0))
                batch.errors[code] = (first, count + 1)
        batch.completed_ms = now_ms
        _save(change, batch, now_ms)
        return batch.id

    def close_due(self, change: Transaction, now_ms: int) -> int:
        """Close windows that are over and return how many were."""
        due = [(key, window) for key, body in change.scan(WINDOWS) if self._is_over(window := _read_window(body), now_ms)]
        for _, window in due:
            self._close(change, window, now_ms)
        change.delete(WINDOWS, [key for key, _ in due])
        return len(due)

    def has_due(self, now_ms: int) -> bool:
        """Return whether a window is over, so that somebody has to close it."""
        return any(self._is_over(_read_window(body), now_ms) for _, body in self._documents.scan(WINDOWS))

    def _windows(self, reading: Reading, sources: Sequence[Source]) -> dict[Source, Window]:
        bodies = reading.get_many(WINDOWS, [source.key for source in sources])
        return {
            source: _read_window(bodies[source.key])
            if source.key in bodies
            else Window(source.sandbox_id, 0, held=bool(source.run_ms))
            for source in sources
        }

    def of_run(self, reading: Reading, source: Source) -> tuple[BatchRecord | None, BatchRecord | None]:
        """Return the batch that took the rows of a run that is not closed, and the one that took its rejected records."""
        window = self._windows(reading, [source])[source]
        found = [_stored(reading, source.sandbox_id, one) if one else None for one in (window.batch_id, window.failed_id)]
        return found[0], found[1]

    def close_run(self, change: Transaction, source: Source, *, succeeded: bool, now_ms: int) -> str:
        """Close what the rows of a file run went into; return the batch to take back when the run failed, empty otherwise."""
        window = self._windows(change, [source])[source]
        change.delete(WINDOWS, [source.key])
        if succeeded or not window.batch_id:
            self._close(change, window, now_ms)
            return ""
        batch = _stored(change, source.sandbox_id, window.batch_id)
        text = "The dataflow run failed: nothing of it was kept. See the errors of the run."
        batch.status, batch.completed_ms = BatchStatus.FAILED, now_ms
        batch.errors = {FAILED_RUN_CODE: (text, batch.records)}
        _save(change, batch, now_ms)
        series.add(change, source.sandbox_id, series.dataset(source.dataset_id), now_ms, {catalogue.BATCHES_BAD: 1})
        return batch.id

    def _is_over(self, window: Window, now_ms: int) -> bool:
        if window.held:
            return False
        return bool(window.opened_ms) and (now_ms - window.opened_ms >= self._flush_ms or window.size >= self._flush_bytes)

    def _opened(self, change: Transaction, source: Source, window: Window, now_ms: int) -> Window:
        if self._is_over(window, now_ms):
            self._close(change, window, now_ms)
            window = Window(source.sandbox_id, now_ms, held=bool(source.run_ms))
        window.opened_ms = window.opened_ms or now_ms
        window.batch_id = new_ulid(now_ms)
        self._new_batch(change, source, window.batch_id, BatchStatus.PROCESSING, now_ms)
        change.put(WINDOWS, [(source.key, _pack(window))])
        return window

    def _new_batch(self, change: Transaction, source: Source, batch_id: str, status: BatchStatus, now_ms: int) -> None:
        batch = BatchRecord(
            batch_id, source.sandbox_id, source.org_id, source.dataset_id, source.flow_id, status, now_ms, now_ms,
            diagnostics=source.diagnostics, partial_percent=source.partial_percent, format=source.format,
        )  # fmt: skip
        _save(change, batch, now_ms)

    def _close(self, change: Transaction, window: Window, now_ms: int) -> None:
        if window.batch_id:
            batch = _stored(change, window.sandbox_id, window.batch_id)
            batch.status = BatchStatus.SUCCESS
            batch.completed_ms = now_ms
            _save(change, batch, now_ms)
            counts = {catalogue.BATCHES_GOOD: 1, catalogue.PROFILE_BATCHES: min(batch.profiled, 1)}
            series.add(change, batch.sandbox_id, series.dataset(batch.dataset_id), now_ms, counts)


def is_filling(reading: Reading, batch_id: str) -> bool:
    """Return whether a window that is open fills a batch."""
    return any(batch_id in (_read_window(body).batch_id, _read_window(body).failed_id) for _, body in reading.scan(WINDOWS))


def _stored(reading: Reading, sandbox_id: str, batch_id: str) -> BatchRecord:
    body = reading.get(BATCHES, f"{sandbox_id}/{batch_id}")
    if body is None:
        raise KeyError(f"batch {batch_id} is not in sandbox {sandbox_id}")
    return read_batch(body)


def _save(change: Transaction, batch: BatchRecord, now_ms: int, *, added: Written | None = None) -> None:
    batch.updated_ms = now_ms
    batch.revision += 1
    store(change, batch, added=added)


def store(change: Transaction, batch: BatchRecord, *, added: Written | None = None, taken: Latest | None = None) -> None:
    """Store a batch as it is, and what it means for the newest batches of its dataset."""
    change.put(BATCHES, [(f"{batch.sandbox_id}/{batch.id}", _pack(batch))])
    key = f"{batch.sandbox_id}/{batch.dataset_id}"
    body = change.get(LATEST, key)
    latest = read_latest(body) if body else Latest()
    if batch.id >= latest.batch_id:
        latest.batch_id, latest.status, latest.created_ms = batch.id, batch.status, batch.created_ms
    latest.updated_ms = max(latest.updated_ms, batch.updated_ms)
    if batch.status == BatchStatus.SUCCESS:
        latest.success_id = max(latest.success_id, batch.id)
    elif batch.status == BatchStatus.FAILED:
        latest.failed_id = max(latest.failed_id, batch.id)
    if added is not None:
        latest.rows += added.records
        latest.size += added.size
    if taken is not None:
        latest.rows, latest.size = max(latest.rows - taken.rows, 0), max(latest.size - taken.size, 0)
    change.put(LATEST, [(key, _pack(latest))])
