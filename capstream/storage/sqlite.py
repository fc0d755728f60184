"""Log and Documents on SQLite: WAL, `synchronous=FULL`, one writing connection per file.

A Log stores one row per commit (a segment holding many records), so the cost of a durable record falls with the
size of the group. Python's sqlite3 gives up the GIL in every step; a segment is one step however many records it holds.
"""

import sqlite3
import struct
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path

import msgspec

from capstream.storage.checkpoints import CHECKPOINT_BYTES, Checkpoints
from capstream.storage.pages import Pages
from capstream.storage.ports import Entry, Item, Needed, StorageUnavailable
from capstream.storage.seen_keys import WAITING_KEYS, SeenKeys
from capstream.storage.sqlite_files import clear_wal, connect, translated

_COMMIT_BYTES = 8192  # what a commit adds to the WAL besides its records: the ends of tables, half-filled pages
_CHANGE_BYTES = 8192  # what a changed row adds to it: its page, and the one of its key
_TOGETHER = (256, 32, 4, 1)  # rows that one statement stores


def _pack(records: Sequence[bytes]) -> bytes:
    return b"".join((struct.pack(f"<{len(records)}I", *map(len, records)), *records))


def _unpack(first: int, count: int, body: bytes) -> list[Entry]:
    head = 4 * count
    lengths = struct.unpack_from(f"<{count}I", body)
    ends = list(accumulate(lengths, initial=head))
    return [(first + i, body[ends[i] : ends[i + 1]]) for i in range(count)]


def _none_needed(_first: int, _last: int) -> Iterable[int]:
    return ()


