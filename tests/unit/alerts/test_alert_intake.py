"""Runs of Identity and Profile: an hour of a dataset. Source: monitoring-alerts.md 4.1."""

import pytest
from alert_world import AlertWorld
from pipeline_world import MEMBER_FLOW, MEMBERS, ORG, member

from capstream.aep.alerts.catalogue import IDENTITY_RUNS, PROFILE_RUNS, IntakeRules
from capstream.kernel.json import Json

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
BOTH = pytest.mark.parametrize("rules", [IDENTITY_RUNS, PROFILE_RUNS], ids=["identity", "profile"])


@pytest.fixture(autouse=True)
def _as_catalog_writes_it(alerts: AlertWorld) -> None:
    alerts.change_dataset(MEMBERS, {"basePath": f"lake://prod/{MEMBERS}", "imsOrg": ORG})


def no_ecid(number: int) -> Json:
    """Return a record that neither service takes: it has more identities than a record may have."""
    many = [{"id": f"member-{number:04}-{at}@example.com", "primary": at == 0} for at in range(25)]
    return member(number, identityMap={"Email": many})


def later(alerts: AlertWorld, minutes: int = 66) -> None:
    alerts.now_ms += minutes * MINUTE_MS
    alerts.settle()


@BOTH
def test_a_run_is_told_with_its_first_record_and_at_its_end(alerts: AlertWorld, rules: IntakeRules) -> None:
    alerts.accept(MEMBER_FLOW, member(1), member(2))
    alerts.settle()
    later(alerts, 1)
    (start,) = alerts.history(ruleId=rules.start.id)
    assert (start["resourceType"], start["resourceId"], start["state"]) == ("dataset", MEMBERS, "resolved")
    assert (start["values"]["read"], start["values"]["succeeded"]) == (2, 2)
    assert alerts.history(ruleId=rules.success.id) == []
    alerts.accept(MEMBER_FLOW, member(3))
    later(alerts)
    (success,) = alerts.history(ruleId=rules.success.id)
    assert (success["values"]["succeeded"], success["severity"], success["runId"]) == (3, "info", start["runId"])
    assert len(alerts.history(ruleId=rules.start.id)) == 1
    later(alerts)
    assert len(alerts.history(ruleId=rules.success.id)) == 1


def test_a_run_of_identity_fails_when_it_could_take_nothing_until_one_succeeds(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, no_ecid(1))
    later(alerts)
    (failure,) = alerts.history(ruleId=IDENTITY_RUNS.failure.id)
    assert (failure["state"], failure["severity"], failure["values"]["failed"]) == ("triggered", "critical", 1)
    assert alerts.history(ruleId=IDENTITY_RUNS.success.id) == []
    alerts.accept(MEMBER_FLOW, no_ecid(2), member(3))
    later(alerts)
    (success,) = alerts.history(ruleId=IDENTITY_RUNS.success.id)
    assert (success["severity"], success["values"]["failed"], success["values"]["succeeded"]) == ("warning", 1, 1)
    assert [each["state"] for each in alerts.history(ruleId=IDENTITY_RUNS.failure.id)] == ["resolved"]


@BOTH
def test_a_delay_is_told_while_records_wait(alerts: AlertWorld, rules: IntakeRules) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.now_ms += 149 * MINUTE_MS
    alerts.engine.evaluate()
    assert alerts.history(ruleId=rules.delay.id) == []
    alerts.now_ms += 2 * MINUTE_MS
    alerts.engine.evaluate()
    (delay,) = alerts.history(ruleId=rules.delay.id)
    assert (delay["state"], delay["resourceId"]) == ("triggered", MEMBERS)
    later(alerts, 1)
    assert [each["state"] for each in alerts.history(ruleId=rules.delay.id)] == ["resolved"]


@BOTH
def test_an_hour_is_not_over_while_a_record_of_it_waits(alerts: AlertWorld, rules: IntakeRules) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.engine.evaluate()
    for _ in range(3):
        alerts.now_ms += HOUR_MS
        alerts.engine.evaluate()
    assert alerts.history(ruleId=rules.success.id) == []
    later(alerts, 1)
    (success,) = alerts.history(ruleId=rules.success.id)
    assert success["values"]["succeeded"] == 1
    assert len(alerts.history(ruleId=rules.start.id)) == 1


@BOTH
def test_an_hour_that_waited_before_the_first_start_is_judged(alerts: AlertWorld, rules: IntakeRules) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    for _ in range(3):
        alerts.now_ms += 2 * HOUR_MS
        alerts.engine.evaluate()
    later(alerts, 1)
    assert len(alerts.history(ruleId=rules.success.id)) == 1


@BOTH
def test_hours_without_worker_are_judged_afterwards(alerts: AlertWorld, rules: IntakeRules) -> None:
    alerts.settle()
    for number in range(3):
        alerts.accept(MEMBER_FLOW, member(number))
        alerts.now_ms += HOUR_MS
    later(alerts)
    assert [each["values"]["succeeded"] for each in alerts.history(ruleId=rules.success.id)] == [1, 1, 1]


def test_a_dataset_of_neither_service_has_no_runs(alerts: AlertWorld) -> None:
    alerts.save_dataset(MEMBERS, unifiedProfile=["enabled:false"], unifiedIdentity=["enabled:false"])
    alerts.accept(MEMBER_FLOW, member(1))
    later(alerts)
    told = {rule.id for rule in (*IDENTITY_RUNS, *PROFILE_RUNS) if alerts.history(ruleId=rule.id)}
    assert told == set()


def test_a_webhook_gets_the_events_of_a_service(alerts: AlertWorld) -> None:
    alerts.register(PROFILE_RUNS.success.event_code)
    alerts.accept(MEMBER_FLOW, member(1))
    later(alerts)
    (request,) = alerts.receiver.received
    assert request.headers["x-adobe-event-code"] == "profile_flow_run_success"
    assert f'"datasetId":"{MEMBERS}"' in request.content.decode()
