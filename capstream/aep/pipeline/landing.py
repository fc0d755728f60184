"""Rows to the lake: one table and one idempotent commit for each dataset, in a thread of its own."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, final

import pyarrow as pa

from capstream.aep.catalog.batches import Source, Stage, Windows
from capstream.aep.catalog.lake import BATCH_ID
from capstream.aep.catalog.system_columns import RowFacts, add_system_columns
from capstream.aep.data_access.rejected import Violation
from capstream.aep.flow_service.processing import Plan
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.profile.model import Operation
from capstream.kernel import log
from capstream.kernel.errors import Permanent, Transient
from capstream.kernel.json import dumps
from capstream.storage.ports import Lake

_APPLICATION: Final = "capstream/inlet"
_CORRUPT: Final = "INGEST-1401-400"
_NOT_TRIED: Final = 3
_CREATE: Final = Operation.CREATE

Slab = tuple[Plan, Sequence[Row], pa.Table]
"""Rows of one flow in the lake's form."""


@final
class Group:
    """What goes to one dataset."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.batches: list[Batch] = []
        self.slabs: list[Slab] = []  #: the rows that the table lacks

    def live(self) -> list[tuple[Plan, Row]]:
        """Return the rows nothing speaks against so far and the plans of their flows, in the order of acceptance."""
        rows = [(batch.flow, row) for batch in self.batches if isinstance(batch.flow, Plan) for row in batch.live_rows()]
        return sorted(rows, key=lambda found: found[1].offset) if len(self.batches) > 1 else rows


def groups_of(batches: Sequence[Batch]) -> list[Group]:
    """Return the batches by dataset; without those whose flow cannot be processed."""
    found: dict[tuple[str, str], Group] = {}
    for batch in batches:
        if isinstance(batch.flow, Plan):
            key = (batch.flow.table, batch.flow.source.sandbox_id)
            found.setdefault(key, Group(batch.flow)).batches.append(batch)
    return list(found.values())


class Landing:
    """Commits rows to the lake, in a thread of its own, one thing after another; compacts tables in another, meanwhile."""

    def __init__(self, lake: Lake, windows: Windows, *, compact_after: int) -> None:
        self._lake = lake
        self._windows = windows
        self._compact_after = compact_after
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="lake")
        self._tidying = ThreadPoolExecutor(1, thread_name_prefix="tidy")
        self._committed: dict[str, int] = {}
        self._commits: dict[str, int] = {}
        self._unproved: dict[str, int] = {}  # table -> parts that are not tried

    def committed(self, table: str) -> int:
        """Return the offset up to which the table holds all rows."""
        if table not in self._committed:
            self._committed[table] = self._writing.submit(self._lake.committed, table, _APPLICATION).result()
        return self._committed[table]

    def batch_ids(self, groups: Sequence[Group], now_ms: int) -> dict[Source, str]:
        """Return the Catalog batch that takes the rows of each source; durable before the first row is committed."""
        sources: dict[Source, None] = {}
        in_lake: set[str] = set()
        for group in groups:
            done = self.committed(group.plan.table)
            for plan, row in group.live():
                if row.operation is _CREATE:
                    sources[plan.source] = None
                    if row.offset <= done:
                        in_lake.add(group.plan.source.dataset_id)
        return self._windows.batch_ids(sources, now_ms, in_lake=in_lake) if sources else {}

    def may_prove(self, part: Batch, group: Group) -> bool:
        """Return whether to try the live rows of a part with `proved`. After a failure the next parts are not tried."""
        plan, rows = part.flow, part.live_rows()
        assert isinstance(plan, Plan)  # noqa: S101 - groups hold rows of usable flows only
        if self._unproved.get(plan.table, 0) > 0:
            self._unproved[plan.table] -= 1
            return False
        return plan.validate is not None and bool(rows) and self._are_new(rows, group)

    def proved(self, piece: Batch, group: Group) -> pa.StructArray | None:
        """Return the live rows of a piece as Arrow reads them where that proves them valid: half the work of a check each.

        The rows have their `entity` then. None: each must be validated.
        """
        rows = piece.live_rows()
        try:
            read = group.plan.tabulate.proved([row.record for row in rows])
            texts = [] if read is None else [dumps(row.record) for row in rows]
        except Exception:  # noqa: BLE001 - whatever a record does to the table, validation tells what is wrong with it
            read = None
        if read is None:
            self._unproved[group.plan.table] = _NOT_TRIED
            return None
        for row, text in zip(rows, texts, strict=True):
            row.entity = text
        return read

    def join(self, part: Batch, group: Group, proved: Sequence[pa.StructArray]) -> bool:
        """Take over live rows that were proved valid; false when they must be validated each. Shape: `proved` has them all."""
        assert isinstance(part.flow, Plan)  # noqa: S101 - groups hold rows of usable flows only
        rows = part.live_rows()
        if not rows:
            return True
        try:
            table = group.plan.tabulate.joined(proved)
        except Exception:  # noqa: BLE001 - as in `proved`
            self._unproved[group.plan.table] = _NOT_TRIED
            return False
        if table is not None:
            group.slabs.append((part.flow, rows, table))
        return table is not None

    def _are_new(self, rows: Sequence[Row], group: Group) -> bool:
        done = self.committed(group.plan.table)
        return all(row.operation is _CREATE and row.offset > done for row in rows)

    def tabulate(self, part: Batch, group: Group) -> None:
        """Bring the rows of a part of one of the group's batches into the lake's form; decides against those that have none.

        Rows up to the committed version are there since before a crash: they are counted again, never written again.
        """
        assert isinstance(part.flow, Plan)  # noqa: S101 - groups hold rows of usable flows only
        done = self.committed(group.plan.table)
        created = [index for index, row in part.live() if row.operation is _CREATE]
        old = [index for index in created if part.rows[index].offset <= done]
        _tables(part, old, group.plan)  # refuses again what was refused before the crash
        for indexes, table in _tables(part, created[len(old) :], group.plan):
            group.slabs.append((part.flow, [part.rows[index] for index in indexes], table))

    def start(self, group: Group, batch_ids: dict[Source, str], *, version: int, now_ms: int) -> "Future[bool] | None":
        """Begin to commit the rows that the table lacks; None when there are none."""
        slabs, group.slabs = group.slabs, []
        if not slabs:
            return None
        rows = pa.concat_tables([table for _, _, table in slabs])
        complete = add_system_columns(rows, _facts(slabs, batch_ids), ingested_ms=now_ms)
        return self._writing.submit(self._append, group.plan.table, complete, version)

    def finish(self, group: Group, commit: "Future[bool]", *, version: int, timeout_s: float) -> None:
        """Wait until the rows are committed.

        Errors: Permanent when they can never be, Transient when it takes too long; StorageUnavailable.
        """
        table = group.plan.table
        try:
            commit.result(timeout_s)
        except TimeoutError as error:
            self._committed.pop(table, None)
            raise Transient(f"the lake did not commit {table} in {timeout_s:.0f} s") from error
        except BaseException:
            self._committed.pop(table, None)
            raise
        self._committed[table] = version
        self._commits[table] = self._commits.get(table, 0) + 1

    def tidy(self) -> None:
        """Begin to compact tables that have gathered many small files."""
        for table, commits in list(self._commits.items()):
            if commits >= self._compact_after:
                self._commits[table] = 0
                self._tidying.submit(self._compact, table)

    def drop(self, table: str) -> None:
        """Delete a table, after what is under way."""
        self._writing.submit(self._lake.drop, table).result()
        self._committed.pop(table, None)
        self._commits.pop(table, None)

    def delete_rows(self, table: str, batch_id: str) -> None:
        """Delete the rows of a batch, after what is under way."""
        self._writing.submit(self._lake.delete, table, BATCH_ID, batch_id).result()

    def close(self) -> None:
        """Let the threads finish what they do."""
        self._writing.shutdown(wait=True)
        self._tidying.shutdown(wait=True)

    def _append(self, table: str, rows: pa.Table, version: int) -> bool:
        # In one piece: the writer takes twice as long for the same rows in pieces.
        return self._lake.append(table, rows.combine_chunks(), app_id=_APPLICATION, version=version)

    def _compact(self, table: str) -> None:
        try:
            self._lake.compact(table)
        except Exception as error:  # noqa: BLE001 - body of a background task: the next round tries again
            log.error("compaction failed", action="lake_compaction_failed", exc=error, table=table)


def _tables(part: Batch, indexes: Sequence[int], plan: Plan) -> list[tuple[Sequence[int], pa.Table]]:
    """Return the rows as tables; a row that fits none is found by halving and rejected."""
    if not indexes:
        return []
    try:
        return [(indexes, plan.tabulate([part.rows[index].record for index in indexes]))]
    except Exception as error:  # noqa: BLE001 - whatever a record does to the table, only that record is refused
        if len(indexes) == 1:
            text = f"the record does not fit the dataset's table: {type(error).__name__}: {error}"
            part.reject(indexes[0], Stage.LAKE, [Violation(_CORRUPT, "", text, "#", "#")])
            return []
        middle = len(indexes) // 2
        return _tables(part, indexes[:middle], plan) + _tables(part, indexes[middle:], plan)


def reject_all(part: Batch, problem: Permanent) -> None:
    """Decide against every row for a dataset whose table cannot take them."""
    for index, row in part.live():
        if row.operation is _CREATE:
            part.reject(index, Stage.LAKE, [Violation(_CORRUPT, "", problem.reason, "#", "#")])


def _facts(slabs: Sequence[Slab], batch_ids: dict[Source, str]) -> RowFacts:
    facts = RowFacts([], [], [], [])
    for plan, rows, _ in slabs:
        batch_id, is_event = batch_ids[plan.source], plan.is_event
        facts.times_ms.extend([row.time_ms if is_event else row.received_ms for row in rows])
        facts.batch_ids.extend([batch_id] * len(rows))
        facts.tracking_ids.extend([row.accepted.xaction_id for row in rows])
        facts.row_ids.extend([f"{batch_id}-{row.offset};" for row in rows])
    return facts
