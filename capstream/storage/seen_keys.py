"""The keys of a log's records: which were seen before, and where.

Keys ride in their segment. The newest wait in memory, in buckets; when many wait, one bucket at a time goes into the index.
A bucket is a narrow range of the keys of one time, so its inserts share the index's pages: a key costs a fraction of what it
costs alone, and no commit carries more than a bucket. What the index lacks is read back from the segments at the next start.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from capstream.storage.key_filter import PREFIX, KeyFilter

_BUCKETS: Final = 256
WAITING_KEYS: Final = 65_536  # 256 in a bucket; about 190 bytes of memory each
_MOST_ARGUMENTS: Final = 10_000  # of one statement; SQLite takes 32,766
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;
"""

_decoded: Final = msgspec.msgpack.Decoder(list[bytes]).decode


def _bucket(key: bytes) -> int:
    return key[PREFIX] if len(key) > PREFIX else key[-1]  # the byte behind those that all keys of one time may share


class SeenKeys:
    """Finds keys in memory and in the index of one log; the log's tables `segments` and `ends` are there already."""

    def __init__(self, db: sqlite3.Connection, *, readonly: bool, waiting: int) -> None:
        self._db = db
        self._most = waiting
        if not readonly:
            db.executescript(_TABLES)
        self._buckets: list[dict[bytes, int]] = [{} for _ in range(_BUCKETS)]
        self._filter: KeyFilter | None = None if readonly else KeyFilter(self._has_time)  # what others write it does not know
        self._count = 0  # keys in all buckets
        self._next = 0  # the bucket whose turn it is
        self._indexed = 0  # every key up to this offset is in the index
        self._through = 0  # every key up to this offset is in the index or in a bucket
        if not readonly:  # a reader reads back when it is asked: most never are
            self.read_back()
        self._round_began = self._through

    def note(self, keys: Sequence[bytes], first: int, last: int) -> None:
        """Remember the keys of the records `first` to `last`; empty ones are none, as is an empty list."""
        buckets = self._buckets
        for offset, key in enumerate(keys, first):
            if key:
                bucket = buckets[_bucket(key)]
                if key not in bucket:
                    bucket[key] = offset
                    self._count += 1
        self._through = last

    def find(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the offset of each of `keys` that was noted."""
        found: dict[bytes, int] = {}
        asked: list[bytearray] = []
        known_of = self._filter
        for key in keys:
            if not key:
                continue
            offset = self._buckets[_bucket(key)].get(key)
            if offset is not None:
                found[key] = offset
            if known_of is None or known_of.may_have(key):
                asked.append(bytearray(key))  # sqlite3 asks for adapters of bytes
        for start in range(0, len(asked), _MOST_ARGUMENTS):
            part = asked[start : start + _MOST_ARGUMENTS]
            marks = ",".join("?" * len(part))
            found.update(self._db.execute(f"SELECT key, offset FROM seen WHERE key IN ({marks})", part).fetchall())
        return found

    def _has_time(self, time: bytes) -> bool:
        row = self._db.execute("SELECT key FROM seen WHERE key >= ? ORDER BY key LIMIT 1", (time,)).fetchone()
        return row is not None and row[0].startswith(time)

    def spill(self) -> None:
        """Move as many buckets into the index as it takes when too many keys wait; mostly one."""
        if self._count >= self._most:
            self._move(1 + (self._count - self._most) * _BUCKETS // self._count)

    def index_through(self, offset: int) -> None:
        """Move all buckets into the index unless it has every key up to `offset` already."""
        if self._indexed < offset:
            self._next, self._round_began = 0, self._through
            self._move(_BUCKETS)

    def _move(self, count: int) -> None:
        """Move the next `count` buckets in one commit. When the disk is full they wait: the segments still have them.

        The commit is not synced: should it be lost with the machine, the segments still have the keys; the next one syncs it.
        """
        chosen = self._buckets[self._next : self._next + count]
        ends_round = self._next + count >= _BUCKETS
        if self._filter is not None:
            self._filter.note([key for bucket in chosen for key in bucket])
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for bucket in chosen:
                self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", sorted(bucket.items()))
            if ends_round:
                self._db.execute("UPDATE ends SET indexed = ?", (self._round_began,))
            self._db.execute("COMMIT")
        except sqlite3.OperationalError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            return
        finally:
            self._db.execute("PRAGMA synchronous=FULL")
        for bucket in chosen:
            self._count -= len(bucket)
            bucket.clear()
        self._next += count
        if ends_round:
            self._next, self._indexed, self._round_began = 0, self._round_began, self._through

    def read_back(self) -> None:
        """Read the keys that are in segments but not in the index: all at a start, for a reader the newest ones."""
        (indexed,) = self._db.execute("SELECT indexed FROM ends").fetchone()
        if indexed > self._indexed:
            self._indexed = indexed
            self._drop_indexed()
        self._through = max(self._through, indexed)
        rows = self._db.execute("SELECT last, count, keys FROM segments WHERE last > ? ORDER BY last", (self._through,))
        for last, count, keys in rows:
            self.note(_decoded(keys) if keys is not None else (), last - count + 1, last)

    def _drop_indexed(self) -> None:
        self._buckets = [{key: offset for key, offset in each.items() if offset > self._indexed} for each in self._buckets]
        self._count = sum(map(len, self._buckets))
