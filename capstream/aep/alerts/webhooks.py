"""The other end of a webhook: the challenge it must answer, a call, and when to call again. Source: monitoring-alerts.md 5.3."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from capstream.aep.alerts.model import Delivery, Health
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import JsonError, loads

TIMEOUT_S = 10.0
_DELAYS_MIN = (1, 2, 4, 8, 15)
_GIVE_UP_MS = 24 * 3_600_000
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_H = 24
_DISABLED_FROM = 10  #: attempts
_DISABLED_SHARE = 0.8
_UNSTABLE_SHARE = 0.2  #: ASSUMPTION: "persistent failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one call of a webhook came to."""

    ok: bool
    again: bool  #: may be repeated
    words: str  #: `HTTP 200`, or what kept the call from being made


def url_problem(url: str) -> str:
    """Return why a text cannot be a webhook's address, empty when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"webhook_url {url} is not a URL: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return f"webhook_url {url} must be an http or https URL with a host"
    return f"webhook_url {url} must not hold a name and password" if parts.username else ""


def verify(http: httpx.Client, url: str) -> str:
    """Return why the receiver did not answer the challenge, empty when it did."""
    challenge = new_hex32()
    try:
        response = http.get(url, params={**httpx.URL(url).params, "challenge": challenge}, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        return f"{url} could not be reached: {type(error).__name__}"
    if response.status_code != 200:
        return f"{url} answered the challenge with HTTP {response.status_code}, not 200"
    return "" if challenge in (response.text.strip(), _named(response)) else f"{url} did not answer with the challenge"


def _named(response: httpx.Response) -> str:
    try:
        body = loads(response.content)
    except JsonError:
        return ""
    return str(body.get("challenge")) if isinstance(body, dict) else ""


def call(http: httpx.Client, url: str, delivery: Delivery, signature: Mapping[str, str]) -> Attempt:
    """Post an event once."""
    headers = {"content-type": "application/json", "x-adobe-event-id": delivery.event_id, "x-adobe-event-code": delivery.code}
    if delivery.attempts:
        headers["x-adobe-retry-count"] = str(delivery.attempts)
    try:
        response = http.post(url, content=delivery.body, headers={**headers, **signature}, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        return Attempt(ok=False, again=True, words=type(error).__name__)
    status = response.status_code
    again = status == 429 or (500 <= status <= 599 and status != 505)
    return Attempt(ok=200 <= status <= 299, again=again, words=f"HTTP {status}")


def next_due_ms(delivery: Delivery, now_ms: int) -> int | None:
    """Return when to try again after `delivery.attempts` failures, None when it is time to give up."""
    delay = _DELAYS_MIN[min(delivery.attempts, len(_DELAYS_MIN)) - 1]
    due_ms = now_ms + delay * _MINUTE_MS
    return due_ms if due_ms - delivery.first_ms <= _GIVE_UP_MS else None


def noted(health: Health, *, failed: bool, now_ms: int) -> Health:
    """Return the health of a webhook after one more attempt: at 80 % failures of at least 10 in a day it is disabled."""
    hour = now_ms // _HOUR_MS
    hours = {each[0]: each for each in health.hours if each[0] > hour - _DAY_H}
    _, attempts, failures = hours.get(hour, (hour, 0, 0))
    hours[hour] = (hour, attempts + 1, failures + failed)
    every, bad = sum(each[1] for each in hours.values()), sum(each[2] for each in hours.values())
    if every >= _DISABLED_FROM and bad >= every * _DISABLED_SHARE:
        return Health(state="disabled", hours=list(hours.values()), disabled_ms=now_ms)
    state = "unstable" if failed and bad > every * _UNSTABLE_SHARE else "active"
    return Health(state=state, hours=list(hours.values()))
