"""How the relay is doing now: lag, disk, tokens, and the alerts that follow. No personal data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.relay.journal import decode
from capstream.relay.ledger import read_cursor, read_health, read_lanes, read_oldest_parked, read_tokens, read_waiting
from capstream.relay.redaction import without_values
from capstream.storage.ports import Documents, Log, Shrinking


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When an alert is raised."""

    lag_s: float = 300
    dead_letters: int = 0
    free_bytes: int = 1_073_741_824
    token_s: float = 600


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person has to look at. `name` is stable; `about` says which flow or client, when there are several."""

    name: str
    about: str
    reason: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Looks at the stores. `free_bytes` is the disk's."""

    journal: Log
    courier: Documents
    clock: Clock
    free_bytes: Callable[[], int]
    thresholds: Callable[[], Thresholds]
    stores: Mapping[str, Shrinking] = field(
        default_factory=dict
    )  #: by name; the disk is as full as it is without what is free in them
    sources: Callable[[], Iterable[str]] = tuple  #: whose dataflows are shown even when nothing ever happened to them

    def state(self) -> Json:
        """Return by dataflow `lag` (seconds) and `behind` (events), tokens, disk and alerts; `health` is `ok` or `alert`."""
        now = self.clock()
        flows, tokens, pending_s = self._flows(now), self._tokens(now), self._pending_s(now)
        pending = max(self.journal.end() - read_cursor(self.courier), 0)
        found = {
            "oldestPendingS": pending_s,
            "lag": {key: max(pending_s, flow["parkedS"], flow["waitingS"]) for key, flow in flows.items()},
            "behind": {key: pending + flow["waiting"] for key, flow in flows.items()},
            "delivery": flows,
            "tokens": tokens,
            "disk": self._disk(),
        }
        alerts = alerts_of(found, read_waiting(self.courier)["deadLetters"], self.thresholds())
        shown = [{"name": each.name, "about": each.about, "reason": each.reason, "cure": each.cure} for each in alerts]
        return {**found, "alerts": shown, "health": "alert" if alerts else "ok"}

    def _disk(self) -> Json:
        sizes = {name: {"bytes": store.size_bytes(), "freeBytes": store.free_bytes()} for name, store in self.stores.items()}
        reusable = sum(size["freeBytes"] for size in sizes.values())
        return {"freeBytes": self.free_bytes(), "reusableBytes": reusable, "stores": sizes}

    def _pending_s(self, now: int) -> float:
        """Return the age of the oldest webhook that is not settled, 0 when none waits."""
        following = self.journal.read(read_cursor(self.courier), 1)
        return max(now - decode(following[0][1]).received_ms, 0) / 1000 if following else 0.0

    def _flows(self, now: int) -> dict[str, Json]:
        parked = read_oldest_parked(self.courier)
        health = read_health(self.courier)
        lanes = read_lanes(self.courier)
        found: dict[str, Json] = {}
        known = {f"{source}/{kind}" for source in self.sources() for kind in ("event", "profile")}
        for key in sorted({*health, *parked, *lanes, *known}):
            facts = health.get(key, {"state": "ok", "reason": "", "sinceMs": now, "failures": 0})
            since = max(now - facts["sinceMs"], 0) / 1000
            parked_s = max(now - parked[key], 0) / 1000 if key in parked else 0.0
            lane = lanes.get(key, {"waiting": 0, "oldestMs": now})
            found[key] = {
                "state": facts["state"],
                "reason": facts["reason"],
                "sinceS": since,
                "parkedS": parked_s,
                "waiting": lane["waiting"],
                "waitingS": max(now - lane["oldestMs"], 0) / 1000,
            }
        return found

    def _tokens(self, now: int) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for client_id, facts in read_tokens(self.courier).items():
            failing = facts.get("failingSinceMs")
            found[client_id] = {
                "expiresInS": (facts.get("expiresMs", now) - now) / 1000,
                "failingS": (now - failing) / 1000 if failing else 0.0,
                "reason": facts.get("reason", ""),
            }
        return found


def alerts_of(state: Json, dead_letters: int, limits: Thresholds) -> list[Alert]:
    """Return the alerts that a state raises."""
    found: list[Alert] = []
    if state["oldestPendingS"] > limits.lag_s:
        reason = f"the oldest webhook has waited for {state['oldestPendingS']:.0f} s"
        found.append(Alert("lag", "", reason, "see the dataflows below; the relay catches up by itself"))
    for key, flow in state["delivery"].items():
        if flow["state"] == "paused" or (flow["state"] != "ok" and flow["sinceS"] > limits.lag_s):
            cure = "mend what the reason names; delivery goes on by itself"
            found.append(Alert("flow", key, f"{flow['state']} for {flow['sinceS']:.0f} s: {flow['reason']}", cure))
        if flow["waitingS"] > limits.lag_s:
            reason = f"{flow['waiting']} payloads wait, the oldest for {flow['waitingS']:.0f} s"
            found.append(
                Alert("lag", key, reason, "it catches up by itself once the dataflow delivers; nothing else waits for it")
            )
        if flow["parkedS"] > limits.lag_s:
            reason = f"a payload has been refused again and again for {flow['parkedS']:.0f} s"
            found.append(
                Alert(
                    "parked",
                    key,
                    reason,
                    "`capstream parked list` shows why; `capstream parked discard` gives it up",
                )
            )
    for client_id, token in state["tokens"].items():
        if token["failingS"] > limits.token_s or (token["failingS"] and token["expiresInS"] <= 0):
            cure = "check the client's secret and scopes; delivery goes on by itself"
            found.append(Alert("token", client_id, f"no token for {token['failingS']:.0f} s: {token['reason']}", cure))
    if dead_letters > limits.dead_letters:
        found.append(Alert("dead_letters", "", f"{dead_letters} dead letters", "`capstream dead-letters list`"))
    if state["disk"]["freeBytes"] + state["disk"]["reusableBytes"] < limits.free_bytes:
        disk = state["disk"]
        reason = f"{disk['freeBytes']} bytes of disk are free, and {disk['reusableBytes']} in the relay's files"
        found.append(Alert("disk", "", reason, "free space, or shorten relay.journal_days"))
    return found


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
