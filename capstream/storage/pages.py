"""The pages of a SQLite file: how many it has, how many are free, and giving those back to the disk while it is used."""

import sqlite3

from capstream.storage.ports import StorageUnavailable

INCREMENTAL = 2  # PRAGMA auto_vacuum


class Pages:
    """The pages of the file a connection is open on."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def size_bytes(self) -> int:
        """Return the space the file occupies on disk."""
        return self._pragma("page_count") * self._pragma("page_size")

    def free_bytes(self) -> int:
        """Return how much of that space is free."""
        return self._pragma("freelist_count") * self._pragma("page_size")

    def give_back(self, pages: int) -> int:
        """Give up to `pages` free pages back to the disk, in one commit; return the bytes.

        0 when there is nothing to give, or the file was made without the form that can shrink. Errors: StorageUnavailable.
        """
        try:
            before = self._pragma("freelist_count")
            if not before or self._pragma("auto_vacuum") != INCREMENTAL:
                return 0
            self._db.executescript(f"PRAGMA incremental_vacuum({pages})")  # execute() would stop after the first page
            return (before - self._pragma("freelist_count")) * self._pragma("page_size")
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
