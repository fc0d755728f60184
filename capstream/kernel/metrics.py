"""Metrics as values, and their Prometheus text form."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with its samples: (labels, value). Counter names end in `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


class _Collector:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for metric in self._metrics:
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            labels = list(metric.samples[0][0]) if metric.samples else []
            made = family(metric.name, metric.help, labels=labels)
            for values, value in metric.samples:
                made.add_metric([values[label] for label in labels], value)
            yield made


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return the metrics in Prometheus' text form."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry)
