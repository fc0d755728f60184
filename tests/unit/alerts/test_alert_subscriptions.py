"""Rules, subscriptions, history and the bell through the API. Source: monitoring-alerts.md 4.3."""

from typing import Any

import pytest
from alert_world import AlertWorld
from pipeline_world import MEMBER_FLOW, PROD, PURCHASE_FLOW, body_of, member

from capstream.aep.alerts.model import forget_flow

START, FAILURE = "sources-flow-run-start", "sources-flow-run-failure"


def test_the_rules_and_what_the_caller_hears_of_them(alerts: AlertWorld) -> None:
    rules = {each["id"]: each for each in body_of(alerts.ask("listAlertRules"))["items"]}
    assert rules["sources-flow-run-delay"]["threshold"] == {"unit": "minutes", "value": 150}
    assert rules["sources-ingestion-error-rate"]["threshold"] == {"unit": "percent", "value": 0.5}
    assert rules[START]["threshold"] is None
    assert rules[START]["wizardName"] == "Sources Dataflow Run Start"
    assert not any(each["subscribed"] for each in rules.values())
    wanted = {"flowId": MEMBER_FLOW, "ruleIds": [FAILURE]}
    assert body_of(alerts.ask("replaceAlertSubscriptions", wanted))["channels"] == ["inapp"]
    rules = {each["id"]: each for each in body_of(alerts.ask("listAlertRules"))["items"]}
    assert [name for name, each in rules.items() if each["subscribed"]] == [FAILURE]
    (kept,) = body_of(alerts.ask("listAlertSubscriptions", flowId_=MEMBER_FLOW))["items"]
    assert kept == {"ruleId": FAILURE, "flowId": MEMBER_FLOW, "userId": "tests", "channels": ["inapp"]}
    alerts.ask("replaceAlertSubscriptions", {"flowId": MEMBER_FLOW, "ruleIds": []})
    assert body_of(alerts.ask("listAlertSubscriptions"))["items"] == []


def test_the_bell_rings_for_who_subscribed(alerts: AlertWorld) -> None:
    alerts.ask("replaceAlertSubscriptions", {"flowId": MEMBER_FLOW, "ruleIds": [START]})
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.accept(PURCHASE_FLOW, {"_id": "e"})
    alerts.settle()
    bell = body_of(alerts.ask("listNotifications", unread_="true"))
    ((note,), unread) = bell["items"], bell["unread"]
    assert (unread, note["title"], note["alert"]["resourceId"]) == (1, "Sources Flow Run Start", MEMBER_FLOW)
    assert alerts.ask("markNotificationRead", id=note["id"]).status == 200
    bell = body_of(alerts.ask("listNotifications", unread_="true"))
    assert (bell["items"], bell["unread"]) == ([], 0)
    assert body_of(alerts.ask("listNotifications"))["items"][0]["read"] is True
    assert alerts.ask("markNotificationRead", id="none").status == 404


def test_the_subscribers_of_a_rule_hear_of_every_flow(alerts: AlertWorld) -> None:
    wanted = {"subscribers": ["tests", "user-0001@example.com"]}
    assert body_of(alerts.ask("replaceAlertSubscribers", wanted, id=START)) == wanted
    assert body_of(alerts.ask("listAlertSubscribers", id=START)) == wanted
    alerts.accept(PURCHASE_FLOW, {"_id": "e"})
    alerts.settle()
    assert body_of(alerts.ask("listNotifications"))["unread"] == 1


def test_history_is_paged_filtered_and_resolved_by_hand(alerts: AlertWorld) -> None:
    alerts.accept(MEMBER_FLOW, member(1, points="x"))  # type: ignore[arg-type]
    alerts.settle()
    alerts.now_ms += 4_000_000
    alerts.settle()
    everything = alerts.history()
    page = body_of(alerts.ask("listAlerts", limit_="2"))
    assert page["items"] == everything[:2]
    token = page["_links"]["next"]["href"].partition("continuationToken=")[2]
    rest = body_of(alerts.ask("listAlerts", limit_="2", continuationToken_=token))
    assert (rest["items"], rest["_links"]) == (everything[2:], {})
    assert alerts.history(state="triggered", ruleId=FAILURE, resourceId=MEMBER_FLOW) == [
        each for each in everything if each["ruleId"] == FAILURE
    ]
    assert alerts.history(end=str(everything[-1]["triggeredAt"])) == everything[-1:]
    (failure,) = alerts.history(ruleId=FAILURE)
    assert body_of(alerts.ask("resolveAlert", id=failure["id"]))["state"] == "resolved"
    assert body_of(alerts.ask("retrieveAlert", id=failure["id"]))["resolvedAt"] == alerts.now_ms
    assert alerts.history(ruleId=FAILURE)[0]["state"] == "resolved"


