"""The entities of one kind as lists need them: decoded once, in order, until somebody commits.

A list of ten thousand flows asks for twenty: reading and ordering all of them anew for each page would be most of its cost.
After a commit only what changed is decoded again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from capstream.aep.flow_service.listing import Document, Keyed, SortKey, beyond, sort_key, value_key
from capstream.kernel.json import Json, loads
from capstream.storage.ports import Documents

_MOST_ORDERS = 8


class _Head(msgspec.Struct, gc=False):
    """The members lists are usually ordered by: reading only them takes a fraction of reading the whole."""

    id: str = ""
    createdAt: Json = None  # noqa: N815 - as in the document
    updatedAt: Json = None  # noqa: N815
    name: Json = None
    state: Json = None


_read_head = msgspec.json.Decoder(_Head).decode
_HEAD_PATHS = frozenset({"id", "createdAt", "updatedAt", "name", "state"})


class _Stored:
    """An entity of the store, decoded when it is first needed."""

    __slots__ = ("_document", "_head", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._document: Document | None = None
        self._head: _Head | None = None

    def document(self) -> Document:
        if self._document is None:
            self._document = loads(self.body)
        return self._document

    def key(self, path: str) -> SortKey:
        if path in _HEAD_PATHS:
            if self._head is None:
                self._head = _read_head(self.body)
            return value_key(getattr(self._head, path), self._head.id)
        return sort_key(self.document(), path)


class _Derived:
    """An entity that follows from others."""

    __slots__ = ("_document",)

    def __init__(self, document: Document) -> None:
        self._document = document

    def document(self) -> Document:
        return self._document

    def key(self, path: str) -> SortKey:
        return sort_key(self._document, path)


@dataclass(slots=True)
class _Sandbox:
    version: int = -1  # of the store, when all of this was last found current
    read_at: int = -1  # version of the store that `stored` holds: `warm` knows no derived entities and sets this alone
    stored: dict[str, _Stored] = field(default_factory=dict)  # by key in the store
    derived: Mapping[str, Document] = field(default_factory=dict)
    orders: dict[str, list[tuple[SortKey, _Stored | _Derived]]] = field(default_factory=dict)  # by path, ascending


class Shelf:
    """The entities of one kind in every sandbox. What it returns is shared: read it, never change it."""

    def __init__(self, documents: Documents, collection: str) -> None:
        self._documents = documents
        self._collection = collection
        self._sandboxes: dict[str, _Sandbox] = {}

    def all(self, sandbox_id: str, derived: Callable[[], Mapping[str, Document]] = dict) -> "Entities":
        """Return the entities of a sandbox: those of the store, and `derived` ones, which follow from others."""
        found = self._sandboxes.setdefault(sandbox_id, _Sandbox())
        version = self._documents.version()
        if found.version != version:
            self._refresh(found, sandbox_id, derived(), version)
            found.version = version
        return Entities(found)

    def warm(self, path: str) -> None:
        """Read the entities of every sandbox and what orders them by `path`: a process does it as it starts.

        The first list then reads only what changed since.
        """
        version = self._documents.version()  # before the reading: what is committed during it is read again
        for sandbox_id in {key.partition("/")[0] for key, _ in self._documents.scan(self._collection)}:
            found = self._sandboxes.setdefault(sandbox_id, _Sandbox())
            self._refresh(found, sandbox_id, {}, version)
            for _ in Entities(found).ordered(path, descending=True, after=None):
                break

    def _refresh(self, found: _Sandbox, sandbox_id: str, derived: Mapping[str, Document], version: int) -> None:
        changed = derived != found.derived
        if found.read_at != version:
            changed |= self._read(found, sandbox_id)
            found.read_at = version
        if changed:
            found.derived = derived
            found.orders.clear()

    def _read(self, found: _Sandbox, sandbox_id: str) -> bool:
        """Read the sandbox's entities of the store anew, and return whether any differs from what was known."""
        before, after = found.stored, {}
        changed = False
        for key, body in self._documents.scan(self._collection, prefix=f"{sandbox_id}/"):
            known = before.get(key)
            if known is None or known.body != body:
                known, changed = _Stored(body), True
            after[key] = known
        found.stored = after
        return changed or len(after) != len(before)


class Entities:
    """The entities of one kind and sandbox at one moment."""

    def __init__(self, found: _Sandbox) -> None:
        self._found = found

    def __iter__(self) -> Iterator[Document]:
        yield from (entity.document() for entity in self._found.stored.values())
        yield from self._found.derived.values()

    def derived(self, entity_id: str) -> Document | None:
        """Return an entity that is not in the store, or None."""
        return self._found.derived.get(entity_id)

    def ordered(self, path: str, *, descending: bool, after: SortKey | None) -> Iterator[Keyed]:
        """Yield entities by the value at `path`, those beyond the position `after`."""
        orders = self._found.orders
        if path not in orders:
            if len(orders) >= _MOST_ORDERS:
                orders.clear()
            entities: list[_Stored | _Derived] = [*self._found.stored.values(), *map(_Derived, self._found.derived.values())]
            orders[path] = sorted(((entity.key(path), entity) for entity in entities), key=lambda pair: pair[0])
        found = beyond(orders[path], descending=descending, after=after)
        return ((key, entity.document()) for key, entity in found)
