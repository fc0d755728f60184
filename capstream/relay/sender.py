"""The simulated Event Notification Service: webhooks over keep-alive connections, with the faults of the real one.

Source: capillary.md 1.5, 9.4.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Protocol

from capstream.capillary.programme.events import SimEvent
from capstream.kernel.clock import Clock
from capstream.kernel.errors import InputError
from capstream.relay.faults import Posting
from capstream.relay.webhook_client import Connection, Target

_GIVE_UP_S = {"modern": 7 * 86_400.0, "legacy": 86_400.0}
_LONGEST_BACKOFF_S = 3_600.0
_LEGACY_BACKOFF_S = 30.0
_LOOK_UP_S = 0.2  #: how often a wait looks whether the run is to stop
_BURST_S = 0.5  #: how much of a fixed rate may be made up for after a stall


class RetryPolicy(StrEnum):
    """What ENS does with an answer that is no success."""

    MODERN = "modern"  #: 4xx except 429 lost; the rest backs off exponentially for 7 days
    LEGACY = "legacy"  #: 4xx lost; 5xx and time-outs every 30 s for 24 hours


class RateKind(StrEnum):
    """How postings are spread over time."""

    MAX = "max"  #: as fast as the target answers
    PER_SECOND = "per_second"  #: a fixed number a second
    REALTIME = "realtime"  #: virtual time, so many times faster


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate: `max`, `200/s` or `realtime×60`."""

    kind: RateKind
    value: float = 0.0

    @classmethod
    def of(cls, text: str) -> "Rate":
        """Return the rate that the text names.

        Errors: InputError.
        """
        word = text.strip().lower().replace("×", "x")
        try:
            if word == "max":
                return cls(RateKind.MAX)
            if word.startswith("realtime"):
                value = float(word.removeprefix("realtime").removeprefix("x") or 1)
                kind = RateKind.REALTIME
            else:
                value = float(word.removesuffix("/s"))
                kind = RateKind.PER_SECOND
        except ValueError:
            value = 0.0
        if not 0 < value < 1e12:
            raise InputError("rate", f"{text!r} is no rate", "use max, 200/s or realtime×60")
        return cls(kind, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """One webhook registration and how ENS behaves. Without an address nothing is posted, at the same pace."""

    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    method: str = "POST"
    rate: Rate = Rate(RateKind.MAX)
    connections: int = 10
    retry: RetryPolicy = RetryPolicy.MODERN
    backoff_s: float = 1.0  #: the first wait; doubles
    timeout_s: float = 30.0
    ack_loss: float = 0.002
    drain_s: float = 30.0  #: how long a stopped run goes on trying to deliver what it has begun
    seed: int = 1


@dataclass(slots=True)
class Counts:
    """What the sender did. `accepted`, `failed`, `unwanted`, `undelivered` (given up at the stop) count events, no copies."""

    events: int = 0
    requests: int = 0
    accepted: int = 0
    failed: int = 0
    undelivered: int = 0
    unwanted: int = 0  #: not among the webhook's event names, or it is not active
    duplicates_sent: int = 0
    duplicates_answered: int = 0
    acks_lost: int = 0
    spoilt_sent: int = 0
    retries: int = 0
    timeouts: int = 0
    connection_errors: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The first success of an event."""

    event: SimEvent
    sent_ms: int  #: wall clock of the attempt that succeeded
    answered_ms: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. `status` is 0 when no answer came."""

    posting: Posting
    number: int
    status: int
    sent_ms: int
    answered_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Whom the sender tells."""

    accepted: Callable[[Acceptance], None] | None = None
    attempted: tuple[Callable[[Attempt], None], ...] = ()
    lost: Callable[[Posting], None] = lambda _posting: None  #: refused for good, or no time is left


class Postings(Protocol):
    """What a sender posts."""

    async def take(self) -> Posting | None:
        """Return the next posting, None when there are no more."""

    def close(self) -> None:
        """Hand out what there is, and nothing new."""


def _everything(_: Posting) -> bool:
    return True


def _unchanged(posting: Posting) -> bytes:
    return posting.raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Where a webhook goes now, and what of it. Without a target nothing is posted."""

    target: Target | None
    connections: int
    wants: Callable[[Posting], bool] = _everything
    body: Callable[[Posting], bytes] = _unchanged


class Sender:
    """Posts what a feed gives, each connection one posting at a time, the same one again until it is settled."""

    def __init__(self, feed: Postings, options: SenderOptions, clock: Clock, listeners: Listeners | None = None) -> None:
        self.counts = Counts()
        self._feed = feed
        self._options = options
        self._clock = clock
        self._listeners = listeners or Listeners()
        target = Target.of(options.url, options.method, options.headers) if options.url else None
        self._subscription = Subscription(target=target, connections=options.connections)
        self._chance = Random(f"{options.seed}:sender")  # noqa: S311 - faults must repeat themselves
        self._pacer = _Pacer(options.rate)
        self._going = asyncio.Event()
        self._going.set()
        self._stop_by: float | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._workers: dict[int, asyncio.Task[None]] = {}

    def follow(self, subscription: Subscription) -> None:
        """Post as it says from now on, what is being repeated too."""
        self._subscription = subscription
        self._staff()

    def pause(self) -> None:
        """Begin no further posting."""
        self._going.clear()

    def resume(self) -> None:
        """Go on."""
        self._pacer.forget()
        self._going.set()

    async def run(self, stop: asyncio.Event) -> Counts:
        """Return the counts when the feed is empty and everything is settled; `stop` ends the feed at its next step."""
        async with asyncio.TaskGroup() as self._tasks:
            watch = self._tasks.create_task(self._watch(stop))
            self._staff()
            while self._workers:
                await asyncio.wait(self._workers.values(), return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
        self._tasks = None
        return self.counts

    def _staff(self) -> None:
        """Begin the connections that are missing; those that are too many end by themselves."""
        if self._tasks is None:
            return
        for index in range(self._subscription.connections):
            if index not in self._workers:
                self._workers[index] = self._tasks.create_task(self._work(index))

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._feed.close()
        self._stop_by = asyncio.get_running_loop().time() + self._options.drain_s
        self._going.set()

    async def _work(self, index: int) -> None:
        loop = asyncio.get_running_loop()
        line = _Line()
        try:
            while index < self._subscription.connections:
                if not self._going.is_set():
                    await self._going.wait()
                posting = await self._feed.take()
                if posting is None:
                    return
                if self._stop_by is None:
                    await self._wait(self._pacer.delay(posting.virtual_ms, loop.time()))
                    await self._going.wait()
                await self._settle(line, posting)
                await asyncio.sleep(0)  # a target that answers at once must not keep the loop from everything else
        finally:
            line.close()
            del self._workers[index]

    async def _wait(self, delay_s: float) -> None:
        """Wait, but not beyond a stop."""
        loop = asyncio.get_running_loop()
        until = loop.time() + delay_s
        while self._stop_by is None and (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, _LOOK_UP_S))

    async def _settle(self, line: "_Line", posting: Posting) -> None:
        """Post until there is a success, a refusal for good, or no time left."""
        loop = asyncio.get_running_loop()
        counts = self.counts
        begun, attempt = loop.time(), 0
        while True:
            subscription = self._subscription
            if subscription.target is None or not subscription.wants(posting):
                counts.unwanted += posting.is_first and not posting.is_accepted
                self._listeners.lost(posting)
                return
            attempt += 1
            if attempt == 1:
                counts.duplicates_sent += posting.is_duplicate
                counts.spoilt_sent += posting.is_spoilt
            line.point_to(subscription, posting)
            status = await self._attempt(line, posting, attempt)
            if 200 <= status < 300:
                if attempt == 1 and self._chance.random() < self._options.ack_loss:
                    counts.acks_lost += 1
                    continue
                return
            if self._is_final(status):
                counts.failed += posting.is_first
                self._listeners.lost(posting)
                return
            wait_s = self._backoff(attempt)
            if self._is_over(loop.time() + wait_s, begun):
                counts.undelivered += posting.is_first
                self._listeners.lost(posting)
                return
            counts.retries += 1
            await self._rest(wait_s)

    async def _attempt(self, line: "_Line", posting: Posting, number: int) -> int:
        counts, sent_ms = self.counts, self._clock()
        counts.requests += 1
        try:
            status, body = await line.post(self._options.timeout_s)
        except TimeoutError:
            status, body = 0, b""
            counts.timeouts += 1
        except OSError:
            status, body = 0, b""
            counts.connection_errors += 1
        counts.statuses[status] += 1
        answered_ms = self._clock()
        if 200 <= status < 300:
            counts.duplicates_answered += b'"duplicate"' in body
            if posting.is_first and not posting.is_accepted:
                posting.is_accepted = True
                counts.accepted += 1
                if self._listeners.accepted is not None:
                    self._listeners.accepted(Acceptance(posting.event, sent_ms, answered_ms))
        if self._listeners.attempted:
            attempt = Attempt(posting, number, status, sent_ms, answered_ms)
            for tell in self._listeners.attempted:
                tell(attempt)
        return status

    def _is_final(self, status: int) -> bool:
        return 400 <= status < 500 and (status != 429 or self._options.retry is RetryPolicy.LEGACY)

    def _backoff(self, attempt: int) -> float:
        if self._options.retry is RetryPolicy.LEGACY:
            return _LEGACY_BACKOFF_S
        longest = min(self._options.backoff_s * 2.0 ** min(attempt - 1, 30), _LONGEST_BACKOFF_S)
        return longest * (0.8 + 0.4 * self._chance.random())

    def _is_over(self, then: float, begun: float) -> bool:
        is_stopped = self._stop_by is not None and then > self._stop_by
        return is_stopped or then - begun > _GIVE_UP_S[self._options.retry]

    async def _rest(self, wait_s: float) -> None:
        """Wait before the next attempt; after a stop no longer than the drain lasts: then comes a last attempt."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (left := until - loop.time()) > 0:
            if self._stop_by is not None:
                until = min(until, self._stop_by)
                left = max(0.0, min(left, self._stop_by - loop.time()))
            await asyncio.sleep(min(left, _LOOK_UP_S))


class _Line:
    """One of a webhook's connections, and the request that goes over it; both are made anew when the webhook changes."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._target: Target | None = None
        self._made_for: tuple[Subscription, Posting] | None = None
        self._request = b""

    def point_to(self, subscription: Subscription, posting: Posting) -> None:
        """Prepare a request. The subscription has a target."""
        if self._made_for is not None and self._made_for[0] is subscription and self._made_for[1] is posting:
            return
        if subscription.target is not None and subscription.target is not self._target:
            self.close()
            self._target = subscription.target
            self._connection = Connection(self._target)
        if self._target is not None:
            self._request = self._target.request(subscription.body(posting), posting.headers)
        self._made_for = (subscription, posting)

    async def post(self, timeout_s: float) -> tuple[int, bytes]:
        """Return (status, body) of the request. Errors: OSError, TimeoutError."""
        if self._connection is None:
            raise OSError("there is nowhere to post to")
        return await self._connection.post(self._request, timeout_s)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class _Pacer:
    """When the next posting may go."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._next = 0.0
        self._origin: tuple[float, int] | None = None

    def forget(self) -> None:
        """Take up the pace anew, without making up for a pause."""
        self._origin = None

    def delay(self, virtual_ms: int, now: float) -> float:
        """Return the seconds to wait before this posting."""
        if self._rate.kind is RateKind.MAX:
            return 0.0
        if self._rate.kind is RateKind.PER_SECOND:
            slot = max(self._next, now - _BURST_S)
            self._next = slot + 1 / self._rate.value
            return slot - now
        if self._origin is None:
            self._origin = (now, virtual_ms)
        start, first_ms = self._origin
        return start + (virtual_ms - first_ms) / 1000 / self._rate.value - now
