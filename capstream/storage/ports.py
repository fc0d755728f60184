"""The storage ports. They know bytes, keys and offsets; a rule about members, flows or datasets is in the wrong place here.

All are synchronous: an embedded engine is, and a loop that works in batches wants to be. The asyncio side reaches
them through `storage.group_commit`. One process writes a given store; any number may read it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

Entry = tuple[int, bytes]
"""(offset, record) of a Log; offsets start at 1 and have no gaps."""

Needed = Callable[[int, int], Iterable[int]]
"""Returns those offsets between two (both included) whose records must stay."""

Item = tuple[str, bytes]
"""(key, body) of Documents; keys sort by code point."""


class Shrinking(Protocol):
    """A store whose file can be made smaller while it is used."""

    def size_bytes(self) -> int:
        """Return the space the store occupies on disk."""
        ...

    def free_bytes(self) -> int:
        """Return how much of that space is free: what went is used again, until it is given back."""
        ...

    def give_back(self, pages: int) -> int:
        """Give up to `pages` free pages back to the disk, in one commit; return the bytes, 0 when there is nothing to give.

        A file of an older capstream gives nothing back until `capstream compact` has rewritten it. Errors: StorageUnavailable.
        """
        ...


class Log(Shrinking, Protocol):
    """An append-only sequence of records, addressed by offset."""

    def append(self, records: Sequence[bytes], *, keys: Sequence[bytes] = ()) -> int:
        """Store `records` in one commit and return the offset of the first; durable when it returns.

        `keys`, when given, are remembered for `seen`: one for each record, at most 32 bytes.
        Errors: StorageUnavailable when nothing was stored (disk full, I/O error).
        """
        ...

    def seen(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        """Return the offset of the record under each of `keys` that was appended before."""
        ...

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` records with offsets above `after`, in order."""
        ...

    def get(self, offset: int) -> bytes | None:
        """Return one record, or None when it does not exist (any more)."""
        ...

    def end(self) -> int:
        """Return the offset of the newest record, 0 while there is none."""
        ...

    def redact(self, offsets: Collection[int], change: Callable[[bytes], bytes]) -> int:
        """Put `change(record)` in place of records, in one commit; what they held is overwritten in the file. Returns how many.

        Records that do not exist any more are left out. `clear_wal` does the rest. Errors: StorageUnavailable.
        """
        ...

    def clear_wal(self) -> bool:
        """Empty the file beside the log, which has what was replaced; return whether it could be done without waiting.

        The first call only begins; call it again a little later. Errors: StorageUnavailable.
        """
        ...

    def trim(self, through: int, needed: Needed = ..., *, after: int = 0, segments: int = 1000) -> tuple[int, int]:
        """Forget the records of whole segments behind `after` up to `through`, all but those `needed` names.

        At most `segments` are looked at, in one commit: a large log is trimmed in slices, so that appends never wait long.
        Returns how many records went, and the offset up to which this slice came: the next one's `after`, or `after` itself
        when nothing is left to trim. Errors: StorageUnavailable.
        """
        ...

    def forget_keys(self, through: int, *, after: bytes = b"", limit: int = 5000) -> tuple[int, bytes]:
        """Forget keys of records up to `through`; `seen` does not know them any more.

        At most `limit` keys behind `after` are looked at. Returns how many went, and the key to go on after (empty: all done).
        Errors: StorageUnavailable.
        """
        ...


