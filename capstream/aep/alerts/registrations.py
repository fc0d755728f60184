"""I/O Events registrations: which events go to which webhook or journal. Source: monitoring-alerts.md 5.2.

Creating or changing a webhook calls it, so these handlers run beside the event loop: they have a connection to the store of
their own, and use it one at a time.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import msgspec

from capstream.aep.alerts import events, model, webhooks
from capstream.aep.alerts.catalogue import EVENT_CODES, FLOW_RULES
from capstream.aep.alerts.errors import limit_of, object_of, refused, text_of
from capstream.aep.alerts.model import Delivery, Outcome, Registration
from capstream.aep.alerts.signing import Signer
from capstream.aep.call import Answer, Call, Handler
from capstream.kernel.clock import rfc3339
from capstream.kernel.ids import new_ulid, new_uuid
from capstream.kernel.json import Json, loads
from capstream.storage.ports import Documents, Reading

CALLING = ("createRegistration", "updateRegistration")
"""Operations that wait for a receiver."""

_HAL = "application/hal+json"
_PAGE, _MOST = 100, 1000


@dataclass(frozen=True, slots=True)
class _Service:
    control: Documents
    findings: Reading
    signer: Signer
    http: httpx.Client
    lock: threading.Lock


def handlers(control: Documents, findings: Reading, signer: Signer, http: httpx.Client) -> dict[str, Handler]:
    """Return the handlers by operation. `control` must be a connection nobody else uses."""
    service = _Service(control, findings, signer, http, threading.Lock())
    return {
        "listRegistrations": lambda call: _list(service, call),
        "createRegistration": lambda call: _create(service, call),
        "retrieveRegistration": lambda call: _answer(service, call, _existing(service, call)),
        "updateRegistration": lambda call: _update(service, call),
        "deleteRegistration": lambda call: _delete(service, call),
        "readJournal": lambda call: _journal(service, call),
        "listDeliveries": lambda call: _deliveries(service, call),
        "sendTestEvent": lambda call: _test(service, call),
    }


def _path(call: Call) -> str:
    return "/".join(call.params[name] for name in ("consumerId", "projectId", "workspaceId"))


def _list(service: _Service, call: Call) -> Answer:
    with service.lock:
        everything = model.registrations(service.control)
    mine = [each for each in everything if (each.org_id, each.path) == (call.caller.org_id, _path(call))]
    shown = [_shown(service, call, each) for each in mine]
    links = {"self": {"href": f"{call.base_url}{call.path}"}}
    return Answer(body={"_embedded": {"registrations": shown}, "_links": links}, media_type=_HAL)


def _existing(service: _Service, call: Call) -> Registration:
    with service.lock:
        found = model.registration(service.control, call.params["registrationId"])
    if found is None or (found.org_id, found.path) != (call.caller.org_id, _path(call)):
        raise refused(
            404, f"There is no registration {call.params['registrationId']} here. List the registrations for their ids."
        )
    return found


def _create(service: _Service, call: Call) -> Answer:
    wanted = _asked(call, new_uuid(), call.now_ms)
    return _stored(service, call, wanted, 201)


def _update(service: _Service, call: Call) -> Answer:
    existing = _existing(service, call)
    wanted = _asked(call, existing.id, existing.created_ms)
    if wanted.delivery_type != existing.delivery_type:
        raise refused(400, "delivery_type cannot be changed; create another registration.")
    return _stored(service, call, wanted, 200)


def _stored(service: _Service, call: Call, wanted: Registration, status: int) -> Answer:
    """Store a registration; a webhook that does not answer its challenge is kept, and gets nothing until it does."""
    service.signer.ensure()
    if wanted.delivery_type == "webhook":
        problem = webhooks.verify(service.http, wanted.webhook_url)
        wanted = msgspec.structs.replace(wanted, verified=not problem, problem=problem)
    with service.lock, service.control.transaction() as change:
        model.put(change, model.REGISTRATIONS, wanted.id, wanted)
    answer = _answer(service, call, wanted)
    location = {"Location": f"{call.base_url}/events/{wanted.path}/registrations/{wanted.id}"} if status == 201 else {}
    return Answer(status=status, body=answer.body, headers=location, media_type=_HAL)


def _asked(call: Call, registration_id: str, created_ms: int) -> Registration:
    body = object_of(call)
    kind = text_of(body, "delivery_type") or "webhook"
    url = text_of(body, "webhook_url")
    if kind not in ("webhook", "journal"):
        raise refused(400, f"delivery_type {kind} is neither webhook nor journal.")
    if kind == "webhook" and (problem := webhooks.url_problem(url)):
        raise refused(400, f"{problem}.")
    if not text_of(body, "name").strip():
        raise refused(400, "name is missing: give the registration a name.")
    codes = _codes(body.get("events_of_interest"))
    flow_id = text_of(body, "flow_id")
    if flow_id and (strange := [code for code in codes if EVENT_CODES[code] not in FLOW_RULES]):
        raise refused(400, f"events_of_interest: {strange[0]} is not about one dataflow; leave flow_id out.")
    return Registration(
        id=registration_id,
        path=_path(call),
        org_id=call.caller.org_id,
        client_id=text_of(body, "client_id") or call.caller.client_id,
        name=text_of(body, "name"),
        description=text_of(body, "description"),
        webhook_url=url if kind == "webhook" else "",
        delivery_type=kind,
        event_codes=tuple(codes),
        sandbox_id=text_of(body, "sandbox_id"),
        flow_id=flow_id,
        verified=kind == "journal",
        created_ms=created_ms,
        updated_ms=call.now_ms,
    )


def _codes(asked: Json) -> list[str]:
    if not isinstance(asked, list) or not asked or not all(isinstance(each, dict) for each in asked):
        raise refused(400, "events_of_interest must be an array of {provider_id, event_code} with at least one element.")
    codes = list(dict.fromkeys(str(each.get("event_code") or "") for each in asked))
    for code in codes:
        if code not in EVENT_CODES:
            raise refused(400, f"event_code {code or 'is missing: it'} must be one of {', '.join(EVENT_CODES)}.")
    strangers = [each["provider_id"] for each in asked if each.get("provider_id") not in (None, "", events.PROVIDER_ID)]
    if strangers:
        raise refused(400, f"provider_id {strangers[0]} is unknown; Platform notifications is {events.PROVIDER_ID}.")
    return codes


def _delete(service: _Service, call: Call) -> Answer:
    found = _existing(service, call)
    with service.lock, service.control.transaction() as change:
        change.delete(model.REGISTRATIONS, [found.id])
        change.delete(model.TESTS, [key for key, _ in change.scan(model.TESTS, prefix=f"{found.id}/")])
    return Answer(status=204)


def _answer(service: _Service, call: Call, found: Registration) -> Answer:
    return Answer(body=_shown(service, call, found), media_type=_HAL)


def _shown(service: _Service, call: Call, found: Registration) -> Json:
    place = f"{call.base_url}/events/{found.path}/registrations/{found.id}"
    state = model.health_of(service.findings, found).state
    links = {"self": {"href": place}}
    shown: dict[str, Json] = {
        "registration_id": found.id,
        "client_id": found.client_id,
        "name": found.name,
        "description": found.description,
        "delivery_type": found.delivery_type,
        "events_of_interest": [{"provider_id": events.PROVIDER_ID, "event_code": code} for code in found.event_codes],
        "created_date": rfc3339(found.created_ms),
        "updated_date": rfc3339(found.updated_ms),
    }
    shown |= {name: value for name, value in (("flow_id", found.flow_id), ("sandbox_id", found.sandbox_id)) if value}
    if found.delivery_type == "webhook":
        shown |= {"webhook_url": found.webhook_url, "webhook_status": "verified" if found.verified else "failed"}
        shown["status"] = state if found.verified else "unverified"
        shown |= {"webhook_error": found.problem} if found.problem else {}
    else:
        shown["status"] = "active"
        links["rel:events"] = {"href": f"{place}/journal"}
    return shown | {"_links": links}


def _journal(service: _Service, call: Call) -> Answer:
    """Return events after `since`, oldest first; 204 while there are none."""
    found = _existing(service, call)
    if found.delivery_type != "journal":
        raise refused(400, f"Registration {found.id} delivers to a webhook; only journals can be read.")
    kept = model.outcomes(service.findings, found.id, after=call.arg("since"), limit=limit_of(call, _PAGE, _MOST))
    if not kept:
        return Answer(status=204, headers={"retry-after": "10"})
    place = f"{call.base_url}/events/{found.path}/registrations/{found.id}/journal"
    listed = [{"position": each.event_id, "event": loads(each.body)} for each in kept]
    return Answer(
        body={"events": listed, "_page": {"last": kept[-1].event_id, "count": len(kept)}},
        headers={"link": f'<{place}?since={kept[-1].event_id}>; rel="next"'},
    )


def _deliveries(service: _Service, call: Call) -> Answer:
    """Return what became of events and what still waits, newest first."""
    found = _existing(service, call)
    done = [_outcome(each) for each in model.outcomes(service.findings, found.id)]
    waiting = [_waiting(each) for each in model.waiting(service.findings, found.id)]
    items: Sequence[Json] = sorted([*done, *waiting], key=lambda item: str(item["event_id"]), reverse=True)
    return Answer(body={"items": items[: limit_of(call, _PAGE, _MOST)]})


def _outcome(each: Outcome) -> Json:
    facts = {"event_id": each.event_id, "event_code": each.code, "state": each.state, "attempts": each.attempts}
    return facts | {"last": each.last, "at": rfc3339(each.at_ms)}


def _waiting(each: Delivery) -> Json:
    facts = {"event_id": each.event_id, "event_code": each.code, "state": "waiting", "attempts": each.attempts}
    return facts | {"last": each.last, "next_attempt": rfc3339(each.due_ms)}


def _test(service: _Service, call: Call) -> Answer:
    """Order a test event; it goes the way of any other."""
    found = _existing(service, call)
    event_id = new_ulid(call.now_ms)
    with service.lock, service.control.transaction() as change:
        past = new_ulid(max(call.now_ms - 3_600_000, 0))
        change.delete(model.TESTS, [key for key, _ in change.scan(model.TESTS) if key.rpartition("/")[2] < past])
        change.put(model.TESTS, [(f"{found.id}/{event_id}", b"")])
    return Answer(status=202, body={"registration_id": found.id, "event_id": event_id})
