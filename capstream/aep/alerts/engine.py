"""Finds alerts in the runs that the pipeline made durable. Runs in the worker process, in a thread of its own.

It follows the pipeline's signals with a cursor; alerts, notifications and events to deliver are stored in the transaction that
moves the cursor, so a crash repeats nothing and loses nothing.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from capstream.aep.alerts import audience, catalogue, events, intake, model, rules
from capstream.aep.alerts.catalogue import RULES, Rule
from capstream.aep.alerts.mail import MailServer
from capstream.aep.alerts.model import Delivery, Instance, Outcome
from capstream.aep.alerts.rules import Finding, Subject
from capstream.aep.catalog.model import Datasets
from capstream.aep.flow_service import run_signals
from capstream.aep.flow_service.model import Flows, Route, State
from capstream.aep.flow_service.run_form import rendered
from capstream.aep.flow_service.run_records import HOUR_MS, RunRecord
from capstream.aep.flow_service.runs import Runs, run_id
from capstream.aep.sandbox import erasure
from capstream.kernel.clock import Clock
from capstream.kernel.ids import new_ulid
from capstream.kernel.json import Json
from capstream.storage.erasing import erase
from capstream.storage.ports import Documents, Erasable, Reading, Transaction

_AT_ONCE = 200
_SIGNALS, _TESTS, _HOUR = "signals", "tests", "profile_hour"
_SETTLED_MS = 300_000  #: an hour's intake is judged five minutes later, as its runs are closed
_MOST_HOURS = 7 * 24  #: judged after a time without worker
_KEEP_MS = 30 * 86_400_000
_KEEP_EVENTS_MS = 7 * 86_400_000
_MINUTE_MS = 60_000
_TIMED = frozenset({catalogue.DELAY.id, catalogue.LACK.id}) | intake.DELAYS


class Pending(NamedTuple):
    """The oldest accepted message that is not processed."""

    flow_id: str
    received_ms: int


class Oldest(Protocol):
    """Tells the oldest message that waits to be processed."""

    def __call__(self) -> Pending | None:
        """Return the message, None when none waits."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """What the engine reads and the one store it writes."""

    control: Documents
    state: Documents
    findings: Erasable


class Engine:
    """Evaluates the alert rules.

    `pending` returns the oldest message that waits, None when none does; without `mail` nothing is told by e-mail.
    """

    def __init__(self, stores: Stores, *, clock: Clock, base_url: str, pending: Oldest, mail: MailServer | None = None) -> None:
        self._stores = stores
        self._clock = clock
        self._base_url = base_url
        self._pending = pending
        self._mail = mail
        self._runs = Runs(stores.state)
        self._flows = Flows(stores.control)
        self._datasets = Datasets(stores.control)
        self._next_timed_ms = 0
        self._next_prune_ms = 0
        self._last_id_ms = 0

    def evaluate(self) -> int:
        """Do everything that is due and return how many signals were followed. Errors: StorageUnavailable; call again."""
        now_ms = self._clock()
        followed = self._follow(now_ms)
        self._order_tests(now_ms)
        if now_ms >= self._next_timed_ms:
            self._next_timed_ms = now_ms + _MINUTE_MS // 4
            self._judge_time(now_ms)
            self._judge_intake(now_ms)
            self._forget_sandboxes()
        if now_ms >= self._next_prune_ms:
            self._next_prune_ms = now_ms + HOUR_MS
            self._prune(now_ms)
        return followed

    def _follow(self, now_ms: int) -> int:
        cursor = int(self._stores.findings.get(model.CURSORS, _SIGNALS) or b"0")
        signals = run_signals.after(self._stores.state, cursor, _AT_ONCE)
        if not signals:
            return 0
        with self._stores.findings.transaction() as change:
            for _, signal in signals:
                run = self._runs.record(signal.run_key)
                if run is not None:
                    findings = rules.of_run(signal.kind, run, self._thresholds(run.sandbox_id))
                    self._settle(change, findings, run, now_ms)
            change.put(model.CURSORS, [(_SIGNALS, b"%d" % signals[-1][0])])
        return len(signals)

    def _judge_time(self, now_ms: int) -> None:
        """Judge the rules that time decides: delays and lack of ingestion."""
        overdue = [*self._late(now_ms), *self._lacking(now_ms)]
        holds = {(finding.rule.id, finding.subject.run_id) for finding, _ in overdue}
        timed = [key for key, _ in self._stores.findings.scan(model.OPEN) if key.split("/")[1] in _TIMED]
        if not overdue and not timed:
            return
        with self._stores.findings.transaction() as change:
            for finding, run in overdue:
                self._settle(change, [finding], run, now_ms)
            for key in timed:
                sandbox_id, rule_id, _, instance_id = key.split("/")
                found = model.instance(change, sandbox_id, instance_id)
                if found is None or (rule_id, found.run_id) not in holds:
                    self._resolve(change, key, now_ms)

    def _late(self, now_ms: int) -> Iterator[tuple[Finding, RunRecord | None]]:
        for run in self._runs.unfinished():
            if now_ms - run.started_ms >= self._threshold(run.sandbox_id, catalogue.DELAY) * _MINUTE_MS:
                yield Finding(catalogue.DELAY, rules.subject_of(run), rules.values_of(run)), run
        oldest = self._pending()
        route = self._flows.route(oldest.flow_id) if oldest else None
        if oldest is None or route is None:
            return
        for finding in self._waiting(oldest, route):
            if now_ms - oldest.received_ms >= self._threshold(finding.subject.sandbox_id, finding.rule) * _MINUTE_MS:
                yield finding, None

    def _waiting(self, oldest: Pending, route: Route) -> Iterator[Finding]:
        hour = oldest.received_ms // HOUR_MS
        run_of_hour = run_id(route.flow_id, hour)
        subject = Subject(route.org_id, route.sandbox.id, route.sandbox.name, "flow", route.flow_id, run_of_hour)
        yield Finding(catalogue.DELAY, subject, {"windowStartTime": hour * 3600, "oldestUnprocessedMs": oldest.received_ms})
        yield from intake.waiting(self._datasets, (route.sandbox.id, route.dataset_id), oldest.received_ms)

    def _lacking(self, now_ms: int) -> Iterator[tuple[Finding, RunRecord | None]]:
        for route in self._flows.all():
            if route.state is not State.ENABLED or not self._is_enabled(route.sandbox.id, catalogue.LACK):
                continue
            if route.file_format:  # files come when their schedule says so
                continue
            run = self._runs.newest(route.sandbox.id, route.flow_id)
            limit = self._threshold(route.sandbox.id, catalogue.LACK)
            if run is not None and now_ms - run.updated_ms >= limit * _MINUTE_MS:
                yield Finding(catalogue.LACK, rules.subject_of(run), {"lastUpdated": run.updated_ms, "threshold": limit}), run

    def _judge_intake(self, now_ms: int) -> None:
        """Judge what Identity and Profile took: every hour once, when it is over and no record of it waits."""
        oldest = self._pending()
        over = (now_ms - _SETTLED_MS) // HOUR_MS - 1
        last = over if oldest is None else min(over, oldest.received_ms // HOUR_MS - 1)
        judged = int(self._stores.findings.get(model.CURSORS, _HOUR) or b"%d" % (last - 1))
        for hour in range(max(judged, last - _MOST_HOURS) + 1, last + 1):
            with self._stores.findings.transaction() as change:
                found = intake.of_hour(self._stores.state, self._datasets, hour, self._thresholds)
                self._settle(change, found, None, now_ms)
                change.put(model.CURSORS, [(_HOUR, b"%d" % hour)])
        begun = [each for each in self._begun(max(judged, last), now_ms) if self._is_news(each)]
        if begun:
            with self._stores.findings.transaction() as change:
                self._settle(change, begun, None, now_ms)

    def _begun(self, judged: int, now_ms: int) -> Iterator[Finding]:
        """Yield the runs of Identity and Profile that began, of the datasets whose dataflows have runs that are open."""
        for run in self._runs.unfinished():
            route = self._flows.route(run.flow_id)
            last = run.hour if run.files is None else now_ms // HOUR_MS
            hours = range(max(run.started_ms // HOUR_MS, judged + 1), last + 1)
            if route is not None:
                yield from intake.begun(self._stores.state, self._datasets, (run.sandbox_id, route.dataset_id), hours)

    def _is_news(self, finding: Finding) -> bool:
        is_wanted = self._is_enabled(finding.subject.sandbox_id, finding.rule)
        return is_wanted and self._stores.findings.get(model.KNOWN, _known(finding)) is None

    def _settle(self, change: Transaction, findings: Iterable[Finding], run: RunRecord | None, now_ms: int) -> None:
        for finding in findings:
            if finding.resolved:
                prefix = f"{finding.subject.sandbox_id}/{finding.rule.id}/{finding.subject.id}/"
                for key, _ in change.scan(model.OPEN, prefix=prefix):
                    self._resolve(change, key, now_ms)
            elif self._is_enabled(finding.subject.sandbox_id, finding.rule):
                self._trigger(change, finding, run, now_ms)

    def _trigger(self, change: Transaction, finding: Finding, run: RunRecord | None, now_ms: int) -> None:
        rule, subject = finding.rule, finding.subject
        known = _known(finding)
        if change.get(model.KNOWN, known) is not None:
            return
        found = Instance(
            id=self._new_id(now_ms),
            rule_id=rule.id,
            resource_type=subject.type,
            resource_id=subject.id,
            run_id=subject.run_id,
            severity=finding.severity or rule.severity,
            triggered_ms=now_ms,
            resolved_ms=now_ms if rule.informational else 0,
            values=finding.values,
        )
        change.put(model.KNOWN, [(known, found.id.encode())])
        model.put(change, model.INSTANCES, f"{subject.sandbox_id}/{found.id}", found)
        if not rule.informational:
            change.put(model.OPEN, [(f"{subject.sandbox_id}/{rule.id}/{subject.id}/{found.id}", b"")])
        for user_id in sorted(audience.users(self._stores.control, rule, subject)):
            change.put(model.NOTIFICATIONS, [(f"{subject.sandbox_id}/{user_id}/{found.id}", b"")])
        self._write(change, (rule, subject, found), now_ms)
        self._emit(change, (rule, subject, found), run, now_ms)

    def _new_id(self, now_ms: int) -> str:
        """Return an id that sorts behind those given before: several alerts may be found in one millisecond."""
        self._last_id_ms = max(now_ms, self._last_id_ms + 1)
        return new_ulid(self._last_id_ms)

    def _write(self, change: Transaction, told: tuple[Rule, Subject, Instance], now_ms: int) -> None:
        """Queue the letters about an alert."""
        rule, subject, found = told
        if self._mail is None:
            return
        for to in sorted(audience.mailboxes(self._stores.control, rule, subject)):
            place, body = f"{model.MAIL}{to}", self._mail.letter(told, to)
            letter = Delivery(
                registration_id=place, event_id=found.id, code=rule.event_code, body=body, first_ms=now_ms, due_ms=now_ms
            )
            model.put(change, model.DELIVERIES, f"{place}/{found.id}", letter)

    def _emit(self, change: Transaction, told: tuple[Rule, Subject, Instance], run: RunRecord | None, now_ms: int) -> None:
        rule, subject, found = told
        flow_id = subject.id if subject.type == "flow" else ""
        shown: dict[str, Json] | None = rendered(run, self._base_url) if run is not None else None
        for each in model.registrations(self._stores.control):
            if each.org_id == subject.org_id and each.wants(rule.event_code, subject.sandbox_id, flow_id):
                body = events.body(rule, subject, found, shown, each.client_id)
                self._queue(change, each, found.id, rule.event_code, (body, now_ms))

    def _queue(self, change: Transaction, to: model.Registration, event_id: str, code: str, what: tuple[bytes, int]) -> None:
        body, now_ms = what
        key = f"{to.id}/{event_id}"
        if to.delivery_type == "journal":
            kept = Outcome(event_id=event_id, code=code, state="journaled", attempts=0, last="", at_ms=now_ms, body=body)
            model.put(change, model.OUTCOMES, key, kept)
        else:
            delivery = Delivery(registration_id=to.id, event_id=event_id, code=code, body=body, first_ms=now_ms, due_ms=now_ms)
            model.put(change, model.DELIVERIES, key, delivery)

    def _order_tests(self, now_ms: int) -> None:
        orders = [key.split("/") for key, _ in self._stores.control.scan(model.TESTS)]
        cursor = (self._stores.findings.get(model.CURSORS, _TESTS) or b"").decode()
        fresh = sorted((event_id, registration_id) for registration_id, event_id in orders if event_id > cursor)
        if not fresh:
            return
        with self._stores.findings.transaction() as change:
            for event_id, registration_id in fresh:
                to = model.registration(self._stores.control, registration_id)
                if to is not None:
                    code = next(iter(to.event_codes))
                    body = events.sample(event_id, code, to.org_id, to.client_id, now_ms)
                    self._queue(change, to, event_id, code, (body, now_ms))
            change.put(model.CURSORS, [(_TESTS, fresh[-1][0].encode())])

    def _resolve(self, change: Transaction, key: str, now_ms: int) -> None:
        sandbox_id, _, _, instance_id = key.split("/")
        found = model.instance(change, sandbox_id, instance_id)
        if found is not None:
            found.resolved_ms = now_ms
            model.put(change, model.INSTANCES, f"{sandbox_id}/{instance_id}", found)
        change.delete(model.OPEN, [key])

    def _is_enabled(self, sandbox_id: str, rule: Rule) -> bool:
        changed = model.setting(self._stores.control, sandbox_id, rule.id).enabled
        return rule.enabled if changed is None else changed

    def _threshold(self, sandbox_id: str, rule: Rule) -> float:
        changed = model.setting(self._stores.control, sandbox_id, rule.id).threshold
        return float(rule.threshold or 0) if changed is None else changed

    def _thresholds(self, sandbox_id: str) -> dict[str, float]:
        return {rule.id: self._threshold(sandbox_id, rule) for rule in RULES.values()}

    def _forget_sandboxes(self) -> None:
        """Delete the alerts of sandboxes that were emptied. The pipeline goes first: then no run is left to tell of."""
        control, state, findings = self._stores.control, self._stores.state, self._stores.findings
        for order in erasure.pending(control, findings):
            if not erasure.is_done(state, order.id):
                continue
            deque(erase(findings, f"{order.sandbox_id}/"), maxlen=0)
            with findings.transaction() as change:
                erasure.mark_done(change, order)

    def _prune(self, now_ms: int) -> None:
        """Forget alerts of 30 days ago and events of a week ago."""
        findings: Reading = self._stores.findings
        old = [key for key, body in findings.scan(model.INSTANCES) if _age(body, now_ms) > _KEEP_MS]
        gone = {key.partition("/")[2] for key in old}
        outcomes = findings.scan(model.OUTCOMES)
        past = [key for key, body in outcomes if now_ms - msgspec.json.decode(body, type=Outcome).at_ms > _KEEP_EVENTS_MS]
        with self._stores.findings.transaction() as change:
            change.delete(model.INSTANCES, old)
            change.delete(model.OUTCOMES, past)
            for collection in (model.NOTIFICATIONS, model.OPEN):
                change.delete(collection, [key for key, _ in change.scan(collection) if key.rpartition("/")[2] in gone])
            change.delete(model.KNOWN, [key for key, body in change.scan(model.KNOWN) if body.decode() in gone])


def _known(finding: Finding) -> str:
    rule, subject = finding.rule, finding.subject
    return f"{subject.sandbox_id}/{rule.id}/{subject.id}/{subject.run_id}"


def _age(body: bytes, now_ms: int) -> int:
    return now_ms - msgspec.json.decode(body, type=Instance).triggered_ms
