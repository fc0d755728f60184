"""capstream's own API for alerts: rules, subscriptions, history, the bell. Source: monitoring-alerts.md 4.3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from capstream.aep.alerts import audience, model
from capstream.aep.alerts.catalogue import FLOW_RULES, NEVER, RULES, Rule
from capstream.aep.alerts.errors import limit_of, object_of, refused, text_of, texts_of
from capstream.aep.alerts.model import Instance, Subscription
from capstream.aep.call import Answer, Call, Handler
from capstream.kernel.ids import new_ulid
from capstream.kernel.json import Json
from capstream.storage.ports import Documents, Reading, Transaction

_BELL, _EMAIL = _CHANNELS = ("inapp", "email")
_PAGE, _MOST = 100, 1000
_SCAN = 500


@dataclass(frozen=True, slots=True)
class _Service:
    control: Documents
    findings: Reading
    flow_exists: Callable[[str, str], bool]
    sends_mail: bool


def handlers(
    control: Documents, findings: Reading, *, flow_exists: Callable[[str, str], bool], sends_mail: bool = False
) -> dict[str, Handler]:
    """Return the handlers by operation. `flow_exists` tells whether (sandbox, flow) exists, `sends_mail` if letters can leave."""
    service = _Service(control, findings, flow_exists, sends_mail)
    return {
        "listAlertRules": lambda call: _rules(service, call),
        "updateAlertRule": lambda call: _update_rule(service, call),
        "listAlertSubscribers": lambda call: _subscribers(service, call),
        "replaceAlertSubscribers": lambda call: _replace_subscribers(service, call),
        "listAlertSubscriptions": lambda call: _subscriptions(service, call),
        "replaceAlertSubscriptions": lambda call: _replace_subscriptions(service, call),
        "listAlerts": lambda call: _history(service, call),
        "retrieveAlert": lambda call: _retrieve(service, call),
        "resolveAlert": lambda call: _resolve(service, call),
        "listNotifications": lambda call: _notifications(service, call),
        "markNotificationRead": lambda call: _mark_read(service, call),
    }


def _rules(service: _Service, call: Call) -> Answer:
    mine = {
        rule_id
        for each in model.subscriptions(service.control, call.sandbox.id)
        if each.user_id == call.caller.user_id
        for rule_id in each.rule_ids
    }
    items = [_rule(service, call, rule, mine) for rule in RULES.values()]
    never = [{"id": rule_id, "name": name, "reason": why} for rule_id, (name, why) in NEVER.items()]
    return Answer(body={"items": items, "neverTriggered": never})


def _rule(service: _Service, call: Call, rule: Rule, mine: set[str]) -> Json:
    setting = model.setting(service.control, call.sandbox.id, rule.id)
    threshold = rule.threshold if setting.threshold is None else setting.threshold
    return {
        "id": rule.id,
        "name": rule.name,
        "wizardName": rule.wizard_name or rule.name,
        "description": rule.description,
        "group": rule.group,
        "severity": rule.severity,
        "eventCode": rule.event_code,
        "enabled": rule.enabled if setting.enabled is None else setting.enabled,
        "threshold": None if threshold is None else {"unit": rule.unit, "value": threshold},
        "thresholdEditable": rule.editable,
        "subscribed": rule.id in mine or call.caller.user_id in setting.subscribers,
    }


def _named(call: Call) -> Rule:
    rule = RULES.get(call.params["id"])
    if rule is None:
        _refuse_never(call.params["id"])
        raise refused(404, f"There is no alert rule {call.params['id']}. List the rules for their ids.")
    return rule


def _refuse_never(rule_id: str) -> None:
    if rule_id in NEVER:
        name, why = NEVER[rule_id]
        raise refused(501, f"{name} is never triggered: {why}.")


def _update_rule(service: _Service, call: Call) -> Answer:
    rule, body = _named(call), object_of(call)
    setting = model.setting(service.control, call.sandbox.id, rule.id)
    enabled = body.get("enabled", setting.enabled)
    if enabled is not None and not isinstance(enabled, bool):
        raise refused(400, "enabled must be true or false.")
    threshold = setting.threshold if body.get("threshold") is None else _threshold(rule, body["threshold"])
    changed = msgspec.structs.replace(setting, enabled=enabled, threshold=threshold)
    with service.control.transaction() as change:
        model.put(change, model.RULE_SETTINGS, f"{call.sandbox.id}/{rule.id}", changed)
    return Answer(body=_rule(service, call, rule, set()))


def _threshold(rule: Rule, asked: Json) -> float:
    if not rule.editable:
        raise refused(400, f"The threshold of {rule.name} cannot be changed.")
    value = asked.get("value") if isinstance(asked, dict) else None
    most = 100.0 if rule.unit == "percent" else 60.0 * 24 * 30
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise refused(400, f"threshold.value must be a number of {rule.unit} from 0 to {most:.0f}.")
    return float(value)


def _subscribers(service: _Service, call: Call) -> Answer:
    return Answer(body={"subscribers": list(model.setting(service.control, call.sandbox.id, _named(call).id).subscribers)})


def _replace_subscribers(service: _Service, call: Call) -> Answer:
    rule = _named(call)
    wanted = texts_of(object_of(call), "subscribers", needed=True)
    if any("/" in each for each in wanted):
        raise refused(400, "subscribers must be user ids or e-mail addresses.")
    setting = model.setting(service.control, call.sandbox.id, rule.id)
    with service.control.transaction() as change:
        changed = msgspec.structs.replace(setting, subscribers=tuple(wanted))
        model.put(change, model.RULE_SETTINGS, f"{call.sandbox.id}/{rule.id}", changed)
    return Answer(body={"subscribers": wanted})


def _subscriptions(service: _Service, call: Call) -> Answer:
    found = model.subscriptions(service.control, call.sandbox.id, call.arg("flowId"))
    items = [
        {"ruleId": rule_id, "flowId": each.flow_id, "userId": each.user_id, "channels": list(each.channels)}
        | ({"email": each.email} if each.email else {})
        for each in found
        for rule_id in each.rule_ids
    ]
    return Answer(body={"items": items})


def _replace_subscriptions(service: _Service, call: Call) -> Answer:
    """Replace what the caller wants to hear of a dataflow; no rules: nothing any more."""
    body = object_of(call)
    flow_id, rule_ids = text_of(body, "flowId"), texts_of(body, "ruleIds", needed=True)
    channels = texts_of(body, "channels") or [_BELL]
    if "/" in flow_id or not service.flow_exists(call.sandbox.id, flow_id):
        raise refused(404, f"flowId {flow_id or 'is missing: it'} must name a dataflow of sandbox {call.sandbox.name}.")
    if unknown := [each for each in rule_ids if each not in FLOW_RULES]:
        _refuse_never(unknown[0])
        raise refused(400, f"ruleIds: {unknown[0]} is no rule of one dataflow; there are {', '.join(sorted(FLOW_RULES))}.")
    if unknown := [each for each in channels if each not in _CHANNELS]:
        raise refused(400, f"channels: {unknown[0]} is none; there are inapp and email. Webhooks are registered with I/O Events.")
    email = _mailbox(service, call, body) if _EMAIL in channels else ""
    key = f"{call.sandbox.id}/{flow_id}/{call.caller.user_id}"
    with service.control.transaction() as change:
        if rule_ids:
            wanted = Subscription(flow_id, call.caller.user_id, tuple(rule_ids), tuple(channels), email)
            model.put(change, model.SUBSCRIPTIONS, key, wanted)
        else:
            change.delete(model.SUBSCRIPTIONS, [key])
    return Answer(body={"flowId": flow_id, "ruleIds": rule_ids, "channels": channels} | ({"email": email} if email else {}))


def _mailbox(service: _Service, call: Call, body: dict[str, Json]) -> str:
    """Return where the caller's letters go: `email` (own extension: a technical account has no mailbox), or the user's own."""
    if not service.sends_mail:
        raise refused(409, "channels: email needs a mail server; set mail.host and mail.sender, and restart the server.")
    found = text_of(body, "email") if "email" in body else call.caller.user_id
    if not audience.is_address(found):
        given = f"{found} is no e-mail address" if "email" in body else "is missing, and your account is no e-mail address"
        raise refused(400, f"email: {given}; give one such as member-0001@example.com.")
    return found


def _history(service: _Service, call: Call) -> Answer:
    limit = limit_of(call, _PAGE, _MOST)
    found: list[Json] = []
    before = call.arg("continuationToken")
    wanted = _wanted(call)
    while len(found) <= limit:
        part = model.instances(service.findings, call.sandbox.id, before=before, limit=_SCAN)
        found += [each for each in _shown(service, call.sandbox.id, part) if wanted(each)]
        if len(part) < _SCAN:
            break
        before = part[-1].id
    items = found[:limit]
    more = {"next": {"href": f"/capstream/api/alerts/history?continuationToken={items[-1]['id']}"}} if len(found) > limit else {}
    return Answer(body={"items": items, "_links": more})


def _wanted(call: Call) -> Callable[[Json], bool]:
    start, end = _instant(call, "start"), _instant(call, "end")
    named = {member: call.arg(member) for member in ("ruleId", "resourceId", "state") if call.arg(member)}

    def holds(alert: Json) -> bool:
        in_time = (start is None or alert["triggeredAt"] >= start) and (end is None or alert["triggeredAt"] <= end)
        return in_time and all(alert[member] == value for member, value in named.items())

    return holds


def _instant(call: Call, name: str) -> int | None:
    text = call.arg(name)
    if text and not (text.isascii() and text.isdecimal()):
        raise refused(400, f"{name} {text} must be a time in epoch milliseconds.")
    return int(text) if text else None


def _shown(service: _Service, sandbox_id: str, found: Sequence[Instance]) -> list[Json]:
    by_hand = model.resolved_by_hand(service.control, sandbox_id, [each.id for each in found])
    return [model.shown(each, by_hand.get(each.id, 0)) for each in found]


def _alert(service: _Service, call: Call) -> Instance:
    found = model.instance(service.findings, call.sandbox.id, call.params["id"])
    if found is None:
        raise refused(404, f"There is no alert {call.params['id']} in sandbox {call.sandbox.name}.")
    return found


def _retrieve(service: _Service, call: Call) -> Answer:
    found = _alert(service, call)
    mail = model.letters(service.findings, found.id)
    return Answer(body=_shown(service, call.sandbox.id, [found])[0] | ({"mail": mail} if mail else {}))


def _resolve(service: _Service, call: Call) -> Answer:
    found = _alert(service, call)
    if not found.resolved_ms:
        with service.control.transaction() as change:
            change.insert(model.RESOLUTIONS, [(f"{call.sandbox.id}/{found.id}", b"%d" % call.now_ms)])
            _prune(change, model.RESOLUTIONS, call.now_ms)
    return Answer(body=_shown(service, call.sandbox.id, [found])[0])


def _prune(change: Transaction, collection: str, now_ms: int) -> None:
    """Forget marks on alerts that are gone: those of more than 31 days ago."""
    oldest = new_ulid(max(now_ms - 31 * 86_400_000, 0))
    change.delete(collection, [key for key, _ in change.scan(collection) if key.rpartition("/")[2] < oldest])


def _notifications(service: _Service, call: Call) -> Answer:
    """Return what the bell shows the caller, newest first."""
    prefix = f"{call.sandbox.id}/{call.caller.user_id}/"
    keys = [key for key, _ in service.findings.scan(model.NOTIFICATIONS, prefix=prefix, reverse=True)]
    read = service.control.get_many(model.READ_MARKS, keys)
    wanted = [key for key in keys if key not in read] if call.flag("unread") else keys
    items: list[Json] = []
    for key in wanted[: limit_of(call, _PAGE, _MOST)]:
        alert = model.instance(service.findings, call.sandbox.id, key.rpartition("/")[2])
        if alert is not None:
            rule = RULES.get(alert.rule_id)
            title = rule.name if rule else alert.rule_id
            items.append(
                {"id": alert.id, "title": title, "read": key in read, "alert": _shown(service, call.sandbox.id, [alert])[0]}
            )
    return Answer(body={"items": items, "unread": len(keys) - len(read)})


def _mark_read(service: _Service, call: Call) -> Answer:
    key = f"{call.sandbox.id}/{call.caller.user_id}/{call.params['id']}"
    if service.findings.get(model.NOTIFICATIONS, key) is None:
        raise refused(404, f"There is no notification {call.params['id']} for you in sandbox {call.sandbox.name}.")
    with service.control.transaction() as change:
        change.insert(model.READ_MARKS, [(key, b"%d" % call.now_ms)])
        _prune(change, model.READ_MARKS, call.now_ms)
    return Answer(body={"id": call.params["id"], "read": True})