def test_rules_that_nothing_can_trigger_are_named_and_refused(alerts: AlertWorld) -> None:
    never = {each["id"]: each for each in body_of(alerts.ask("listAlertRules"))["neverTriggered"]}
    assert never["query-run-delay"] == {
        "id": "query-run-delay",
        "name": "Query Run Delay",
        "reason": "the embedded platform runs no scheduled queries",
    }
    assert {"segment-job-failure", "segment-export-delay", "destination-flow-run-start", "activation-skip-rate"} < set(never)
    for refused in (
        alerts.ask("updateAlertRule", {"enabled": True}, id="query-run-delay"),
        alerts.ask("replaceAlertSubscriptions", {"flowId": MEMBER_FLOW, "ruleIds": ["segment-job-start"]}),
    ):
        assert refused.status == 501
        assert "is never triggered: the embedded platform" in body_of(refused)["detail"]


def test_a_deleted_flow_takes_its_subscriptions_with_it(alerts: AlertWorld) -> None:
    for flow_id in (MEMBER_FLOW, PURCHASE_FLOW):
        alerts.ask("replaceAlertSubscriptions", {"flowId": flow_id, "ruleIds": [START]})
    with alerts.control.transaction() as change:
        forget_flow(change, PROD.id, MEMBER_FLOW)
    assert [each["flowId"] for each in body_of(alerts.ask("listAlertSubscriptions"))["items"]] == [PURCHASE_FLOW]


BAD: list[tuple[str, Any, dict[str, str], int, str]] = [
    ("updateAlertRule", {"threshold": {"value": 1}}, {"id": START}, 400, "cannot be changed"),
    ("updateAlertRule", {"threshold": {"value": 101}}, {"id": "sources-ingestion-error-rate"}, 400, "from 0 to 100"),
    ("updateAlertRule", {"threshold": 5}, {"id": "sources-flow-run-delay"}, 400, "threshold.value"),
    ("updateAlertRule", {"enabled": "yes"}, {"id": START}, 400, "enabled must be"),
    ("updateAlertRule", {}, {"id": "none"}, 404, "no alert rule none"),
    ("replaceAlertSubscribers", {}, {"id": START}, 400, "subscribers must be an array"),
    ("replaceAlertSubscriptions", {"flowId": "none", "ruleIds": [START]}, {}, 404, "flowId none"),
    ("replaceAlertSubscriptions", {"flowId": MEMBER_FLOW, "ruleIds": ["x"]}, {}, 400, "x is no rule"),
    (
        "replaceAlertSubscriptions",
        {"flowId": MEMBER_FLOW, "ruleIds": [START], "channels": ["fax"]},
        {},
        400,
        "fax is none; there are inapp and email",
    ),
    ("replaceAlertSubscriptions", [], {}, 400, "must be a JSON object"),
    ("listAlerts", None, {"limit_": "0"}, 400, "limit 0"),
    ("listAlerts", None, {"start_": "x"}, 400, "start x"),
    ("retrieveAlert", None, {"id": "none"}, 404, "no alert none"),
]


@pytest.mark.parametrize(("operation", "body", "params", "status", "words"), BAD, ids=[f"{row[0]} {row[4]}" for row in BAD])
def test_refusals_say_why(alerts: AlertWorld, operation: str, body: Any, params: dict[str, str], status: int, words: str) -> None:
    refused = alerts.ask(operation, body, **params)
    assert refused.status == body_of(refused)["status"] == status
    assert words in body_of(refused)["detail"]
