"""What a person has to look at: which alerts the state of the relay raises, and telling the log of them. No personal data."""

from collections.abc import Iterator
from dataclasses import dataclass

from capstream.kernel import log
from capstream.kernel.json import Json
from capstream.relay.redaction import without_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When an alert is raised."""

    lag_s: float = 300
    dead_letters: int = 0
    free_bytes: int = 1_073_741_824
    token_s: float = 600
    privacy_s: float = 86_400


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person has to look at. `name` is stable; `about` says which flow or client, when there are several."""

    name: str
    about: str
    reason: str
    cure: str


def alerts_of(state: Json, dead_letters: int, limits: Thresholds) -> list[Alert]:
    """Return the alerts that a state (`Watch.state`) raises."""
    found: list[Alert] = []
    if state["oldestPendingS"] > limits.lag_s:
        reason = f"the oldest webhook has waited for {state['oldestPendingS']:.0f} s"
        found.append(Alert("lag", "", reason, "see the dataflows below; the relay catches up by itself"))
    for key, flow in state["delivery"].items():
        found += _of_flow(key, flow, limits)
    for client_id, token in state["tokens"].items():
        if token["failingS"] > limits.token_s or (token["failingS"] and token["expiresInS"] <= 0):
            cure = "check the client's secret and scopes; delivery goes on by itself"
            found.append(Alert("token", client_id, f"no token for {token['failingS']:.0f} s: {token['reason']}", cure))
    if dead_letters > limits.dead_letters:
        found.append(Alert("dead_letters", "", f"{dead_letters} dead letters", "`capstream dead-letters list`"))
    return [*found, *_of_stores(state, limits)]


def _of_flow(key: str, flow: Json, limits: Thresholds) -> Iterator[Alert]:
    if flow["state"] == "paused" or (flow["state"] != "ok" and flow["sinceS"] > limits.lag_s):
        cure = "mend what the reason names; delivery goes on by itself"
        yield Alert("flow", key, f"{flow['state']} for {flow['sinceS']:.0f} s: {flow['reason']}", cure)
    if flow["waitingS"] > limits.lag_s:
        reason = f"{flow['waiting']} payloads wait, the oldest for {flow['waitingS']:.0f} s"
        yield Alert("lag", key, reason, "it catches up by itself once the dataflow delivers; nothing else waits for it")
    if flow["parkedS"] > limits.lag_s:
        reason = f"a payload has been refused again and again for {flow['parkedS']:.0f} s"
        yield Alert("parked", key, reason, "`capstream parked list` shows why; `capstream parked discard` gives it up")


def _of_stores(state: Json, limits: Thresholds) -> Iterator[Alert]:
    for about, reason in state["refusing"].items():
        cure = "mend what keeps its dataflows from delivering, or raise the limit; Capillary repeats what was answered 429"
        yield Alert("refusing", about, reason, cure)
    disk, privacy = state["disk"], state["privacy"]
    if disk["freeBytes"] + disk["reusableBytes"] < limits.free_bytes:
        reason = f"{disk['freeBytes']} bytes of disk are free, and {disk['reusableBytes']} in the relay's files"
        yield Alert("disk", "", reason, "free space, or shorten relay.journal_days")
    if privacy["overdueS"] > limits.privacy_s:
        reason = f"data of {privacy['due']} deleted members is still there, {privacy['overdueS']:.0f} s after its time"
        yield Alert("privacy", "", reason, "it goes when what waits is delivered; see `erasure_failed` in the log")


class AlertLog:
    """Tells the log when an alert is raised and when it is over, once each."""

    def __init__(self) -> None:
        self._raised: dict[tuple[str, str], Json] = {}

    def tell(self, alerts: list[Json]) -> None:
        """Compare with the alerts of the last time."""
        now = {(alert["name"], alert["about"]): alert for alert in alerts}
        for key in now.keys() - self._raised.keys():
            reason, cure = without_values(now[key]["reason"]), now[key]["cure"]
            log.error("alert raised", action="alert_raised", alert=key[0], about=key[1], reason=reason, cure=cure)
        for key in self._raised.keys() - now.keys():
            log.info("alert is over", action="alert_over", alert=key[0], about=key[1])
        self._raised = now
