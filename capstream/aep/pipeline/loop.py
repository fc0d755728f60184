"""The loop behind the inlet log: read, shape, land, feed, account, and the cursor last in the same transaction.

The lake's commit comes before the state's and is idempotent by (application, offset), so a crash between the two repeats
the batch without writing a row twice; everything else happens whole or not at all with the cursor.

Committing waits for the disk and has a thread of its own. When much waits behind a micro-batch, the next one is shaped
meanwhile; it is committed only behind its predecessor, and shaped again when that one did not succeed.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from capstream.aep.catalog.batches import Stage, Windows
from capstream.aep.data_access.rejected import Violation
from capstream.aep.flow_service.processing import Plans, Schemas, Unusable
from capstream.aep.pipeline import accounts, shaping
from capstream.aep.pipeline.batch import Batch, batches_of
from capstream.aep.pipeline.housekeeping import Housekeeping
from capstream.aep.pipeline.landing import Group, Landing, groups_of, reject_all
from capstream.aep.pipeline.people import People
from capstream.aep.streaming_ingestion.messages import decode
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.errors import Permanent, Transient
from capstream.storage.ports import Documents, Entry, Erasable, Lake, Log, Reading, StorageUnavailable

CURSORS = "cursors"
_CURSOR = "inlet"
_IDLE_S = 0.01
_BACK_OFF_S = 1.0
_AHEAD_FROM = 4  #: from which part of a full micro-batch on the next one is shaped while one is committed
_PART = 500  #: records whose columns are made together
_PIECE = 50  #: records taken through the stages together: see Batch.piece


class Step(StrEnum):
    """The places where a crash is worth a test."""

    READ = "read"  #: nothing is durable yet
    LAKE_COMMITTED = "lake_committed"  #: rows are readable, the cursor is not moved
    STATE_COMMITTED = "state_committed"  #: everything is durable


@dataclass(frozen=True, slots=True)
class Stores:
    """What the pipeline reads from and writes to."""

    inlet: Log
    control: Documents
    state: Erasable
    lake: Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much at once, and how long things stay open."""

    max_records: int = 2000
    max_bytes: int = 8 * 1024 * 1024
    linger_s: float = 0.2  #: least time between two lake commits while less than `max_records` wait
    flush_s: float = 60.0  #: how long a Catalog batch stays open
    flush_bytes: int = 64 * 1024 * 1024
    close_delay_s: float = 300.0  #: how long after its hour a run is closed
    compact_after: int = 96  #: commits to a table
    lake_timeout_s: float = 30.0


def waiting_since(inlet: Log, state: Reading) -> tuple[str, int] | None:
    """Return (flow id, reception in milliseconds) of the oldest accepted message that is not processed, or None."""
    entries = inlet.read(int(state.get(CURSORS, _CURSOR) or b"0"), 1)
    if not entries:
        return None
    oldest = decode(entries[0][1])
    return oldest.flow_id, oldest.received_ms


class _DatasetBlocked(Exception):
    """A dataset's table cannot take rows; its rows are rejected when the batch is begun again."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One micro-batch, shaped: its batches, those that go on by dataset, and its instant.

    It was read behind the offset `after`, while the control plane had `version`.
    """

    after: int
    version: int
    entries: list[Entry]
    batches: list[Batch]
    groups: list[Group]
    now_ms: int

    @property
    def last(self) -> int:
        return self.entries[-1][0]


