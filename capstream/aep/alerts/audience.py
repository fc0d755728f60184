"""Who is told of an alert: users by the bell, mailboxes by e-mail. Source: monitoring-alerts.md 4.1, 4.2."""

import re

from capstream.aep.alerts import model
from capstream.aep.alerts.catalogue import Rule
from capstream.aep.alerts.rules import Subject
from capstream.storage.ports import Reading

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,63}", re.ASCII)
_MOST_CHARACTERS = 254
_TECHNICAL = "@techacct.adobe.com"  # ids of accounts, not mailboxes


def is_address(text: str) -> bool:
    """Return whether a text is an e-mail address that a letter can be sent to."""
    whole = _ADDRESS.fullmatch(text) is not None and len(text) <= _MOST_CHARACTERS
    return whole and not text.lower().endswith(_TECHNICAL)


def users(control: Reading, rule: Rule, subject: Subject) -> set[str]:
    """Return the ids of the users whose bell rings."""
    subscribed = _of_flow(control, rule, subject)
    return set(_of_rule(control, rule, subject)) | {each.user_id for each in subscribed if "inapp" in each.channels}


def mailboxes(control: Reading, rule: Rule, subject: Subject) -> set[str]:
    """Return the addresses that get a letter: those among a rule's subscribers, and those of subscriptions by e-mail."""
    subscribed = _of_flow(control, rule, subject)
    named = {each for each in _of_rule(control, rule, subject) if is_address(each)}
    return named | {each.email for each in subscribed if "email" in each.channels and each.email}


def _of_rule(control: Reading, rule: Rule, subject: Subject) -> tuple[str, ...]:
    return model.setting(control, subject.sandbox_id, rule.id).subscribers


def _of_flow(control: Reading, rule: Rule, subject: Subject) -> list[model.Subscription]:
    if subject.type != "flow":
        return []
    found = model.subscriptions(control, subject.sandbox_id, subject.id)
    return [each for each in found if rule.id in each.rule_ids]
