"""Runs of dataflows: of a streaming one for each UTC hour, of a file flow for each time its files are fetched.

Source: flow-service.md 8, monitoring-alerts.md 2, batch-ingestion.md B6.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from capstream.aep.flow_service import run_signals
from capstream.aep.flow_service.listing import Document, Keyed, SortKey, beyond, in_order, value_key
from capstream.aep.flow_service.model import Route
from capstream.aep.flow_service.run_form import rendered
from capstream.aep.flow_service.run_records import HOUR_MS, FileFacts, RunRecord
from capstream.kernel.ids import new_etag
from capstream.kernel.json import Json
from capstream.storage.ports import Reading, Transaction

RUNS = "runs"  #: {sandbox}/{flow}/{hour} -> RunRecord
RUN_KEYS = "run_keys"  #: {sandbox}/{run} -> key in RUNS
OPEN_RUNS = "open_runs"  #: {hour}/{sandbox}/{flow} -> empty


class Delta(NamedTuple):
    """What one micro-batch adds to a run. received = written + upserts (updated, deleted) + failed + skipped."""

    received: int = 0
    written: int = 0
    updated: int = 0
    deleted: int = 0
    failed: int = 0
    warnings: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    min_ms: int = 0
    max_ms: int = 0
    total_ms: int = 0
    batch_id: str = ""
    failed_batch_id: str = ""
    errors: tuple[tuple[str, str, int], ...] = ()  #: (code, message, records)


_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(RunRecord).decode


def run_id(flow_id: str, hour: int) -> str:
    """Return the id of a flow's run: the same hour always has the same run."""
    return str(uuid5(NAMESPACE_URL, f"{flow_id}/{hour}"))


def add(change: Transaction, route: Route, hour: int, delta: Delta, *, now_ms: int, diagnostics: bool = False) -> None:
    """Count into the run of `route` and `hour` (of a file flow: its beginning), opening it with its first record.

    A run that was closed is counted into as well: late records belong to the hour in which they were received.
    """
    key = f"{route.sandbox.id}/{route.flow_id}/{hour:08}"
    body = change.get(RUNS, key)
    files = FileFacts() if route.file_format else None
    run = _opened(change, route, hour, now_ms, files=files) if body is None else _read(body)
    run.diagnostics = diagnostics or route.diagnostics
    _count(run, delta)
    run.updated_ms, run.etag = now_ms, new_etag(now_ms)
    if run.completed_ms:
        before, run.status = run.status, _outcome(run)
        if run.status != before:
            run_signals.give(change, run_signals.CLOSED, key, now_ms)
    change.put(RUNS, [(key, _pack(run))])


def has_due(reading: Reading, now_ms: int, close_delay_ms: int) -> bool:
    """Return whether an hour is over whose runs are still open."""
    return bool(_due(reading, now_ms, close_delay_ms, limit=1))


def open_flows(reading: Reading) -> list[str]:
    """Return the flows that have an open run."""
    return sorted({key.rsplit("/", 1)[1] for key, _ in reading.scan(OPEN_RUNS)})


def close_due(change: Transaction, now_ms: int, close_delay_ms: int, *, stopped: Iterable[str] = ()) -> int:
    """Close the runs of past hours and those of the flows in `stopped`; return how many were."""
    due = set(_due(change, now_ms, close_delay_ms))
    ended = frozenset(stopped)
    if ended:
        due |= {key for key, _ in change.scan(OPEN_RUNS) if key.rsplit("/", 1)[1] in ended and not is_of_files(key)}
    for open_key in sorted(due):
        hour, sandbox_id, flow_id = open_key.split("/")
        key = f"{sandbox_id}/{flow_id}/{hour}"
        body = change.get(RUNS, key)
        if body is not None:
            _close(change, key, _read(body), now_ms)
    change.delete(OPEN_RUNS, sorted(due))
    return len(due)


def _close(change: Transaction, key: str, run: RunRecord, now_ms: int) -> None:
    run.status, run.completed_ms = _outcome(run), now_ms
    run.updated_ms, run.etag = now_ms, new_etag(now_ms)
    change.put(RUNS, [(key, _pack(run))])
    run_signals.give(change, run_signals.CLOSED, key, now_ms)


