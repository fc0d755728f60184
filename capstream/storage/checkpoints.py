"""Checkpoints beside the commits: what lies in a log's WAL is copied into its file by a thread of its own.

On the writing connection every commit behind a checkpoint would wait. SQLite copies while others write, but starts the WAL over
only when a commit finds everything copied: the thread copies twice, the second time the little that came during the first, and
the writing thread copies what is left then.

A little often: a commit's fsync waits for what the disk has to write just then. At 10,000 webhooks a second copying 64 MB at once
held answers up for 300 to 900 ms at the 99th percentile, 4 MB for 17 ms; what is accepted a second falls by some hundredths.
"""

import sqlite3
import threading
from collections.abc import Callable

from capstream.kernel import log

CHECKPOINT_BYTES = 4 * 1024 * 1024
_COPY = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Runs a checkpoint whenever enough was written. Its methods are for the thread that writes with `db`."""

    def __init__(self, db: sqlite3.Connection, connect: Callable[[], sqlite3.Connection], *, every_bytes: int) -> None:
        self._db = db
        self._connect = connect
        self._every = every_bytes
        self._written = 0
        self._due = threading.Event()
        self._nearly_done = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def written(self, size: int) -> None:
        """Count `size` more bytes in the WAL; call it after their commit."""
        if self._nearly_done.is_set():
            self._nearly_done.clear()
            _copy(self._db)
        self._written += size
        if self._written >= self._every:
            self.run_soon()

    def run_soon(self) -> None:
        """Copy what lies in the WAL now, beside the commits."""
        self._written = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Let the checkpoint under way end; call it before `db` closes, which copies the rest."""
        self._closing = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        db = self._connect()
        while self._due.wait() and not self._closing:
            self._due.clear()
            _copy(db)
            _copy(db)
            self._nearly_done.set()
        db.close()


def _copy(db: sqlite3.Connection) -> None:
    """Copy what can be copied. What fails (disk full) is tried again with the next checkpoint: the WAL has it meanwhile."""
    try:
        db.execute(_COPY)
    except sqlite3.OperationalError as error:
        log.error("a checkpoint failed", action="checkpoint_failed", exc=error)
