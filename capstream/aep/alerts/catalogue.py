"""The alert rules there are. Source: monitoring-alerts.md 4.1; ids are an ASSUMPTION except `sources-flow-run-failure`.

Identity and Profile have no jobs here: a run of theirs is what a dataset gave them in one UTC hour (ASSUMPTION).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Unit = Literal["minutes", "percent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert rule."""

    id: str
    name: str  #: as in the alert list
    wizard_name: str = ""  #: as in the panel of one dataflow, where it differs
    description: str
    group: str  #: the name of its I/O Events subscription
    severity: Literal["info", "warning", "critical"]
    event_code: str  #: of I/O Events; codes other than success and failure are an ASSUMPTION
    threshold: float | None = None
    unit: Unit = "minutes"
    editable: bool = False  #: may the threshold be changed
    enabled: bool = True  #: unless somebody says otherwise
    informational: bool = False  #: resolved as soon as it is triggered


_INFO, _TROUBLE = "Source Flow Run Info", "Source Flow Run Delays, Failures and Errors"
_PROFILE = "Profile Ingestion Delays, Failures and Errors"
_DELAY_MIN = 150.0

START = Rule(
    id="sources-flow-run-start",
    name="Sources Flow Run Start",
    wizard_name="Sources Dataflow Run Start",
    description="A dataflow run has started: the first record of an hour was processed.",
    group=_INFO,
    severity="info",
    event_code="sources_flow_run_start",
    informational=True,
)
SUCCESS = Rule(
    id="sources-flow-run-success",
    name="Sources Flow Run Success",
    wizard_name="Sources Dataflow Run Success",
    description="A dataflow run has ended with status success.",
    group=_INFO,
    severity="info",
    event_code="sources_flow_run_success",
    informational=True,
)
FAILURE = Rule(
    id="sources-flow-run-failure",
    name="Sources Flow Run Failure",
    wizard_name="Sources Dataflow Run Failure",
    description="A dataflow run has ended with status failed.",
    group=_TROUBLE,
    severity="critical",
    event_code="sources_flow_run_failure",
)
DELAY = Rule(
    id="sources-flow-run-delay",
    name="Sources Flow Run Delay",
    wizard_name="Sources Ingestion Delay",
    description="A dataflow run is not finished, or its records are not processed, so long after it began.",
    group=_TROUBLE,
    severity="warning",
    event_code="sources_flow_run_delay",
    threshold=_DELAY_MIN,
    editable=True,
)
ERROR_RATE = Rule(
    id="sources-ingestion-error-rate",
    name="Sources Ingestion Error Rate Exceeded",
    wizard_name="Sources Ingestion Failure",
    description="More than this share of the records of a dataflow run failed.",
    group=_TROUBLE,
    severity="warning",
    event_code="sources_ingestion_failure",
    threshold=0.5,
    unit="percent",
    editable=True,
)
LACK = Rule(
    id="sources-lack-of-ingestion",
    name="Sources Lack of Ingestion",
    description="An enabled dataflow that had data before has had none for this long (deprecated).",
    group=_TROUBLE,
    severity="warning",
    event_code="sources_lack_of_ingestion",
    threshold=420,
    enabled=False,
)
PROFILE_FAILURES = Rule(
    id="profile-streaming-failure-rate",
    name="Profile Streaming Ingestion Failure Rate Exceeded",
    description="More than this share of a dataset's records of an hour could not be taken by Profile.",
    group=_PROFILE,
    severity="warning",
    event_code="profile_streaming_failure_rate",
    threshold=0.5,  # ASSUMPTION, as for sources
    unit="percent",
    editable=True,
)
PROFILE_SKIPS = Rule(
    id="profile-streaming-skip-rate",
    name="Profile Streaming Ingestion Skip Rate Exceeded",
    description="More than this share of a dataset's records of an hour was skipped by Profile: no primary identity.",
    group=_PROFILE,
    severity="warning",
    event_code="profile_streaming_skip_rate",
    threshold=0.5,  # ASSUMPTION, as for sources
    unit="percent",
    editable=True,
)


class IntakeRules(NamedTuple):
    """The rules about a service's runs on a dataset."""

    start: Rule
    success: Rule
    failure: Rule
    delay: Rule


def _intake_rules(service: str) -> IntakeRules:
    word, info, trouble = service.lower(), f"{service} Ingestion Info", f"{service} Ingestion Delays, Failures and Errors"
    return IntakeRules(
        Rule(
            id=f"{word}-flow-run-start",
            name=f"{service} Flow Run Start",
            description=f"{service} has got the first record of a dataset in an hour.",
            group=info,
            severity="info",
            event_code=f"{word}_flow_run_start",
            informational=True,
        ),
        Rule(
            id=f"{word}-flow-run-success",
            name=f"{service} Flow Run Success",
            description=f"{service} is through with a dataset's records of an hour, and did not fail with all of them.",
            group=info,
            severity="info",
            event_code=f"{word}_flow_run_success",
            informational=True,
        ),
        Rule(
            id=f"{word}-flow-run-failure",
            name=f"{service} Flow Run Failure",
            description=f"{service} could take none of a dataset's records of an hour, and some of them failed.",
            group=trouble,
            severity="critical",
            event_code=f"{word}_flow_run_failure",
        ),
        Rule(
            id=f"{word}-flow-run-delay",
            name=f"{service} Flow Run Delay",
            description=f"Records of a dataset wait for {service} for so long.",
            group=trouble,
            severity="warning",
            event_code=f"{word}_flow_run_delay",
            threshold=_DELAY_MIN,
            editable=True,
        ),
    )


IDENTITY_RUNS, PROFILE_RUNS = _intake_rules("Identity"), _intake_rules("Profile")

_ALL = (START, SUCCESS, FAILURE, DELAY, ERROR_RATE, LACK, *IDENTITY_RUNS, *PROFILE_RUNS, PROFILE_FAILURES, PROFILE_SKIPS)
RULES: Mapping[str, Rule] = {rule.id: rule for rule in _ALL}
FLOW_RULES = frozenset(rule.id for rule in (START, SUCCESS, FAILURE, DELAY, ERROR_RATE, LACK))
"""Rules a subscription to one dataflow may name."""

EVENT_CODES: Mapping[str, str] = {rule.event_code: rule.id for rule in RULES.values()}
GROUPS: Mapping[str, tuple[str, ...]] = {
    group: tuple(rule.id for rule in RULES.values() if rule.group == group) for group in dict.fromkeys(r.group for r in _ALL)
}

_NO_SEGMENTS = "the embedded platform has no segment jobs"
_NO_DESTINATIONS = "the embedded platform has no destinations"
_NO_QUERIES = "the embedded platform runs no scheduled queries"
NEVER: Mapping[str, tuple[str, str]] = {
    **{
        f"segment-{name.lower().replace(' ', '-')}": (f"Segment {name}", _NO_SEGMENTS)
        for name in ("Job Start", "Job Success", "Job Delay", "Job Failure", "Definition Disabled", "Export Delay")
    },
    **{
        f"destination-flow-run-{name.lower()}": (f"Destination Flow Run {name}", _NO_DESTINATIONS)
        for name in ("Start", "Success", "Delay", "Failure")
    },
    "activation-skip-rate": ("Activation Skip Rate Exceeded", _NO_DESTINATIONS),
    **{f"query-run-{name.lower()}": (f"Query Run {name}", _NO_QUERIES) for name in ("Start", "Success", "Failure", "Delay")},
}
"""Adobe's rules that nothing can trigger here: id -> (name, why)."""
