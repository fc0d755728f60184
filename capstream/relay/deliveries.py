"""What the simulated Event Notification Service remembers of its deliveries: a log by event, and counts by minute.

Memory is bounded: the newest 100,000 events have a log, counts are kept for 30 days, as long as Capillary shows them.
Source: capillary.md 1.5, 1.7, 10.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from capstream.kernel.json import Json
from capstream.relay.faults import Posting
from capstream.relay.sender import Attempt

State = Literal["delivered", "failed", "retrying"]

_MINUTE_MS, _KEPT_MS = 60_000, 30 * 86_400_000
_LOGS = 100_000


@dataclass(slots=True)
class Log:
    """The deliveries of one event. Times in epoch milliseconds."""

    event_id: str
    kind: str
    ref_id: str
    request_id: str
    customer_id: int | None
    ingested_ms: int
    started_ms: int
    ended_ms: int
    status: int
    attempts: int
    state: State

    @property
    def took_ms(self) -> int:
        """Return how long the last request took."""
        return self.ended_ms - self.started_ms


@dataclass(slots=True)
class _Minute:
    states: dict[State, int] = field(default_factory=dict)
    took_ms: int = 0  #: of what was delivered


class Deliveries:
    """Notes every attempt of the sender. Copies of an event are no events: Capillary repeats what it takes for undelivered."""

    def __init__(self, handed_out: Callable[[], int]) -> None:
        self._handed_out = handed_out
        self._logs: dict[tuple[str, bool], Log] = {}
        self._minutes: dict[int, _Minute] = {}
        self._events = 0

    def attempted(self, attempt: Attempt) -> None:
        """Note a request and its answer."""
        posting = attempt.posting
        if posting.is_duplicate:
            return
        key = (posting.event.event_id, posting.is_spoilt)
        log = self._logs.get(key)
        if log is None:
            log = self._begun(key, attempt)
        elif log.state == "delivered":
            return  # an acknowledgement that got lost: the first one counts
        log.started_ms, log.ended_ms = attempt.sent_ms, attempt.answered_ms
        log.status, log.attempts = attempt.status, attempt.number
        self._move(log, "delivered" if 200 <= attempt.status < 300 else "retrying")

    def lost(self, posting: Posting) -> None:
        """Note that an event is given up."""
        log = self._logs.get((posting.event.event_id, posting.is_spoilt))
        if log is not None and log.state != "delivered" and not posting.is_duplicate:
            self._move(log, "failed")

    def log(self, event_id: str) -> Log | None:
        """Return the log of an event."""
        return self._logs.get((event_id, False))

    def logs(self) -> Iterator[Log]:
        """Yield the logs, newest first."""
        return iter(reversed(self._logs.values()))

    def metrics(self, start_ms: int, end_ms: int, now_ms: int) -> dict[str, Json]:
        """Return the counts of events that came in between two times (both included), to the minute."""
        states: dict[State, int] = {"delivered": 0, "failed": 0, "retrying": 0}
        took_ms = 0
        for minute, counted in self._minutes.items():
            if start_ms // _MINUTE_MS <= minute <= end_ms // _MINUTE_MS:
                took_ms += counted.took_ms
                for state, count in counted.states.items():
                    states[state] += count
        pending = max(self._handed_out() - self._events, 0) if start_ms <= now_ms <= end_ms else 0
        average = {"averageDeliveryTime": took_ms / states["delivered"]} if states["delivered"] else {}
        return {
            "totalEvents": sum(states.values()) + pending,
            "deliveredEvents": states["delivered"],
            "failedEvents": states["failed"],
            "retryingEvents": states["retrying"],
            "pendingEvents": pending,
            **average,
        }

    def _begun(self, key: tuple[str, bool], attempt: Attempt) -> Log:
        posting, sent_ms = attempt.posting, attempt.sent_ms
        body, minute = posting.event.body, sent_ms // _MINUTE_MS
        log = self._logs[key] = Log(
            event_id=key[0],
            kind=posting.event.kind,
            ref_id=str(body.get("refId", "")),
            request_id=str(body.get("apiRequestId", "")),
            customer_id=posting.event.customer_id,
            ingested_ms=sent_ms,
            started_ms=sent_ms,
            ended_ms=sent_ms,
            status=0,
            attempts=0,
            state="retrying",
        )
        self._events += posting.is_first
        if minute not in self._minutes:
            self._minutes[minute] = _Minute()
            for old in [each for each in self._minutes if each < minute - _KEPT_MS // _MINUTE_MS]:
                del self._minutes[old]
        states = self._minutes[minute].states
        states["retrying"] = states.get("retrying", 0) + 1
        if len(self._logs) > _LOGS:
            del self._logs[next(iter(self._logs))]
        return log

    def _move(self, log: Log, state: State) -> None:
        minute = self._minutes.get(log.ingested_ms // _MINUTE_MS)
        if minute is not None and state != log.state:
            minute.states[log.state] -= 1
            minute.states[state] = minute.states.get(state, 0) + 1
            minute.took_ms += log.took_ms if state == "delivered" else 0
        log.state = state
