"""Source and target connections: the two ends of a flow. Source: flow-service.md 2, 3.2, 3.3, 4."""

from collections.abc import Callable
from functools import partial

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service import rules
from capstream.aep.flow_service.entities import (
    CONNECTIONS,
    FLOWS,
    SOURCE_CONNECTIONS,
    TARGET_CONNECTIONS,
    FlowService,
    Kind,
    apply_changes,
    changes_of,
    check_etag,
    created,
    is_draft,
    listed,
    named,
    new_entity,
    object_of,
    publishable,
    receipt,
    spec_id_of,
    spec_reference,
    touched,
)
from capstream.aep.flow_service.errors import invalid, provider_refusal, refusal
from capstream.aep.flow_service.internal import all_of, changeable, one_of
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.model import State
from capstream.aep.flow_service.specs import DATA_LAKE, Spec, is_account_based, is_streaming_source
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json

Members = Callable[[FlowService, Call, Document, Spec], Document]


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers of the source and target connection operations by operationId."""
    source, target = SOURCE_CONNECTIONS, TARGET_CONNECTIONS
    return {
        "getSourceConnections": partial(_list, service, source),
        "createSourceConnection": partial(_create, service, source, source_members),
        "retrieveSourceConnection": partial(_retrieve, service, source),
        "deleteSourceConnection": partial(_delete, service, source),
        "patchSourceConnection": partial(_patch, service, source, source_members),
        "performAction_1": partial(_act, service, source),
        "getTargetConnections": partial(_list, service, target),
        "createTargetConnection": partial(_create, service, target, target_members),
        "retrieveTargetConnection": partial(_retrieve, service, target),
        "deleteTargetConnection": partial(_delete, service, target),
        "patchTargetConnection": partial(_patch, service, target, target_members),
        "performAction_2": partial(_act, service, target),
    }


def _list(service: FlowService, kind: Kind, call: Call) -> Answer:
    return listed(call, kind, all_of(service, call, kind), lambda each: each)


def _retrieve(service: FlowService, kind: Kind, call: Call) -> Answer:
    return Answer(body={"items": [one_of(service, call, kind)]})


def _create(service: FlowService, kind: Kind, members: Members, call: Call) -> Answer:
    body = object_of(call)
    spec_id = spec_id_of(call, body, "connectionSpec")
    spec = service.connection_specs.get(spec_id)
    if spec is None:
        raise refusal(call, 1413, f"The connection spec {spec_id} does not exist.", id=spec_id, type="connectionSpecs")
    checked = members(service, call, body, spec)
    checked |= {name: body[name] for name in ("name", "description") if body.get(name)}
    checked["connectionSpec"] = spec_reference(body, "connectionSpec", spec)
    checked["providerRefId"] = new_uuid()
    entity = new_entity(call, checked, State.DRAFT if is_draft(call) else State.ENABLED)
    service.of(kind).save(call.sandbox.id, entity["id"], entity)
    return created(kind, entity)


def source_members(service: FlowService, call: Call, body: Document, spec: Spec) -> Document:
    """Return the checked members of a source connection. Errors: 1100 (name, base spec, format), 1332, 1439."""
    named(call, body)
    members: Document = {}
    base_id = body.get("baseConnectionId")
    if base_id:
        if not is_account_based(spec):
            raise provider_refusal(call, 1332, f"baseConnectionId is not supported for connection spec {spec['id']}.")
        base = service.existing(call, CONNECTIONS, str(base_id))
        if base["connectionSpec"]["id"] != spec["id"]:
            raise invalid(call, f"connectionSpec.id {spec['id']} differs from that of the base connection {base_id}")
        members["baseConnectionId"] = base["id"]
    members["data"] = _source_data(call, body.get("data"), spec)
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise invalid(call, "params must be an object")
    members["params"] = params or {}
    return members


def _source_data(call: Call, data: Json, spec: Spec) -> Document:
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise invalid(call, "data must be an object with the member format")
    data_format = data.get("format") or ("json" if is_streaming_source(spec) else None)
    if data_format is not None and data_format not in rules.STREAMING_FORMATS:
        raise provider_refusal(call, 1327, f"data.format {data_format!r} is not supported.")
    return data | ({"format": data_format} if data_format else {})


def target_members(service: FlowService, call: Call, body: Document, spec: Spec) -> Document:
    """Return the checked members of a target connection. Errors: 1307, 1325, 1100 (unknown dataset)."""
    targets = {target for each in service.flow_specs.all() for target in each.get("targetConnectionSpecIds") or []}
    if spec["id"] not in targets and not (spec.get("attributes") or {}).get("isTarget"):
        raise provider_refusal(call, 1307, f"The target connection spec must be {DATA_LAKE}, not {spec['id']}.")
    sent, data = body.get("params") or {}, body.get("data") or {}
    if not isinstance(sent, dict) or not isinstance(data, dict):
        raise invalid(call, "data and params must be objects")
    params = {name: value for name, value in sent.items() if name != "datasetId"}
    dataset_id = sent.get("dataSetId") or sent.get("datasetId")
    if dataset_id:
        params["dataSetId"] = dataset_id
    elif spec["id"] == DATA_LAKE:
        raise provider_refusal(call, 1325, "params.dataSetId is missing in the target connection.")
    return {"params": params, "data": _target_data(service, call, data, str(dataset_id or ""))}


def _target_data(service: FlowService, call: Call, data: Document, dataset_id: str) -> Document:
    """Return `data` with the schema, by default that of the dataset."""
    if not dataset_id:
        return data
    dataset = service.datasets.get(call.sandbox.id, dataset_id)
    if dataset is None:
        raise invalid(call, f"the dataset {dataset_id} does not exist in sandbox {call.sandbox.name}", dataSetId=dataset_id)
    schema = data.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(call, "data.schema must be an object with id and version")
    schema_id, content_type = rules.schema_of_dataset(dataset)
    return data | {"schema": {"id": schema_id, "version": content_type} | (schema or {})}


def _patch(service: FlowService, kind: Kind, members: Members, call: Call) -> Answer:
    """Change an end of a flow. The change does not reach flows that exist already. Source: flow-service.md 1."""
    stored = changeable(service, call, kind)
    check_etag(call, stored, strict=service.strict)
    changes = changes_of(call)
    if any(change.steps[0] == "connectionSpec" for change in changes):
        raise refusal(call, 1414, "The connection spec cannot be changed. Create another connection.")
    patched = apply_changes(call, stored, changes, name_required=kind is SOURCE_CONNECTIONS)
    spec = service.connection_specs.get(stored["connectionSpec"]["id"])
    if spec is None:
        raise refusal(call, 1413, f"The connection spec {stored['connectionSpec']['id']} does not exist any more.")
    updated = touched(call, patched | members(service, call, patched, spec))
    service.of(kind).save(call.sandbox.id, updated["id"], updated)
    return receipt(updated)


def _delete(service: FlowService, kind: Kind, call: Call) -> Answer:
    entity = changeable(service, call, kind)
    member = "sourceConnectionIds" if kind is SOURCE_CONNECTIONS else "targetConnectionIds"
    user = next((flow for flow in all_of(service, call, FLOWS) if entity["id"] in flow[member]), None)
    if user is not None:
        detail = f"{kind.name} {entity['id']} is used by flow {user['id']}. Delete the flow first."
        raise refusal(call, 1447, detail, id=entity["id"], type=kind.name)
    service.of(kind).remove(call.sandbox.id, entity["id"])
    return Answer(status=204)


def _act(service: FlowService, kind: Kind, call: Call) -> Answer:
    entity = changeable(service, call, kind)
    check_etag(call, entity, required=False)
    publishable(call, entity, kind)
    base_id = entity.get("baseConnectionId")
    if base_id and service.existing(call, CONNECTIONS, base_id)["state"] == State.DRAFT:
        raise invalid(call, f"the base connection {base_id} is a draft; publish it first")
    published = touched(call, entity, state=State.ENABLED.value)
    service.of(kind).save(call.sandbox.id, published["id"], published)
    return receipt(published)
