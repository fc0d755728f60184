"""Carries out the orders to take back batches: rows leave the lake, what only they brought leaves Profile.

Source: batch-ingestion.md A4 (REVERT; the effect on Profile is an ASSUMPTION). What is counted stays counted: it was ingested.
"""

from collections.abc import Callable

from capstream.aep.catalog import reverts
from capstream.aep.catalog.batches import BatchStatus, is_filling
from capstream.aep.catalog.lake import lake_table
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_access import rejected
from capstream.aep.profile import deletion
from capstream.kernel import log
from capstream.storage.ports import Documents

_AT_ONCE = 5000


class Reverting:
    """Takes back batches, a piece at a time."""

    def __init__(self, control: Documents, state: Documents, delete_rows: Callable[[str, str], None]) -> None:
        """`delete_rows` removes the rows of (table, batch) from the lake."""
        self._control = control
        self._datasets = Datasets(control)
        self._state = state
        self._delete_rows = delete_rows
        self._waiting: list[tuple[str, str]] = []
        self._after: tuple[str, str] = ("", "")

    def look(self) -> None:
        """See which orders are not carried out; to be called when the control plane changed."""
        known = [each for each in self._waiting if self._state.get(reverts.DONE, "/".join(each)) is None]
        found = reverts.pending(self._control, self._state)
        self._waiting = [*known, *(each for each in found if each not in known)]

    def step(self, now_ms: int) -> None:
        """Do a piece of work."""
        if not self._waiting:
            return
        sandbox_id, batch_id = self._waiting[0]
        if is_filling(self._state, batch_id):  # what it still gets would be taken back unseen
            self._waiting.append(self._waiting.pop(0))
            return
        batch = reverts.record_of(self._state, sandbox_id, batch_id)
        dataset = self._datasets.get(sandbox_id, batch.dataset_id) if batch else None
        if batch is not None and dataset is not None and self._after == ("", ""):
            name = str(dataset.get("basePath", "")).removeprefix("lake://").partition("/")[0]
            if batch.status == BatchStatus.SUCCESS or reverts.is_own(self._state, sandbox_id, batch_id):
                self._delete_rows(lake_table(name, batch.dataset_id), batch_id)
        with self._state.transaction() as change:
            after = None
            if batch is not None:
                part = deletion.Part(sandbox_id, batch.dataset_id, batch_id)
                after = deletion.remove_part(change, part, after=self._after, limit=_AT_ONCE)
            if after is None:
                rejected.drop(change, sandbox_id, batch_id)
                reverts.finish(change, batch, (sandbox_id, batch_id), now_ms)
        self._after = after or ("", "")
        if after is None:
            self._waiting.pop(0)
            log.info("batch reverted", action="batch_reverted", sandbox=sandbox_id, batch=batch_id)
