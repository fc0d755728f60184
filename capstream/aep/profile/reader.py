"""Reads merged profiles and events from what the pipeline stored. Source: profile.md 3.3, 4, 11."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.identity_service.namespaces import NamespaceTable
from capstream.aep.profile import deletion
from capstream.aep.profile.model import EVENTS, EVENTS_USED, FRAGMENTS, IdentityGraph, MergePolicy, StoredEvent, StoredFragment
from capstream.aep.profile.rules import Fragment, merge, ranked
from capstream.kernel.json import Json, loads
from capstream.storage.ports import Documents

_read_fragment = msgspec.msgpack.Decoder(StoredFragment).decode
_read_event = msgspec.msgpack.Decoder(StoredEvent).decode


@dataclass(frozen=True, slots=True)
class Profile:
    """A merged profile and what it was made of."""

    entity: dict[str, Json]
    identities: tuple[tuple[str, str], ...]  #: (namespace code in lower case, value)
    primary: tuple[str, str] | None
    datasets: tuple[str, ...]
    batches: tuple[str, ...]
    graph: tuple[str, ...]  #: XIDs, the asked one first
    modified_ms: int


class Position(NamedTuple):
    """A place in a profile's events, stable while others are added."""

    timestamp_ms: int
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events of a profile are wanted. Units: epoch milliseconds."""

    start_ms: int | None = None  #: included
    end_ms: int | None = None  #: excluded
    newest_first: bool = False
    after: Position | None = None
    limit: int = 1000
    wanted: Callable[[dict[str, Json]], bool] | None = None


class EventPage(NamedTuple):
    """One page of events."""

    events: list[StoredEvent]
    more: bool


class ProfileReader:
    """Reads the Profile store of every sandbox. `state` is the pipeline's documents, `control` the control plane's."""

    def __init__(self, state: Documents, control: Documents) -> None:
        self._state = state
        self._control = control
        self._graphs = Graphs(state)

    def cluster(self, sandbox_id: str, xid: str, policy: MergePolicy) -> tuple[str, ...]:
        """Return the XIDs whose data belong to the profile of `xid` under a policy, `xid` first."""
        if policy.graph is IdentityGraph.NONE:
            return (xid,)
        return tuple(member.xid for member in self._graphs.members(sandbox_id, xid)) or (xid,)

    def profile(self, sandbox_id: str, xid: str, policy: MergePolicy, namespaces: NamespaceTable) -> Profile | None:
        """Return the profile of an identity, None when there is no fragment under it nor its graph."""
        cluster = self.cluster(sandbox_id, xid, policy)
        stored = [fragment for name in self._visible(sandbox_id, cluster) for fragment in self._fragments(sandbox_id, name)]
        if not stored:
            return None
        fragments = [_mergeable(fragment, namespaces) for fragment in stored]
        best_first = ranked(fragments, policy)
        known = {identity: None for fragment in best_first for identity in fragment.identities}
        if policy.graph is IdentityGraph.PDG:
            known |= {_named(m.nsid, m.value, namespaces): None for m in self._graphs.members(sandbox_id, xid)}
        return Profile(
            entity=merge(fragments, policy),
            identities=tuple(known),
            primary=next((fragment.primary for fragment in best_first if fragment.primary), None),
            datasets=tuple(dict.fromkeys(fragment.dataset_id for fragment in best_first)),
            batches=tuple(dict.fromkeys(fragment.batch_id for fragment in best_first)),
            graph=cluster,
            modified_ms=max((fragment.ingested_ms for fragment in best_first), default=0),
        )

    def events(self, sandbox_id: str, xid: str, policy: MergePolicy, query: EventQuery) -> EventPage:
        """Return the events of a profile, one for each `_id`, ordered by time.

        ASSUMPTION: of more than 5,000 events the newest 5,000 are used.
        """
        cluster = self.cluster(sandbox_id, xid, policy)
        stored = [event for name in self._visible(sandbox_id, cluster) for event in self._events(sandbox_id, name)]
        found = _distinct(stored)[-EVENTS_USED:]
        if query.newest_first:
            found.reverse()
        chosen = [event for event in found if _matches(event, query)]
        return EventPage(chosen[: query.limit], len(chosen) > query.limit)

    def _visible(self, sandbox_id: str, cluster: Sequence[str]) -> list[str]:
        hidden = {
            xid for order in deletion.pending(self._control, self._state) if order.sandbox_id == sandbox_id for xid in order.xids
        }
        return [xid for xid in cluster if xid not in hidden]

    def _fragments(self, sandbox_id: str, xid: str) -> list[StoredFragment]:
        return [_read_fragment(body) for _, body in self._state.scan(FRAGMENTS, prefix=f"{sandbox_id}/{xid}/")]

    def _events(self, sandbox_id: str, xid: str) -> list[StoredEvent]:
        return [_read_event(body) for _, body in self._state.scan(EVENTS, prefix=f"{sandbox_id}/{xid}/")]


def _distinct(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return one event for each `_id` (the first accepted), oldest first."""
    first: dict[str, StoredEvent] = {}
    for event in sorted(events, key=lambda event: event.seq):
        first.setdefault(event.event_id, event)
    return sorted(first.values(), key=lambda event: (event.timestamp_ms, event.event_id))


def _matches(event: StoredEvent, query: EventQuery) -> bool:
    if query.start_ms is not None and event.timestamp_ms < query.start_ms:
        return False
    if query.end_ms is not None and event.timestamp_ms >= query.end_ms:
        return False
    if query.after is not None:
        place = Position(event.timestamp_ms, event.event_id)
        if place >= query.after if query.newest_first else place <= query.after:
            return False
    return query.wanted is None or query.wanted(loads(event.entity))


def _named(nsid: int, value: str, namespaces: NamespaceTable) -> tuple[str, str]:
    namespace = namespaces.numbered(nsid)
    return (namespace.code.lower() if namespace else str(nsid), value)


def _mergeable(fragment: StoredFragment, namespaces: NamespaceTable) -> Fragment:
    named = tuple(_named(identity.nsid, identity.value, namespaces) for identity in fragment.identities)
    return Fragment(
        dataset_id=fragment.dataset_id,
        ingested_ms=fragment.ingested_ms,
        seq=fragment.seq,
        updated_ms=fragment.updated_ms,
        entity=loads(fragment.entity),
        identities=named,
        primary=named[0] if named else None,
        batch_id=fragment.batch_id,
    )
