"""The loop behind file flows: order what is due, let it be fetched, read, hand on.

Files are fetched side by side, in threads (`fetching.py`); everything else is done here, one run after the other. They lie in
a spool until their rows are in the inlet log. Rows are appended in pieces under keys that follow from run, file and place, so a
piece is never appended twice, whenever the process dies. While the pipeline is behind nothing is appended: rows of files wait,
streamed messages do not.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Protocol

from capstream.aep.file_ingestion import schedule
from capstream.aep.file_ingestion.fetching import Fetch, Fetched, Fetches, StillChanging, spooled_name
from capstream.aep.flow_service import file_runs
from capstream.aep.flow_service.entities import CONNECTIONS, FLOWS, SOURCE_CONNECTIONS, FlowService
from capstream.aep.flow_service.exploring import in_clear
from capstream.aep.flow_service.file_reading import Line, records
from capstream.aep.flow_service.file_runs import FileRun, Phase, Problem
from capstream.aep.flow_service.file_store import FileStore, Unreachable
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.model import Route, State
from capstream.aep.flow_service.preview import BadFile
from capstream.aep.flow_service.runs import run_id
from capstream.aep.streaming_ingestion.messages import Accepted, encode
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import dumps
from capstream.storage.ports import StorageUnavailable

COPY_FAILED, READ_FAILED = "CONNECTOR-1001-500", "CONNECTOR-2001-500"
RETRY_AFTER_S = (5, 30, 120)
"""Waits before a run that could not fetch its files tries again; then it fails (ASSUMPTION: not documented)."""

_ROWS = 500  # of one append
_MOST_PENDING = 2000  # messages that wait for the pipeline
_PAUSE_S = 0.05
_IDLE_S, _BUSY_S = 2.0, 0.2
_SWEEP_EVERY_MS = 3_600_000
_CHANGE_COLUMN = "_change_request_type"
_CORRUPT = "Row is corrupted and cannot be read, please fix and resend."


class Rows(Protocol):
    """The inlet log, from a thread."""

    def append(self, messages: list[bytes], keys: list[bytes]) -> int:
        """Store messages durably and return the offset of the last. Errors: StorageUnavailable."""
        ...

    def seen(self, key: bytes) -> int:
        """Return the offset of the message under a key, 0 when there is none."""
        ...

    def end(self) -> int:
        """Return the offset of the newest message."""
        ...

    def pending(self) -> int:
        """Return how many messages the pipeline has not processed."""
        ...


class _Stopped(Exception):
    """The process ends."""


class Collector:
    """Runs file flows. One instance, in a thread of its own, with a connection of its own to the control plane."""

    def __init__(self, service: FlowService, rows: Rows, spool: Path, *, clock: Clock) -> None:
        self._service = service
        self._documents = service.documents
        self._rows = rows
        self._spool_folder = spool
        self._clock = clock
        self._stop = threading.Event()
        self._next_sweep_ms = 0
        self.fetches = Fetches()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        self._stop = stop
        while not stop.wait(_BUSY_S if self.fetches else _IDLE_S):
            try:
                self.run_once()
            except _Stopped:
                break
            except Exception as error:  # noqa: BLE001 - body of the loop: whatever it was, the orders are still there
                log.error("file flows not served", action="file_ingestion_failed", exc=error)
        self.fetches.close()

    def run_once(self) -> None:
        """Order the runs that are due, and do what can be done now for those under way."""
        self._order_due()
        for key, result in self.fetches.finished():
            self._fetched(key, result)
        for run in file_runs.unfinished(self._documents):
            try:
                self._serve(run)
            except _Stopped:
                raise
            except Exception as error:  # noqa: BLE001 - one run must not hold up the others; its order is still there
                log.error("file run not served", action="file_run_stalled", exc=error, flow=run.flow_id)
        if self._clock() >= self._next_sweep_ms:
            self._next_sweep_ms = self._clock() + _SWEEP_EVERY_MS
            self._service.zones.sweep(self._clock())

    def _serve(self, run: FileRun) -> None:
        if run.key in self.fetches:
            return
        if self._is_closed(run):
            self._forget(run)
        elif run.phase in (Phase.WANTED, Phase.FETCHED) and run.due_ms <= self._clock():
            self._work(run)

    def _order_due(self) -> None:
        for route in self._service.flows.all():
            if not route.file_format or not route.is_open(self._clock()):
                continue
            flow = self._service.of(FLOWS).get(route.sandbox.id, route.flow_id)
            if flow is not None:
                self._order(route, flow)

    def _order(self, route: Route, flow: Document) -> None:
        earlier = file_runs.of_flow(self._documents, route.sandbox.id, route.flow_id)
        if any(not self._is_closed(run) for run in earlier):
            return  # one after the other: what a run leaves out is the next one's
        slot = schedule.due_slot(flow["scheduleParams"], max((run.slot_s for run in earlier), default=0), self._clock() // 1000)
        if not slot:
            return
        run = FileRun(
            sandbox_id=route.sandbox.id,
            flow_id=route.flow_id,
            started_ms=self._clock(),
            slot_s=slot,
            window_start_s=schedule.window_start(flow["scheduleParams"], earlier),
        )
        with self._documents.transaction() as change:
            file_runs.order(change, run)

    def _is_closed(self, run: FileRun) -> bool:
        found = self._service.runs.get(run.sandbox_id, run_id(run.flow_id, run.started_ms))
        return found is not None and "completedAtUTC" in found["metrics"]["durationSummary"]

    def _forget(self, run: FileRun) -> None:
        shutil.rmtree(self._spool(run), ignore_errors=True)
        with self._documents.transaction() as change:
            file_runs.finish(change, run.key)

    def _spool(self, run: FileRun) -> Path:
        return self._spool_folder / run_id(run.flow_id, run.started_ms)

    def _work(self, run: FileRun) -> None:
        route = self._service.flows.route(run.flow_id)
        if route is None:
            self._forget(run)
            return
        try:
            if route.state is not State.ENABLED:
                raise BadFile(f"the dataflow is {route.state.value}")
            source = self._source(route)
            if run.phase is Phase.WANTED:
                self._begin_fetch(run, route, source)
            else:
                self._hand_on(run, route, source)
        except OSError as error:
            self._try_again(run, str(error) or type(error).__name__)
        except BadFile as error:
            self._fail(run, COPY_FAILED if run.phase is Phase.WANTED else READ_FAILED, str(error))
        except StorageUnavailable as error:
            log.error("rows of files wait", action="file_rows_wait", exc=error, flow=run.flow_id)

    def _source(self, route: Route) -> Document:
        source = self._service.of(SOURCE_CONNECTIONS).get(route.sandbox.id, route.source_connection_id)
        if source is None:
            raise BadFile(f"the source connection {route.source_connection_id} does not exist any more")
        return source

    def _begin_fetch(self, run: FileRun, route: Route, source: Document) -> None:
        """Let the files of a run be brought into its spool, as soon as there is room."""
        schedule.properties_of(source)
        account = str(source.get("baseConnectionId") or route.sandbox.id)
        if self.fetches.has_room(account):
            fetch = Fetch(
                run=run,
                earlier=file_runs.of_flow(self._documents, run.sandbox_id, run.flow_id),
                params=source.get("params") or {},
                open_store=self._opening(route, source),
                spool=self._spool(run),
                go_on=self._go_on,
            )
            self.fetches.begin(account, fetch)

    def _opening(self, route: Route, source: Document) -> Callable[[], AbstractContextManager[FileStore]]:
        base_id = source.get("baseConnectionId")
        base = self._service.of(CONNECTIONS).get(route.sandbox.id, base_id) if base_id else None
        if base is None or not base.get("auth"):
            return partial(self._service.zones.opened, route.sandbox.id)
        return partial(self._service.open_files, in_clear(self._service, base))

    def _fetched(self, key: str, result: "Future[Fetched]") -> None:
        """Note what a fetch came to; the list of files is stored when all are there."""
        run = file_runs.get(self._documents, key)
        if run is None:  # the flow was deleted meanwhile
            sandbox_id, flow_id, started = key.split("/")
            shutil.rmtree(
                self._spool(FileRun(sandbox_id=sandbox_id, flow_id=flow_id, started_ms=int(started))), ignore_errors=True
            )
            return
        try:
            run.files, run.skipped = result.result()
        except _Stopped:
            return
        except (Unreachable, StillChanging, OSError) as error:
            self._try_again(run, str(error) or type(error).__name__)
        except BadFile as error:
            self._fail(run, COPY_FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - of one run: it is told, tried again, and fails in the end
            log.error("files not fetched", action="file_fetch_failed", exc=error, flow=run.flow_id)
            self._try_again(run, type(error).__name__)
        else:
            run.phase, run.fetched_ms = Phase.FETCHED, self._clock()
            self._save(run)

    def _go_on(self, _done: int) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _hand_on(self, run: FileRun, route: Route, source: Document) -> None:
        properties = schedule.properties_of(source)
        end = self._rows.end()
        for number, file in enumerate(run.files):
            rows = _without_changes(records(self._spool(run) / spooled_name(file), properties), run.flow_id)
            try:
                for piece, messages in enumerate(self._messages(run, route, rows, number)):
                    end = self._append(messages, f"{run.key}/{number}/{piece}")
            except BadFile as error:
                run.problems = [*run.problems, Problem(READ_FAILED, f"{file.path} cannot be read: {error}")]
        run.phase, run.end = Phase.HANDED_ON, end
        self._save(run)
        log.info("files handed on", action="files_handed_on", flow=run.flow_id, files=len(run.files), bytes=run.size)

    def _messages(self, run: FileRun, route: Route, rows: Iterator[Line], number: int) -> Iterator[list[bytes]]:
        name = f"{run_id(run.flow_id, run.started_ms)}-{number}"
        mark, place = file_runs.mark_of(run.started_ms), 0
        while found := list(islice(rows, _ROWS)):
            yield [_message(route, mark, f"{name}-{place + at}", line, self._clock()) for at, line in enumerate(found)]
            place += len(found)

    def _append(self, messages: list[bytes], name: str) -> int:
        keys = [sha256(f"{name}/{at}".encode()).digest()[:16] for at in range(len(messages))]
        known = self._rows.seen(keys[0])
        if known:
            return known + len(messages) - 1
        while self._rows.pending() > _MOST_PENDING:
            if self._stop.wait(_PAUSE_S):
                raise _Stopped
        return self._rows.append(messages, keys)

    def _try_again(self, run: FileRun, why: str) -> None:
        if run.attempts >= len(RETRY_AFTER_S):
            self._fail(run, COPY_FAILED, f"{why} (tried {run.attempts + 1} times)")
            return
        run.due_ms = self._clock() + RETRY_AFTER_S[run.attempts] * 1000
        run.attempts += 1
        self._save(run)
        log.info("file run tries again", action="file_run_retried", flow=run.flow_id, attempt=run.attempts)

    def _fail(self, run: FileRun, code: str, why: str) -> None:
        run.phase, run.problems = Phase.FAILED, [*run.problems, Problem(code, why)]
        self._save(run)
        log.info("file run failed", action="file_run_failed", flow=run.flow_id, code=code)

    def _save(self, run: FileRun) -> None:
        with self._documents.transaction() as change:
            if change.get(file_runs.ORDERS, run.key) is not None:  # the flow may have been deleted meanwhile
                file_runs.save(change, run)


def _without_changes(rows: Iterator[Line], flow_id: str) -> Iterator[Line]:
    """Yield rows without the column that asks for upserts and deletes: no schema has it. Source: batch-ingestion.md B7."""
    dropped = 0
    for line in rows:
        if line.record is not None and _CHANGE_COLUMN in line.record:
            del line.record[_CHANGE_COLUMN]
            dropped += 1
        yield line
    if dropped:
        facts = {"flow": flow_id, "rows": dropped}
        log.warning(
            f"{_CHANGE_COLUMN} left out: the schema has no change data capture", action="change_requests_ignored", **facts
        )


def _message(route: Route, mark: str, xaction_id: str, line: Line, now_ms: int) -> bytes:
    """Return a row as the pipeline reads it; a row that is none goes the way of a message the endpoint refused."""
    corrupt = line.record is None
    return encode(
        Accepted(
            xaction_id=xaction_id,
            inlet_id=mark,
            flow_id=route.flow_id,
            dataset_id=route.dataset_id,
            received_ms=now_ms,
            form="B",
            authenticated=True,
            refusal=_CORRUPT if corrupt else "",
            data_operation="",
            identity_operation="",
            identity_dataset_id="",
            message=dumps({"_corrupt_record": line.corrupt} if corrupt else line.record),
        )
    )
