"""Flows: create, read, change, switch, delete. Source: flow-service.md 2, 3.4, 4, 9.1, 10."""

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service import file_runs, rules
from capstream.aep.flow_service.composition import (
    Parts,
    check_mapping,
    check_unmapped,
    inherited_attributes,
    inlet_of,
    parts_of,
    route_of,
    stored_parts,
)
from capstream.aep.flow_service.entities import (
    FLOWS,
    FlowService,
    apply_changes,
    changes_of,
    check_etag,
    created,
    is_draft,
    listed,
    named,
    new_entity,
    object_of,
    optional_json_of,
    receipt,
    searched,
    spec_reference,
    touched,
)
from capstream.aep.flow_service.errors import invalid, provider_refusal, refusal
from capstream.aep.flow_service.internal import all_of, changeable, one_of
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.model import State, remove_inlet, remove_route, save_inlet, save_route
from capstream.aep.flow_service.specs import CAPILLARY, is_streaming_flow
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import dumps

_STORED_LISTS = ("labels", "unifiedTags")
_FIXED = frozenset({"flowSpec", "sourceConnectionIds", "targetConnectionIds"})


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers of the flow operations by operationId."""
    return {
        "listFlows": lambda call: listed(call, FLOWS, all_of(service, call, FLOWS), _View(service, call)),
        "createFlow": lambda call: _create(service, call),
        "retrieveFlow": lambda call: Answer(body={"items": [_View(service, call)(one_of(service, call, FLOWS))]}),
        "deleteByFlow": lambda call: _delete(service, call),
        "patchFlow": lambda call: _patch(service, call),
        "getFlowsByFilters": lambda call: searched(call, FLOWS, all_of(service, call, FLOWS), _View(service, call)),
        "postStateTransition": lambda call: _act(service, call),
    }


class _View:
    """Shows a stored flow: `options.inletUrl` and `lastRunDetails` are resolved when it is read."""

    def __init__(self, service: FlowService, call: Call) -> None:
        self._service = service
        self._call = call
        self._routes = service.flows
        # The runs of a flow are many: a list looks at them only when the caller asks for what they say.
        asked = " ".join(value for _, value in call.query)
        self._with_runs = "id" in call.params or "lastRunDetails" in asked or b"lastRunDetails" in call.body

    def __call__(self, flow: Document) -> Document:
        options = {"errorDiagnosticsEnabled": False} | (flow.get("options") or {})
        route = self._routes.route(flow["id"])
        if route is not None and route.inlet_id:
            options["inletUrl"] = self._service.inlet_url(self._call, route.inlet_id)
        details = self._last_run(flow["id"]) if self._with_runs else {}
        return flow | {"options": options} | ({"lastRunDetails": details} if details else {})

    def _last_run(self, flow_id: str) -> Document:
        last = self._service.runs.last_closed(self._call.sandbox.id, flow_id)
        if last is None:
            return {}
        duration = last["metrics"]["durationSummary"]
        times = {name: duration[name] for name in ("startedAtUTC", "completedAtUTC") if name in duration}
        return {"id": last["id"], "state": last["state"]} | times


def _create(service: FlowService, call: Call) -> Answer:
    body = object_of(call)
    name = named(call, body)
    if "state" in body:
        raise refusal(call, 1410, "state must not be part of a new flow; create it, then use POST .../action")
    draft = is_draft(call)
    members: Document = {"name": name} | _free_members(call, body)
    parts = parts_of(service, call, body, draft=draft)
    _check_schedule(call, parts, members)
    members |= {
        "flowSpec": spec_reference(body, "flowSpec", parts.flow_spec),
        "sourceConnectionIds": [parts.source["id"]],
        "targetConnectionIds": [parts.target["id"]],
        "transformations": rules.returned_transformations(parts.mapping),
        "inheritedAttributes": inherited_attributes(parts),
        "providerRefId": new_uuid(),
        "lastOperation": {"started": call.now_ms, "updated": call.now_ms, "operation": "create"},
    }
    flow = new_entity(call, members, State.DRAFT if draft else State.ENABLED)
    flow["runs"] = f"/runs?property=flowId=={flow['id']}"
    _store(service, call, flow, parts, activates=not draft)
    if parts.source["connectionSpec"]["id"] == CAPILLARY:
        # The Capillary tutorial prints this body, every other document the receipt alone: flow-service.md 10 (3).
        return created(FLOWS, flow, status=flow["state"], message="Dataflow created successfully")
    return created(FLOWS, flow)


def _free_members(call: Call, body: Document) -> Document:
    """Return the members of a flow that are stored much as they come."""
    members: Document = {name: body[name] for name in ("description", *_STORED_LISTS) if body.get(name) is not None}
    for name in _STORED_LISTS:
        if not isinstance(members.get(name, []), list):
            raise invalid(call, f"{name} must be an array")
    for name in ("options", "scheduleParams", "policy"):
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise invalid(call, f"{name} must be an object")
        members[name] = value
    if "options" in members:
        members["options"] = {key: value for key, value in members["options"].items() if key != "inletUrl"}
        problem = rules.option_problem(members["options"])
        if problem:
            raise invalid(call, problem)
    if "scheduleParams" in members:
        members["scheduleParams"] = rules.returned_schedule(members["scheduleParams"])
    return members


def _check_schedule(call: Call, parts: Parts, members: Document) -> None:
    """Check the schedule of a flow that has one; streaming flows ignore theirs. Source: flow-service.md 10 (4)."""
    if is_streaming_flow(parts.flow_spec):
        return
    problem = rules.schedule_problem(members.get("scheduleParams") or {})
    if problem:
        raise provider_refusal(call, *problem)


def _store(service: FlowService, call: Call, flow: Document, parts: Parts, *, activates: bool = False) -> None:
    """Store a flow, its route and, where it has one of its own, its inlet, in one transaction."""
    inlet = inlet_of(service, call, parts, flow)
    before = service.flows.route(flow["id"])
    active_from_ms = before.active_from_ms if before else 0
    if activates and service.activation_delay_ms:  # without a delay the clock has no say: it may be set back
        active_from_ms = call.now_ms + service.activation_delay_ms
    with service.documents.transaction() as change:
        change.put(FLOWS.collection, [(f"{call.sandbox.id}/{flow['id']}", dumps(flow))])
        # A draft of an account whose inlet does not exist yet gets its route when it is published.
        if inlet is not None and not inlet.connection_id:
            save_inlet(change, inlet)
        if inlet is not None or not is_streaming_flow(parts.flow_spec):
            save_route(change, route_of(call.sandbox, flow, parts, inlet, active_from_ms))


def _patch(service: FlowService, call: Call) -> Answer:
    stored = changeable(service, call, FLOWS)
    check_etag(call, stored, strict=service.strict)
    changes = changes_of(call)
    fixed = next((change for change in changes if change.steps[0] in _FIXED), None)
    if fixed is not None:
        raise invalid(call, f"path {fixed.path} cannot be changed; create another flow")
    patched = apply_changes(call, stored, changes)
    patched |= _free_members(call, patched)
    parts = stored_parts(service, call, patched)
    if any(change.steps[0] == "transformations" for change in changes):
        _check_new_mapping(service, call, parts, stored)
    patched["transformations"] = rules.returned_transformations(parts.mapping)
    operations = [{"op": change.op, "path": change.path} | _value_of(change.op, change.value) for change in changes]
    last = {"started": call.now_ms, "updated": call.now_ms, "operation": "update", "ops": operations}
    updated = touched(call, patched, lastOperation=last)
    _store(service, call, updated, parts)
    return receipt(updated)


def _value_of(op: str, value: object) -> Document:
    return {} if op == "remove" else {"value": value}


def _check_new_mapping(service: FlowService, call: Call, parts: Parts, stored: Document) -> None:
    if parts.mapping is not None:
        check_mapping(service, call, parts.mapping, parts.target)
    elif stored["state"] != State.DRAFT:
        check_unmapped(call, parts)


def _act(service: FlowService, call: Call) -> Answer:
    flow = changeable(service, call, FLOWS)
    check_etag(call, flow, required=False)
    operation = call.arg("op").upper()
    problem = rules.action_problem(operation, call.args("subOp"), optional_json_of(call))
    if problem:
        raise refusal(call, *problem)
    state = rules.next_state(State(flow["state"]), operation)
    if state is None:
        detail = f"op {operation} is not possible on flow {flow['id']} in state {flow['state']}"
        raise refusal(call, 1422, detail, id=flow["id"], type="flows")
    if operation == "PUBLISH":
        parts = parts_of(service, call, flow, draft=False)
        _check_schedule(call, parts, flow)
    else:
        parts = stored_parts(service, call, flow)
    last = {"started": call.now_ms, "updated": call.now_ms, "operation": operation.lower()}
    changed = touched(call, flow, state=state.value, lastOperation=last, inheritedAttributes=inherited_attributes(parts))
    _store(service, call, changed, parts, activates=state is State.ENABLED)
    return receipt(changed)


def _delete(service: FlowService, call: Call) -> Answer:
    """Delete a flow; its source, target and base connections stay. Source: flow-service.md 2."""
    flow = changeable(service, call, FLOWS)
    route = service.flows.route(flow["id"])
    inlet = service.inlets.get(route.inlet_id) if route else None
    with service.documents.transaction() as change:
        change.delete(FLOWS.collection, [f"{call.sandbox.id}/{flow['id']}"])
        service.forget_flow(change, call.sandbox.id, flow["id"])
        file_runs.forget(change, call.sandbox.id, flow["id"])
        if route is not None:
            remove_route(change, route)
        if inlet is not None and not inlet.connection_id:
            remove_inlet(change, inlet)
    return Answer(status=204)
