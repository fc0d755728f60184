"""The operations of Observability Insights. Source: observability-insights.yaml, monitoring-alerts.md 6."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.observability_insights import series
from capstream.aep.observability_insights.calculation import AGGREGATORS, GRANULARITIES, Filter, Group, Question, answer
from capstream.aep.observability_insights.catalogue import Metric, metric
from capstream.aep.observability_insights.errors import BAD_DATES, BAD_METRIC, refused, refused_v1
from capstream.aep.observability_insights.intervals import BadInterval, instant, interval
from capstream.aep.observability_insights.series import Point
from capstream.kernel.json import Json
from capstream.storage.ports import Reading

_DAYS_BY_DEFAULT = 30
_MOST_METRICS = 6
_LABELS: Mapping[str, str] = {
    "datasetid": "dataSetId",
    "inletid": "inletId",
    "namespacecode": "namespaceCode",
    "ns": "namespaceCode",
}
"""Filter names in lower case and the label they mean; spelling of the last three is an ASSUMPTION."""

Found = dict[Group, dict[str, float]]


def handlers(state: Reading, inlets: Reading, *, flush: Callable[[], None]) -> dict[str, Handler]:
    """Return the handlers by operation.

    `state` holds what the pipeline counted, `inlets` what the inlets counted; `flush` writes down what the inlets have counted
    up to now.
    """
    service = _Service(state, inlets, flush)
    return {"retrieveMetricsV1": service.version_1, "retrieveMetricsV2": service.version_2}


class _Service:
    def __init__(self, state: Reading, inlets: Reading, flush: Callable[[], None]) -> None:
        self._state = state
        self._inlets = inlets
        self._flush = flush

    def version_2(self, call: Call) -> Answer:
        """Answer `POST /metrics`."""
        body = call.json()
        if not isinstance(body, dict):
            raise refused(call, BAD_METRIC, "The body must be an object with start, end and metrics.")
        start_ms, end_ms = _range(call, body)
        granularity = str(body.get("granularity") or "DAY").upper()
        if granularity not in GRANULARITIES:
            raise refused(call, BAD_DATES, f"granularity {granularity} is none of {', '.join(GRANULARITIES)}.")
        asked = body.get("metrics")
        if not isinstance(asked, list) or not asked:
            raise refused(call, BAD_METRIC, "metrics is empty: name at least one metric.")
        self._flush()
        answers = [self._report(call, each, granularity, (start_ms, end_ms)) for each in asked]
        return Answer(body={"metricResponses": answers})

    def _report(self, call: Call, asked: Json, granularity: str, span: tuple[int, int]) -> Json:
        if not isinstance(asked, dict):
            raise refused(call, BAD_METRIC, "Each of metrics must be an object with a name.")
        name = asked.get("name")
        found = metric(name) if isinstance(name, str) else None
        if found is None:
            raise refused(call, BAD_METRIC, f"{name} is not a metric. The documentation lists those there are.")
        question = Question(
            metric=found,
            filters=_filters(call, asked.get("filters"), found),
            granularity=granularity,
            aggregator=_function(call, asked, "aggregator") or "sum",
            downsample=_function(call, asked, "downsample"),
        )
        points = self._ask(call.sandbox.id, question, span)
        return {
            "metric": name,
            "name": name,
            "filters": asked.get("filters") or [],
            "datapoints": _datapoints(question, points),
            "granularity": granularity,
        }

    def version_1(self, call: Call) -> Answer:
        """Answer `GET /metrics` (deprecated): days, newest first."""
        names = list(dict.fromkeys(part.strip() for value in call.args("metric") for part in value.split(",") if part.strip()))
        if not 1 <= len(names) <= _MOST_METRICS:
            raise refused_v1(BAD_METRIC, f"metric must name 1 to {_MOST_METRICS} metrics; {len(names)} were named.")
        if unknown := [name for name in names if metric(name) is None]:
            raise refused_v1(BAD_METRIC, f"{unknown[0]} is not a metric. The documentation lists those there are.")
        span = self._interval(call)
        self._flush()
        days: dict[str, dict[str, float]] = defaultdict(dict)
        for name in names:
            for moment, number in self._daily(call, name, span).items():
                days[moment][name] = number
        items = [{"timestamp": moment, "metrics": found} for moment, found in sorted(days.items(), reverse=True)]
        timeseries = {"granularity": "DAY", "items": items, "_page": None, "_links": None}
        return Answer(body={"id": call.arg("id") or None, "imsOrgId": call.caller.org_id, "timeseries": timeseries, "stats": {}})

    def _daily(self, call: Call, name: str, span: tuple[int, int]) -> Mapping[str, float]:
        found = metric(name)
        if found is None:
            return {}
        label = "inletId" if found.subject == "inlet/" else "dataSetId"
        wanted = [Filter(label=label, values=frozenset([call.arg("id")]))] if call.arg("id") else []
        question = Question(metric=found, filters=wanted, granularity="DAY")
        return self._ask(call.sandbox.id, question, span).get((), {})

    def _interval(self, call: Call) -> tuple[int, int]:
        text = call.arg("dateRange")
        if not text:
            start = datetime.fromtimestamp(call.now_ms / 1000, UTC) - timedelta(days=_DAYS_BY_DEFAULT)
            return int(start.timestamp() * 1000), call.now_ms
        try:
            return interval(text)
        except BadInterval as error:
            raise refused_v1(BAD_DATES, str(error)) from error

    def _ask(self, sandbox_id: str, question: Question, span: tuple[int, int]) -> Found:
        start_ms, end_ms = span
        first = 0 if question.metric.kind == "total" else start_ms
        return answer(question, self._points(sandbox_id, question, first, end_ms), start_ms)

    def _points(self, sandbox_id: str, question: Question, start_ms: int, end_ms: int) -> Iterator[Point]:
        found = question.metric
        store = self._inlets if found.subject == "inlet/" else self._state
        for subject in _subjects(found, question.filters):
            yield from series.read(store, sandbox_id, subject, start_ms, end_ms)


def _subjects(found: Metric, filters: Sequence[Filter]) -> list[str]:
    """Return the subjects to read: those a filter names, else all of the metric's kind."""
    label = {"dataset/": "dataSetId", "inlet/": "inletId"}.get(found.subject, "")
    for each in filters:
        if each.label == label:
            return [f"{found.subject}{value}/" for value in sorted(each.values)]
    return [found.subject]


