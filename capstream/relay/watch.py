"""How the relay is doing now: lag, disk, tokens, and the alerts that follow (`alerting.py`). No personal data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.relay import privacy
from capstream.relay.alerting import Thresholds, alerts_of
from capstream.relay.journal import decode
from capstream.relay.ledger import read_cursor, read_health, read_lanes, read_oldest_parked, read_tokens, read_waiting
from capstream.storage.ports import Documents, Log, Shrinking


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
    grace_days: Callable[[], float] = lambda: 7.0  #: how long data of deleted members stays
    refusing: Callable[[int], dict[str, str]] = lambda _: {}  #: why webhooks are answered 429 now, by source; `Gate.refusing`
    sources: Callable[[], Iterable[str]] = tuple  #: whose dataflows are shown even when nothing ever happened to them

    def state(self) -> Json:
        """Return by dataflow `lag` (seconds) and `behind` (events), tokens, disk and alerts; `health` is `ok` or `alert`."""
        now = self.clock()
        flows, tokens, pending_s = self._flows(now), self._tokens(now), self._pending_s(now)
        pending = max(self.journal.end() - read_cursor(self.courier), 0)
        found: dict[str, Json] = {
            "oldestPendingS": pending_s,
            "lag": {key: max(pending_s, flow["parkedS"], flow["waitingS"]) for key, flow in flows.items()},
            "behind": {key: pending + flow["waiting"] for key, flow in flows.items()},
            "delivery": flows,
            "tokens": tokens,
            "disk": self._disk(),
            "privacy": privacy.counted(self.courier, now_ms=now, grace_days=self.grace_days()),
            "refusing": self.refusing(now),
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
                "waitingBytes": lane.get("bytes", 0),
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
