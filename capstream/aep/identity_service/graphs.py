"""Where identities and graphs live: written by the pipeline inside its transaction, read by everybody.

Two collections: `identities` ({sandbox}/{xid} -> who that is and which graph it belongs to) and `graphs` ({sandbox}/{graph}
-> members and links). Nearly every record repeats identities that are already linked; those cost a lookup in memory.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from capstream.aep.identity_service.rules import Graph, Identity, Member, Sighting, grow
from capstream.kernel.ids import new_hex32
from capstream.storage.ports import Reading, Transaction

IDENTITIES = "identities"
GRAPHS = "graphs"

# ASSUMPTION: a link's `last_established` and its batches are renewed when they are an hour old, not with every record.
REFRESH_MS = 3_600_000
_KNOWN_LIMIT = 50_000

_pack = msgspec.msgpack.Encoder().encode


class StoredIdentity(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one XID."""

    nsid: int
    value: str
    rank: int
    updated_ms: int
    graph: str  #: empty while it is linked to nothing


_read_identity = msgspec.msgpack.Decoder(StoredIdentity).decode
_read_graph = msgspec.msgpack.Decoder(Graph).decode

_Signature = tuple[str, str, tuple[Identity, ...]]


class _Noted(NamedTuple):
    """When the identities of a record were last written: the record's time and the number of the write."""

    time_ms: int
    write: int


class GraphWriter:
    """Applies the identities of records to the stored graphs. One writer; call `settle` after the commit.

    An identity that lost its links is linked again when it is seen again. So whatever was noted of it up to that write
    no longer counts; what was noted of others does. An identity that thousands of members share loses links in every
    batch, and must not make every record of everybody else news.
    """

    def __init__(self) -> None:
        self._known: dict[_Signature, _Noted] = {}
        self._unsettled: dict[_Signature, _Noted] = {}
        self._lost: dict[tuple[str, str], int] = {}  # (sandbox, xid) -> the last write that took its links away
        self._writes = 0

    def write(self, change: Transaction, sandbox_id: str, seen: Iterable[Sighting]) -> None:
        """Bring identities and graphs up to date with `seen`, in the order given."""
        self._writes += 1
        fresh = [sighting for sighting in seen if self._is_news(sandbox_id, sighting)]
        if fresh:
            for xid in _Update(change, sandbox_id, fresh).run():
                self._lost[sandbox_id, xid] = self._writes

    def settle(self) -> None:
        """Remember what was written: the transaction is durable."""
        if len(self._known) + len(self._unsettled) > _KNOWN_LIMIT or len(self._lost) > _KNOWN_LIMIT:
            self.clear()
            return
        self._known.update(self._unsettled)
        self._unsettled = {}

    def forget(self) -> None:
        """Drop what was written: the transaction was undone."""
        self._unsettled = {}

    def clear(self) -> None:
        """Know nothing any more."""
        self._known.clear()
        self._lost.clear()
        self._unsettled = {}

    def _is_news(self, sandbox_id: str, sighting: Sighting) -> bool:
        signature = (sandbox_id, sighting.dataset_id, sighting.identities)
        last = self._unsettled.get(signature) or self._known.get(signature)
        if last is not None and sighting.time_ms - last.time_ms < REFRESH_MS and not self._is_stale(sandbox_id, sighting, last):
            return False
        self._unsettled[signature] = _Noted(sighting.time_ms, self._writes)
        return True

    def _is_stale(self, sandbox_id: str, sighting: Sighting, noted: _Noted) -> bool:
        lost = self._lost
        return bool(lost) and any(lost.get((sandbox_id, identity.xid), 0) >= noted.write for identity in sighting.identities)


