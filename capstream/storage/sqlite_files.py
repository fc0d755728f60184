"""SQLite files as the stores of this package use them: how they are opened, emptied beside their users, and rewritten whole."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from capstream.storage.ports import StorageUnavailable

_CHECKPOINT_PAGES = 8000  # 32 MB: checkpoints cost two syncs each
_WRITER_KB, _READER_KB = 16_000, 2_000


def connect(path: Path, *, readonly: bool, shrinks: bool = False, cache_kb: int = 0, page_bytes: int = 0) -> sqlite3.Connection:
    """Return a connection; a file that is made with `shrinks` can be made smaller while it is used.

    `cache_kb`: pages kept in memory; by default more for the writer, who comes back to them, than for readers, who pass by.
    `page_bytes`: size of the pages of a file that is made, a power of two; SQLite's 4096 by default.
    """
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "ro" if readonly else "rwc"
    db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA busy_timeout=10000")
    if not readonly:
        if shrinks:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything is written; no effect on a file that has tables
        if page_bytes:
            db.execute(f"PRAGMA page_size={page_bytes}")  # as above
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA cache_size=-{cache_kb or (_READER_KB if readonly else _WRITER_KB)}")
    return db


@contextmanager
def translated() -> Generator[None]:
    """Turn SQLite's failures into StorageUnavailable."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise StorageUnavailable(str(error)) from error


def clear_wal(db: sqlite3.Connection) -> bool:
    """Copy what is in the WAL and cut it off, unless somebody is in the way."""
    with translated():
        db.execute("PRAGMA busy_timeout=0")
        try:
            (is_busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:  # a checkpoint is under way
            return False
        finally:
            db.execute("PRAGMA busy_timeout=10000")
    return not is_busy


def compact(path: Path, *, shrinks: bool = False) -> tuple[int, int]:
    """Write a file anew with what it holds; return its bytes before and after, its WAL included. No byte of what was deleted
    or replaced is in them any more.

    Others may have it open: their writes wait, for 10 s at most. `shrinks`: an older file gets the form that can be made smaller
    while it is used; only when nobody has it open. Needs as much free disk as the result takes; interrupted, the file holds
    what it held. Errors: StorageUnavailable, also when somebody writes or reads on for 10 s.
    """
    before = bytes_of(path)
    with translated():
        db = connect(path, readonly=False, shrinks=shrinks)
        try:
            db.execute("VACUUM")
            (is_busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            db.close()
    if is_busy:
        raise StorageUnavailable(f"{path.name} is being read: what it held before is still in it")
    return before, bytes_of(path)


def bytes_of(path: Path) -> int:
    """Return the bytes a store takes on disk: its file, and what waits beside it to be copied into it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(each.stat().st_size for each in files if each.exists())
