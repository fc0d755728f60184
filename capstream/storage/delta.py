"""The Lake on Delta Lake tables below one folder: atomic commits that are idempotent by (application id, version).

Tables are not partitioned on disk (docs/adr/0005). The cost of a commit grows with the log entries since the last
checkpoint (measured: 4 ms right after one, 40 ms at 400 entries), so checkpoints are written here, every
`_CHECKPOINT_EVERY` commits, and the table is opened anew from them.
"""

import os
import shutil
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import DeltaError, SchemaMismatchError, TableNotFoundError

from capstream.kernel.errors import Permanent
from capstream.storage.durable import synced
from capstream.storage.ports import StorageUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

_CHECKPOINT_EVERY = 32
_SMALL_BYTES = 8 * 1024 * 1024  # files below are merged
_FEWEST = 2
_KEEP_HOURS = 48  # documented: files of older snapshots stay addressable for two days
_HOOKS_OFF = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_MISFITS = ("cast", "schema", "field name")


@dataclass(slots=True)
class _Open:
    """A table as it was looked at last, and the entries that we wrote since."""

    table: DeltaTable
    entries: int  #: commits since the last checkpoint
    written: int = 0  #: entries that `table` does not know
    newest: dict[str, int] = field(default_factory=dict)  #: of each application that wrote them, its version
    fitting: "pa.Schema | None" = None  #: the last columns that were found to fit

    @property
    def version(self) -> int:
        return int(self.table.version()) + self.written

    def committed(self, app_id: str) -> int:
        """Return the newest version that an application committed, 0 when there is none."""
        return self.newest.get(app_id) or int(self.table.transaction_version(app_id) or 0)

    def refresh(self) -> None:
        """Look at the log anew."""
        self.table.update_incremental()
        self.written = 0
        self.newest.clear()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SchemaMismatchError as error:
        raise Permanent("schema_conflict", f"the rows do not fit the table: {_first_line(error)}") from error
    except (DeltaError, OSError) as error:
        raise StorageUnavailable(_first_line(error)) from error


@contextmanager
def _writing() -> Generator[None]:
    """Tell apart what waiting mends and what it does not: the writer reports rows that do not fit in several ways."""
    try:
        yield
    except (SchemaMismatchError, OSError):
        raise
    except Exception as error:
        text = _first_line(error)
        if any(word in text.lower() for word in _MISFITS):
            raise Permanent("schema_conflict", f"the rows do not fit the table: {text}") from error
        raise StorageUnavailable(text) from error


