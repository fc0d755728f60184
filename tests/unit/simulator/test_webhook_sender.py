"""The sender against a small HTTP server that answers as it is told."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httptools
import pytest

from capstream.capillary.programme.events import SimEvent
from capstream.kernel.errors import InputError
from capstream.kernel.json import loads
from capstream.relay.faults import NO_FAULTS, Feed
from capstream.relay.sender import Acceptance, Attempt, Counts, Listeners, Rate, RateKind, RetryPolicy, Sender, SenderOptions

Answer = Callable[[str, int], int]
"""(event id, how often it was seen before) -> status; 0 closes the connection, -1 says nothing."""


@dataclass
class Target:
    answer: Answer
    order: list[str] = field(default_factory=list)
    heads: list[dict[bytes, bytes]] = field(default_factory=list)
    connections: int = 0

    def seen(self, event_id: str) -> int:
        return self.order.count(event_id)


class Protocol(asyncio.Protocol):
    def __init__(self, target: Target) -> None:
        self.target = target
        self.body = b""
        self.head: dict[bytes, bytes] = {}
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.target.connections += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head[name] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        event_id, before = loads(self.body)["eventId"], 0
        self.body, before = b"", self.target.seen(event_id)
        self.target.order.append(event_id)
        self.target.heads.append(self.head)
        self.head = {}
        status = self.target.answer(event_id, before)
        if status == 0:
            self.transport.close()
        elif status > 0:
            answer = b'{"status":"duplicate"}' if before else b'{"status":"accepted"}'
            self.transport.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(answer), answer))


def steps(count: int) -> Iterator[list[SimEvent]]:
    for number in range(count):
        yield [SimEvent({"eventId": f"e{number}", "eventName": "x"}, 1_700_000_000_000 + number, 1, "x")]


def post(
    answer: Answer, count: int = 5, *, stop_after_s: float | None = None, listeners: Listeners | None = None, **options: object
) -> tuple[Target, Counts]:
    target = Target(answer)

    async def run() -> Counts:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Protocol(target), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wanted: dict[str, object] = {"connections": 1, "backoff_s": 0.01, "ack_loss": 0.0, "timeout_s": 5.0} | options
        sender = Sender(
            Feed(steps(count), NO_FAULTS, seed=1),
            SenderOptions(url=f"http://127.0.0.1:{port}/hook?x=1", headers={"Authorization": "Bearer s"}, **wanted),  # type: ignore[arg-type]
            lambda: 1,
            listeners,
        )
        stop = asyncio.Event()
        if stop_after_s is not None:
            loop.call_later(stop_after_s, stop.set)
        try:
            async with asyncio.timeout(30):
                return await sender.run(stop)
        finally:
            server.close()

    return target, asyncio.run(run())


def test_every_event_is_posted_once_on_one_kept_connection() -> None:
    target, counts = post(lambda _, __: 200, 20)
    assert target.order == [f"e{number}" for number in range(20)]
    assert (target.connections, counts.accepted, counts.requests) == (1, 20, 20)
    assert target.heads[0][b"authorization"] == b"Bearer s"


def test_many_connections_post_everything() -> None:
    target, counts = post(lambda _, __: 200, 100, connections=8)
    assert sorted(target.order) == sorted(f"e{number}" for number in range(100))
    assert (target.connections, counts.accepted) == (8, 100)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_target_gets_the_same_event_first(status: int) -> None:
    target, counts = post(lambda event_id, before: status if event_id == "e1" and before < 2 else 200)
    assert target.order == ["e0", "e1", "e1", "e1", "e2", "e3", "e4"]
    assert (counts.accepted, counts.retries, counts.failed) == (5, 2, 0)


def test_a_refused_event_is_lost_and_the_next_one_follows() -> None:
    target, counts = post(lambda event_id, _: 400 if event_id == "e1" else 200)
    assert target.order == ["e0", "e1", "e2", "e3", "e4"]
    assert (counts.accepted, counts.failed) == (4, 1)


def test_the_old_policy_loses_429() -> None:
    _, counts = post(lambda event_id, _: 429 if event_id == "e1" else 200, retry=RetryPolicy.LEGACY)
    assert (counts.accepted, counts.failed) == (4, 1)


def test_a_dropped_connection_is_retried() -> None:
    target, counts = post(lambda event_id, before: 0 if event_id == "e2" and before < 2 else 200)
    assert target.order == ["e0", "e1", "e2", "e2", "e2", "e3", "e4"]
    assert (counts.accepted, counts.connection_errors, target.connections) == (5, 1, 3)


def test_a_silent_target_times_out_and_is_retried() -> None:
    target, counts = post(lambda event_id, before: -1 if event_id == "e2" and not before else 200, timeout_s=0.1)
    assert target.order.count("e2") == 2
    assert (counts.accepted, counts.timeouts) == (5, 1)


def test_a_lost_answer_makes_a_duplicate() -> None:
    target, counts = post(lambda _, __: 200, ack_loss=1.0)
    assert target.order == [f"e{number}" for number in range(5) for _ in range(2)]
    assert (counts.accepted, counts.acks_lost, counts.duplicates_answered) == (5, 5, 5)


def test_acceptances_are_told_once() -> None:
    told: list[Acceptance] = []
    attempts: list[Attempt] = []
    post(lambda _, before: 200 if before else 503, listeners=Listeners(accepted=told.append, attempted=(attempts.append,)))
    assert [one.event.event_id for one in told] == [f"e{number}" for number in range(5)]
    assert [(one.number, one.status) for one in attempts][:2] == [(1, 503), (2, 200)]


def test_a_stop_ends_the_feed_but_not_what_is_begun() -> None:
    target, counts = post(lambda _, __: 200, 10_000, stop_after_s=0.2, rate=Rate(RateKind.PER_SECOND, 50.0), connections=4)
    assert 1 <= len(target.order) < 100
    assert counts.accepted == len(target.order) == counts.requests


def test_a_stop_does_not_wait_for_ever_for_a_target_that_is_down() -> None:
    target, counts = post(lambda _, __: 503, 10, stop_after_s=0.1, drain_s=0.1, backoff_s=60.0)
    assert (counts.accepted, counts.undelivered) == (0, 1)
    assert target.order == ["e0", "e0"]  # one last try


def test_an_address_nobody_listens_at_is_retried_until_the_stop() -> None:
    async def run() -> Counts:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        options = SenderOptions(url="http://127.0.0.1:9/hook", connections=1, backoff_s=0.01, drain_s=0.05)
        return await Sender(Feed(steps(3), NO_FAULTS, seed=1), options, lambda: 1).run(stop)

    counts = asyncio.run(run())
    assert counts.connection_errors >= 2
    assert counts.undelivered == 1


def test_a_listener_that_fails_ends_the_run() -> None:
    def fail(_: Acceptance) -> None:
        raise RuntimeError("no")

    with pytest.raises(ExceptionGroup) as failed:
        post(lambda _, __: 200, listeners=Listeners(accepted=fail), connections=4)
    assert failed.group_contains(RuntimeError, match="no")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("max", Rate(RateKind.MAX)),
        ("200/s", Rate(RateKind.PER_SECOND, 200)),
        ("realtime×60", Rate(RateKind.REALTIME, 60)),
        ("realtimex2", Rate(RateKind.REALTIME, 2)),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.of(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "0/s", "-1/s", "nan", "realtime×0"])
def test_wrong_rates_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        Rate.of(text)


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(InputError):
        Sender(Feed(steps(1), NO_FAULTS, seed=1), SenderOptions(url="ftp://x"), lambda: 1)
