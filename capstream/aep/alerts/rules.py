"""What a run says about the alert rules. Pure. Source: monitoring-alerts.md 4.1."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from capstream.aep.alerts import catalogue
from capstream.aep.alerts.catalogue import Rule
from capstream.aep.flow_service.run_form import shown_errors
from capstream.aep.flow_service.run_records import RunRecord
from capstream.aep.flow_service.run_signals import OPENED
from capstream.kernel.json import Json


class Subject(NamedTuple):
    """What an alert is about."""

    org_id: str
    sandbox_id: str
    sandbox_name: str
    type: str  #: flow or dataset
    id: str
    run_id: str


class Finding(NamedTuple):
    """A rule that holds for a subject, or (resolved) holds no longer."""

    rule: Rule
    subject: Subject
    values: dict[str, Json]
    severity: str = ""
    resolved: bool = False


def subject_of(run: RunRecord) -> Subject:
    """Return the dataflow of a run as the subject of an alert."""
    return Subject(run.org_id, run.sandbox_id, run.sandbox_name, "flow", run.flow_id, run.id)


def of_run(kind: str, run: RunRecord, thresholds: Mapping[str, float]) -> Iterator[Finding]:
    """Yield what follows from a run that opened or closed. `thresholds` are those of the run's sandbox, by rule id."""
    subject, values = subject_of(run), values_of(run)
    if kind == OPENED:
        yield Finding(catalogue.START, subject, values)
        return
    if run.status == "failed":
        yield Finding(catalogue.FAILURE, subject, values)
    else:
        # The wizard says "without any errors": with some it is still a success, told as a warning (ASSUMPTION).
        yield Finding(catalogue.SUCCESS, subject, values, severity="warning" if run.failed else "")
        yield Finding(catalogue.FAILURE, subject, values, resolved=True)
    limit = thresholds[catalogue.ERROR_RATE.id]
    rate = run.failed * 100 / run.received if run.received else 0.0
    rated = values | {"errorRate": round(rate, 3), "threshold": limit}
    yield Finding(catalogue.ERROR_RATE, subject, rated, resolved=rate <= limit)


def values_of(run: RunRecord) -> dict[str, Json]:
    """Return the figures of a run that an alert carries."""
    return {
        "status": run.status,
        "inputRecordCount": run.received,
        "outputRecordCount": run.written,
        "failedRecordCount": run.failed,
        "warningRecordCount": run.warnings,
        "windowStartTime": run.started_ms // 1000,
        "errors": shown_errors(run),
    }


def of_profile(subject: Subject, counts: Mapping[str, int], thresholds: Mapping[str, float]) -> Iterator[Finding]:
    """Yield what an hour of a dataset's Profile intake says. `counts` has `read`, `failed` and `skipped`."""
    for rule, name in ((catalogue.PROFILE_FAILURES, "failed"), (catalogue.PROFILE_SKIPS, "skipped")):
        limit = thresholds[rule.id]
        rate = counts[name] * 100 / counts["read"] if counts["read"] else 0.0
        values = {**counts, "rate": round(rate, 3), "threshold": limit}
        yield Finding(rule, subject, values, resolved=rate <= limit)
