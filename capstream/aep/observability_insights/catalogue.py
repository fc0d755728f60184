"""The metrics that can be asked for, and the counter behind each. Source: monitoring-alerts.md 6.3, streaming-ingestion.md 15."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "level", "total", "rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Where the numbers of a metric come from."""

    subject: str  #: prefix of the series' subject: `dataset/`, `inlet/` or `graph/`
    counter: str
    kind: Kind = "count"  #: `level` and `total` say how much there is, `rate` how much came in a minute
    by_namespace: bool = False  #: the counter is kept for each identity namespace, as `{counter}/{namespace}`

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels it can be filtered by; None for a metric without numbers, which takes every filter."""
        if not self.counter:
            return None
        of_subject = {"dataset/": ("dataSetId",), "inlet/": ("inletId",)}.get(self.subject, ())
        return (*of_subject, "namespaceCode") if self.by_namespace else of_subject


ROWS, BYTES = "rows", "bytes"
BATCHES_GOOD, BATCHES_BAD = "batches.success", "batches.failed"
VALID, INVALID = "validation.valid", "validation.invalid"
IDENTITY_GOOD, IDENTITY_BAD, IDENTITY_SKIPPED = "identity.success", "identity.failed", "identity.skipped"
PROFILE_READ, PROFILE_GOOD, PROFILE_BAD, PROFILE_SKIPPED = "profile.read", "profile.success", "profile.failed", "profile.skipped"
PROFILE_BATCHES = "profile.batches"
RECEIVED, RECEIVED_BYTES, ACCEPTED, REFUSED = "received", "received.bytes", "accepted", "refused"
IDENTITIES, GRAPHS = "identities", "graphs"
CATEGORIES = ("type", "range", "format", "pattern", "presence", "enum", "unclassified", "unknown")

_CATEGORY_OF: Mapping[str, str] = {
    "type": "type",
    "format": "format",
    "pattern": "pattern",
    "required": "presence",
    "enum": "enum",
    "const": "enum",
    "": "unknown",
} | dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "range")
"""Validation keywords by the category their violation is counted in; others are unclassified (ASSUMPTION)."""


def category_counter(keyword: str) -> str:
    """Return the counter of records that violate a validation keyword."""
    return f"violation.{_CATEGORY_OF.get(keyword, 'unclassified')}"


_INGESTION = "timeseries.ingestion.dataset."
_COLLECTION = "timeseries.data.collection."
_IDENTITY = "timeseries.identity."
_PROFILE = "timeseries.profiles.dataset."


def _dataset(counter: str, kind: Kind = "count", *, by_namespace: bool = False) -> Metric:
    return Metric(subject="dataset/", counter=counter, kind=kind, by_namespace=by_namespace)


def _inlet(counter: str) -> Metric:
    return Metric(subject="inlet/", counter=counter)


METRICS: Mapping[str, Metric] = {
    f"{_INGESTION}recordsuccess.count": _dataset(ROWS),
    f"{_INGESTION}batchsuccess.count": _dataset(BATCHES_GOOD),
    f"{_INGESTION}batchfailed.count": _dataset(BATCHES_BAD),
    f"{_INGESTION}size": _dataset(BYTES, "total"),
    f"{_INGESTION}dailysize": _dataset(BYTES),
    f"{_COLLECTION}inlet.total.messages.received": _inlet(RECEIVED),
    f"{_COLLECTION}inlet.total.messages.size.received": _inlet(RECEIVED_BYTES),
    f"{_COLLECTION}inlet.success": _inlet(ACCEPTED),
    f"{_COLLECTION}inlet.failure": _inlet(REFUSED),
    f"{_COLLECTION}validation.valid.messages.rate": _dataset(VALID, "rate"),
    f"{_COLLECTION}validation.invalid.messages.rate": _dataset(INVALID, "rate"),
    **{f"{_COLLECTION}validation.category.{each}.count": _dataset(f"violation.{each}") for each in CATEGORIES},
    f"{_IDENTITY}dataset.recordsuccess.count": _dataset(IDENTITY_GOOD),
    f"{_IDENTITY}dataset.recordfailed.count": _dataset(IDENTITY_BAD),
    f"{_IDENTITY}dataset.namespacecode.recordfailed.count": _dataset(IDENTITY_BAD, by_namespace=True),
    f"{_IDENTITY}dataset.namespacecode.recordskipped.count": _dataset(IDENTITY_SKIPPED, by_namespace=True),
    f"{_IDENTITY}graph.imsorg.uniqueidentities.count": Metric(subject="graph/", counter=IDENTITIES, kind="level"),
    f"{_IDENTITY}graph.imsorg.numgraphs.count": Metric(subject="graph/", counter=GRAPHS, kind="level"),
    f"{_PROFILE}recordread.count": _dataset(PROFILE_READ),
    f"{_PROFILE}recordsuccess.count": _dataset(PROFILE_GOOD),
    f"{_PROFILE}recordfailed.count": _dataset(PROFILE_BAD),
    f"{_PROFILE}batchsuccess.count": _dataset(PROFILE_BATCHES),
}
"""Metrics that are counted."""

_NOT_COUNTED = ("timeseries.gdpr.", "timeseries.queryservice.", "timeseries.segmentation.", f"{_IDENTITY}graph.imsorg.")


def metric(name: str) -> Metric | None:
    """Return where a metric comes from, None for an unknown name.

    Metrics of what the platform does not do (privacy jobs, queries, segment jobs) have no numbers: they are taken, and empty.
    """
    found = METRICS.get(name)
    if found is None and name.startswith(_NOT_COUNTED):
        return Metric(subject="none/", counter="")
    return found
