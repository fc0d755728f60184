"""Runs of Identity and Profile: what a dataset gave them in one UTC hour, and what that says about the rules.

Source: monitoring-alerts.md 4.1. Neither has a job in the embedded platform: they take records together with the lake, in one
transaction, so a run of theirs is an hour of a dataset, as it is with streaming dataflows (ASSUMPTION: not documented).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from capstream.aep.alerts import rules
from capstream.aep.alerts.catalogue import IDENTITY_RUNS, PROFILE_RUNS, IntakeRules
from capstream.aep.alerts.rules import Finding, Subject
from capstream.aep.catalog.model import Dataset, Datasets, identity_enabled, profile_enabled
from capstream.aep.flow_service.runs import run_id
from capstream.aep.observability_insights import catalogue as counters
from capstream.aep.observability_insights import series
from capstream.kernel.json import Json
from capstream.storage.ports import Reading


@dataclass(frozen=True, slots=True)
class Intake:
    """A service that takes the records of datasets."""

    rules: IntakeRules
    takes: Callable[[Dataset], bool]
    good: str  #: counter
    bad: str
    skipped: str
    rated: bool = False  #: it has rules about the share of records that failed or were skipped


INTAKES = (
    Intake(IDENTITY_RUNS, identity_enabled, counters.IDENTITY_GOOD, counters.IDENTITY_BAD, counters.IDENTITY_SKIPPED),
    Intake(PROFILE_RUNS, profile_enabled, counters.PROFILE_GOOD, counters.PROFILE_BAD, counters.PROFILE_SKIPPED, rated=True),
)
DELAYS = frozenset(each.rules.delay.id for each in INTAKES)


def of_hour(state: Reading, datasets: Datasets, hour: int, thresholds: Callable[[str], Mapping[str, float]]) -> Iterator[Finding]:
    """Yield what an hour that is over says: every dataset of every sandbox. `thresholds` are those of a sandbox, by rule id."""
    for sandbox_id in datasets.sandboxes():
        for dataset_id, dataset in datasets.all(sandbox_id).items():
            for intake in _taking(dataset):
                counts = _counts(state, sandbox_id, dataset_id, hour, intake)
                if counts["read"]:
                    subject = _subject(sandbox_id, dataset_id, dataset, hour)
                    yield from _ended(intake, subject, counts)
                    if intake.rated:
                        yield from rules.of_profile(subject, counts, thresholds(sandbox_id))


def begun(state: Reading, datasets: Datasets, where: tuple[str, str], hours: Sequence[int]) -> Iterator[Finding]:
    """Yield the runs that began in hours of a dataset (`where`: sandbox, dataset) that are not over."""
    dataset = datasets.get(*where)
    for intake in _taking(dataset) if dataset is not None else ():
        for hour in hours:
            counts = _counts(state, *where, hour, intake)
            if dataset is not None and counts["read"]:
                yield Finding(intake.rules.start, _subject(*where, dataset, hour), _values(counts, hour))


def waiting(datasets: Datasets, where: tuple[str, str], received_ms: int) -> Iterator[Finding]:
    """Yield the delay rules of the services that a record waits for, whatever their thresholds."""
    dataset, hour = datasets.get(*where), received_ms // series.HOUR_MS
    for intake in _taking(dataset) if dataset is not None else ():
        if dataset is not None:
            values: dict[str, Json] = {"windowStartTime": hour * 3600, "oldestUnprocessedMs": received_ms}
            yield Finding(intake.rules.delay, _subject(*where, dataset, hour), values)


def _taking(dataset: Dataset) -> Iterator[Intake]:
    return (intake for intake in INTAKES if intake.takes(dataset))


def _counts(state: Reading, sandbox_id: str, dataset_id: str, hour: int, intake: Intake) -> dict[str, int]:
    counted = series.hour(state, sandbox_id, series.dataset(dataset_id), hour)
    good, failed, skipped = (counted.get(name, 0) for name in (intake.good, intake.bad, intake.skipped))
    return {"read": good + failed + skipped, "succeeded": good, "failed": failed, "skipped": skipped}


def _subject(sandbox_id: str, dataset_id: str, dataset: Dataset, hour: int) -> Subject:
    name = str(dataset.get("basePath", "")).removeprefix("lake://").partition("/")[0]
    return Subject(str(dataset.get("imsOrg", "")), sandbox_id, name, "dataset", dataset_id, run_id(dataset_id, hour))


def _ended(intake: Intake, subject: Subject, counts: Mapping[str, int]) -> Iterator[Finding]:
    yield Finding(intake.rules.start, subject, {**counts})  # unless it was told while the hour went on
    if counts["failed"] and not counts["succeeded"]:
        yield Finding(intake.rules.failure, subject, {**counts})
        return
    yield Finding(intake.rules.success, subject, {**counts}, severity="warning" if counts["failed"] else "")
    yield Finding(intake.rules.failure, subject, {**counts}, resolved=True)


def _values(counts: Mapping[str, int], hour: int) -> dict[str, Json]:
    return {**counts, "windowStartTime": hour * 3600}
