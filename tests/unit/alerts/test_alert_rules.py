"""When alerts are triggered and resolved. Source: monitoring-alerts.md 4.1."""

from typing import Any

import pytest
from alert_world import AlertWorld
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, Crash, body_of, member

from capstream.aep.alerts import model
from capstream.aep.flow_service.model import State
from capstream.aep.sandbox import erasure
from capstream.aep.sandbox.erasure import Order

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
START, SUCCESS, FAILURE = "sources-flow-run-start", "sources-flow-run-success", "sources-flow-run-failure"
DELAY, RATE, LACK = "sources-flow-run-delay", "sources-ingestion-error-rate", "sources-lack-of-ingestion"
PROFILE_SKIPS, PROFILE_FAILURES = "profile-streaming-skip-rate", "profile-streaming-failure-rate"


def bad(number: int) -> Any:
    return member(number, points="x")  # type: ignore[arg-type]


def next_hour(alerts: AlertWorld) -> None:
    alerts.now_ms += HOUR_MS + 6 * MINUTE_MS
    alerts.settle()


def test_a_run_is_told_when_it_opens_and_when_it_closes(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert alerts.rules_told() == [START]
    alerts.accept(MEMBER_FLOW, member(2))
    alerts.settle()
    assert alerts.rules_told() == [START]  # once for each run
    next_hour(alerts)
    success, start = alerts.history()
    assert (start["ruleId"], success["ruleId"]) == (START, SUCCESS)
    run = alerts.run_of(MEMBER_FLOW)
    assert (success["resourceType"], success["resourceId"], success["runId"]) == ("flow", MEMBER_FLOW, run["id"])
    assert (success["state"], success["severity"]) == ("resolved", "info")
    assert (success["values"]["inputRecordCount"], success["values"]["outputRecordCount"]) == (2, 2)


def test_a_failed_run_is_told_until_one_succeeds(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, bad(1))
    next_hour(alerts)
    alerts.accept(MEMBER_FLOW, bad(2))
    alerts.settle()
    next_hour(alerts)
    assert [each["state"] for each in alerts.history(ruleId=FAILURE)] == ["triggered"] * 2
    assert alerts.history(ruleId=FAILURE)[0]["severity"] == "critical"
    assert alerts.history(ruleId=SUCCESS) == []
    alerts.accept(MEMBER_FLOW, member(3))
    next_hour(alerts)
    assert [each["state"] for each in alerts.history(ruleId=FAILURE)] == ["resolved"] * 2
    assert alerts.history(ruleId=FAILURE)[0]["resolvedAt"] == alerts.now_ms


def test_a_success_with_failed_records_is_a_warning_and_an_error_rate(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, *(member(number) for number in range(9)), bad(9))
    next_hour(alerts)
    (success,) = alerts.history(ruleId=SUCCESS)
    assert (success["severity"], success["values"]["failedRecordCount"]) == ("warning", 1)
    (rate,) = alerts.history(ruleId=RATE)
    assert (rate["state"], rate["values"]["errorRate"], rate["values"]["threshold"]) == ("triggered", 10.0, 0.5)
    alerts.accept(MEMBER_FLOW, member(10))
    next_hour(alerts)
    assert alerts.history(ruleId=RATE)[0]["state"] == "resolved"


def test_a_threshold_can_be_raised_and_a_rule_switched_off(alerts: AlertWorld) -> None:
    assert alerts.ask("updateAlertRule", {"threshold": {"value": 20}}, id=RATE).status == 200
    assert alerts.ask("updateAlertRule", {"enabled": False}, id=SUCCESS).status == 200
    alerts.accept(MEMBER_FLOW, *(member(number) for number in range(9)), bad(9))
    next_hour(alerts)
    assert alerts.rules_told() == [START]


def test_late_records_that_change_a_closed_run_are_told(alerts: AlertWorld) -> None:
    alerts.save_route(MEMBER_FLOW, MEMBERS, partial_percent=20.0)
    alerts.accept(MEMBER_FLOW, member(1))
    received = alerts.now_ms
    next_hour(alerts)
    alerts.accept(MEMBER_FLOW, bad(2), received_ms=received)
    alerts.settle()
    assert alerts.rules_told() == [START, SUCCESS, FAILURE, RATE]


def test_a_run_that_does_not_end_is_late(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    alerts.now_ms += 149 * MINUTE_MS  # the pipeline stands still
    alerts.engine.evaluate()
    assert alerts.history(ruleId=DELAY) == []
    alerts.now_ms += 2 * MINUTE_MS
    alerts.engine.evaluate()
    alerts.now_ms += MINUTE_MS
    alerts.engine.evaluate()
    (late,) = alerts.history(ruleId=DELAY)
    assert (late["state"], late["severity"], late["runId"]) == ("triggered", "warning", alerts.run_of(MEMBER_FLOW)["id"])
    alerts.settle()
    alerts.now_ms += MINUTE_MS
    alerts.engine.evaluate()
    assert alerts.history(ruleId=DELAY)[0]["state"] == "resolved"


def test_records_that_wait_too_long_are_late_before_there_is_a_run(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.now_ms += 151 * MINUTE_MS
    alerts.engine.evaluate()
    (late,) = alerts.history(ruleId=DELAY)
    alerts.settle(close_delay_s=0)
    alerts.now_ms += MINUTE_MS
    alerts.engine.evaluate()
    assert late["runId"] == alerts.run_of(MEMBER_FLOW)["id"]
    assert alerts.history(ruleId=DELAY)[0]["state"] == "resolved"


def test_a_flow_of_files_lacks_nothing_between_two_runs(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    alerts.save_route(MEMBER_FLOW, MEMBERS, file_format="delimited")
    assert alerts.ask("updateAlertRule", {"enabled": True}, id=LACK).status == 200
    for _ in range(2):
        alerts.now_ms += 20 * HOUR_MS
        alerts.settle()
    assert alerts.history(ruleId=LACK) == []


def test_lack_of_ingestion_is_told_when_somebody_wants_it(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    alerts.now_ms += 8 * HOUR_MS
    alerts.settle()
    assert alerts.history(ruleId=LACK) == []
    assert alerts.ask("updateAlertRule", {"enabled": True}, id=LACK).status == 200
    alerts.now_ms += MINUTE_MS
    alerts.settle()
    assert alerts.history(ruleId=LACK) == []  # closing the run was the last that happened to it
    alerts.now_ms += 8 * HOUR_MS
    alerts.settle()
    assert alerts.history(ruleId=LACK)[0]["state"] == "triggered"
    alerts.accept(MEMBER_FLOW, member(2))
    alerts.settle()
    alerts.now_ms += MINUTE_MS
    alerts.settle()
    assert alerts.history(ruleId=LACK)[0]["state"] == "resolved"


def test_an_hour_of_profile_intake_is_judged_once(alerts: AlertWorld) -> None:
    body = {"basePath": f"lake://prod/{MEMBERS}", "imsOrg": "o"}
    alerts.change_dataset(MEMBERS, body)
    alerts.accept(MEMBER_FLOW, member(1), {"_id": "nobody", "identityMap": {}})
    next_hour(alerts)
    (skips,) = alerts.history(ruleId=PROFILE_SKIPS)
    assert (skips["resourceType"], skips["resourceId"], skips["values"]["rate"]) == ("dataset", MEMBERS, 50.0)
    assert alerts.history(ruleId=PROFILE_FAILURES) == []
    alerts.accept(MEMBER_FLOW, member(2))
    next_hour(alerts)
    assert [each["state"] for each in alerts.history(ruleId=PROFILE_SKIPS)] == ["resolved"]


@pytest.mark.parametrize("stop", ["read", "lake_committed", "state_committed"])
def test_a_crash_of_the_pipeline_tells_nothing_twice(alerts: AlertWorld, stop: str) -> None:
    alerts.accept(MEMBER_FLOW, member(1), bad(2))
    with pytest.raises(Crash):
        alerts.drain_until_crash(stop)
    alerts.engine.evaluate()
    alerts.restart()
    next_hour(alerts)
    assert alerts.rules_told() == [START, SUCCESS, RATE]
    for _ in range(2):
        alerts.restart()
        alerts.settle()
    assert alerts.rules_told() == [START, SUCCESS, RATE]


def test_disabling_a_flow_closes_its_run_and_tells(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    alerts.save_route(MEMBER_FLOW, MEMBERS, state=State.DISABLED)
    alerts.settle()
    assert alerts.rules_told() == [START, SUCCESS]


def test_old_alerts_are_forgotten(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, bad(1))
    next_hour(alerts)
    assert len(alerts.history()) == 3
    alerts.now_ms += 31 * 24 * HOUR_MS
    alerts.settle()
    assert alerts.history() == []
    assert [alerts.findings.count(each) for each in (model.INSTANCES, model.KNOWN, model.OPEN)] == [0, 0, 0]
    assert body_of(alerts.ask("listNotifications"))["items"] == []


def test_alerts_are_of_their_sandbox(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert model.instances(alerts.findings, PROD.id)
    assert model.instances(alerts.findings, "another") == []


def test_alerts_go_with_their_sandbox(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, bad(1))
    next_hour(alerts)
    order = Order("1", PROD.id, ())
    with alerts.control.transaction() as change:
        erasure.give(change, order)
    alerts.now_ms += MINUTE_MS
    alerts.engine.evaluate()
    assert alerts.history() != []  # the pipeline has not emptied it yet
    with alerts.state.transaction() as change:
        erasure.mark_done(change, order)
    alerts.now_ms += MINUTE_MS
    alerts.engine.evaluate()
    assert alerts.history() == []
    assert [alerts.findings.count(each) for each in (model.INSTANCES, model.KNOWN, model.OPEN)] == [0, 0, 0]
    alerts.accept(MEMBER_FLOW, member(2))
    next_hour(alerts)
    assert alerts.rules_told() == [START, SUCCESS]
