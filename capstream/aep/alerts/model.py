"""What is kept of alerts: the control plane's wishes in one store, the worker's findings in another.

Control plane (writer: gateway): rule settings, subscriptions, webhooks, resolutions, what was read. Findings (writer: worker):
instances, what is still to be delivered, the health of webhooks.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from capstream.kernel.json import Json
from capstream.storage.ports import Reading, Transaction

# Control plane
RULE_SETTINGS = "alert_rules"  #: {sandbox}/{rule} -> RuleSetting
SUBSCRIPTIONS = "alert_subscriptions"  #: {sandbox}/{flow}/{user} -> Subscription
REGISTRATIONS = "event_registrations"  #: {registration} -> Registration
TESTS = "event_tests"  #: {registration}/{event} -> empty: an order to send a test event
RESOLUTIONS = "alert_resolutions"  #: {sandbox}/{instance} -> instant
READ_MARKS = "notification_marks"  #: {sandbox}/{user}/{instance} -> instant

# Findings
CURSORS = "alert_cursors"
INSTANCES = "alerts"  #: {sandbox}/{instance} -> Instance
KNOWN = "alert_keys"  #: {sandbox}/{rule}/{resource}/{run} -> instance: nothing is told twice
OPEN = "open_alerts"  #: {sandbox}/{rule}/{resource}/{instance} -> empty
NOTIFICATIONS = "notifications"  #: {sandbox}/{user}/{instance} -> empty
DELIVERIES = "event_deliveries"  #: {registration}/{event} -> Delivery, until it is delivered or given up
OUTCOMES = "event_outcomes"  #: {registration}/{event} -> Outcome
HEALTH = "event_health"  #: {registration} -> Health


class RuleSetting(msgspec.Struct, frozen=True):
    """What somebody changed about a rule in a sandbox."""

    enabled: bool | None = None
    threshold: float | None = None
    subscribers: tuple[str, ...] = ()


class Subscription(msgspec.Struct, frozen=True):
    """What one user wants to hear of one dataflow."""

    flow_id: str
    user_id: str
    rule_ids: tuple[str, ...]
    channels: tuple[str, ...]
    email: str = ""  #: where the channel `email` goes


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook or journal that events go to."""

    id: str
    path: str  #: {consumer}/{project}/{workspace}
    org_id: str
    client_id: str
    name: str
    description: str = ""
    webhook_url: str = ""
    delivery_type: str = "webhook"
    event_codes: tuple[str, ...] = ()
    sandbox_id: str = ""  #: only events of this sandbox; empty: of all
    flow_id: str = ""  #: only events of this dataflow; empty: of all (own extension)
    verified: bool = False
    problem: str = ""  #: why it is not verified
    created_ms: int = 0
    updated_ms: int = 0

    def wants(self, code: str, sandbox_id: str, flow_id: str) -> bool:
        """Return whether an event is to be sent here."""
        here = self.sandbox_id in ("", sandbox_id) and self.flow_id in ("", flow_id)
        return here and code in self.event_codes


class Instance(msgspec.Struct, kw_only=True):
    """An alert that was triggered, and perhaps resolved."""

    id: str
    rule_id: str
    resource_type: str
    resource_id: str
    run_id: str
    severity: str
    triggered_ms: int
    resolved_ms: int = 0
    values: dict[str, Any] = {}


class Delivery(msgspec.Struct, kw_only=True):
    """An event on its way to a webhook, or a letter on its way to a mailbox."""

    registration_id: str  #: of a letter `mail:{address}`
    event_id: str
    code: str
    body: bytes
    first_ms: int
    due_ms: int
    attempts: int = 0
    last: str = ""  #: what the last attempt came to


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """What became of an event."""

    event_id: str
    code: str
    state: str  #: delivered, journaled or dropped
    attempts: int
    last: str
    at_ms: int
    body: bytes = b""  #: kept for journals


class Health(msgspec.Struct, kw_only=True):
    """How deliveries to a webhook went: (hour, attempts, failures) of the last day."""

    state: str = "active"  #: active, unstable or disabled
    hours: list[tuple[int, int, int]] = []
    disabled_ms: int = 0


MAIL = "mail:"
"""What the place of an outcome or delivery begins with when it is a mailbox, not a registration."""

_ENCODERS = msgspec.json.Encoder()


def put(change: Transaction, collection: str, key: str, value: msgspec.Struct) -> None:
    """Store a record."""
    change.put(collection, [(key, _ENCODERS.encode(value))])


def setting(reading: Reading, sandbox_id: str, rule_id: str) -> RuleSetting:
    """Return what was changed about a rule; nothing by default."""
    body = reading.get(RULE_SETTINGS, f"{sandbox_id}/{rule_id}")
    return msgspec.json.decode(body, type=RuleSetting) if body else RuleSetting()