def is_of_files(open_key: str) -> bool:
    """Return whether a key in OPEN_RUNS is that of a file run: it holds milliseconds where the others hold hours."""
    return len(open_key.partition("/")[0]) > len(f"{0:08}")


def note_files(change: Transaction, route: Route, started_ms: int, facts: FileFacts, now_ms: int) -> RunRecord:
    """Write down what is known of the files of a run, opening it when it is new; return the run."""
    key = f"{route.sandbox.id}/{route.flow_id}/{started_ms:08}"
    body = change.get(RUNS, key)
    run = _opened(change, route, started_ms, now_ms, files=facts) if body is None else _read(body)
    if body is None or run.files != facts:
        run.files, run.updated_ms, run.etag = facts, now_ms, new_etag(now_ms)
        change.put(RUNS, [(key, _pack(run))])
    return run


def close_files(change: Transaction, run: RunRecord, now_ms: int) -> bool:
    """Close a file run and return whether it succeeded. Of one that failed nothing is kept: its rows count as skipped."""
    if _outcome(run) == "failed":
        run.skipped += run.written
        run.written = run.created = 0
    _close(change, f"{run.sandbox_id}/{run.flow_id}/{run.hour:08}", run, now_ms)
    change.delete(OPEN_RUNS, [f"{run.hour:08}/{run.sandbox_id}/{run.flow_id}"])
    return run.status == "success"


def open_file_runs(reading: Reading) -> list[str]:
    """Return the keys in RUNS of the file runs that are open."""
    parts = [key.split("/") for key, _ in reading.scan(OPEN_RUNS) if is_of_files(key)]
    return [f"{sandbox_id}/{flow_id}/{started}" for started, sandbox_id, flow_id in parts]


def _due(reading: Reading, now_ms: int, close_delay_ms: int, *, limit: int | None = None) -> list[str]:
    first_open = f"{(now_ms - close_delay_ms) // HOUR_MS:08}"
    return [key for key, _ in reading.scan(OPEN_RUNS, limit=limit) if key < first_open]


def _opened(change: Transaction, route: Route, hour: int, now_ms: int, *, files: FileFacts | None = None) -> RunRecord:
    key = f"{route.sandbox.id}/{route.flow_id}/{hour:08}"
    run = new_record(route, hour, now_ms, files=files)
    change.put(RUN_KEYS, [(f"{route.sandbox.id}/{run.id}", key.encode())])
    change.put(OPEN_RUNS, [(f"{hour:08}/{route.sandbox.id}/{route.flow_id}", b"")])
    run_signals.give(change, run_signals.OPENED, key, now_ms)
    return run


def new_record(route: Route, hour: int, now_ms: int, *, files: FileFacts | None = None) -> RunRecord:
    """Return a run of nothing yet."""
    return RunRecord(
        id=run_id(route.flow_id, hour),
        org_id=route.org_id,
        sandbox_id=route.sandbox.id,
        sandbox_name=route.sandbox.name,
        flow_id=route.flow_id,
        flow_spec_id=route.flow_spec_id,
        source_connection_id=route.source_connection_id,
        target_connection_id=route.target_connection_id,
        inlet_id=route.inlet_id,
        hour=hour,
        created_ms=now_ms,
        updated_ms=now_ms,
        etag=new_etag(now_ms),
        partial_percent=route.partial_percent,
        diagnostics=route.diagnostics,
        files=files,
    )


def _count(run: RunRecord, delta: Delta) -> None:
    run.received += delta.received
    run.written += delta.written
    run.created += delta.written
    run.updated += delta.updated
    run.deleted += delta.deleted
    run.failed += delta.failed
    run.warnings += delta.warnings
    run.input_bytes += delta.input_bytes
    run.output_bytes += delta.output_bytes
    run.total_ms += delta.total_ms
    run.max_ms = max(run.max_ms, delta.max_ms)
    if delta.received:
        run.min_ms = delta.min_ms if run.min_ms < 0 else min(run.min_ms, delta.min_ms)
    if delta.batch_id:
        run.output_files += 1
        if delta.batch_id not in run.batch_ids:
            run.batch_ids = [*run.batch_ids[-99:], delta.batch_id]
    run.failed_batch_id = delta.failed_batch_id or run.failed_batch_id
    for code, message, count in delta.errors:
        first, held = run.errors.get(code, (message, 0))
        run.errors[code] = (first, held + count)


