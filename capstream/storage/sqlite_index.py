"""An Index on SQLite: one table of facets, a B-tree for each facet that is sought by.

It can be made again from the records it describes, so its commits need not be durable at once (`synchronous=NORMAL`).
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from capstream.storage.pages import Pages
from capstream.storage.ports import Facets, Row, Search, StorageUnavailable
from capstream.storage.sqlite_files import translated

_STEPS_AT_ONCE = 1000
_MOST_STEPS = 20_000_000  # of SQLite's machine in one search: about a second


class SqliteIndex:
    """Rows of facets in one SQLite file. Implements `storage.ports.Index`. `facets` must be the same at every opening."""

    def __init__(self, path: Path, facets: Facets, *, readonly: bool = False) -> None:
        self._facets = facets.names
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "ro" if readonly else "rwc"
        self._db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA busy_timeout=10000")
        self._pages = Pages(self._db)
        if not readonly:
            self._prepare(facets.sought)

    def _prepare(self, sought: Sequence[str]) -> None:
        columns = "".join(f", {name} TEXT" for name in self._facets)
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # no effect on a file that has tables
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"CREATE TABLE IF NOT EXISTS rows (offset INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL{columns})")
        for name in sought:
            self._db.execute(f"CREATE INDEX IF NOT EXISTS by_{name} ON rows ({name}, offset) WHERE {name} IS NOT NULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS reached (id INTEGER PRIMARY KEY CHECK (id = 1), offset INTEGER NOT NULL)")
        self._db.execute("INSERT OR IGNORE INTO reached VALUES (1, 0)")

    def add(self, rows: Sequence[Row], through: int) -> None:
        marks = ",".join("?" * (len(self._facets) + 2))
        with translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                listed = [(row.offset, row.at_ms, *row.facets) for row in rows]
                self._db.executemany(f"INSERT OR REPLACE INTO rows VALUES ({marks})", listed)
                self._db.execute("UPDATE reached SET offset = ?", (through,))
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def through(self) -> int:
        (offset,) = self._db.execute("SELECT offset FROM reached").fetchone()
        return int(offset)

    def find(self, wanted: Search, limit: int) -> list[Row]:
        conditions, arguments = _conditions(wanted, self._facets)
        order = "DESC" if wanted.newest_first else "ASC"
        names = ", ".join(("offset", "at_ms", *self._facets))
        query = f"SELECT {names} FROM rows WHERE {' AND '.join(conditions)} ORDER BY offset {order} LIMIT ?"
        left = [_MOST_STEPS // _STEPS_AT_ONCE]

        def tire() -> bool:
            left[0] -= 1
            return left[0] < 0

        self._db.set_progress_handler(tire, _STEPS_AT_ONCE)
        try:
            with translated():
                found = self._db.execute(query, (*arguments, limit)).fetchall()
        except StorageUnavailable as error:
            raise TimeoutError("too many rows were looked at") from error
        finally:
            self._db.set_progress_handler(None, 0)
        return [Row(offset, at_ms, tuple(facets)) for offset, at_ms, *facets in found]

    def erase(self, facets: Mapping[str, str]) -> int:
        conditions = " AND ".join(f"{name} = ?" for name in _known(facets, self._facets))
        with translated():
            self._db.execute("PRAGMA secure_delete=ON")
            gone = self._db.execute(f"DELETE FROM rows WHERE {conditions}", tuple(facets.values())).rowcount
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def forget(self, before_ms: int, limit: int = 5000) -> int:
        query = "DELETE FROM rows WHERE offset IN (SELECT offset FROM rows WHERE at_ms < ? AND offset <= ? LIMIT ?)"
        (first,) = self._db.execute("SELECT min(offset) FROM rows").fetchone()
        if first is None:
            return 0
        with translated():
            return self._db.execute(query, (before_ms, first + limit, limit)).rowcount

    def size_bytes(self) -> int:
        return self._pages.size_bytes()

    def free_bytes(self) -> int:
        return self._pages.free_bytes()

    def give_back(self, pages: int) -> int:
        return self._pages.give_back(pages)

    def close(self) -> None:
        self._db.close()


def _conditions(wanted: Search, facets: Collection[str]) -> tuple[list[str], list[str | int]]:
    conditions = ["offset > ?", "offset < ?"]
    found: list[str | int] = [wanted.after, wanted.before]
    for bound, comparison in ((wanted.since_ms, ">="), (wanted.until_ms, "<")):
        if bound is not None:
            conditions.append(f"at_ms {comparison} ?")
            found.append(bound)
    for name, value in _known(wanted.facets, facets).items():
        conditions.append(f"{name} = ?")
        found.append(value)
    return conditions, found


def _known(wanted: Mapping[str, str], facets: Collection[str]) -> Mapping[str, str]:
    unknown = wanted.keys() - set(facets)
    if unknown:
        raise ValueError(f"no such facet: {', '.join(sorted(unknown))}")
    return wanted