def subscriptions(reading: Reading, sandbox_id: str, flow_id: str = "") -> list[Subscription]:
    """Return the subscriptions of a sandbox, or those of one dataflow."""
    prefix = f"{sandbox_id}/{flow_id}/" if flow_id else f"{sandbox_id}/"
    return [msgspec.json.decode(body, type=Subscription) for _, body in reading.scan(SUBSCRIPTIONS, prefix=prefix)]


def forget_flow(change: Transaction, sandbox_id: str, flow_id: str) -> None:
    """Delete the subscriptions of a dataflow that is deleted. Source: monitoring-alerts.md 4.3."""
    change.delete(SUBSCRIPTIONS, [key for key, _ in change.scan(SUBSCRIPTIONS, prefix=f"{sandbox_id}/{flow_id}/")])


def registrations(reading: Reading) -> list[Registration]:
    """Return every webhook and journal."""
    return [msgspec.json.decode(body, type=Registration) for _, body in reading.scan(REGISTRATIONS)]


def registration(reading: Reading, registration_id: str) -> Registration | None:
    """Return a webhook or journal, or None."""
    body = reading.get(REGISTRATIONS, registration_id)
    return msgspec.json.decode(body, type=Registration) if body else None


def instances(reading: Reading, sandbox_id: str, *, before: str = "", limit: int | None = None) -> list[Instance]:
    """Return the alerts of a sandbox, newest first, older than the alert `before` if one is named."""
    after = f"{sandbox_id}/{before}" if before else ""
    items = reading.scan(INSTANCES, prefix=f"{sandbox_id}/", after=after, limit=limit, reverse=True)
    return [msgspec.json.decode(body, type=Instance) for _, body in items]


def instance(reading: Reading, sandbox_id: str, instance_id: str) -> Instance | None:
    """Return an alert, or None."""
    body = reading.get(INSTANCES, f"{sandbox_id}/{instance_id}")
    return msgspec.json.decode(body, type=Instance) if body else None


def health_of(reading: Reading, to: Registration) -> Health:
    """Return how deliveries to a webhook go; one that was changed since it was disabled starts anew."""
    body = reading.get(HEALTH, to.id)
    found = msgspec.json.decode(body, type=Health) if body else Health()
    return Health() if found.state == "disabled" and to.updated_ms > found.disabled_ms else found


def waiting(reading: Reading, registration_id: str = "") -> list[Delivery]:
    """Return the events still to be delivered, oldest first."""
    prefix = f"{registration_id}/" if registration_id else ""
    return [msgspec.json.decode(body, type=Delivery) for _, body in reading.scan(DELIVERIES, prefix=prefix)]


def outcomes(reading: Reading, registration_id: str, *, after: str = "", limit: int | None = None) -> list[Outcome]:
    """Return what became of events, oldest first."""
    key = f"{registration_id}/{after}" if after else ""
    items = reading.scan(OUTCOMES, prefix=f"{registration_id}/", after=key, limit=limit)
    return [msgspec.json.decode(body, type=Outcome) for _, body in items]


def letters(reading: Reading, alert_id: str) -> list[dict[str, Json]]:
    """Return what became of the e-mails about an alert, as the API shows it."""
    found: dict[str, tuple[str, int, str]] = {}
    for key, body in _letters(reading, DELIVERIES, alert_id):
        waiting_one = msgspec.json.decode(body, type=Delivery)
        found[key.partition("/")[0]] = ("waiting", waiting_one.attempts, waiting_one.last)
    for key, body in _letters(reading, OUTCOMES, alert_id):
        each = msgspec.json.decode(body, type=Outcome)
        found[key.partition("/")[0]] = (each.state, each.attempts, each.last)
    shown = [(key.removeprefix(MAIL), *facts) for key, facts in sorted(found.items())]
    return [{"to": to, "state": state, "attempts": attempts, "last": last} for to, state, attempts, last in shown]


def _letters(reading: Reading, collection: str, alert_id: str) -> Iterator[tuple[str, bytes]]:
    return ((key, body) for key, body in reading.scan(collection, prefix=MAIL) if key.endswith(f"/{alert_id}"))


def resolved_by_hand(reading: Reading, sandbox_id: str, instance_ids: Iterable[str]) -> dict[str, int]:
    """Return when somebody resolved alerts, by their ids."""
    keys = [f"{sandbox_id}/{each}" for each in instance_ids]
    return {key.partition("/")[2]: int(body) for key, body in reading.get_many(RESOLUTIONS, keys).items()}


def shown(found: Instance, resolved_ms: int = 0) -> dict[str, Json]:
    """Return an alert as the API shows it."""
    ended = found.resolved_ms or resolved_ms
    return {
        "id": found.id,
        "ruleId": found.rule_id,
        "resourceType": found.resource_type,
        "resourceId": found.resource_id,
        "runId": found.run_id,
        "state": "resolved" if ended else "triggered",
        "triggeredAt": found.triggered_ms,
        "resolvedAt": ended or None,
        "severity": found.severity,
        "values": found.values,
    }