def _first_line(error: Exception) -> str:
    """Return the message without the engine's own traceback."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class DeltaLake:
    """Append-only tables in Delta format. Implements `storage.ports.Lake`.

    Shape: a table's name is its path below `root`. One process appends, compacts and drops; any number may read.
    """

    def __init__(self, root: Path, *, skip_by: Sequence[str] = ()) -> None:
        """Open the lake. `skip_by` names the columns whose smallest and largest value each file records."""
        # Read when the library starts its threads, at the first call. One commit at a time keeps one of them busy; each
        # more costs 15 MB of buffers (measured with 470 leaf columns).
        os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
        self._root = root
        self._skip_by = tuple(skip_by)
        self._tables: dict[str, _Open] = {}
        self._lock = threading.RLock()  # a table object is for one thread at a time
        self._rewriting = threading.Lock()  # taken before the other one, by what puts files in the place of others

    def append(self, table: str, rows: "pa.Table", *, app_id: str, version: int) -> bool:
        with self._lock, _translated():
            opened = self._opened(table) or self._created(table, rows.schema)
            if opened.committed(app_id) >= version:
                return False
            try:
                self._commit(table, opened, rows, app_id, version)
            except BaseException:
                self._tables.pop(table, None)  # its view of the log may be stale: look again next time
                raise
        if opened.entries >= _CHECKPOINT_EVERY:
            self._checkpoint(table)
        return True

    def committed(self, table: str, app_id: str) -> int:
        with self._lock, _translated():
            opened = self._fresh(table)
            return 0 if opened is None else opened.committed(app_id)

    def files(self, table: str) -> list[str]:
        with self._lock, _translated():
            opened = self._fresh(table)
            return [] if opened is None else [uri.removeprefix("file://") for uri in opened.table.file_uris()]

    def rows(self, table: str) -> int:
        with self._lock, _translated():
            opened = self._fresh(table)
            return 0 if opened is None else int(opened.table.count())

    def compact(self, table: str) -> None:
        # With a view of the log of its own, so that rows can be appended meanwhile: neither commit contradicts the other.
        with self._rewriting, _translated():
            opened = self._seen(table)
            if opened is None:
                return
            self._merge_small(table, opened)
            opened.vacuum(
                retention_hours=_KEEP_HOURS,
                dry_run=False,
                enforce_retention_duration=False,
                post_commithook_properties=_HOOKS_OFF,
            )
            with self._lock:
                self._checkpoint(table)

    def _merge_small(self, table: str, seen: DeltaTable) -> None:
        import pyarrow as pa  # noqa: PLC0415 - large, and only who writes needs it

        from capstream.storage import compaction, log_entries  # noqa: PLC0415 - as above

        files = pa.table(seen.get_add_actions(flatten=True)).select(["path", "size_bytes"])
        small = {path: size for path, size in zip(*files.to_pydict().values(), strict=True) if size < _SMALL_BYTES}
        if len(small) < _FEWEST:
            return
        folder, now_ms = self._root / table, int(time.time() * 1000)
        added = compaction.merge(folder, list(small), pa.schema(seen.schema()), skip_by=self._skip_by, now_ms=now_ms)
        with self._lock:
            self._tables.pop(table, None)
            newest = self._seen(table)
            if newest is not None:
                log_entries.write(folder / "_delta_log", newest.version() + 1, log_entries.merged(small, added))

    def delete(self, table: str, column: str, value: str) -> None:
        with self._rewriting, self._lock, _translated():
            opened = self._fresh(table)
            if opened is None:
                return
            quoted = value.replace("'", "''")
            try:
                with _writing():
                    opened.table.delete(f"\"{column}\" = '{quoted}'", post_commithook_properties=_HOOKS_OFF)
            finally:
                self._tables.pop(table, None)  # look at the log anew: the rows are in other files now

    def drop(self, table: str) -> None:
        with self._rewriting, self._lock:
            self._tables.pop(table, None)
        shutil.rmtree(self._root / table, ignore_errors=True)

    def _opened(self, table: str) -> _Open | None:
        found = self._tables.get(table)
        if found is None and (opened := self._seen(table)) is not None:
            # Not counted: how far back the last checkpoint lies. Starting at zero only puts the next one off once.
            found = self._tables[table] = _Open(opened, 0)
        return found

    def _seen(self, table: str) -> DeltaTable | None:
        """Return the table as its log is now, in a view of its own."""
        if not (self._root / table / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(self._root / table)
        except TableNotFoundError:  # a full disk cut its making short: there are folders, but no table
            return None

    def _fresh(self, table: str) -> _Open | None:
        if not (self._root / table / "_delta_log").is_dir():
            self._tables.pop(table, None)
            return None
        known = table in self._tables
        opened = self._opened(table)
        if known and opened is not None:
            opened.refresh()
        return opened

    def _created(self, table: str, schema: "pa.Schema") -> _Open:
        path = self._root / table
        path.mkdir(parents=True, exist_ok=True)
        columns = [name for name in self._skip_by if name in schema.names]
        settings: dict[str, str | None] = {"delta.logRetentionDuration": f"interval {_KEEP_HOURS} hours"}
        if columns:
            settings["delta.dataSkippingStatsColumns"] = ",".join(columns)
        with _writing():
            created = _Open(DeltaTable.create(path, schema=schema, mode="ignore", configuration=settings), 0)
        self._tables[table] = created
        return created

    def _commit(self, table: str, opened: _Open, rows: "pa.Table", app_id: str, version: int) -> None:
        from capstream.storage import data_files, log_entries  # noqa: PLC0415 - Arrow is large, and only who writes needs it

        with _writing():
            if not _fits(opened, rows.schema):
                _widen(opened, rows.schema)
            folder = self._root / table
            added = data_files.write(folder, rows, skip_by=self._skip_by, now_ms=int(time.time() * 1000))
            synced(folder)
            log_entries.write(folder / "_delta_log", opened.version + 1, log_entries.appended(added, app_id, version))
        opened.written += 1
        opened.newest[app_id] = version
        opened.entries += 1

    def _checkpoint(self, table: str) -> None:
        with _translated():
            opened = self._tables.pop(table, None) or self._opened(table)
            self._tables.pop(table, None)
            if opened is not None:
                opened.refresh()
                opened.table.create_checkpoint()
                opened.table.cleanup_metadata()


def _fits(opened: _Open, schema: "pa.Schema") -> bool:
    """Return whether the table has the columns; remembers the last that it had."""
    from capstream.storage import data_files  # noqa: PLC0415 - as above

    if opened.fitting is None or not schema.equals(opened.fitting):
        if not data_files.within(schema, opened.table):
            return False
        opened.fitting = schema
    return True


def _widen(opened: _Open, schema: "pa.Schema") -> None:
    """Give the table the columns that it lacks, in a commit without rows. Errors: SchemaMismatchError and others."""
    opened.refresh()
    write_deltalake(opened.table, schema.empty_table(), mode="append", schema_mode="merge", post_commithook_properties=_HOOKS_OFF)
    opened.refresh()
    opened.entries += 1
    if not _fits(opened, schema):
        raise SchemaMismatchError("columns have another type in the table")
