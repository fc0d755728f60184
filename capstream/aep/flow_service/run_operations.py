"""Operations on runs: callers read them, and order those of file flows. Source: flow-service.md 3.5, 8."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service import file_runs
from capstream.aep.flow_service.entities import FLOWS, RUNS, FlowService, list_answer, listing_for, object_of
from capstream.aep.flow_service.errors import invalid, not_found, provider_refusal, refusal
from capstream.aep.flow_service.file_runs import FileRun
from capstream.aep.flow_service.listing import Condition, Document, Ordered, Sorted
from capstream.aep.flow_service.model import State
from capstream.aep.flow_service.run_form import rendered
from capstream.aep.flow_service.run_records import FileFacts
from capstream.aep.flow_service.runs import new_record, run_id
from capstream.aep.flow_service.specs import is_streaming_flow
from capstream.kernel.json import Json


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
    found = service.runs.get(call.sandbox.id, call.params["id"]) or _scheduled(service, call).get(call.params["id"])
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
    runs: Ordered = service.runs.entities(call.sandbox.id, flow_id or None)
    waiting = _scheduled(service, call, flow_id)
    if waiting:
        runs = Sorted([*waiting.values(), *runs])
    if flow_id:  # what the key says need not be asked of each run
        known = Condition(path="flowId", operator="==", values=(flow_id,))
        conditions = tuple(each for each in listing.conditions if each != known)
        listing = replace(listing, conditions=conditions)
    return list_answer(RUNS, runs, lambda run: run, listing)


def _scheduled(service: FlowService, call: Call, flow_id: str = "") -> dict[str, Document]:
    """Return, by id, the runs that are ordered and that the pipeline has not taken up."""
    orders = [order for order in file_runs.unfinished(service.documents) if order.sandbox_id == call.sandbox.id]
    shown = [_shown(service, order) for order in orders if flow_id in ("", order.flow_id)]
    return {run["id"]: run for run in shown if run and service.runs.get(call.sandbox.id, run["id"]) is None}


def _shown(service: FlowService, order: FileRun) -> Document:
    route = service.flows.route(order.flow_id)
    if route is None:
        return {}
    record = new_record(route, order.started_ms, order.started_ms, files=FileFacts(window_start_s=order.window_start_s))
    record.status = "scheduled"
    return rendered(record)


def _ordered(service: FlowService, order: FileRun) -> Answer:
    with service.documents.transaction() as change:
        file_runs.order(change, order)
    shown = _shown(service, order)
    return Answer(status=201, body=shown, headers={"Location": f"/data/foundation/flowservice/runs/{shown['id']}"})


def _create(service: FlowService, call: Call) -> Answer:
    body = object_of(call)
    flow_id = str(body.get("flowId") or "")
    flow = service.of(FLOWS).get(call.sandbox.id, flow_id)
    if flow is None:
        raise refusal(call, 1430, f"A run cannot be created: the flow {flow_id!r} does not exist.", id=flow_id, type="flows")
    flow_spec = service.flow_specs.get(flow["flowSpec"]["id"])
    if flow_spec is None or is_streaming_flow(flow_spec):
        raise provider_refusal(call, 1385, "Runs cannot be created for streaming flows.", id=flow_id, type="flows")
    if flow["state"] != State.ENABLED:
        detail = f"A run cannot be created: flow {flow_id} is {flow['state']}. Enable it first."
        raise refusal(call, 1422, detail, id=flow_id, type="flows")
    frequency = (flow.get("scheduleParams") or {}).get("frequency")
    if frequency != "once":
        message = f"Runs can be created for flows with frequency once, not {frequency}."
        raise provider_refusal(call, 1386, message, id=flow_id, type="flows")
    params = body.get("params") or {}
    window_s = _window_start(call, params)
    order = FileRun(sandbox_id=call.sandbox.id, flow_id=flow_id, started_ms=call.now_ms, window_start_s=window_s)
    return _ordered(service, order)


def _window_start(call: Call, params: Json) -> int:
    """Return the second from which on files count. Source: flow-service.md 3.5 (text or number)."""
    value = str(params.get("windowStartTime") or 0) if isinstance(params, dict) else ""
    if not (value.isascii() and value.isdecimal()):
        raise invalid(call, "params must be an object; windowStartTime in it a time in epoch seconds")
    return int(value)


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
    flow = service.existing(call, FLOWS, run["flowId"])
    if flow["state"] != State.ENABLED:
        message = f"Flow {flow['id']} is {flow['state']}; enable it before its run is triggered again."
        raise provider_refusal(call, 1388, message, id=run["id"], type="runs")
    return _triggered_again(service, call, run)


def _triggered_again(service: FlowService, call: Call, run: Document) -> Answer:
    """Order a run of the files that a failed one took; of one that got none, of all that are there."""
    earlier = file_runs.of_flow(service.documents, call.sandbox.id, run["flowId"])
    failed = next((each for each in earlier if run_id(each.flow_id, each.started_ms) == run["id"]), None)
    order = FileRun(
        sandbox_id=call.sandbox.id,
        flow_id=run["flowId"],
        started_ms=call.now_ms,
        window_start_s=failed.window_start_s if failed else 0,
        only=failed.files if failed else [],
    )
    return Answer(status=200, body=_ordered(service, order).body)
