"""How a flow is put together: the checks of a create body in their documented order, and the route that follows from it.

Source: flow-service.md 3.4 (validation order), 6 (inlets), 9.1 (the flow after creation).
"""

from dataclasses import dataclass

from capstream.aep.call import Call, Sandbox
from capstream.aep.flow_service import rules
from capstream.aep.flow_service.entities import (
    CONNECTIONS,
    SOURCE_CONNECTIONS,
    TARGET_CONNECTIONS,
    FlowService,
    Kind,
    spec_id_of,
)
from capstream.aep.flow_service.errors import invalid, provider_refusal, refusal
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.model import Inlet, Route, State
from capstream.aep.flow_service.rules import MappingRef
from capstream.aep.flow_service.specs import CAPILLARY, PASS_THROUGH, WITH_MAPPING, Spec, is_streaming_flow
from capstream.kernel.ids import new_inlet_id
from capstream.kernel.json import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The entities a flow joins, all checked to exist."""

    flow_spec: Spec
    source: Document
    target: Document
    base: Document | None  #: base connection of the source, None for sources without an account
    mapping: MappingRef | None


def parts_of(service: FlowService, call: Call, body: Document, *, draft: bool) -> Parts:
    """Return the parts that a flow body joins, checked in the documented order.

    Errors: 1413, 1321, 1439, 1412, 1419, 1425, 1370 and 1100 of the catalogue.
    """
    flow_spec = flow_spec_of(service, call, spec_id_of(call, body, "flowSpec"))
    source = _one(service, call, SOURCE_CONNECTIONS, body.get("sourceConnectionIds"))
    target = _one(service, call, TARGET_CONNECTIONS, body.get("targetConnectionIds"))
    _check_specs(call, flow_spec, source, target)
    base_id = source.get("baseConnectionId")
    base = service.existing(call, CONNECTIONS, base_id) if base_id else None
    if not draft:
        _check_published(call, source, target, base)
    mapping = mapping_of(call, body.get("transformations"))
    parts = Parts(flow_spec=flow_spec, source=source, target=target, base=base, mapping=mapping)
    if mapping is not None:
        check_mapping(service, call, mapping, target)
    elif not draft:
        check_unmapped(call, parts)
    return parts


def stored_parts(service: FlowService, call: Call, flow: Document) -> Parts:
    """Return the parts of a flow that exists, without judging them again."""
    source = service.existing(call, SOURCE_CONNECTIONS, flow["sourceConnectionIds"][0])
    target = service.existing(call, TARGET_CONNECTIONS, flow["targetConnectionIds"][0])
    base_id = source.get("baseConnectionId")
    return Parts(
        flow_spec=flow_spec_of(service, call, flow["flowSpec"]["id"]),
        source=source,
        target=target,
        base=service.existing(call, CONNECTIONS, base_id) if base_id else None,
        mapping=mapping_of(call, flow.get("transformations")),
    )


def flow_spec_of(service: FlowService, call: Call, spec_id: str) -> Spec:
    """Return a flow spec. Errors: 1413."""
    spec = service.flow_specs.get(spec_id)
    if spec is None:
        raise refusal(call, 1413, f"The flow spec {spec_id} does not exist.", id=spec_id, type="flowSpecs")
    return spec


def _one(service: FlowService, call: Call, kind: Kind, value: Json) -> Document:
    found = rules.one_id(value)
    if not found:
        raise provider_refusal(call, 1321, f"A flow needs exactly one of {kind.name}.")
    return service.existing(call, kind, found)


def _check_specs(call: Call, flow_spec: Spec, source: Document, target: Document) -> None:
    for entity, kind, member in (
        (source, SOURCE_CONNECTIONS, "sourceConnectionSpecIds"),
        (target, TARGET_CONNECTIONS, "targetConnectionSpecIds"),
    ):
        allowed = flow_spec.get(member) or []
        spec_id = entity["connectionSpec"]["id"]
        if spec_id not in allowed:
            message = f"connection spec {spec_id} of {kind.name} {entity['id']} is not in {member} of flow spec {flow_spec['id']}"
            raise invalid(call, message, id=flow_spec["id"], type="flowSpecs")


def _check_published(call: Call, source: Document, target: Document, base: Document | None) -> None:
    for entity, kind in ((source, SOURCE_CONNECTIONS), (target, TARGET_CONNECTIONS), (base, CONNECTIONS)):
        if entity is not None and entity["state"] == State.DRAFT:
            raise invalid(call, f"{kind.name} {entity['id']} is a draft; publish it first")


def mapping_of(call: Call, transformations: Json) -> MappingRef | None:
    """Return the mapping set that `transformations` name. Errors: 1100, 1412, 1419."""
    try:
        return rules.mapping_ref(transformations)
    except rules.BadTransformation as error:
        if error.code == 1100:
            raise invalid(call, error.reason) from error
        raise refusal(call, error.code, error.reason) from error


def check_mapping(service: FlowService, call: Call, mapping: MappingRef, target: Document) -> None:
    """Check that a mapping set exists in its version and makes the target's schema. Errors: 1419, 1412, 1425."""
    if service.mapping_sets.get(call.sandbox.id, mapping.id, None) is None:
        raise refusal(call, 1419, f"The mapping set {mapping.id} does not exist.", mappingId=mapping.id)
    mapping_set = service.mapping_sets.get(call.sandbox.id, mapping.id, mapping.version)
    if mapping_set is None:
        detail = f"The mapping set {mapping.id} has no version {mapping.version}."
        raise refusal(call, 1412, detail, mappingId=mapping.id, mappingVersion=str(mapping.version))
    made = rules.schema_of_mapping_set(mapping_set)
    for wanted in _target_schemas(service, call, target):
        if not rules.same_schema(made, wanted):
            detail = (
                f"The mapping set {mapping.id} makes schema {made[0]} version {rules.major_version(made[1])}, "
                f"the target dataset has schema {wanted[0]} version {rules.major_version(wanted[1])}."
            )
            raise refusal(call, 1425, detail, mappingId=mapping.id)


