"""The delivery of a batch's records to one dataflow: lanes side by side, retries until each record has its verdict."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.answers import BEHIND, Halve, Judged, Later, Pause, Rejected, TryAgain, Unauthorised, Verdict
from capstream.relay.batching import lane_count, lanes, requests
from capstream.relay.inlet import Inlet
from capstream.relay.records import Kind, Record
from capstream.relay.redaction import without_values
from capstream.relay.retry import DELIVERY, Jitter, Policy, wait_s
from capstream.relay.sources import BatchLimits

Sleep = Callable[[float], Awaitable[None]]
"""Waits some seconds; tests pass one that does not."""

Rest = Callable[[float, float], Awaitable[None]]
"""Waits some seconds before the next try; at least the second number of them when others hear that the endpoint is well."""

Settled = tuple[Record, Verdict]


@dataclass(slots=True)
class Health:
    """How a dataflow is doing, for the status page."""

    state: str = "ok"  #: ok, retrying or paused
    reason: str = ""
    since_ms: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How waiting is done: the clock, the sleep, the rest between tries, the dice and the growth."""

    clock: Clock
    sleep: Sleep
    rest: Rest
    jitter: Jitter
    policy: Policy = DELIVERY


@dataclass(slots=True)
class FlowDelivery:
    """Delivers to one dataflow of one source.

    `inlet` is asked before each request, so a changed source record takes effect without a restart; it returns a Pause
    when the source does not say where to deliver, and Rejected when there is no such source any more. `report` hears every
    change of health.
    """

    source_key: str
    kind: Kind
    inlet: Callable[[], Inlet | Pause | Rejected]
    timing: Timing
    report: Callable[[str, Kind, Health], None]
    health: Health = field(default_factory=Health)

    async def deliver(self, records: Sequence[Record], limits: BatchLimits, linked: Mapping[str, str]) -> list[Settled]:
        """Return every record with its verdict. Waits as long as it takes while the platform is down or the flow paused."""
        count = lane_count(len(records), max_records=limits.records, limit=limits.lanes)
        found = lanes(records, count, linked)
        if len(found) == 1:
            return await self._lane(found[0], limits)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._lane(lane, limits)) for lane in found]
        return [settled for task in tasks for settled in task.result()]

    async def _lane(self, lane: Sequence[Record], limits: BatchLimits) -> list[Settled]:
        settled: list[Settled] = []
        waiting: set[str] = set()  # members one of whose events was refused for now: the next must not overtake it
        for request in requests(lane, max_records=limits.records, max_bytes=limits.bytes):
            settled += [(record, BEHIND) for record in request if record.member in waiting]
            sent = [record for record in request if record.member not in waiting] if waiting else request
            found = await self._request(sent) if sent else []
            settled += found
            if self.kind == "event":
                waiting |= {record.member for record, verdict in found if type(verdict) is Later}
        return settled

    async def _request(self, records: Sequence[Record]) -> list[Settled]:
        failures = 0
        bodies = [record.body for record in records]
        while True:
            inlet = self.inlet()
            if isinstance(inlet, Rejected):
                return [(record, inlet) for record in records]
            answer = inlet if isinstance(inlet, Pause) else await inlet.post(bodies)
            match answer:
                case Judged(verdicts):
                    self._well()
                    return list(zip(records, verdicts, strict=True))
                case Halve(alone):
                    self._well()
                    if len(records) == 1:
                        return [(records[0], alone)]
                    middle = len(records) // 2
                    return await self._request(records[:middle]) + await self._request(records[middle:])
                case TryAgain(reason, asked_s):
                    failures += 1
                    await self._wait("retrying", reason, failures, asked_s)
                case Pause(_, reason, asked_s):
                    failures += 1
                    await self._wait("paused", reason, failures, asked_s)
                case Unauthorised(_, reason):
                    failures += 1
                    await self._wait("paused", reason, failures, None)

    async def _wait(self, state: str, reason: str, failures: int, asked_s: float | None) -> None:
        policy = self.timing.policy
        wait = wait_s(failures, asked_s=asked_s, policy=policy, jitter=self.timing.jitter())
        say = log.warning if state == "retrying" else log.error
        say(
            f"dataflow {state}",
            action=f"flow_{state}",
            source=self.source_key,
            flow=self.kind,
            reason=without_values(reason),
            failures=failures,
            wait_s=round(wait, 3),
        )
        now = self.timing.clock()
        since = self.health.since_ms if self.health.state == state else now
        self.health = Health(state, reason, since, failures)
        self.report(self.source_key, self.kind, self.health)
        await self.timing.rest(wait, min(asked_s or 0.0, policy.cap_s))

    def _well(self) -> None:
        if self.health.state != "ok":
            log.info("dataflow delivers again", action="flow_resumed", source=self.source_key, flow=self.kind)
            self.health = Health("ok", "", self.timing.clock(), 0)
            self.report(self.source_key, self.kind, self.health)