class Reading(Protocol):
    """What can be asked of Documents, inside a transaction (own writes seen) or outside."""

    def get(self, collection: str, key: str) -> bytes | None:
        """Return the body under `key`, or None."""
        ...

    def get_many(self, collection: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the bodies of those `keys` that exist."""
        ...

    def scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int | None = None, reverse: bool = False
    ) -> list[Item]:
        """Return items whose key starts with `prefix`, beyond `after`, in key order (or reversed)."""
        ...

    def count(self, collection: str, *, prefix: str = "") -> int:
        """Return how many keys start with `prefix`."""
        ...


class Transaction(Reading, Protocol):
    """A set of changes that happens whole or not at all."""

    def put(self, collection: str, items: Iterable[Item]) -> None:
        """Store each item, replacing what its key held."""
        ...

    def insert(self, collection: str, items: Iterable[Item]) -> int:
        """Store each item whose key is free; return how many were. An existing key keeps its body (first wins)."""
        ...

    def delete(self, collection: str, keys: Iterable[str]) -> int:
        """Remove keys; return how many existed."""
        ...


class Documents(Reading, Protocol):
    """Collections of bodies under ordered string keys, changed in durable transactions."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction; it is durable when the block ends, undone when the block raises."""
        ...

    def version(self) -> int:
        """Return a number that changes whenever anybody (this process or another) has committed."""
        ...


class Shreddable(Documents, Shrinking, Protocol):
    """Documents whose deletions can be made to leave nothing on disk."""

    def transaction(self, *, overwriting: bool = False) -> AbstractContextManager[Transaction]:
        """As that of Documents. `overwriting`: what is deleted or replaced is overwritten in the file."""
        ...

    def clear_wal(self) -> bool:
        """Empty the file beside the store, which has what was replaced; return whether it could be done without waiting."""
        ...


class Erasable(Documents, Protocol):
    """Documents that can be gone through as a whole."""

    def collections(self) -> list[str]:
        """Return the names of the collections that were ever written to."""
        ...


@dataclass(frozen=True, slots=True)
class Facets:
    """What an Index knows of a record. It finds by the `sought` ones quickly, by the `beside` only among what those find."""

    sought: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order of `Row.facets`."""
        return self.sought + self.beside


@dataclass(frozen=True, slots=True)
class Row:
    """What an Index knows of one record: a value for each facet, None where it has none."""

    offset: int
    at_ms: int
    facets: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which rows are meant; offsets and times lie between the bounds, `since_ms` included."""

    facets: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    before: int = 2**62
    since_ms: int | None = None
    until_ms: int | None = None
    newest_first: bool = True


class Index(Shrinking, Protocol):
    """Rows of a few text facets, addressed by the offset of the record they describe. It can always be made again."""

    def add(self, rows: Sequence[Row], through: int) -> None:
        """Store rows in one commit, and that everything up to the offset `through` was seen. Errors: StorageUnavailable."""
        ...

    def through(self) -> int:
        """Return the offset up to which records were seen."""
        ...

    def find(self, wanted: Search, limit: int) -> list[Row]:
        """Return up to `limit` rows. Errors: TimeoutError when too many would have to be looked at; ValueError for a facet."""
        ...

    def erase(self, facets: Mapping[str, str]) -> int:
        """Delete the rows that hold all of some values, and overwrite them on disk; return how many there were.

        Errors: StorageUnavailable; ValueError for a facet.
        """
        ...

    def forget(self, before_ms: int, limit: int = 5000) -> int:
        """Forget some of the oldest rows that are older than a time; return how many went."""
        ...


class Lake(Protocol):
    """Append-only columnar tables."""

    def append(self, table: str, rows: "pa.Table", *, app_id: str, version: int) -> bool:
        """Commit `rows`; False (and nothing done) when `app_id` has already committed `version` or later."""
        ...

    def committed(self, table: str, app_id: str) -> int:
        """Return the newest version `app_id` has committed to `table`, 0 when none."""
        ...

    def files(self, table: str) -> list[str]:
        """Return the paths of the files that make up the table now; empty when it does not exist."""
        ...

    def rows(self, table: str) -> int:
        """Return the number of rows in the table."""
        ...

    def compact(self, table: str) -> None:
        """Merge small files and drop those no snapshot of the last two days needs."""
        ...

    def delete(self, table: str, column: str, value: str) -> None:
        """Delete the rows that hold `value` in a text column; nothing happens when there are none or no table."""
        ...

    def drop(self, table: str) -> None:
        """Delete the table and its files."""
        ...


class StorageUnavailable(Exception):
    """The store cannot take writes now: disk full, read-only, I/O error. Nothing of the failed write was stored."""

    is_loggable = True  #: its text is the engine's and quotes no record
