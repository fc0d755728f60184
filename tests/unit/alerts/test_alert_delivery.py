"""Events to webhooks: signed, repeated, given up, and nothing lost by a restart. Source: monitoring-alerts.md 5."""

import base64
from typing import Any

import httpx
import pytest
from alert_world import URL, AlertWorld
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pipeline_world import MEMBER_FLOW, MEMBERS, ORG, PROD, body_of, member

from capstream.aep.alerts import webhooks
from capstream.aep.alerts.model import Delivery, Health
from capstream.kernel.json import loads

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
SUCCESS, FAILURE, START = "sources_flow_run_success", "sources_flow_run_failure", "sources_flow_run_start"


def finish_run(alerts: AlertWorld, *, good: bool = True) -> None:
    alerts.accept(MEMBER_FLOW, member(1) if good else member(2, points="x"))  # type: ignore[arg-type]
    alerts.settle()
    alerts.now_ms += HOUR_MS + 6 * MINUTE_MS
    alerts.settle()


def test_a_success_is_delivered_in_the_documented_envelope(alerts: AlertWorld) -> None:
    made = alerts.register(SUCCESS, client_id="receiver")
    assert (made["webhook_status"], made["status"], made["webhook_url"]) == ("verified", "active", URL)
    finish_run(alerts)
    (request,) = alerts.receiver.received
    body = loads(request.content)
    event = body["event"]
    run = alerts.run_of(MEMBER_FLOW)
    assert body["recipient_client_id"] == "receiver"
    assert body["event_id"] == request.headers["x-adobe-event-id"] == alerts.history()[0]["id"]
    assert (event["id"], event["flowId"], event["metrics"]) == (run["id"], MEMBER_FLOW, run["metrics"])
    header = {"imsOrgId": ORG, "providerMetadata": "aep_observability_catalog_events", "eventCode": SUCCESS}
    assert event["header"] == {"_adobeio": header}
    assert event["slaCreatedAt"] == run["params"]["windowEndTime"] * 1000
    assert "x-adobe-retry-count" not in request.headers
    (delivered,) = alerts.deliveries(made["registration_id"])
    assert (delivered["state"], delivered["attempts"], delivered["last"]) == ("delivered", 1, "HTTP 200")


def test_a_failure_is_delivered_as_a_run_notification(alerts: AlertWorld) -> None:
    alerts.register(FAILURE)
    finish_run(alerts, good=False)
    (request,) = alerts.receiver.received
    ((message,),) = [each["messages"] for each in loads(request.content)]
    assert message["_eventNotificationMeta"] == {"category": "Platform Notifications", "type": "sources_flow_run_failed"}
    run = alerts.run_of(MEMBER_FLOW)
    assert (message["value"]["id"], message["value"]["metrics"]) == (run["id"], run["metrics"])
    (failed,) = alerts.batches_of(MEMBERS, "failed")
    manifest = message["value"]["activities"][0]["statusSummary"]["extensions"]["manifest"]
    assert manifest["failedRecords"] == f"http://localhost/data/foundation/export/batches/{failed['id']}/meta?path=row_errors"
    assert message["schema"] == {"name": "run-notification", "version": "1.0"}


def test_who_receives_can_check_both_signatures(alerts: AlertWorld) -> None:
    alerts.register(START)
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    (request,) = alerts.receiver.received
    for number in (1, 2):
        name = request.headers[f"x-adobe-public-key{number}-path"].removeprefix("/prod/keys/")
        pem = alerts.signer.public_key(name)
        assert pem is not None
        key = serialization.load_pem_public_key(pem)
        assert isinstance(key, rsa.RSAPublicKey)
        signature = base64.b64decode(request.headers[f"x-adobe-digital-signature-{number}"])
        key.verify(signature, request.content, padding.PKCS1v15(), hashes.SHA256())
        with pytest.raises(InvalidSignature):
            key.verify(signature, request.content + b" ", padding.PKCS1v15(), hashes.SHA256())
    assert alerts.signer.public_key("events-1.pem") is None
    assert alerts.signer.public_key("../vault.key") is None