def _target_schemas(service: FlowService, call: Call, target: Document) -> list[tuple[str, str]]:
    schema = target["data"].get("schema") or {}
    schemas = [(str(schema.get("id") or ""), str(schema.get("version") or ""))]
    dataset = service.datasets.get(call.sandbox.id, str(target["params"].get("dataSetId") or ""))
    if dataset is not None:
        schemas.append(rules.schema_of_dataset(dataset))
    return [each for each in schemas if each[0]]


def check_unmapped(call: Call, parts: Parts) -> None:
    """Check that a flow may carry records unmapped: XDM pass-through only. Provider text 1370 style (ASSUMPTION)."""
    spec_id = parts.flow_spec["id"]
    if spec_id == PASS_THROUGH:
        return
    takes_xdm = parts.base is not None and parts.base["auth"]["params"].get("dataType") == "xdm"
    if spec_id == WITH_MAPPING and takes_xdm:
        # aepp names this flow spec for XDM inlets and sends no mapping.
        return
    if not is_streaming_flow(parts.flow_spec) and parts.source["data"].get("format") != "delimited":
        return  # files of JSON or Parquet may hold XDM already: batch-ingestion.md B5
    raise provider_refusal(call, 1370, f"A mapping is required for flow spec {spec_id}; add it under transformations.")


def inlet_of(service: FlowService, call: Call, parts: Parts, flow: Document) -> Inlet | None:
    """Return the inlet of a flow: its base connection's, or one of its own; None for flows that do not stream."""
    if not is_streaming_flow(parts.flow_spec):
        return None
    if parts.base is not None:
        return service.inlets.get(parts.base["id"])
    route = service.flows.route(flow["id"])
    known = service.inlets.get(route.inlet_id) if route else None
    return known or Inlet(
        id=new_inlet_id(call.caller.org_id, call.sandbox.id, flow["id"]),
        org_id=call.caller.org_id,
        sandbox=call.sandbox,
        source_id=flow["name"],
        data_type="xdm" if parts.mapping is None else "raw",
        # The Capillary source sends a bearer token, so its inlets demand one (ASSUMPTION).
        authentication_required=parts.source["connectionSpec"]["id"] == CAPILLARY,
        connection_id="",
    )


def route_of(sandbox: Sandbox, flow: Document, parts: Parts, inlet: Inlet | None, active_from_ms: int) -> Route:
    """Return the route of a flow; a file flow's has no inlet."""
    options = flow.get("options") or {}
    schema = parts.target["data"].get("schema") or {}
    return Route(
        flow_id=flow["id"],
        sandbox=sandbox,
        org_id=flow["imsOrgId"],
        state=State(flow["state"]),
        inlet_id=inlet.id if inlet else "",
        file_format="" if is_streaming_flow(parts.flow_spec) else str(parts.source["data"].get("format") or "delimited"),
        dataset_id=str(parts.target["params"].get("dataSetId") or ""),
        mapping_id=parts.mapping.id if parts.mapping else "",
        mapping_version=parts.mapping.version if parts.mapping else 0,
        schema_id=str(schema.get("id") or ""),
        flow_spec_id=parts.flow_spec["id"],
        source_connection_id=parts.source["id"],
        target_connection_id=parts.target["id"],
        diagnostics=bool(options.get("errorDiagnosticsEnabled", False)),
        partial_percent=options.get("partialIngestionPercent"),
        active_from_ms=active_from_ms,
    )


def inherited_attributes(parts: Parts) -> Document:
    """Return what a flow shows of its ends; aepp reads the first target's spec without a guard."""
    source: Document = {"id": parts.source["id"], "connectionSpec": parts.source["connectionSpec"]}
    if parts.base is not None:
        source["baseConnection"] = {"id": parts.base["id"], "connectionSpec": parts.base["connectionSpec"]}
    target = {"id": parts.target["id"], "connectionSpec": parts.target["connectionSpec"]}
    return {"properties": {"isSourceFlow": True}, "sourceConnections": [source], "targetConnections": [target]}
