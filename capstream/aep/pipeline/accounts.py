"""Counts what became of a batch: its flow's run, its Catalog batches, and the records that were rejected."""

from collections.abc import Sequence
from typing import Final

from capstream.aep.catalog.batches import Source, Stage, Windows, Written
from capstream.aep.data_access import rejected
from capstream.aep.data_access.rejected import Rejection
from capstream.aep.data_prep import batch_conversions
from capstream.aep.data_prep.batch_conversions import MAPPER_ERROR
from capstream.aep.flow_service import runs
from capstream.aep.flow_service.file_runs import started_of
from capstream.aep.flow_service.model import Route
from capstream.aep.flow_service.run_records import HOUR_MS
from capstream.aep.flow_service.runs import Delta
from capstream.aep.pipeline import counting
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.profile.model import Operation
from capstream.storage.ports import Transaction

_CREATE: Final = Operation.CREATE


def settle(change: Transaction, batch: Batch, windows: Windows, *, batch_ids: dict[Source, str], now_ms: int) -> None:
    """Count the batch and keep its rejected records, inside the pipeline's transaction."""
    source, route = batch.flow.source, batch.flow.route
    refused = [(row, verdict) for row, verdict in zip(batch.rows, batch.verdicts, strict=True) if verdict is not None]
    taken = batch.live_rows()
    written = [row for row in taken if row.operation is _CREATE]
    failed_id = _keep(change, batch, refused, windows, now_ms)
    counting.count(change, batch)
    batch_id = ""
    if source is not None and written:
        batch_id = batch_ids[source]
        counts = Written(
            len(written),
            sum(len(row.entity) for row in written),
            sum(1 for row in written if row.profile_problem),
            sum(1 for row in written if row.identity_problem),
            counting.profiled(batch, written),
        )
        windows.add_written(change, source, batch_id, counts, now_ms=now_ms)
    if route is not None:
        diagnostics = source is not None and source.diagnostics
        outcome, made = (taken, refused), (batch_id, failed_id)
        started_ms = started_of(batch.inlet)
        if started_ms:
            runs.add(change, route, started_ms, _delta(*outcome, made, now_ms), now_ms=now_ms, diagnostics=diagnostics)
        else:
            _count_run(change, route, outcome, made, now_ms, diagnostics=diagnostics)
    else:
        batch_conversions.note_warnings(change, batch.inlet, sum(1 for row in taken if row.warnings))


def _keep(change: Transaction, batch: Batch, refused: Sequence[tuple[Row, Rejection]], windows: Windows, now_ms: int) -> str:
    if not refused:
        return ""
    kept = [(row.offset, verdict) for row, verdict in refused]
    source = batch.flow.source
    if source is None:
        rejected.keep_unrouted(change, batch.inlet, kept)
        return ""
    failed_id = windows.add_refused(change, source, [rejected.counted(verdict) for _, verdict in refused], now_ms)
    rejected.keep(change, source.sandbox_id, failed_id, kept)
    return failed_id


def _count_run(
    change: Transaction,
    route: Route,
    outcome: tuple[Sequence[Row], Sequence[tuple[Row, Rejection]]],
    batch_ids: tuple[str, str],
    now_ms: int,
    *,
    diagnostics: bool,
) -> None:
    taken, refused = outcome
    hours = {row.received_ms // HOUR_MS for row in taken} | {row.received_ms // HOUR_MS for row, _ in refused}
    for hour in sorted(hours):
        taken_then = [row for row in taken if row.received_ms // HOUR_MS == hour]
        refused_then = [(row, verdict) for row, verdict in refused if row.received_ms // HOUR_MS == hour]
        delta = _delta(taken_then, refused_then, batch_ids, now_ms)
        runs.add(change, route, hour, delta, now_ms=now_ms, diagnostics=diagnostics)


def _delta(taken: Sequence[Row], refused: Sequence[tuple[Row, Rejection]], batch_ids: tuple[str, str], now_ms: int) -> Delta:
    written = [row for row in taken if row.operation is _CREATE]
    everything = [*taken, *(row for row, _ in refused)]
    waits = [max(now_ms - row.received_ms, 0) for row in everything]
    warned = sum(1 for row in taken if row.warnings)
    return Delta(
        received=len(everything),
        written=len(written),
        updated=sum(1 for row in taken if row.operation is Operation.MERGE),
        deleted=sum(1 for row in taken if row.operation is Operation.DELETE),
        failed=len(refused),
        warnings=warned,
        input_bytes=sum(len(row.accepted.message) for row in everything),
        output_bytes=sum(len(row.entity) for row in written),
        min_ms=min(waits, default=0),
        max_ms=max(waits, default=0),
        total_ms=sum(waits),
        batch_id=batch_ids[0] if written else "",
        failed_batch_id=batch_ids[1] if refused else "",
        errors=_errors(refused, warned),
    )


def _errors(refused: Sequence[tuple[Row, Rejection]], warned: int) -> tuple[tuple[str, str, int], ...]:
    """Return (code, message, records) of failures, and of warnings, which are told with the mapper's code as well."""
    found: dict[str, tuple[str, int]] = {}
    for _, verdict in refused:
        code, message = (
            MAPPER_ERROR if verdict.stage is Stage.MAPPER else (verdict.violations[0].code, verdict.violations[0].message)
        )
        first, count = found.get(code, (message, 0))
        found[code] = (first, count + 1)
    if warned:
        code, message = MAPPER_ERROR
        first, count = found.get(code, (message, 0))
        found[code] = (first, count + warned)
    return tuple((code, message, count) for code, (message, count) in found.items())
