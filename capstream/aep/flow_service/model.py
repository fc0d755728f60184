"""Inlets and routes: what the event path needs to know of the Flow Service, kept ready beside its entities.

A route is a flow as the pipeline sees it, an inlet a base connection as the collection endpoint sees it. The services
write both in the transaction that changes the flow or the connection, so a reader never sees one without the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from capstream.aep.call import Sandbox
from capstream.storage.ports import Documents, Item, Transaction

INLETS = "inlets"  #: inlet id -> Inlet
INLET_ALIASES = "inlet_aliases"  #: base connection id -> inlet id
ROUTES = "routes"  #: flow id -> Route
INLET_FLOWS = "inlet_flows"  #: `{inlet id}/{flow id}`, empty bodies

_UUID_LENGTH = 36

T = TypeVar("T")


class State(StrEnum):
    """The state of a connection, source connection, target connection or flow. Source: flow-service.md 4."""

    ENABLED = "enabled"  #: in use
    DISABLED = "disabled"  #: switched off; may be enabled again
    DRAFT = "draft"  #: incomplete; carries no data until published


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlet:
    """A streaming endpoint of one sandbox."""

    id: str
    org_id: str
    sandbox: Sandbox
    source_id: str  #: stands in for `header.source.name`
    data_type: str  #: `raw` or `xdm`
    authentication_required: bool
    connection_id: str  #: base connection; empty when the inlet belongs to a flow without one
    enabled: bool = True
    hmac_secret: str = ""  #: sealed; empty when requests need no signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A flow as the event path sees it."""

    flow_id: str
    sandbox: Sandbox
    org_id: str
    state: State
    inlet_id: str
    dataset_id: str
    mapping_id: str  #: empty when records pass through unmapped
    mapping_version: int
    schema_id: str
    flow_spec_id: str
    source_connection_id: str
    target_connection_id: str
    diagnostics: bool = False
    partial_percent: float | None = None
    file_format: str = ""  #: of a file flow: `delimited`, `json` or `parquet`; such a flow has no inlet
    active_from_ms: int = 0  #: records before this instant are refused; rehearses the live service's activation time

    def is_open(self, now_ms: int) -> bool:
        """Return whether records for this flow are taken at `now_ms`."""
        return self.state is State.ENABLED and now_ms >= self.active_from_ms


class _Cached(Generic[T]):
    """Decoded values by key, forgotten whenever anybody commits to the documents."""

    def __init__(self, documents: Documents, read: Callable[[str], T]) -> None:
        self._documents = documents
        self._read = read
        self._found: dict[str, T] = {}
        self._version = -1

    def get(self, key: str) -> T:
        version = self._documents.version()
        if version != self._version:
            self._found.clear()
            self._version = version
        if key not in self._found:
            self._found[key] = self._read(key)
        return self._found[key]


class Flows:
    """The routes of all flows."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._decoder = msgspec.json.Decoder(Route)
        self._routes: _Cached[Route | None] = _Cached(documents, self._read)
        self._by_inlet: _Cached[list[Route]] = _Cached(documents, self._read_inlet)

    def route(self, flow_id: str) -> Route | None:
        """Return the route of a flow in any state, or None when there is no such flow."""
        return self._routes.get(flow_id)

    def all(self) -> list[Route]:
        """Return every route of every sandbox, in any state."""
        return [self._decoder.decode(body) for _, body in self._documents.scan(ROUTES)]

    def routes_of_inlet(self, inlet_id: str) -> list[Route]:
        """Return the routes whose flow takes its data from this inlet, in any state, in the order of flow ids."""
        return self._by_inlet.get(inlet_id)

    def using(self, sandbox_id: str, mapping_id: str) -> list[Route]:
        """Return the routes of a sandbox that apply a mapping set, in any state."""
        return [route for route in self.all() if route.mapping_id == mapping_id and route.sandbox.id == sandbox_id]

    def _read(self, flow_id: str) -> Route | None:
        body = self._documents.get(ROUTES, flow_id)
        return None if body is None else self._decoder.decode(body)

    def _read_inlet(self, inlet_id: str) -> list[Route]:
        keys = self._documents.scan(INLET_FLOWS, prefix=f"{inlet_id}/")
        found = (self.route(key.partition("/")[2]) for key, _ in keys)
        return [route for route in found if route is not None]


class Inlets:
    """All streaming inlets."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._decoder = msgspec.json.Decoder(Inlet)
        self._inlets: _Cached[Inlet | None] = _Cached(documents, self._read)

    def get(self, inlet_id: str) -> Inlet | None:
        """Return an inlet by its own id or by that of its base connection (ASSUMPTION), or None."""
        return self._inlets.get(inlet_id)

    def _read(self, inlet_id: str) -> Inlet | None:
        if len(inlet_id) == _UUID_LENGTH:
            alias = self._documents.get(INLET_ALIASES, inlet_id)
            inlet_id = inlet_id if alias is None else alias.decode()
        body = self._documents.get(INLETS, inlet_id)
        return None if body is None else self._decoder.decode(body)


def save_inlet(change: Transaction, inlet: Inlet) -> None:
    """Store an inlet and its alias within `change`."""
    change.put(INLETS, [(inlet.id, msgspec.json.encode(inlet))])
    if inlet.connection_id:
        change.put(INLET_ALIASES, [(inlet.connection_id, inlet.id.encode())])


def remove_inlet(change: Transaction, inlet: Inlet) -> None:
    """Revoke an inlet within `change`."""
    change.delete(INLETS, [inlet.id])
    change.delete(INLET_ALIASES, [inlet.connection_id])


def save_route(change: Transaction, route: Route) -> None:
    """Store a route within `change`."""
    item: Item = (route.flow_id, msgspec.json.encode(route))
    change.put(ROUTES, [item])
    if route.inlet_id:
        change.put(INLET_FLOWS, [(f"{route.inlet_id}/{route.flow_id}", b"")])


def remove_route(change: Transaction, route: Route) -> None:
    """Forget a route within `change`."""
    change.delete(ROUTES, [route.flow_id])
    change.delete(INLET_FLOWS, [f"{route.inlet_id}/{route.flow_id}"])
