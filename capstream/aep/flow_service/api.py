"""The operations of the Flow Service. Facts about paths are in `aep/operations/flow_service.toml`."""

from capstream.aep.call import Handler
from capstream.aep.flow_service import connections, endpoints, flows, landing_zone, run_operations, spec_operations
from capstream.aep.flow_service.entities import FlowService


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return every handler of the service by operationId."""
    return {
        **connections.handlers(service),
        **spec_operations.handlers(service),
        **endpoints.handlers(service),
        **flows.handlers(service),
        **run_operations.handlers(service),
        **landing_zone.handlers(service.documents, service.vault, service.public_url),
    }
