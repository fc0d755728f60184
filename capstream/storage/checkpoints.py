"""Checkpoints beside the commits: what lies in a log's WAL is copied into its file by a thread of its own.

On the writing connection every commit behind a checkpoint would wait. SQLite copies while others write, but starts the WAL over
only when a commit finds everything copied. The thread copies twice, the second time the little that came during the first; when
a commit comes meanwhile, the WAL grows on until the next checkpoint. Only when it has become long the writing thread copies what
is left, for which its commits wait 5 to 20 ms: every 4 MB that was 3 % of the time of a busy gateway, every 32 MB it is 0.6 %.

A little often: a commit's fsync waits for what the disk has to write just then. At 10,000 webhooks a second copying 64 MB at once
held answers up for 300 to 900 ms at the 99th percentile; what is accepted a second falls by some hundredths.
"""

import sqlite3
import threading
from collections.abc import Callable

from capstream.kernel import log

CHECKPOINT_BYTES = 4 * 1024 * 1024
_COPY = "PRAGMA wal_checkpoint(PASSIVE)"
_LONG_BYTES = 32 * 1024 * 1024


class Checkpoints:
    """Runs a checkpoint whenever enough was written. Its methods are for the thread that writes with `db`.

    `long_bytes`: of a WAL that has to start over even if a commit waits.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        connect: Callable[[], sqlite3.Connection],
        *,
        every_bytes: int,
        long_bytes: int = _LONG_BYTES,
    ) -> None:
        self._db = db
        self._connect = connect
        self._every = every_bytes
        self._long = long_bytes
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
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        while self._due.wait() and not self._closing:
            self._due.clear()
            if copy_twice(db) * page_bytes >= self._long:
                self._nearly_done.set()
        db.close()


def copy_twice(db: sqlite3.Connection) -> int:
    """Copy twice; return the pages in the WAL, 0 when no commit came meanwhile: the next one starts it over."""
    begin = _copy(db)
    end = _copy(db)
    return 0 if 0 < end <= begin else end


def _copy(db: sqlite3.Connection) -> int:
    """Copy what can be copied; return the pages that were in the WAL when it began, 0 when it failed.

    What fails (disk full) is tried again with the next checkpoint: the WAL has it meanwhile.
    """
    try:
        is_busy, pages, _ = db.execute(_COPY).fetchone()
    except sqlite3.OperationalError as error:
        log.error("a checkpoint failed", action="checkpoint_failed", exc=error)
        return 0
    return 0 if is_busy else int(pages)
