"""From counted minutes to the data points a report asks for. Pure. Source: monitoring-alerts.md 6.1, 6.2."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean

from capstream.aep.observability_insights.catalogue import Kind, Metric
from capstream.aep.observability_insights.series import Point

Reduce = Callable[[Sequence[float]], float]

AGGREGATORS: Mapping[str, Reduce] = {
    "sum": sum,
    "avg": fmean,
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}
"""OpenTSDB's names."""

GRANULARITIES = ("MINUTE", "HOUR", "DAY", "WEEK", "MONTH")

_INSIDE_BUCKET: Mapping[Kind, str] = {"count": "sum", "rate": "avg", "level": "max", "total": "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Only these values of one label; grouped, each has a series of its own."""

    label: str  #: `dataSetId`, `inletId` or `namespaceCode`
    values: frozenset[str]
    group: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One metric of a report."""

    metric: Metric
    filters: Sequence[Filter]
    granularity: str
    aggregator: str = "sum"  #: across series
    downsample: str = ""  #: inside a bucket; by default what the kind of the metric calls for


Group = tuple[tuple[str, str], ...]
"""(label, value) of what a series of data points is about; empty when it is about everything."""


def bucket(at_ms: int, granularity: str) -> str:
    """Return the start of the bucket an instant lies in, as data points are keyed: `2024-07-18T00:00:00Z`."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).replace(second=0, microsecond=0)
    if granularity != "MINUTE":
        moment = moment.replace(minute=0)
    if granularity in {"DAY", "WEEK", "MONTH"}:
        moment = moment.replace(hour=0)
    if granularity == "WEEK":
        moment -= timedelta(days=moment.weekday())
    if granularity == "MONTH":
        moment = moment.replace(day=1)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def answer(question: Question, points: Iterable[Point], start_ms: int) -> dict[Group, dict[str, float]]:
    """Return the data points by group. Buckets without data are left out (ASSUMPTION).

    `points` of a total begin before `start_ms`: what there was counts, only buckets from then on are shown.
    """
    reduce_time = AGGREGATORS[question.downsample or _INSIDE_BUCKET[question.metric.kind]]
    found: dict[Group, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for labels, minutes in _series(question, points).items():
        for name, values in _bucketed(minutes, question, start_ms).items():
            found[_group(labels, question)][name].append(reduce_time(values))
    reduce_series = AGGREGATORS[question.aggregator]
    return {
        group: {name: float(reduce_series(values)) for name, values in sorted(dps.items())}
        for group, dps in sorted(found.items())
        if dps
    }


def _group(labels: Group, question: Question) -> Group:
    return tuple((each.label, dict(labels).get(each.label, "")) for each in question.filters if each.group)


def _series(question: Question, points: Iterable[Point]) -> dict[Group, list[tuple[int, float]]]:
    """Return (minute, number) by the labels of each series that passes the filters."""
    found: dict[Group, list[tuple[int, float]]] = defaultdict(list)
    for point in points:
        kind, _, identifier = point.subject.partition("/")
        subject = (("dataSetId" if kind == "dataset" else "inletId", identifier),)
        for labels, number in _numbers(question.metric, point, subject):
            known = dict(labels)
            if all(known.get(each.label) in each.values for each in question.filters):
                # What there is altogether runs on for a series that gets nothing: its series are summed minute by minute.
                key = _group(labels, question) if question.metric.kind == "total" else labels
                found[key].append((point.at_ms, number))
    return found


def _numbers(metric: Metric, point: Point, subject: Group) -> Iterable[tuple[Group, float]]:
    if not metric.by_namespace:
        number = point.counts.get(metric.counter)
        return [] if number is None else [(subject, number)]
    prefix = f"{metric.counter}/"
    return [
        ((*subject, ("namespaceCode", name.removeprefix(prefix))), number)
        for name, number in point.counts.items()
        if name.startswith(prefix)
    ]


def _bucketed(minutes: Sequence[tuple[int, float]], question: Question, start_ms: int) -> dict[str, list[float]]:
    buckets: dict[str, list[float]] = defaultdict(list)
    running = 0.0
    for at_ms, number in sorted(minutes):
        running += number
        if at_ms >= start_ms:
            shown = running if question.metric.kind == "total" else number
            buckets[bucket(at_ms, question.granularity)].append(shown)
    return buckets
