"""Rows to the lake: one table and one idempotent commit for each dataset, in a thread of its own."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from capstream.aep.catalog.batches import Source, Stage, Windows
from capstream.aep.catalog.system_columns import RowFacts, add_system_columns
from capstream.aep.data_access.rejected import Violation
from capstream.aep.flow_service.processing import Plan
from capstream.aep.pipeline.batch import Batch
from capstream.aep.profile.store import Operation
from capstream.kernel import log
from capstream.kernel.errors import Permanent, Transient
from capstream.storage.ports import Lake

_APPLICATION = "capstream/inlet"
_CORRUPT = "INGEST-1401-400"

Spot = tuple[Batch, int]
"""A row's place: (batch, index)."""


@dataclass(slots=True)
class Group:
    """The rows of all batches that go to one dataset, in the order of acceptance."""

    plan: Plan
    spots: list[Spot] = field(default_factory=list)

    def live(self) -> list[Spot]:
        """Return the rows nothing speaks against so far."""
        return [(batch, index) for batch, index in self.spots if batch.verdicts[index] is None]


def groups_of(batches: Sequence[Batch]) -> list[Group]:
    """Return the live rows by dataset."""
    found: dict[tuple[str, str], Group] = {}
    for batch in batches:
        if isinstance(batch.flow, Plan):
            key = (batch.flow.table, batch.flow.source.sandbox_id)
            group = found.setdefault(key, Group(batch.flow))
            group.spots.extend((batch, index) for index, _ in batch.live())
    for group in found.values():
        group.spots.sort(key=lambda spot: spot[0].rows[spot[1]].offset)
    return list(found.values())


class Landing:
    """Commits rows to the lake. Its thread does all the work on the lake, one thing after another."""

    def __init__(self, lake: Lake, windows: Windows, *, compact_after: int) -> None:
        self._lake = lake
        self._windows = windows
        self._compact_after = compact_after
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lake")
        self._committed: dict[str, int] = {}
        self._commits: dict[str, int] = {}

    def committed(self, table: str) -> int:
        """Return the offset up to which the table holds all rows."""
        if table not in self._committed:
            self._committed[table] = self._thread.submit(self._lake.committed, table, _APPLICATION).result()
        return self._committed[table]

    def batch_ids(self, groups: Sequence[Group], now_ms: int) -> dict[Source, str]:
        """Return the Catalog batch that takes the rows of each source; durable before the first row is committed."""
        sources: dict[Source, None] = {}
        in_lake: set[str] = set()
        for group in groups:
            for batch, index in group.live():
                row = batch.rows[index]
                if row.operation is Operation.CREATE and isinstance(batch.flow, Plan):
                    sources[batch.flow.source] = None
                    if row.offset <= self.committed(group.plan.table):
                        in_lake.add(group.plan.source.dataset_id)
        return self._windows.batch_ids(sources, now_ms, in_lake=in_lake) if sources else {}

    def start(self, group: Group, batch_ids: dict[Source, str], *, version: int, now_ms: int) -> "Future[bool] | None":
        """Begin to commit the rows that the table lacks; None when there are none.

        Rows up to the committed version are there since before a crash: they are counted again, never written again.
        """
        table = group.plan.table
        done = self.committed(table)
        rows_here = [(batch, index) for batch, index in group.live() if batch.rows[index].operation is Operation.CREATE]
        old = [(batch, index) for batch, index in rows_here if batch.rows[index].offset <= done]
        _tabulated(group.plan, old)  # refuses again what was refused before the crash
        tables = _tabulated(group.plan, rows_here[len(old) :])
        if not tables:
            return None
        rows = pa.concat_tables([part for _, part in tables]) if len(tables) > 1 else tables[0][1]
        facts = [_facts(spot, batch_ids) for spots, _ in tables for spot in spots]
        complete = add_system_columns(rows, facts, ingested_ms=now_ms)
        return self._thread.submit(self._lake.append, table, complete, app_id=_APPLICATION, version=version)

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
                self._thread.submit(self._compact, table)

    def close(self) -> None:
        """Let the thread finish what it does."""
        self._thread.shutdown(wait=True)

    def _compact(self, table: str) -> None:
        try:
            self._lake.compact(table)
        except Exception as error:  # noqa: BLE001 - body of a background task: the next round tries again
            log.error("compaction failed", action="lake_compaction_failed", exc=error, table=table)


def _tabulated(plan: Plan, spots: Sequence[Spot]) -> list[tuple[Sequence[Spot], pa.Table]]:
    """Return the rows as tables; a row that fits none is found by halving and rejected."""
    if not spots:
        return []
    try:
        return [(spots, plan.tabulate([batch.rows[index].record for batch, index in spots]))]
    except Exception as error:  # noqa: BLE001 - whatever a record does to the table, only that record is refused
        if len(spots) == 1:
            batch, index = spots[0]
            text = f"the record does not fit the dataset's table: {type(error).__name__}: {error}"
            batch.reject(index, Stage.LAKE, [Violation(_CORRUPT, "", text, "#", "#")])
            return []
        middle = len(spots) // 2
        return _tabulated(plan, spots[:middle]) + _tabulated(plan, spots[middle:])


def reject_all(group: Group, problem: Permanent) -> None:
    """Decide against every row of a dataset whose table cannot take them."""
    for batch, index in group.live():
        if batch.rows[index].operation is Operation.CREATE:
            batch.reject(index, Stage.LAKE, [Violation(_CORRUPT, "", problem.reason, "#", "#")])


def _facts(spot: Spot, batch_ids: dict[Source, str]) -> RowFacts:
    batch, index = spot
    row = batch.rows[index]
    plan = batch.flow
    assert isinstance(plan, Plan)  # noqa: S101 - groups hold rows of usable flows only
    batch_id = batch_ids[plan.source]
    time_ms = row.time_ms if plan.is_event else row.accepted.received_ms
    return RowFacts(time_ms, batch_id, row.accepted.xaction_id, f"{batch_id}-{row.offset};")