def _range(call: Call, body: dict[str, Json]) -> tuple[int, int]:
    try:
        start_ms, end_ms = instant("start", body.get("start")), instant("end", body.get("end"))
    except BadInterval as error:
        raise refused(call, BAD_DATES, str(error)) from error
    if start_ms > end_ms:
        raise refused(call, BAD_DATES, "Start date cannot be after end date.")
    return start_ms, end_ms


def _filters(call: Call, asked: Json, of: Metric) -> list[Filter]:
    if asked is None:
        return []
    if not isinstance(asked, list) or not all(isinstance(each, dict) for each in asked):
        raise refused(call, BAD_METRIC, "filters must be an array of {name, value, groupBy}.")
    found = []
    for each in asked:
        label = _LABELS.get(str(each.get("name", "")).lower())
        if label is None:
            raise refused(call, BAD_METRIC, f"filter {each.get('name')} is none of dataSetId, inletId, namespaceCode.")
        if of.labels is not None and label not in of.labels:
            has = ", ".join(of.labels) or "none"
            raise refused(call, BAD_METRIC, f"filter {each.get('name')} does not fit the metric; its filters: {has}.")
        value = each.get("value")
        values = frozenset(part.strip() for part in value.split("|") if part.strip()) if isinstance(value, str) else frozenset()
        if not values:
            raise refused(call, BAD_METRIC, f"filter {each.get('name')} has no value: a text of ids, joined by a vertical bar.")
        found.append(Filter(label=label, values=values, group=each.get("groupBy") in (True, "true", "True")))
    return found


def _function(call: Call, asked: dict[str, Json], member: str) -> str:
    name = str(asked.get(member) or "").lower()
    if name and name not in AGGREGATORS:
        raise refused(call, BAD_METRIC, f"{member} {name} is none of {', '.join(AGGREGATORS)}.")
    return name


def _datapoints(question: Question, found: Found) -> list[Json]:
    grouped = any(each.group for each in question.filters)
    if not grouped:
        return [{"groupBy": {}, "dps": found.get((), {})}]
    return [{"groupBy": dict(group), "dps": dps} for group, dps in found.items()]