def _outcome(run: RunRecord) -> str:
    """Return the status of a closed run. Source: flow-service.md 8.2."""
    done = run.received - run.failed
    if run.files is not None and (run.files.problems or (run.failed and run.partial_percent is None)):
        return "failed"
    if run.partial_percent is None:
        return "failed" if run.failed and not done else "success"
    return "success" if run.failed * 100 <= run.partial_percent * run.received else "failed"


class Runs:
    """Reads runs in Flow Service's form."""

    def __init__(self, documents: Reading, *, base_url: str = "") -> None:
        self._documents = documents
        self._base_url = base_url

    def list(self, sandbox_id: str, flow_id: str | None = None) -> list[dict[str, Json]]:
        """Return the runs of one flow, or of all flows of the sandbox; each flow's oldest first."""
        prefix = f"{sandbox_id}/{flow_id}/" if flow_id else f"{sandbox_id}/"
        return [rendered(_read(body), self._base_url) for _, body in self._documents.scan(RUNS, prefix=prefix)]

    def entities(self, sandbox_id: str, flow_id: str | None = None) -> "RunEntities":
        """Return the runs of one flow, or of all flows of the sandbox, for lists: rendered when they are looked at."""
        prefix = f"{sandbox_id}/{flow_id}/" if flow_id else f"{sandbox_id}/"
        return RunEntities([_read(body) for _, body in self._documents.scan(RUNS, prefix=prefix)], self._base_url)

    def last_closed(self, sandbox_id: str, flow_id: str) -> dict[str, Json] | None:
        """Return the newest run of a flow that is closed, or None."""
        before = ""
        while found := self._documents.scan(RUNS, prefix=f"{sandbox_id}/{flow_id}/", after=before, reverse=True, limit=3):
            for key, body in found:
                run, before = _read(body), key
                if run.completed_ms:
                    return rendered(run, self._base_url)
        return None

    def record(self, key: str) -> RunRecord | None:
        """Return a run as it is stored, by {sandbox}/{flow}/{hour}."""
        body = self._documents.get(RUNS, key)
        return None if body is None else _read(body)

    def newest(self, sandbox_id: str, flow_id: str) -> RunRecord | None:
        """Return the flow's newest run as it is stored, or None."""
        found = self._documents.scan(RUNS, prefix=f"{sandbox_id}/{flow_id}/", reverse=True, limit=1)
        return _read(found[0][1]) if found else None

    def unfinished(self) -> Iterator[RunRecord]:
        """Yield the runs that are open, oldest hour first."""
        keys = [key.split("/") for key, _ in self._documents.scan(OPEN_RUNS)]
        found = (self.record(f"{sandbox_id}/{flow_id}/{hour}") for hour, sandbox_id, flow_id in keys)
        yield from (run for run in found if run is not None)

    def get(self, sandbox_id: str, run_id: str) -> dict[str, Json] | None:
        """Return a run, or None."""
        key = self._documents.get(RUN_KEYS, f"{sandbox_id}/{run_id}")
        body = self._documents.get(RUNS, key.decode()) if key else None
        return None if body is None else rendered(_read(body), self._base_url)


class RunEntities:
    """Runs that can be gone through in order; thousands are stored in a form that is cheap to read and dear to show."""

    def __init__(self, records: Sequence[RunRecord], base_url: str) -> None:
        self._records = records
        self._base_url = base_url

    def __iter__(self) -> Iterator[Document]:
        return (rendered(run, self._base_url) for run in self._records)

    def ordered(self, path: str, *, descending: bool, after: SortKey | None) -> Iterator[Keyed]:
        """Yield the runs by the value at `path`, those beyond the position `after`."""
        plain = _PLAIN_KEYS.get(path)
        if plain is None:
            return beyond(in_order(self, path), descending=descending, after=after)
        keyed = sorted(((value_key(plain(run), run.id), run) for run in self._records), key=lambda pair: pair[0])
        found = beyond(keyed, descending=descending, after=after)
        return ((key, rendered(run, self._base_url)) for key, run in found)


_PLAIN_KEYS: Mapping[str, Callable[[RunRecord], Json]] = {
    "createdAt": lambda run: run.created_ms,
    "updatedAt": lambda run: run.updated_ms,
    "id": lambda run: run.id,
    "flowId": lambda run: run.flow_id,
    "state": lambda run: run.status,
}
