"""Operations on runs. The pipeline makes them; callers read them. Source: flow-service.md 3.5, 8."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service.entities import FLOWS, RUNS, FlowService, list_answer, listing_for, object_of
from capstream.aep.flow_service.errors import not_built, not_found, provider_refusal, refusal
from capstream.aep.flow_service.listing import Condition, Document
from capstream.aep.flow_service.specs import is_streaming_flow


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers of the run operations by operationId."""
    return {
        "listFlowRuns": partial(_list, service),
        "listRunsOfFlow": partial(_list_of_flow, service),
        "createFlowRun": partial(_create, service),
        "retrieveFlowRun": lambda call: Answer(body={"items": [_existing(service, call)]}),
        "updateRun": partial(_update, service),
        "postAction": partial(_act, service),
    }


def _existing(service: FlowService, call: Call) -> Document:
    found = service.runs.get(call.sandbox.id, call.params["id"])
    if found is None:
        raise not_found(call, RUNS.name, call.params["id"])
    return found


def _list(service: FlowService, call: Call) -> Answer:
    return _runs(service, call, call.query)


def _list_of_flow(service: FlowService, call: Call) -> Answer:
    """Serve `/flows/{id}/runs`, which an older sample of a flow prints under `runs` (ASSUMPTION)."""
    flow = service.existing(call, FLOWS, call.params["id"])
    return _runs(service, call, [*call.query, ("property", f"flowId=={flow['id']}")])


def _runs(service: FlowService, call: Call, query: Sequence[tuple[str, str]]) -> Answer:
    listing = listing_for(call, query)
    flow_id = listing.value_of("flowId")
    runs = service.runs.entities(call.sandbox.id, flow_id or None)
    if flow_id:  # what the key says need not be asked of each run
        known = Condition(path="flowId", operator="==", values=(flow_id,))
        conditions = tuple(each for each in listing.conditions if each != known)
        listing = replace(listing, conditions=conditions)
    return list_answer(RUNS, runs, lambda run: run, listing)


def _create(service: FlowService, call: Call) -> Answer:
    body = object_of(call)
    flow_id = str(body.get("flowId") or "")
    flow = service.of(FLOWS).get(call.sandbox.id, flow_id)
    if flow is None:
        raise refusal(call, 1430, f"A run cannot be created: the flow {flow_id!r} does not exist.", id=flow_id, type="flows")
    flow_spec = service.flow_specs.get(flow["flowSpec"]["id"])
    if flow_spec is None or is_streaming_flow(flow_spec):
        raise provider_refusal(call, 1385, "Runs cannot be created for streaming flows.", id=flow_id, type="flows")
    frequency = (flow.get("scheduleParams") or {}).get("frequency")
    if frequency != "once":
        message = f"Runs can be created for flows with frequency once, not {frequency}."
        raise provider_refusal(call, 1386, message, id=flow_id, type="flows")
    raise not_built(call, f"Running a file flow (flow spec {flow_spec['name']})")


def _update(service: FlowService, call: Call) -> Answer:
    run = _existing(service, call)
    if not call.headers.get("if-match"):
        raise refusal(call, 1403, "The If-Match header is missing. Send the etag of the run.")
    raise refusal(call, 1427, "Runs are updated by the provider of the connector only.", id=run["id"], type="runs")


def _act(service: FlowService, call: Call) -> Answer:
    run = _existing(service, call)
    operation = call.arg("op").upper()
    if operation != "RE_TRIGGER":
        raise provider_refusal(call, 1398, f"op {operation!r} is not an action of runs; use RE_TRIGGER.")
    flow_spec = service.flow_specs.get((run.get("flowSpec") or {}).get("id", ""))
    if flow_spec is None or is_streaming_flow(flow_spec):
        raise provider_refusal(call, 1387, "A run of a streaming flow cannot be triggered again.", id=run["id"], type="runs")
    if run["state"] != "failed":
        message = f"Run {run['id']} is in state {run['state']}; only failed runs can be triggered again."
        raise provider_refusal(call, 1388, message, id=run["id"], type="runs")
    raise not_built(call, "Triggering a file run again")
