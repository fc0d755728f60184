"""Log and Documents on SQLite: WAL, `synchronous=FULL`, one writing connection per file.

A Log stores one row per commit (a segment holding many records), so the cost of a durable record falls with the
size of the group. Python's sqlite3 gives up the GIL in every step; a segment is one step however many records it holds.
"""

import sqlite3
import struct
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import msgspec

from capstream.storage.ports import Entry, Item, StorageUnavailable

_LENGTHS = struct.Struct("<I")


def _connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "ro" if readonly else "rwc"
    db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA busy_timeout=10000")
    if not readonly:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA cache_size=-16000")
    return db


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise StorageUnavailable(str(error)) from error


def _pack(records: Sequence[bytes]) -> bytes:
    return b"".join((*(_LENGTHS.pack(len(record)) for record in records), *records))


def _unpack(first: int, count: int, body: bytes) -> list[Entry]:
    head = 4 * count
    lengths = struct.unpack_from(f"<{count}I", body)
    ends = list(accumulate(lengths, initial=head))
    return [(first + i, body[ends[i] : ends[i + 1]]) for i in range(count)]


class SqliteLog:
    """A Log in one SQLite file. Implements `storage.ports.Log`."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._db = _connect(path, readonly=readonly)
        if not readonly:
            self._db.executescript(
                """
                CREATE TABLE IF NOT EXISTS segments (
                  last INTEGER PRIMARY KEY, count INTEGER NOT NULL, keys TEXT, body BLOB NOT NULL);
                CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS ends (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
                INSERT OR IGNORE INTO ends VALUES (1, 0);
                CREATE TRIGGER IF NOT EXISTS remember AFTER INSERT ON segments BEGIN
                  UPDATE ends SET last = NEW.last;
                  INSERT OR IGNORE INTO seen SELECT value, NEW.last - NEW.count + 1 + key FROM json_each(NEW.keys);
                END;
                """
            )
        self._last = self._read_end()

    def _read_end(self) -> int:
        row = self._db.execute("SELECT last FROM ends").fetchone()
        return int(row[0])

    def append(self, records: Sequence[bytes], *, keys: Sequence[bytes] = ()) -> int:
        first = self._last + 1
        if not records:
            return first
        last = self._last + len(records)
        listed = msgspec.json.encode([key.hex() for key in keys]).decode() if keys else None
        with _translated():
            self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", (last, len(records), listed, _pack(records)))
        self._last = last
        return first

    def seen(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        listed = msgspec.json.encode([key.hex() for key in keys]).decode()
        query = "SELECT key, offset FROM seen WHERE key IN (SELECT value FROM json_each(?))"
        return {bytes.fromhex(key): offset for key, offset in self._db.execute(query, (listed,))}

    def read(self, after: int, limit: int) -> list[Entry]:
        found: list[Entry] = []
        rows = self._db.execute("SELECT last, count, body FROM segments WHERE last > ? ORDER BY last", (after,))
        for last, count, body in rows:
            found += _unpack(last - count + 1, count, body)
            if len(found) >= limit + count:
                break
        skipped = next((i for i, (offset, _) in enumerate(found) if offset > after), len(found))
        return found[skipped : skipped + limit]

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
        return self._read_end()

    def size_bytes(self) -> int:
        pages, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def trim(self, through: int) -> int:
        with _translated():
            rows = self._db.execute("DELETE FROM segments WHERE last <= ? RETURNING count", (through,)).fetchall()
        return sum(count for (count,) in rows)

    def close(self) -> None:
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
        insert = f"INSERT INTO {self._table(collection)} (key, body) VALUES (?, ?)"
        self._db.executemany(f"{insert} ON CONFLICT (key) DO UPDATE SET body = excluded.body", items)

    def insert(self, collection: str, items: Iterable[Item]) -> int:
        statement = f"INSERT OR IGNORE INTO {self._table(collection)} (key, body) VALUES (?, ?)"
        return self._db.executemany(statement, items).rowcount

    def delete(self, collection: str, keys: Iterable[str]) -> int:
        statement = f"DELETE FROM {self._table(collection)} WHERE key = ?"
        return max(self._db.executemany(statement, ((key,) for key in keys)).rowcount, 0)


class SqliteDocuments(SqliteTransaction):
    """Documents in one SQLite file, a table per collection. Implements `storage.ports.Documents`."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        super().__init__(_connect(path, readonly=readonly), set(), writing=False)
        self._readonly = readonly
        self._commits = 0

    @contextmanager
    def transaction(self) -> Generator[SqliteTransaction]:
        """Open a transaction; durable when the block ends, undone when it raises."""
        if self._readonly:
            raise StorageUnavailable("opened read-only")
        tables = set(self._tables)
        with _translated():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            with _translated():
                yield SqliteTransaction(self._db, tables, writing=True)
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._tables |= tables
        self._commits += 1

    def version(self) -> int:
        (others,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(others) * 1_000_000_007 + self._commits

    def close(self) -> None:
        self._db.close()
