"""Identities and graphs as values: XIDs, which values are usable, how a record changes graphs. Source: identity.md 3.4, 4.

Connecting is order-independent; only the limit of 50 looks at times. Linking rules (unique namespaces, identity.md 4.2)
are not part of this: a graph is what its links connect.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import combinations
from typing import NamedTuple

import msgspec

GRAPH_LIMIT = 50
RECORD_LIMIT = 20
VALUE_LIMIT = 1024
_REMEMBERED = 100  # datasets and batches kept for each link

_BLOCKED = frozenset({"", "null", "anonymous", "invalid"})
_HALF_ECID = 9223372036854775807


class Identity(NamedTuple):
    """A usable identity of a record, its value normalised."""

    xid: str
    nsid: int
    value: str
    links: bool
    rank: int  #: how long it stays in a full graph: lowest leaves first


class Found(msgspec.Struct, frozen=True, gc=False):
    """The usable identities of one record. `problem` says why Profile cannot place it, `refusal` why neither can."""

    identities: tuple[Identity, ...]
    primary: Identity | None
    problem: str = ""
    refusal: str = ""
    unusable: tuple[str, ...] = ()  #: namespaces of the values that cannot be identities


class Member(msgspec.Struct, array_like=True, frozen=True):
    """A vertex of a graph."""

    xid: str
    nsid: int
    value: str
    rank: int
    updated_ms: int


class Link(msgspec.Struct, array_like=True, frozen=True):
    """Two identities seen in one record; `a` sorts before `b`."""

    a: str
    b: str
    first_ms: int
    last_ms: int
    datasets: tuple[str, ...]  #: newest last
    batches: tuple[str, ...]  #: newest last


class Graph(msgspec.Struct, array_like=True, frozen=True):
    """A connected set of identities and its links."""

    members: tuple[Member, ...]
    links: tuple[Link, ...]


class Sighting(NamedTuple):
    """The linkable identities of one record, and where and when it was seen."""

    identities: tuple[Identity, ...]
    time_ms: int
    dataset_id: str
    batch_id: str


def xid(org_id: str, nsid: int, value: str) -> str:
    """Return the opaque, deterministic name of an identity. ASSUMPTION: identity.md 3.4 (Adobe's form is not published)."""
    digest = sha256(b"\0".join((org_id.encode(), str(nsid).encode(), value.encode()))).digest()
    head = b"\x07" + nsid.to_bytes(3) if nsid < 1 << 24 else b"\x08" + nsid.to_bytes(4)
    return urlsafe_b64encode(head + digest[:16]).rstrip(b"=").decode()


def normalise(code: str, value: str) -> str:
    """Return the value under which an identity is stored: trimmed, e-mail in lower case. Source: identity.md 3.4."""
    value = value.strip()
    return value.lower() if code == "Email" else value


def is_bad_ecid(code: str, value: str) -> bool:
    """Return whether this is an ECID that makes the whole record unusable for Identity. Source: xdm.md 6."""
    if code != "ECID":
        return False
    if len(value) != 38 or not (value.isascii() and value.isdigit()):
        return True
    return int(value[:19]) > _HALF_ECID or int(value[19:]) > _HALF_ECID


def is_usable(value: str) -> bool:
    """Return whether a normalised value may stand for a person. Source: xdm.md 6."""
    return value.lower() not in _BLOCKED and len(value) <= VALUE_LIMIT


def grow(graphs: Iterable[Graph], seen: Sighting, *, limit: int = GRAPH_LIMIT) -> list[Graph]:
    """Return the graphs that replace `graphs`, every one of which holds an identity of `seen`, after that record.

    Shape: usually one graph; several when the limit removed an identity that held two parts together.
    """
    members: dict[str, Member] = {}
    links: dict[tuple[str, str], Link] = {}
    for graph in graphs:
        members.update((member.xid, member) for member in graph.members)
        links.update(((link.a, link.b), link) for link in graph.links)
    for identity in seen.identities:
        old = members.get(identity.xid)
        updated = max(old.updated_ms, seen.time_ms) if old else seen.time_ms
        members[identity.xid] = Member(identity.xid, identity.nsid, identity.value, identity.rank, updated)
    for a, b in combinations(sorted({identity.xid for identity in seen.identities}), 2):
        links[a, b] = _refreshed(links.get((a, b)), (a, b), seen)
    if links and len(members) <= limit:  # the record connects them all
        return [Graph(tuple(members[name] for name in sorted(members)), tuple(links[pair] for pair in sorted(links)))]
    _shrink(members, links, frozenset(identity.xid for identity in seen.identities), limit)
    return components(members, links.values())


def components(members: Mapping[str, Member], links: Iterable[Link]) -> list[Graph]:
    """Return the connected parts of two or more identities, in the order of their smallest XID."""
    parent = {name: name for name in members}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    kept = sorted(links, key=lambda link: (link.a, link.b))
    for link in kept:
        a, b = sorted((root(link.a), root(link.b)))
        parent[b] = a
    vertices: dict[str, list[Member]] = {}
    edges: dict[str, list[Link]] = {}
    for name in sorted(members):
        vertices.setdefault(root(name), []).append(members[name])
    for link in kept:
        edges.setdefault(root(link.a), []).append(link)
    return [Graph(tuple(vertices[name]), tuple(edges[name])) for name in vertices if name in edges]


def _refreshed(old: Link | None, pair: tuple[str, str], seen: Sighting) -> Link:
    if old is None:
        return Link(*pair, seen.time_ms, seen.time_ms, (seen.dataset_id,), (seen.batch_id,))
    return Link(
        *pair,
        min(old.first_ms, seen.time_ms),
        max(old.last_ms, seen.time_ms),
        _remember(old.datasets, seen.dataset_id),
        _remember(old.batches, seen.batch_id),
    )


def _remember(known: Sequence[str], name: str) -> tuple[str, ...]:
    if name in known:
        return tuple(known)
    return (*known[-(_REMEMBERED - 1) :], name)


def _shrink(members: dict[str, Member], links: dict[tuple[str, str], Link], keep: frozenset[str], limit: int) -> None:
    """Take identities out, cookies first, the longest unseen first, until the incoming record's part fits."""
    leaving = sorted((m.rank, m.updated_ms, m.xid) for m in members.values() if m.xid not in keep)
    for _, _, name in leaving:
        if _size_around(keep, links) <= limit:
            return
        del members[name]
        for pair in [pair for pair in links if name in pair]:
            del links[pair]


def _size_around(keep: frozenset[str], links: Mapping[tuple[str, str], Link]) -> int:
    neighbours: dict[str, list[str]] = {}
    for a, b in links:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    reached, waiting = set(keep), list(keep)
    while waiting:
        for name in neighbours.get(waiting.pop(), ()):
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return len(reached)
