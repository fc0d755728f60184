"""Operations on connection specs and flow specs. Source: flow-service.md 2, 5, 7."""

from functools import partial

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service.entities import FlowService, listing_for, named, object_of, search_listing
from capstream.aep.flow_service.errors import invalid, not_found, provider_refusal
from capstream.aep.flow_service.exploring import explored
from capstream.aep.flow_service.listing import Document, Listing, Sorted, matches, page, projected
from capstream.aep.flow_service.spec_rules import spec_problem
from capstream.aep.flow_service.specs import LANDING_ZONE, Spec, Specs
from capstream.kernel.ids import new_uuid

_MAPPING_SPELLINGS = ("transformationSpecs", "transformationSpec", "transformationSpecDTOS")


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers of the specification operations by operationId."""
    connection, flow = service.connection_specs, service.flow_specs
    return {
        "listConnectionSpecs": partial(_list, connection),
        "createConnectionSpec": partial(_create_connection_spec, connection),
        "retrieveConnectionSpec": lambda call: Answer(body={"items": [_existing(connection, call)]}),
        "updateConnectionSpec": partial(_update, connection),
        "exploreByConnectionSpecId": partial(_explore, service),
        "configByConnectionSpecId": partial(_configs, connection),
        "listFlowSpecs": partial(_list, flow),
        "createFlowSpec": partial(_create_flow_spec, flow),
        "retrieveFlowSpec": lambda call: Answer(body={"items": [_existing(flow, call)]}),
        "updateFlowSpec": partial(_update, flow),
        "searchFlowSpecs": partial(_search, flow),
    }


def _existing(specs: Specs, call: Call) -> Spec:
    found = specs.get(call.params["id"])
    if found is None:
        raise not_found(call, specs.kind, call.params["id"])
    return found


def _found(specs: Specs, listing: Listing) -> list[Document]:
    return [each for each in specs.all() if matches(each, listing.conditions)]


def _list(specs: Specs, call: Call) -> Answer:
    """Answer all specs on one page: aepp builds its name map from a single call."""
    listing = listing_for(call, [(name, value) for name, value in call.query if name.lower() != "limit"])
    found = _found(specs, listing)
    if listing.count_only:
        return Answer(body={"count": len(found)})
    return Answer(body={"items": [projected(each, listing.members) for each in found]})


def _search(specs: Specs, call: Call) -> Answer:
    listing = search_listing(call)
    found = _found(specs, listing)
    if listing.count_only:
        return Answer(body={"count": len(found)})
    shown, token = page(Sorted(found), listing, lambda _: True)
    links = {"next": {"href": f"/{specs.kind}?continuationToken={token}"}} if token else {}
    return Answer(body={"items": [projected(each, listing.members) for each in shown], "_links": links})


def _create_connection_spec(specs: Specs, call: Call) -> Answer:
    spec = _stored(specs, call, object_of(call), new_uuid())
    # The OpenAPI file answers the spec, the Streaming SDK prose the envelope; this body serves readers of both.
    return Answer(status=201, body={"items": [spec], "id": spec["id"]})


def _create_flow_spec(specs: Specs, call: Call) -> Answer:
    return Answer(status=201, body=_stored(specs, call, object_of(call), new_uuid()))


def _update(specs: Specs, call: Call) -> Answer:
    return Answer(body=_stored(specs, call, object_of(call), _existing(specs, call)["id"]))


def _stored(specs: Specs, call: Call, body: Document, spec_id: str) -> Spec:
    """Store and return a spec; every one needs a name, because aepp finds them by it."""
    spec = {name: value for name, value in body.items() if name not in _MAPPING_SPELLINGS}
    for spelling in _MAPPING_SPELLINGS:
        if body.get(spelling) is not None:
            spec["transformationSpecs"] = body[spelling]
            break
    spec |= {"id": spec_id, "name": named(call, body), "version": str(body.get("version") or "1.0")}
    if problem := spec_problem(spec):
        raise invalid(call, problem)
    specs.save(spec)
    return spec


def _explore(service: FlowService, call: Call) -> Answer:
    spec = _existing(service.connection_specs, call)
    if spec["id"] != LANDING_ZONE:
        raise provider_refusal(call, 1336, f"Explore connection is not supported for connection spec ID: {spec['id']}.")
    return explored(call, lambda: service.zones.opened(call.sandbox.id), spec, spec)


def _configs(specs: Specs, call: Call) -> Answer:
    """Answer the datasets a destination of this spec can export: none, for there are no dataset exports."""
    _existing(specs, call)
    return Answer(body={"items": [], "pageInfo": {"hasNext": False}})