def test_what_fails_is_repeated_on_the_documented_schedule(alerts: AlertWorld) -> None:
    made = alerts.register(START)
    alerts.receiver.script = [500, 429, httpx.ConnectTimeout("slow"), 503, 200]
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    for number, minutes in enumerate((1, 2, 4, 8), 1):
        (waiting,) = alerts.deliveries(made["registration_id"])
        assert (waiting["state"], waiting["attempts"]) == ("waiting", number)
        alerts.now_ms += minutes * MINUTE_MS - 1
        alerts.deliver()
        assert len(alerts.receiver.received) == number
        alerts.restart()  # a queue that is kept in memory would be empty now
        alerts.now_ms += 1
        alerts.deliver()
    (done,) = alerts.deliveries(made["registration_id"])
    assert (done["state"], done["attempts"]) == ("delivered", 5)
    counts = [request.headers.get("x-adobe-retry-count") for request in alerts.receiver.received]
    assert counts == [None, "1", "2", "3", "4"]
    assert len({request.content for request in alerts.receiver.received}) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 505, 302])
def test_other_answers_are_final(alerts: AlertWorld, status: int) -> None:
    made = alerts.register(START)
    alerts.receiver.script = [status]
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    (dropped,) = alerts.deliveries(made["registration_id"])
    assert (dropped["state"], dropped["last"]) == ("dropped", f"HTTP {status}")


def test_after_a_day_it_is_given_up() -> None:
    delivery = Delivery(registration_id="r", event_id="e", code="c", body=b"", first_ms=0, due_ms=0)
    now_ms, tries = 0, 0
    while True:
        delivery.attempts = tries = tries + 1
        due_ms = webhooks.next_due_ms(delivery, now_ms)
        if due_ms is None:
            break
        now_ms = due_ms
    assert 23 * HOUR_MS < now_ms <= 24 * HOUR_MS
    assert tries > 90


def test_a_webhook_that_fails_for_a_day_is_disabled_until_somebody_changes_it(alerts: AlertWorld) -> None:
    made = alerts.register(START, SUCCESS)
    place = {"registrationId": made["registration_id"]}
    alerts.receiver.script = [500] * 10
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert body_of(alerts.ask("retrieveRegistration", **place))["status"] == "unstable"
    for _ in range(9):
        alerts.now_ms += 15 * MINUTE_MS
        alerts.deliver()
    assert body_of(alerts.ask("retrieveRegistration", **place))["status"] == "disabled"
    finish_run(alerts)
    assert len(alerts.receiver.received) == 10
    assert {each["state"] for each in alerts.deliveries(made["registration_id"])} == {"dropped"}
    alerts.now_ms += MINUTE_MS
    changed = {"name": "n", "webhook_url": URL, "events_of_interest": [{"event_code": START}]}
    assert body_of(alerts.ask("updateRegistration", changed, **place))["status"] == "active"
    alerts.accept(MEMBER_FLOW, member(5))
    alerts.settle()
    assert len(alerts.receiver.received) == 11


def test_health_looks_back_a_day() -> None:
    health = Health()
    for _ in range(9):
        health = webhooks.noted(health, failed=True, now_ms=0)
    assert health.state == "unstable"
    later = webhooks.noted(health, failed=True, now_ms=24 * HOUR_MS)
    assert (later.state, len(later.hours)) == ("unstable", 1)
    assert webhooks.noted(health, failed=True, now_ms=23 * HOUR_MS).state == "disabled"
    assert webhooks.noted(Health(hours=[(0, 100, 79)]), failed=False, now_ms=0).state == "active"


def test_a_webhook_that_fails_its_challenge_gets_nothing(alerts: AlertWorld) -> None:
    alerts.receiver.answers_challenge = False
    made = alerts.register(START)
    assert (made["webhook_status"], made["status"]) == ("failed", "unverified")
    assert "challenge" in made["webhook_error"]
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert alerts.receiver.received == []


