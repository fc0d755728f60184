"""The bodies of events, in the two envelopes Adobe's samples show. Pure. Source: monitoring-alerts.md 5.1."""

from collections.abc import Mapping

from capstream.aep.alerts import catalogue
from capstream.aep.alerts.catalogue import Rule
from capstream.aep.alerts.model import Instance, shown
from capstream.aep.alerts.rules import Subject
from capstream.kernel.json import Json, dumps

PROVIDER_ID = "6a9f1d2e-8c47-4f0b-9d35-2b7e5c1a0f48"
"""The id of the provider "Platform notifications" (ASSUMPTION: not documented)."""

PROVIDER = "aep_observability_catalog_events"

Run = Mapping[str, Json]


def body(rule: Rule, subject: Subject, instance: Instance, run: Run | None, client_id: str) -> bytes:
    """Return the body of the event that tells of an alert. `run` is in Flow Service's form, None when it is about no run."""
    if rule is catalogue.FAILURE and run is not None:
        return dumps(_envelope_b(subject, instance, run, client_id))
    about: dict[str, Json] = dict(run) if run is not None else {"id": instance.id, f"{subject.type}Id": subject.id}
    about |= {"imsOrgId": subject.org_id, "sandboxId": subject.sandbox_id, "sandboxName": subject.sandbox_name}
    if run is not None:
        about |= _times(run, instance)
    if rule not in (catalogue.START, catalogue.SUCCESS):
        about["alert"] = shown(instance)
    return dumps(_envelope_a(instance.id, about, rule.event_code, client_id))


def sample(event_id: str, code: str, org_id: str, client_id: str, now_ms: int) -> bytes:
    """Return the body of a test event."""
    about: dict[str, Json] = {"id": event_id, "createdAt": now_ms, "updatedAt": now_ms, "imsOrgId": org_id, "test": True}
    about["metrics"] = {"statusSummary": {"status": "success"}}
    return dumps(_envelope_a(event_id, about, code, client_id))


def _envelope_a(event_id: str, about: dict[str, Json], code: str, client_id: str) -> dict[str, Json]:
    header = {"imsOrgId": about["imsOrgId"], "providerMetadata": PROVIDER, "eventCode": code}
    return {"event_id": event_id, "event": about | {"header": {"_adobeio": header}}, "recipient_client_id": client_id}


def _envelope_b(subject: Subject, instance: Instance, run: Run, client_id: str) -> list[Json]:
    message = {
        "msgType": "eventNotification",
        "version": "1.0",
        "timestamp": instance.triggered_ms,
        "imsOrgId": subject.org_id,
        "schema": {"name": "run-notification", "version": "1.0"},
        "provider": "FlowService",
        # The sample's type is `..._failed`, the text's event code `..._failure`.
        "_eventNotificationMeta": {"category": "Platform Notifications", "type": "sources_flow_run_failed"},
        "value": run,
    }
    return [{"event_id": instance.id, "messages": [message], "recipient_client_id": client_id}]


def _times(run: Run, instance: Instance) -> dict[str, Json]:
    """Return the three instants of the success sample; what they are is an ASSUMPTION."""
    ended = run["metrics"]["durationSummary"].get("completedAtUTC")
    window = run["params"]["windowEndTime" if ended else "windowStartTime"] * 1000
    return {"slaCreatedAt": window, "processStartTime": ended or run["createdAt"], "transformedTime": instance.triggered_ms}
