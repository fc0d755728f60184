"""What time or the control plane asks of the pipeline between two batches."""

from collections.abc import Callable, Iterable

from capstream.aep.catalog.batches import BATCHES, BatchRecord, BatchStatus, Windows, read_batch
from capstream.aep.data_access import rejected
from capstream.aep.flow_service import run_signals, runs
from capstream.aep.flow_service.processing import Plans
from capstream.aep.identity_service.graphs import GRAPHS, IDENTITIES
from capstream.aep.observability_insights import catalogue, series
from capstream.aep.pipeline.cleaning import Cleaning
from capstream.aep.pipeline.conversions import Conversions
from capstream.aep.pipeline.emptying import Emptying
from capstream.aep.pipeline.file_runs import FileRuns
from capstream.aep.pipeline.reverting import Reverting
from capstream.aep.profile import deletion
from capstream.aep.profile.deletion import Deletion
from capstream.kernel import log
from capstream.storage.ports import Documents, Erasable

_EVERY_MS = 1000
_PURGE_EVERY_MS = 3_600_000
_LEVELS_EVERY_MS = 300_000
_KEEP_MS = 30 * 86_400_000  # diagnostics are kept 30 days: streaming-ingestion.md 11 (5)


class Housekeeping:
    """Closes windows and runs, deletes what is ordered or too old."""

    def __init__(
        self,
        control: Documents,
        state: Erasable,
        windows: Windows,
        plans: Plans,
        *,
        close_delay_ms: int,
        drop: Callable[[str], None],
        delete_rows: Callable[[str, str], None],
    ) -> None:
        """`drop` deletes a table of the lake, `delete_rows` the rows of (table, batch)."""
        self._control = control
        self._state = state
        self._windows = windows
        self._plans = plans
        self._close_delay_ms = close_delay_ms
        self._cleaning = Cleaning(control, state, drop)
        self._reverting = Reverting(control, state, delete_rows)
        self._emptying = Emptying(control, state, drop)
        self._file_runs = FileRuns(control, state, windows, plans)
        self._conversions = Conversions(control, state, windows, plans)
        self._version = -1
        self._deletions: list[Deletion] = []
        self._next_ms = 0
        self._next_purge_ms = 0
        self._touched: set[str] = set()
        self._next_levels_ms = 0

    def touched(self, sandbox_ids: Iterable[str]) -> None:
        """Note in which sandboxes something was written."""
        self._touched.update(sandbox_ids)

    def limit(self, cursor: int, wanted: int) -> int:
        """Return how many records may be read: not across the offset at which a profile is to be deleted."""
        ahead = [order.inlet_end - cursor for order in self._deletions if order.inlet_end > cursor]
        return min([wanted, *ahead])

    def before(self, cursor: int, now_ms: int) -> None:
        """Do what the control plane ordered, before the next batch is read."""
        version = self._control.version()
        if version != self._version:
            self._version = version
            self._deletions = deletion.pending(self._control, self._state)
            self._close_stopped(now_ms)
            self._cleaning.look()
            self._reverting.look()
            self._emptying.look()
            self._file_runs.look(now_ms)
            self._conversions.look()
        self._delete_due(cursor)

    def after(self, cursor: int, now_ms: int) -> None:
        """Do what time asks for.

        Never before the first batch after a start: rows may lie in the lake that are not counted yet, and the window
        whose batch they carry must still be there to count them.
        """
        self._emptying.step()
        if self._file_runs.step(cursor, now_ms):
            self._reverting.look()
        self._conversions.step(cursor, now_ms)
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + _EVERY_MS
            self._close_due(now_ms)
            self._cleaning.step()
            self._reverting.step(now_ms)
        if now_ms >= self._next_purge_ms:
            self._next_purge_ms = now_ms + _PURGE_EVERY_MS
            self._purge(now_ms)
        if self._touched and now_ms >= self._next_levels_ms:
            self._next_levels_ms = now_ms + _LEVELS_EVERY_MS
            self._note_levels(now_ms)

    def _delete_due(self, cursor: int) -> None:
        due = [order for order in self._deletions if order.inlet_end <= cursor]
        for order in due:
            with self._state.transaction() as change:
                gone = deletion.carry_out(change, order)
            log.info("profile deleted", action="profile_deleted", order=order.id, sandbox=order.sandbox_id, documents=gone)
        if due:
            self._deletions = [order for order in self._deletions if order not in due]

    def _close_due(self, now_ms: int) -> None:
        if self._windows.has_due(now_ms) or runs.has_due(self._state, now_ms, self._close_delay_ms):
            with self._state.transaction() as change:
                self._windows.close_due(change, now_ms)
                runs.close_due(change, now_ms, self._close_delay_ms)

    def _note_levels(self, now_ms: int) -> None:
        """Write down how many identities and graphs there are: counting them is too much for every batch."""
        with self._state.transaction() as change:
            for sandbox_id in self._touched:
                counted = {catalogue.IDENTITIES: IDENTITIES, catalogue.GRAPHS: GRAPHS}
                levels = {name: change.count(collection, prefix=f"{sandbox_id}/") for name, collection in counted.items()}
                series.note(change, sandbox_id, series.GRAPH, now_ms, levels)
        self._touched.clear()

    def _close_stopped(self, now_ms: int) -> None:
        flows = runs.open_flows(self._state)
        stopped = self._plans.stopped(flows)
        if stopped:
            with self._state.transaction() as change:
                runs.close_due(change, now_ms, self._close_delay_ms, stopped=stopped)

    def _purge(self, now_ms: int) -> None:
        with self._state.transaction() as change:
            run_signals.forget(change, now_ms - _KEEP_MS)
        old = [batch for _, body in self._state.scan(BATCHES) if self._is_old(batch := read_batch(body), now_ms)]
        for batch in old:
            with self._state.transaction() as change:
                rejected.drop(change, batch.sandbox_id, batch.id)

    def _is_old(self, batch: BatchRecord, now_ms: int) -> bool:
        if batch.status != BatchStatus.FAILED or now_ms - batch.updated_ms < _KEEP_MS:
            return False
        return rejected.has_any(self._state, batch.sandbox_id, batch.id)