class _Update:
    """One transaction's work on the graphs of one sandbox: read what is touched, change it in memory, write it back."""

    def __init__(self, change: Transaction, sandbox_id: str, seen: Sequence[Sighting]) -> None:
        self._change = change
        self._prefix = f"{sandbox_id}/"
        self._seen = seen
        self._identities: dict[str, StoredIdentity] = {}
        self._graphs: dict[str, Graph] = {}
        self._gone: set[str] = set()
        self._dirty_identities: set[str] = set()
        self._dirty_graphs: set[str] = set()
        self._lost: set[str] = set()

    def run(self) -> set[str]:
        """Apply the sightings; return the identities that lost their links to the limit of a graph."""
        self._load()
        for sighting in self._seen:
            linkable = tuple(identity for identity in sighting.identities if identity.links)
            for identity in sighting.identities:
                self._note(identity, sighting.time_ms)
            if len(linkable) > 1:
                self._link(sighting._replace(identities=linkable))
        self._store()
        return self._lost

    def _load(self) -> None:
        names = {identity.xid for sighting in self._seen for identity in sighting.identities}
        stored = self._change.get_many(IDENTITIES, [self._prefix + name for name in names])
        start = len(self._prefix)
        self._identities = {key[start:]: _read_identity(body) for key, body in stored.items()}
        graphs = {identity.graph for identity in self._identities.values() if identity.graph}
        bodies = self._change.get_many(GRAPHS, [self._prefix + name for name in graphs])
        self._graphs = {key[start:]: _read_graph(body) for key, body in bodies.items()}

    def _note(self, identity: Identity, time_ms: int) -> None:
        old = self._identities.get(identity.xid)
        if old is not None and old.updated_ms >= time_ms:
            return
        graph = old.graph if old else ""
        self._identities[identity.xid] = StoredIdentity(identity.nsid, identity.value, identity.rank, time_ms, graph)
        self._dirty_identities.add(identity.xid)

    def _link(self, sighting: Sighting) -> None:
        touched = {self._identities[identity.xid].graph for identity in sighting.identities} - {""}
        before = {member.xid: member for name in touched for member in self._graphs[name].members}
        free = sorted(touched)
        after: set[str] = set()
        for graph in grow([self._graphs[name] for name in free], sighting):
            name = free.pop() if free else new_hex32()
            touched.discard(name)
            self._graphs[name] = graph
            self._dirty_graphs.add(name)
            for member in graph.members:
                self._place(member, name)
                after.add(member.xid)
        for name in touched:
            del self._graphs[name]
            self._gone.add(name)
        self._dirty_graphs -= touched
        for xid in before.keys() - after:
            self._place(before[xid], "")
            self._lost.add(xid)

    def _place(self, member: Member, graph: str) -> None:
        old = self._identities.get(member.xid)
        if old is None or old.graph != graph:
            updated = old.updated_ms if old else member.updated_ms
            self._identities[member.xid] = StoredIdentity(member.nsid, member.value, member.rank, updated, graph)
            self._dirty_identities.add(member.xid)

    def _store(self) -> None:
        prefix = self._prefix
        self._change.put(IDENTITIES, [(prefix + name, _pack(self._identities[name])) for name in sorted(self._dirty_identities)])
        self._change.put(GRAPHS, [(prefix + name, _pack(self._graphs[name])) for name in sorted(self._dirty_graphs)])
        if self._gone:
            self._change.delete(GRAPHS, [prefix + name for name in self._gone])


class Graphs:
    """Reads identities and graphs."""

    def __init__(self, documents: Reading) -> None:
        self._documents = documents

    def identity(self, sandbox_id: str, xid: str) -> StoredIdentity | None:
        """Return what is known of an XID, None when it was never seen."""
        body = self._documents.get(IDENTITIES, f"{sandbox_id}/{xid}")
        return None if body is None else _read_identity(body)

    def graph(self, sandbox_id: str, xid: str) -> Graph | None:
        """Return the graph an identity belongs to, None when it is linked to nothing."""
        found = self.identity(sandbox_id, xid)
        if found is None or not found.graph:
            return None
        body = self._documents.get(GRAPHS, f"{sandbox_id}/{found.graph}")
        return None if body is None else _read_graph(body)

    def members(self, sandbox_id: str, xid: str) -> list[Member]:
        """Return the identities of the graph, the asked one first; empty when it was never seen.

        Order: people before devices before cookies, the last updated first (identity.md 3.1; without linking rules
        namespaces have no priority of their own).
        """
        found = self.identity(sandbox_id, xid)
        if found is None:
            return []
        graph = self.graph(sandbox_id, xid)
        if graph is None:
            return [Member(xid, found.nsid, found.value, found.rank, found.updated_ms)]
        return sorted(graph.members, key=lambda m: (m.xid != xid, -m.rank, -m.updated_ms, m.xid))
