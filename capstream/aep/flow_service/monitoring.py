"""The figures of the monitoring dashboard, computed from runs. Source: monitoring-alerts.md 2.2, 2.3 (own API, ASSUMPTION)."""

from collections.abc import Callable, Iterable, Mapping

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.error_shapes import generic_body
from capstream.aep.flow_service.entities import FLOWS, SOURCE_CONNECTIONS, FlowService
from capstream.aep.flow_service.listing import Document
from capstream.kernel.json import Json

_DAY_MS = 86_400_000
_CARDS: Mapping[str, str] = {
    "recordsReceived": "inputRecordCount",
    "recordsIngested": "outputRecordCount",
    "recordsWithWarnings": "warningRecordCount",
    "recordsFailed": "failedRecordCount",
    "recordsSkipped": "skippedRecordCount",
    "recordsDeleted": "deletedRecordCount",
}

Named = Callable[[str], tuple[str, str]]


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers by operation."""
    return {"summariseDataflows": lambda call: _summary(service, call)}


def _summary(service: FlowService, call: Call) -> Answer:
    start_ms, end_ms = _instant(call, "start", call.now_ms - _DAY_MS), _instant(call, "end", call.now_ms)
    group_by = call.arg("groupBy") or "flow"
    if group_by not in ("flow", "source"):
        raise _refused(f"groupBy {group_by} is neither source nor flow.")
    runs = [run for run in service.runs.list(call.sandbox.id, None) if _is_within(run, start_ms, end_ms)]
    named = _flow_names(service, call) if group_by == "flow" else _source_names(service, call)
    groups: dict[tuple[str, str], list[Document]] = {}
    for run in runs:
        groups.setdefault(named(run["flowId"]), []).append(run)
    rows = [{"id": key, "name": name} | _figures(found) | _activity(found) for (key, name), found in sorted(groups.items())]
    return Answer(body={"cards": _figures(runs), "rows": rows})


def _is_within(run: Document, start_ms: int, end_ms: int) -> bool:
    began_ms = run["metrics"]["durationSummary"]["startedAtUTC"]
    return bool(start_ms < began_ms + 3_600_000 and began_ms <= end_ms)


def _figures(runs: Iterable[Document]) -> dict[str, Json]:
    records = [run["metrics"]["recordSummary"] for run in runs]
    figures: dict[str, Json] = {card: sum(each[member] for each in records) for card, member in _CARDS.items()}
    received = figures["recordsReceived"]
    figures["ingestedRate"] = round(figures["recordsIngested"] * 100 / received, 3) if received else 0.0
    figures["failedDataflows"] = len({run["flowId"] for run in runs if run["state"] == "failed"})
    return figures


def _activity(runs: list[Document]) -> dict[str, Json]:
    return {"totalDataflows": len({run["flowId"] for run in runs}), "lastActive": max(run["updatedAt"] for run in runs)}


def _flow_names(service: FlowService, call: Call) -> Named:
    def named(flow_id: str) -> tuple[str, str]:
        flow = service.of(FLOWS).get(call.sandbox.id, flow_id)
        return flow_id, str(flow["name"]) if flow else ""

    return named


def _source_names(service: FlowService, call: Call) -> Named:
    def named(flow_id: str) -> tuple[str, str]:
        flow = service.of(FLOWS).get(call.sandbox.id, flow_id)
        source = service.of(SOURCE_CONNECTIONS).get(call.sandbox.id, flow["sourceConnectionIds"][0]) if flow else None
        spec_id = str(source["connectionSpec"]["id"]) if source else ""
        spec = service.connection_specs.get(spec_id)
        return spec_id, str(spec["name"]) if spec else ""

    return named


def _instant(call: Call, name: str, default: int) -> int:
    text = call.arg(name) or str(default)
    if not (text.isascii() and text.isdecimal()):
        raise _refused(f"{name} {text} must be a time in epoch milliseconds.")
    return int(text)


def _refused(detail: str) -> ApiError:
    return ApiError(400, generic_body(400, detail))