class SqliteLog:
    """A Log in one SQLite file. Implements `storage.ports.Log`.

    `waiting_keys`: how many keys may wait for the index in memory; `checkpoint_bytes`: how much may lie in the WAL before it is
    copied into the file.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, waiting_keys: int = WAITING_KEYS, checkpoint_bytes: int = CHECKPOINT_BYTES
    ) -> None:
        self._db = connect(path, readonly=readonly, shrinks=True)
        self._readonly = readonly
        if not readonly:
            self._db.executescript(
                """
                CREATE TABLE IF NOT EXISTS segments (
                  last INTEGER PRIMARY KEY, count INTEGER NOT NULL, keys BLOB, body BLOB NOT NULL);
                CREATE TABLE IF NOT EXISTS ends (
                  id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL, indexed INTEGER NOT NULL);
                INSERT OR IGNORE INTO ends VALUES (1, 0, 0);
                CREATE TRIGGER IF NOT EXISTS advance AFTER INSERT ON segments BEGIN UPDATE ends SET last = NEW.last; END;
                """
            )
            self._db.execute("PRAGMA wal_autocheckpoint=0")
        self._pages = Pages(self._db)
        self._checkpoints = Checkpoints(self._db, lambda: connect(path, readonly=False), every_bytes=checkpoint_bytes)
        self._last = self.end()
        self._is_wal_copied = False
        self._keys = SeenKeys(self._db, readonly=readonly, waiting=waiting_keys)

    def append(self, records: Sequence[bytes], *, keys: Sequence[bytes] = ()) -> int:
        first = self._last + 1
        if not records:
            return first
        last = self._last + len(records)
        packed = msgspec.msgpack.encode(keys) if keys else None
        body = _pack(records)
        with translated():
            self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", (last, len(records), packed, body))
        self._last = last
        self._keys.note(keys, first, last)
        self._keys.spill()
        self._checkpoints.written(len(body) + _COMMIT_BYTES)
        return first

    def seen(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        if self._readonly:
            self._keys.read_back()
        return self._keys.find(keys)

    def read(self, after: int, limit: int) -> list[Entry]:
        found: list[Entry] = []
        rows = self._db.execute("SELECT last, count, body FROM segments WHERE last > ? ORDER BY last", (after,))
        for last, count, body in rows:
            entries = _unpack(last - count + 1, count, body)
            found += entries if last - count >= after else entries[after - last :]
            if len(found) >= limit:
                break
        return found[:limit]

    def get(self, offset: int) -> bytes | None:
        row = self._db.execute(
            "SELECT last, count, body FROM segments WHERE last >= ? ORDER BY last LIMIT 1", (offset,)
        ).fetchone()
        if row is None:
            return None
        last, count, body = row
        index = offset - (last - count + 1)
        return _unpack(last - count + 1, count, body)[index][1] if index >= 0 else None

    def end(self) -> int:
        (last,) = self._db.execute("SELECT last FROM ends").fetchone()
        return int(last)

    def size_bytes(self) -> int:
        return self._pages.size_bytes()

    def free_bytes(self) -> int:
        return self._pages.free_bytes()

    def give_back(self, pages: int) -> int:
        given = self._pages.give_back(pages)
        if given:
            self._checkpoints.written(2 * given + _COMMIT_BYTES)  # pages from the file's end took the place of free ones
        return given

    def trim(self, through: int, needed: Needed = _none_needed, *, after: int = 0, segments: int = 1000) -> tuple[int, int]:
        with translated():
            self._keys.index_through(min(through, self._last))
            query = "SELECT last, count FROM segments WHERE last > ? AND last <= min(?, (SELECT indexed FROM ends)) ORDER BY last"
            found = self._db.execute(f"{query} LIMIT ?", (after, through, segments)).fetchall()
            if not found:
                return 0, after
            first = found[0][0] - found[0][1] + 1
            kept = set(needed(first, found[-1][0]))
            removed = 0
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for last, count in found:
                    removed += self._thin(last, count, kept)
                self._db.execute("UPDATE ends SET last = ?", (self._last,))  # the trigger took older segments for new ones
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return removed, found[-1][0]

    def _thin(self, last: int, count: int, kept: set[int]) -> int:
        """Put a segment of its own in place of each record of a segment that is needed; return how many records went."""
        needed = kept.intersection(range(last - count + 1, last + 1))
        if len(needed) == count == 1:
            return 0
        if not needed:
            self._db.execute("DELETE FROM segments WHERE last = ?", (last,))
            return count
        (body,) = self._db.execute("SELECT body FROM segments WHERE last = ?", (last,)).fetchone()
        stay = [(offset, record) for offset, record in _unpack(last - count + 1, count, body) if offset in needed]
        self._db.execute("DELETE FROM segments WHERE last = ?", (last,))
        rows = [(offset, 1, None, _pack([record])) for offset, record in stay]
        self._db.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", rows)
        return count - len(stay)

    def redact(self, offsets: Collection[int], change: Callable[[bytes], bytes]) -> int:
        wanted = sorted(offsets)
        if not wanted:
            return 0
        with translated():
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                changed = self._redact(wanted, change)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            finally:
                self._db.execute("PRAGMA secure_delete=OFF")
        self._is_wal_copied = False
        return changed

    def clear_wal(self) -> bool:
        """Empty the file beside the log, which has what was replaced; return whether it could be done without waiting.

        The first call lets it be copied beside the appends; the one after that has little left to do.
        """
        if not self._is_wal_copied:
            self._is_wal_copied = True
            self._checkpoints.run_soon()
            return False
        self._is_wal_copied = cleared = clear_wal(self._db)
        return cleared

    def _redact(self, wanted: Sequence[int], change: Callable[[bytes], bytes]) -> int:
        query = "SELECT last, count, body FROM segments WHERE last >= ? ORDER BY last LIMIT 1"
        changed, through = 0, 0
        for each in wanted:
            row = None if each <= through else self._db.execute(query, (each,)).fetchone()
            if row is None:
                continue
            last, count, body = row
            through = last
            entries = _unpack(last - count + 1, count, body)
            meant = {offset for offset, _ in entries}.intersection(wanted)
            if meant:
                packed = _pack([change(record) if offset in meant else record for offset, record in entries])
                self._db.execute("UPDATE segments SET body = ? WHERE last = ?", (packed, last))
                changed += len(meant)
        return changed

    def forget_keys(self, through: int, *, after: bytes = b"", limit: int = 5000) -> tuple[int, bytes]:
        with translated():
            self._keys.index_through(min(through, self._last))
            rows = self._db.execute("SELECT key, offset FROM seen WHERE key > ? ORDER BY key LIMIT ?", (after, limit)).fetchall()
            old = [(key,) for key, offset in rows if offset <= through]
            if old:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM seen WHERE key = ?", old)
                self._db.execute("COMMIT")
        return len(old), rows[-1][0] if len(rows) == limit else b""

    def close(self) -> None:
        self._checkpoints.close()
        self._db.close()


class SqliteTransaction:
    """Reads and writes of one transaction. Implements `storage.ports.Transaction`."""

    def __init__(self, db: sqlite3.Connection, tables: set[str], *, writing: bool) -> None:
        self._db = db
        self._tables = tables
        self._writing = writing

    def _table(self, collection: str) -> str | None:
        if not collection.isidentifier():
            raise ValueError(f"collection {collection!r} is not an identifier")
        name = f"d_{collection}"
        if name in self._tables:
            return name
        if self._writing:
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {name} (n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body BLOB NOT NULL)"
            )
        elif not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone():
            return None
        self._tables.add(name)
        return name

    def get(self, collection: str, key: str) -> bytes | None:
        table = self._table(collection)
        row = table and self._db.execute(f"SELECT body FROM {table} WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def get_many(self, collection: str, keys: Sequence[str]) -> dict[str, bytes]:
        table = self._table(collection)
        if not table or not keys:
            return {}
        listed = msgspec.json.encode(list(keys)).decode()
        query = f"SELECT key, body FROM {table} WHERE key IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(query, (listed,)).fetchall())

    def scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int | None = None, reverse: bool = False
    ) -> list[Item]:
        table = self._table(collection)
        if not table:
            return []
        query = f"SELECT key, body FROM {table} WHERE key >= ? AND key < ?"
        arguments: list[str | int] = [prefix, prefix + "\U0010ffff"]
        if after:
            query += " AND key < ?" if reverse else " AND key > ?"
            arguments.append(after)
        query += " ORDER BY key DESC" if reverse else " ORDER BY key"
        if limit is not None:
            query += " LIMIT ?"
            arguments.append(limit)
        return self._db.execute(query, arguments).fetchall()

    def count(self, collection: str, *, prefix: str = "") -> int:
        table = self._table(collection)
        if not table:
            return 0
        query = f"SELECT count(*) FROM {table} WHERE key >= ? AND key < ?"
        return int(self._db.execute(query, (prefix, prefix + "\U0010ffff")).fetchone()[0])

    def put(self, collection: str, items: Iterable[Item]) -> None:
        insert = f"INSERT INTO {self._table(collection)} (key, body) VALUES"
        self._store(insert, list(items), " ON CONFLICT (key) DO UPDATE SET body = excluded.body")

    def insert(self, collection: str, items: Iterable[Item]) -> int:
        return self._store(f"INSERT OR IGNORE INTO {self._table(collection)} (key, body) VALUES", list(items))

    def _store(self, insert: str, items: Sequence[Item], otherwise: str = "") -> int:
        """Store many rows with each statement: the GIL is given up once a statement, and another thread may hold on to it."""
        stored = start = 0
        for rows in _TOGETHER:
            statement = insert + ",".join(["(?,?)"] * rows) + otherwise
            while len(items) - start >= rows:
                stored += self._db.execute(statement, list(chain.from_iterable(items[start : start + rows]))).rowcount
                start += rows
        return stored

    def delete(self, collection: str, keys: Iterable[str]) -> int:
        statement = f"DELETE FROM {self._table(collection)} WHERE key IN (SELECT value FROM json_each(?))"
        return self._db.execute(statement, (msgspec.json.encode(list(keys)).decode(),)).rowcount


class SqliteDocuments(SqliteTransaction):
    """Documents in one SQLite file, a table per collection. Implements `storage.ports.Documents`."""

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        shrinks: bool = False,
        cache_kb: int = 0,
        page_bytes: int = 0,
        checkpoint_bytes: int = 0,
    ) -> None:
        """`shrinks`: a new file can be made smaller while it is used; `cache_kb`: pages kept in memory, where not as usual;
        `page_bytes`: size of a new file's pages, where not as usual;
        `checkpoint_bytes`: about how much may lie in the WAL before a thread copies it into the file, else commits do it.
        """
        db = connect(path, readonly=readonly, shrinks=shrinks, cache_kb=cache_kb, page_bytes=page_bytes)
        super().__init__(db, set(), writing=False)
        self._checkpoints: Checkpoints | None = None
        if checkpoint_bytes:
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._checkpoints = Checkpoints(self._db, lambda: connect(path, readonly=False), every_bytes=checkpoint_bytes)
        self._pages = Pages(self._db)
        self._deletes = "FAST" if shrinks else "OFF"  #: FAST: bytes go where the page is written anyway
        if not readonly:
            self._db.execute(f"PRAGMA secure_delete={self._deletes}")
        self._readonly = readonly
        self._commits = 0

    @contextmanager
    def transaction(self, *, overwriting: bool = False) -> Generator[SqliteTransaction]:
        """Open a transaction; durable when the block ends, undone when it raises. `overwriting`: deleted bytes go on disk too."""
        if self._readonly:
            raise StorageUnavailable("opened read-only")
        tables, changes = set(self._tables), self._db.total_changes
        with translated():
            if overwriting:
                self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute("BEGIN IMMEDIATE")
        try:
            with translated():
                yield SqliteTransaction(self._db, tables, writing=True)
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        finally:
            if overwriting:
                self._db.execute(f"PRAGMA secure_delete={self._deletes}")
        self._tables |= tables
        self._commits += 1
        if self._checkpoints is not None:
            self._checkpoints.written((self._db.total_changes - changes) * _CHANGE_BYTES + _COMMIT_BYTES)

    def collections(self) -> list[str]:
        """Return the names of the collections that were ever written to."""
        found = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'd~_%' ESCAPE '~'")
        return sorted(name.removeprefix("d_") for (name,) in found)

    def version(self) -> int:
        (others,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(others) * 1_000_000_007 + self._commits

    def size_bytes(self) -> int:
        return self._pages.size_bytes()

    def free_bytes(self) -> int:
        return self._pages.free_bytes()

    def give_back(self, pages: int) -> int:
        return self._pages.give_back(pages)

    def clear_wal(self) -> bool:
        return clear_wal(self._db)

    def close(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._db.close()
