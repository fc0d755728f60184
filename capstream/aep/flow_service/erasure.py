"""What the reset or deletion of a sandbox takes with it here."""

from capstream.aep.flow_service.entities import CONNECTIONS, FLOWS, SOURCE_CONNECTIONS, TARGET_CONNECTIONS
from capstream.aep.flow_service.model import INLETS, ROUTES, Flows, Inlets, remove_inlet, remove_route
from capstream.storage.ports import Documents

_COLLECTIONS = (FLOWS, SOURCE_CONNECTIONS, TARGET_CONNECTIONS, CONNECTIONS)


def erase(documents: Documents, sandbox_id: str) -> None:
    """Delete every connection, flow, inlet and route of a sandbox, in one transaction."""
    flows, inlets = Flows(documents), Inlets(documents)
    routes = [flows.route(key) for key, _ in documents.scan(ROUTES)]
    opened = [inlets.get(key) for key, _ in documents.scan(INLETS)]
    with documents.transaction() as change:
        for kind in _COLLECTIONS:
            change.delete(kind.collection, [key for key, _ in change.scan(kind.collection, prefix=f"{sandbox_id}/")])
        for route in routes:
            if route is not None and route.sandbox.id == sandbox_id:
                remove_route(change, route)
        for inlet in opened:
            if inlet is not None and inlet.sandbox.id == sandbox_id:
                remove_inlet(change, inlet)