class Pipeline:
    """Processes what the inlets accepted. One instance for each set of stores."""

    def __init__(
        self,
        stores: Stores,
        schemas: Schemas,
        *,
        clock: Clock,
        settings: Settings | None = None,
        checkpoint: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open the pipeline. `checkpoint` is called at each Step; what it raises must not be an Exception subclass."""
        self._stores = stores
        self._clock = clock
        self._settings = settings or Settings()
        self._checkpoint = checkpoint
        self._plans = Plans(stores.control, schemas)
        self._windows = Windows(stores.state, flush_ms=int(self._settings.flush_s * 1000), flush_bytes=self._settings.flush_bytes)
        self._landing = Landing(stores.lake, self._windows, compact_after=self._settings.compact_after)
        self._people = People(stores.control)
        self._housekeeping = Housekeeping(
            stores.control,
            stores.state,
            self._windows,
            self._plans,
            close_delay_ms=int(self._settings.close_delay_s * 1000),
            drop=self._landing.drop,
            delete_rows=self._landing.delete_rows,
        )
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._ahead: _Work | None = None
        self._limit = self._settings.max_records
        self._poison: dict[int, str] = {}
        self._blocked: dict[str, Permanent] = {}
        self._version = -1

    def cursor(self) -> int:
        """Return the offset up to which everything is processed."""
        return int(self._stores.state.get(CURSORS, _CURSOR) or b"0")

    def run_once(self) -> int:
        """Process what waits, at most `max_records`, and return how many records that were.

        A batch that fails in a way nobody foresaw is tried again in halves until the record is found that does it; that
        record is kept as rejected.
        Errors: StorageUnavailable, Transient: nothing was lost, call again later.
        """
        self._housekeeping.before(self.cursor(), self._clock())
        self._unblock()
        count = self._next_batch()
        self._housekeeping.after(self.cursor(), self._clock())
        return count

    def _next_batch(self) -> int:
        while True:
            cursor, ahead = self.cursor(), self._ahead
            self._ahead = None
            if ahead is not None and (ahead.after, ahead.version) != (cursor, self._version):
                ahead = None
            entries = ahead.entries if ahead else self._entries(cursor)
            if not entries:
                return 0
            try:
                self._process(entries, cursor, ahead)
            except (StorageUnavailable, Transient):
                raise
            except _DatasetBlocked:
                continue
            except Exception as error:  # noqa: BLE001 - body of the loop: isolate the record that does it
                self._narrow(entries, error)
                continue
            self._poison.clear()
            self._limit = min(self._limit * 2, self._settings.max_records)
            return len(entries)

    def run(self, stop: threading.Event) -> None:
        """Process until `stop` is set: at once when idle before, else at most every `linger_s`."""
        while not stop.is_set():
            started = time.monotonic()
            try:
                count = self.run_once()
                idle = count == 0 and not self._plans.prepare()
            except Exception as error:  # noqa: BLE001 - body of the loop: whatever it was, the records are still in the log
                log.error("batch not processed", action="pipeline_stalled", exc=error)
                stop.wait(_BACK_OFF_S)
                continue
            if idle:
                stop.wait(_IDLE_S)
            elif count and self._ahead is None:
                stop.wait(max(self._settings.linger_s - (time.monotonic() - started), 0))
        self.close()

    def close(self) -> None:
        """Finish background work; the stores stay open."""
        self._committing.shutdown(wait=True)
        self._landing.close()

    def _entries(self, cursor: int) -> list[Entry]:
        limit = self._housekeeping.limit(cursor, self._limit)
        entries = self._stores.inlet.read(cursor, limit)
        size = 0
        for count, (_, body) in enumerate(entries):
            size += len(body)
            if size > self._settings.max_bytes and count:
                return entries[:count]
        return entries

    def _process(self, entries: list[Entry], cursor: int, ahead: _Work | None) -> None:
        self._checkpoint(Step.READ)
        work = ahead or self._shaped(entries, cursor)
        commit = self._committing.submit(self._commit, work)
        try:
            if self._stores.inlet.end() - work.last > self._limit // _AHEAD_FROM:
                self._ahead = self._next_shaped(work.last)
        finally:
            commit.result()
        self._checkpoint(Step.STATE_COMMITTED)
        self._housekeeping.touched(group.plan.source.sandbox_id for group in work.groups)
        self._landing.tidy()

    def _next_shaped(self, cursor: int) -> _Work | None:
        """Return the micro-batch behind `cursor`; None when nothing waits, or when it takes the care of a round of its own."""
        try:
            entries = self._entries(cursor)
            return self._shaped(entries, cursor) if entries else None
        except Exception:  # noqa: BLE001 - it comes again, in a round that tells whose fault it is
            return None

    def _commit(self, work: _Work) -> None:
        now_ms = work.now_ms
        batch_ids = self._landing.batch_ids(work.groups, now_ms)
        commits = [(group, self._landing.start(group, batch_ids, version=work.last, now_ms=now_ms)) for group in work.groups]
        try:
            with self._stores.state.transaction() as change:
                self._people.write(change, work.groups, batch_ids=batch_ids, now_ms=now_ms)
                self._await_lake(commits, work)
                self._checkpoint(Step.LAKE_COMMITTED)
                for batch in work.batches:
                    accounts.settle(change, batch, self._windows, batch_ids=batch_ids, now_ms=now_ms)
                change.put(CURSORS, [(_CURSOR, b"%d" % work.last)])
        except BaseException:
            self._people.graphs.forget()
            raise
        self._people.graphs.settle()

    def _shaped(self, entries: list[Entry], cursor: int) -> _Work:
        now_ms = self._clock()
        deadline = now_ms + int(self._settings.lake_timeout_s * 1000)
        batches = batches_of(entries, self._plans, deadline)
        groups = groups_of(batches)
        for batch in batches:
            if isinstance(batch.flow, Unusable):
                self._begin(batch)
        for group in groups:
            for batch in group.batches:
                for start in range(0, len(batch.rows), _PART):
                    part = batch.piece(start, _PART)
                    self._shape(part, group)
                    batch.keep(start, part)
        return _Work(cursor, self._version, entries, batches, groups, now_ms)

    def _begin(self, part: Batch) -> None:
        self._condemn(part)
        shaping.refuse(part)

    def _shape(self, part: Batch, group: Group) -> None:
        """Take a part through the stages, each for rows nothing speaks against, to what lake and people need of its records."""
        self._begin(part)
        blocked = self._blocked.get(group.plan.table)
        proved = self._prove(part, group) if blocked is None and self._landing.may_prove(part, group) else 0
        if proved < len(part.rows):
            rest = part.piece(proved, _PART)
            self._shape_each(rest, group, blocked)
            part.keep(proved, rest)

    def _shape_each(self, part: Batch, group: Group, blocked: Permanent | None) -> None:
        """Take the rows of a part through the stages where each must be validated."""
        shaping.transform(part)
        shaping.validate(part)
        shaping.stamp(part)
        if blocked is not None:
            reject_all(part, blocked)
        self._people.identify(part, group.plan)
        self._landing.tabulate(part, group)
        shaping.forget(part)

    def _prove(self, part: Batch, group: Group) -> int:
        """Take a part through the stages in pieces, as long as these prove valid; return how many rows that was."""
        proved: list[pa.StructArray] = []
        through = 0
        while through < len(part.rows):
            piece = part.piece(through, _PIECE)
            read = self._proved(piece, group)
            part.keep(through, piece)
            if read is None:
                break
            proved.append(read)
            through += len(piece.rows)
        if not proved or not self._landing.join(part.piece(0, through), group, proved):
            through = 0
        for row in part.rows[through:]:
            row.entity = b""
        return through

    def _proved(self, piece: Batch, group: Group) -> pa.StructArray | None:
        """Take a piece through the stages; return its live rows as the lake wants them, None when each must be validated."""
        shaping.transform(piece)
        read = self._landing.proved(piece, group)
        if read is not None:
            shaping.stamp(piece)
            self._people.identify(piece, group.plan)
        shaping.forget(piece)
        return read if read is not None and len(read) == len(piece.live_rows()) else None

    def _await_lake(self, commits: list[tuple[Group, "Future[bool] | None"]], work: "_Work") -> None:
        for group, commit in commits:
            if commit is None:
                continue
            left_s = max(min(batch.deadline for batch in work.batches) - self._clock(), 0) / 1000
            try:
                self._landing.finish(group, commit, version=work.last, timeout_s=left_s)
            except Permanent as problem:
                # The batch is begun again, and this dataset's rows are rejected then.
                self._blocked[group.plan.table] = problem
                log.error("dataset cannot take rows", action="dataset_blocked", exc=problem, table=group.plan.table)
                raise _DatasetBlocked from problem

    def _unblock(self) -> None:
        """Give blocked datasets another try when the control plane changed: somebody may have mended the schema."""
        version = self._stores.control.version()
        if version != self._version:
            self._version = version
            self._blocked.clear()

    def _narrow(self, entries: list[Entry], error: Exception) -> None:
        if len(entries) == 1:
            offset = entries[0][0]
            if offset in self._poison:
                raise error
            self._poison[offset] = f"the record could not be processed: {type(error).__name__}: {error}"
            log.error("record kept as rejected", action="record_isolated", exc=error, offset=offset)
            return
        self._limit = len(entries) // 2

    def _condemn(self, batch: Batch) -> None:
        """Decide against rows that made an earlier attempt fail."""
        for index, row in batch.live():
            if row.offset in self._poison:
                batch.reject(index, Stage.ENVELOPE, [Violation(shaping.CORRUPT, "", self._poison[row.offset], "#", "#")])