def test_one_flow_s_events_go_where_they_are_wanted(alerts: AlertWorld) -> None:
    alerts.register(START, flow_id="another")
    alerts.register(START, sandbox_id="another")
    alerts.register(SUCCESS)
    wanted = alerts.register(START, flow_id=MEMBER_FLOW, sandbox_id=PROD.id)
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert len(alerts.receiver.received) == 1
    assert len(alerts.deliveries(wanted["registration_id"])) == 1


def test_a_journal_keeps_events_for_who_pulls(alerts: AlertWorld) -> None:
    made = alerts.register(START, SUCCESS, delivery_type="journal", webhook_url="")
    place = {"registrationId": made["registration_id"]}
    empty = alerts.ask("readJournal", **place)
    assert (empty.status, empty.headers["retry-after"]) == (204, "10")
    finish_run(alerts)
    first = alerts.ask("readJournal", **place, limit_="1")
    (event,) = body_of(first)["events"]
    assert event["event"]["event"]["header"]["_adobeio"]["eventCode"] == START
    link = first.headers["link"]
    assert link.endswith('; rel="next"')
    since = link.partition("since=")[2].partition(">")[0]
    (event,) = body_of(alerts.ask("readJournal", **place, since_=since))["events"]
    assert event["event"]["event"]["header"]["_adobeio"]["eventCode"] == SUCCESS
    alerts.now_ms += 8 * 24 * HOUR_MS
    alerts.settle()
    assert alerts.ask("readJournal", **place).status == 204


def test_a_test_event_goes_the_way_of_any_other(alerts: AlertWorld) -> None:
    made = alerts.register(SUCCESS)
    place = {"registrationId": made["registration_id"]}
    ordered = alerts.ask("sendTestEvent", **place)
    assert ordered.status == 202
    alerts.restart()
    alerts.settle()
    alerts.settle()
    (request,) = alerts.receiver.received
    assert loads(request.content)["event"]["test"] is True
    (delivered,) = alerts.deliveries(made["registration_id"])
    assert (delivered["event_id"], delivered["state"]) == (body_of(ordered)["event_id"], "delivered")


def test_a_deleted_webhook_gets_nothing_more(alerts: AlertWorld) -> None:
    made = alerts.register(START)
    place = {"registrationId": made["registration_id"]}
    alerts.receiver.script = [500]
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    assert alerts.ask("deleteRegistration", **place).status == 204
    assert alerts.ask("retrieveRegistration", **place).status == 404
    alerts.now_ms += HOUR_MS
    alerts.settle()
    assert len(alerts.receiver.received) == 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name is missing"),
    ({"webhook_url": "ftp://x"}, "webhook_url ftp://x must be"),
    ({"webhook_url": "https://me:secret@x.example.com"}, "name and password"),
    ({"webhook_url": "http://x:99999/"}, "not a URL"),
    ({"webhook_url": 5}, "webhook_url must be a string"),
    ({"delivery_type": "pigeon"}, "delivery_type pigeon"),
    ({"events_of_interest": []}, "events_of_interest must be"),
    ({"events_of_interest": [{"event_code": "x"}]}, "event_code x must be one of"),
    ({"events_of_interest": [{"event_code": START, "provider_id": "p"}]}, "provider_id p is unknown"),
    ({"events_of_interest": [{"event_code": "profile_streaming_skip_rate"}], "flow_id": "f"}, "not about one dataflow"),
]


@pytest.mark.parametrize(("changed", "words"), BAD, ids=[row[1] for row in BAD])
def test_registrations_that_make_no_sense_are_refused(alerts: AlertWorld, changed: dict[str, Any], words: str) -> None:
    body = {"name": "n", "webhook_url": URL, "events_of_interest": [{"event_code": START}]}
    refused = alerts.ask("createRegistration", body | changed)
    assert refused.status == 400
    assert words in body_of(refused)["detail"]
    assert body_of(alerts.ask("listRegistrations"))["_embedded"]["registrations"] == []
