"""Keeps the runs of file flows: opens them as they are ordered, closes them when the pipeline has passed their last row."""

from collections.abc import Iterator

from capstream.aep.catalog import reverts
from capstream.aep.catalog.batches import Windows
from capstream.aep.flow_service import file_runs, runs
from capstream.aep.flow_service.file_runs import FileRun, Phase
from capstream.aep.flow_service.model import Route
from capstream.aep.flow_service.processing import Plans
from capstream.aep.flow_service.run_records import FileFacts, RunRecord
from capstream.aep.flow_service.runs import Runs
from capstream.kernel import log
from capstream.storage.ports import Documents, Reading, Transaction

_DELETED = ("CONNECTOR-1001-500", "The dataflow was deleted while the run was under way.")


class FileRuns:
    """The runs of all file flows, as the pipeline sees them."""

    def __init__(self, control: Reading, state: Documents, windows: Windows, plans: Plans) -> None:
        self._control = control
        self._state = state
        self._runs = Runs(state)
        self._windows = windows
        self._plans = plans
        self._orders: list[FileRun] = []

    def look(self, now_ms: int) -> None:
        """See what is ordered, and open the runs of new orders; to be called when the control plane changed."""
        self._orders = [order for order in file_runs.unfinished(self._control) if not self._is_closed(order.key)]
        changed = [(order, route) for order, route in self._routed() if self._lacks(order)]
        orphans = self._orphans()
        if changed or orphans:
            with self._state.transaction() as change:
                for order, route in changed:
                    runs.note_files(change, route, order.started_ms, facts_of(order), now_ms)
                for run in orphans:
                    assert run.files is not None  # noqa: S101 - only file runs are looked for
                    run.files.problems = [*run.files.problems, _DELETED]
                    runs.close_files(change, run, now_ms)

    def step(self, cursor: int, now_ms: int) -> bool:
        """Close the runs whose rows are all processed; return whether a batch is to be taken back."""
        ended = [(order, route) for order, route in self._routed() if _is_over(order, cursor)]
        if not ended:
            return False
        with self._state.transaction() as change:
            taken_back = [self._close(change, order, route, now_ms) for order, route in ended]
        closed = {order.key for order, _ in ended}
        self._orders = [order for order in self._orders if order.key not in closed]
        return any(taken_back)

    def _close(self, change: Transaction, order: FileRun, route: Route, now_ms: int) -> bool:
        run = runs.note_files(change, route, order.started_ms, facts_of(order), now_ms)
        succeeded = runs.close_files(change, run, now_ms)
        source = self._plans.source_of_run(route, order.started_ms)
        batch_id = self._windows.close_run(change, source, succeeded=succeeded, now_ms=now_ms)
        if batch_id:
            reverts.order_own(change, order.sandbox_id, batch_id)
        log.info("file run closed", action="file_run_closed", flow=order.flow_id, run=run.id, status=run.status)
        return bool(batch_id)

    def _routed(self) -> Iterator[tuple[FileRun, Route]]:
        for order in self._orders:
            route = self._plans.route(order.flow_id)
            if route is not None:
                yield order, route

    def _is_closed(self, key: str) -> bool:
        run = self._runs.record(key)
        return run is not None and bool(run.completed_ms)

    def _lacks(self, order: FileRun) -> bool:
        run = self._runs.record(order.key)
        return run is None or run.files != facts_of(order)

    def _orphans(self) -> list[RunRecord]:
        """Return the open runs whose order went with its flow."""
        ordered = {order.key for order in self._orders}
        found = (self._runs.record(key) for key in runs.open_file_runs(self._state) if key not in ordered)
        return [run for run in found if run is not None and self._plans.route(run.flow_id) is None]


def _is_over(order: FileRun, cursor: int) -> bool:
    return order.phase is Phase.FAILED or (order.phase is Phase.HANDED_ON and cursor >= order.end)


def facts_of(order: FileRun) -> FileFacts:
    """Return what a run shows of its order."""
    problems = [(problem.code, problem.message) for problem in order.problems]
    return FileFacts(len(order.files), order.skipped, order.size, order.fetched_ms, order.window_start_s, problems)
