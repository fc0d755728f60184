"""The loop behind batch conversions: read the rows of a batch out of the lake and hand them on to the pipeline.

Rows are exported to a file first, so that a process that died goes on with the same rows in the same order; appended in pieces
under keys that follow from conversion and place, a piece is never appended twice. Source: data-prep.md 1.2.
"""

import threading
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from capstream.aep.call import Sandbox
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.batches import BatchStatus
from capstream.aep.catalog.lake import SYSTEM_COLUMNS
from capstream.aep.data_prep import batch_conversions
from capstream.aep.data_prep.batch_conversions import BatchConversion, Phase
from capstream.aep.file_ingestion.collector import Rows
from capstream.aep.query_service.model import QueryFailed
from capstream.aep.streaming_ingestion.messages import Accepted, encode
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json, dumps
from capstream.lang.dates import date_text
from capstream.storage.durable import synced
from capstream.storage.ports import Documents, Reading

_ROWS = 500  # of one append
_MOST_PENDING = 2000  # messages that wait for the pipeline
_MOST_ATTEMPTS = 4
_PAUSE_S = 0.05
_IDLE_S = 2.0


class Exporter(Protocol):
    """Reads rows out of the lake."""

    def export_batch(self, sandbox: Sandbox, dataset_id: str, batch_id: str, target: Path) -> None: ...


class _Stopped(Exception):
    """The process ends."""


class Converter:
    """Serves batch conversions. One instance, in a thread of its own, with connections of its own."""

    def __init__(
        self, documents: Documents, state: Reading, rows: Rows, exporter: Exporter, spool: Path, *, clock: Clock
    ) -> None:
        self._documents = documents
        self._state = state
        self._batches = Batches(state)
        self._rows = rows
        self._exporter = exporter
        self._spool = spool
        self._clock = clock
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        self._stop = stop
        while not stop.wait(_IDLE_S):
            try:
                self.run_once()
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001 - body of the loop: whatever it was, the orders are still there
                log.error("batch conversions not served", action="conversions_failed", exc=error)

    def run_once(self) -> None:
        """Do what can be done now for every conversion under way."""
        for conversion in batch_conversions.unfinished(self._documents):
            if batch_conversions.outcome_of(self._state, conversion.key) is not None:
                self._finish(conversion)
            elif conversion.phase is not Phase.HANDED_ON:
                self._serve(conversion)

    def _serve(self, conversion: BatchConversion) -> None:
        batch = self._batches.record(conversion.sandbox.id, conversion.batch_id)
        if batch is None or batch.status in (BatchStatus.FAILED, BatchStatus.INACTIVE):
            self._fail(
                conversion, f"Batch {conversion.batch_id} is {batch.status if batch else 'gone'}: it has no rows any more."
            )
            return
        if batch.status == BatchStatus.PROCESSING:
            return  # more rows may come
        try:
            self._hand_on(conversion, self._exported(conversion))
        except KeyError:
            self._fail(conversion, f"Dataset {conversion.source_dataset_id} of the batch does not exist any more.")
        except (QueryFailed, OSError) as error:
            conversion.attempts += 1
            log.error("batch not read", action="conversion_retried", exc=error, conversion=conversion.id)
            if conversion.attempts >= _MOST_ATTEMPTS:
                self._fail(conversion, f"The rows of batch {conversion.batch_id} cannot be read: {error}")
            else:
                self._save(conversion)

    def _file(self, conversion: BatchConversion) -> Path:
        return self._spool / f"conversion-{conversion.id}.parquet"

    def _exported(self, conversion: BatchConversion) -> Path:
        file = self._file(conversion)
        if conversion.phase is Phase.PROCESSING and file.exists():
            return file
        self._spool.mkdir(parents=True, exist_ok=True)
        self._exporter.export_batch(conversion.sandbox, conversion.source_dataset_id, conversion.batch_id, file)
        synced(file)
        synced(self._spool)
        conversion.phase = Phase.PROCESSING
        self._save(conversion)
        return file

    def _hand_on(self, conversion: BatchConversion, file: Path) -> None:
        count, end = 0, self._rows.end()
        for records in _records(file):
            end = self._append(conversion, records, count)
            count += len(records)
        conversion.phase, conversion.records, conversion.end = Phase.HANDED_ON, count, end
        self._save(conversion)
        log.info("batch handed on", action="batch_handed_on", conversion=conversion.id, records=count)

    def _append(self, conversion: BatchConversion, records: Sequence[dict[str, Json]], place: int) -> int:
        names = [f"{conversion.id}-{place + at}" for at in range(len(records))]
        keys = [sha256(f"conversion/{name}".encode()).digest()[:16] for name in names]
        known = self._rows.seen(keys[0])
        if known:
            return known + len(records) - 1
        while self._rows.pending() > _MOST_PENDING:
            if self._stop.wait(_PAUSE_S):
                raise _Stopped
        messages = [self._message(conversion, name, record) for name, record in zip(names, records, strict=True)]
        return self._rows.append(messages, keys)

    def _message(self, conversion: BatchConversion, xaction_id: str, record: dict[str, Json]) -> bytes:
        return encode(
            Accepted(
                xaction_id=xaction_id,
                inlet_id=conversion.mark,
                flow_id="",
                dataset_id=conversion.dataset_id,
                received_ms=self._clock(),
                form="B",
                authenticated=True,
                refusal="",
                data_operation="",
                identity_operation="",
                identity_dataset_id="",
                message=dumps(record),
            )
        )

    def _fail(self, conversion: BatchConversion, why: str) -> None:
        conversion.phase, conversion.problem = Phase.FAILED, why
        self._save(conversion)
        self._finish(conversion)
        log.info("batch conversion failed", action="conversion_failed", conversion=conversion.id)

    def _finish(self, conversion: BatchConversion) -> None:
        self._file(conversion).unlink(missing_ok=True)
        with self._documents.transaction() as change:
            batch_conversions.finish(change, conversion.key)

    def _save(self, conversion: BatchConversion) -> None:
        conversion.changed_ms = self._clock()
        with self._documents.transaction() as change:
            if batch_conversions.get(change, conversion.sandbox.id, conversion.id) is not None:  # the sandbox may be gone
                batch_conversions.save(change, conversion)


def _records(file: Path) -> Iterator[list[dict[str, Json]]]:
    """Yield the rows of a file, some hundreds at a time, as they were ingested: without system columns and without nulls."""
    with pq.ParquetFile(file) as source:
        names = [name for name in source.schema_arrow.names if name not in SYSTEM_COLUMNS]
        for piece in source.iter_batches(_ROWS, columns=names):
            yield [_plain(row) for row in piece.to_pylist(maps_as_pydicts="strict")]


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return date_text(value)
    return value.isoformat() if isinstance(value, date) else value
