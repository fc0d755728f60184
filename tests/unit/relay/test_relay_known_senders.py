"""Whose heads the receiver lets be remembered, and what ends that: nothing that has changed since is taken on an old proof."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import SOURCE
from webhook_wire import Wire

from capstream.relay.back_pressure import Gate
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.serving.exchange import ReplyBy, ThinRequest
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

HOOK = "/webhooks/capillary/nw"
AUTH = {b"authorization": b"Bearer webhook-secret"}
HEAD = b"POST /webhooks/capillary/nw HTTP/1.1\r\nauthorization: Bearer webhook-secret\r\ncontent-length: %d\r\n\r\n"
LIMIT = 2000


class Backlog:
    """What waits behind the gate."""

    def __init__(self) -> None:
        self.waiting = 0

    def __call__(self) -> int:
        return self.waiting


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


@pytest.fixture
def receiver(journal: SqliteLog, sources: Sources, clock: Any, backlog: Backlog) -> Receiver:
    gate = Gate(backlog, lambda: 10**12)
    return Receiver(journal, sources, clock=clock, gate=gate, limits=ReceiverLimits(body_bytes=LIMIT))


def request(path: str = HOOK, method: str = "POST", headers: dict[bytes, bytes] | None = None) -> ThinRequest:
    return ThinRequest(method, path, AUTH if headers is None else headers, b"{}", "192.0.2.7")


@pytest.mark.parametrize(
    ("asked", "is_known"),
    [
        (request(), True),
        (request(method="PUT"), True),
        (request(method="GET"), False),
        (request(path=f"{HOOK}?a=1"), False),
        (request(path=f"{HOOK}/health"), False),
        (request(path="/webhooks/capillary/nobody"), False),
        (request(path="/webhooks/capillary/length", headers={b"content-length": b"2"}), False),
        (request(headers={}), False),
        (request(headers={b"authorization": b"Bearer wrong"}), False),
        (request(headers=AUTH | {b"content-encoding": b"gzip"}), False),
    ],
)
def test_only_ordinary_requests_with_the_secret_are_known(
    receiver: Receiver, sources: Sources, asked: ThinRequest, is_known: bool
) -> None:
    sources.put("length", SOURCE | {"auth": {"form": "header", "header": "Content-Length", "secrets": ["2"]}})
    assert (receiver.recognise(asked) is not None) == is_known


CHANGES: dict[str, Callable[[Sources], object]] = {
    "rotated": lambda sources: sources.rotate("nw"),
    "retired": lambda sources: sources.retire("nw"),
    "another secret": lambda sources: sources.put("nw", SOURCE | {"auth": {"secrets": ["new"]}}),
    "other addresses": lambda sources: sources.put("nw", SOURCE | {"auth": {"allow": ["198.51.100.0/24"]}}),
    "a smaller limit": lambda sources: sources.put("nw", SOURCE | {"bodyBytes": 10}),
    "disabled": lambda sources: sources.put("nw", SOURCE | {"enabled": False}),
    "deleted": lambda sources: sources.delete("nw"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "by another process"])
def test_nobody_is_taken_on_a_proof_from_before_a_change(
    receiver: Receiver,
    sources: Sources,
    sources_db: SqliteDocuments,
    vault: Vault,
    clock: Any,
    change: Callable[[Sources], object],
    elsewhere: bool,
) -> None:
    take = receiver.recognise(request())
    assert take is not None
    change(Sources(sources_db, vault) if elsewhere else sources)
    clock.advance(1 if elsewhere else 0)
    assert not take(b"{}", ReplyBy(lambda *_: None))


def test_a_source_may_set_a_smaller_limit_of_its_own(receiver: Receiver, sources: Sources, journal: SqliteLog) -> None:
    sources.put("nw", SOURCE | {"bodyBytes": 10})
    answers: list[int] = []

    async def story() -> None:
        take = receiver.recognise(request())
        assert take is not None
        assert not take(b"x" * 11, ReplyBy(lambda status, *_: answers.append(status)))
        assert take(b"x" * 10, ReplyBy(lambda status, *_: answers.append(status)))
        await asyncio.sleep(0)

    asyncio.run(story())
    assert (answers, journal.end()) == ([200], 1)


def test_bodies_above_the_limit_and_all_behind_a_closed_gate_are_looked_at(
    receiver: Receiver, clock: Any, backlog: Backlog, journal: SqliteLog
) -> None:
    answers: list[int] = []
    reply = ReplyBy(lambda status, *_: answers.append(status))

    async def story() -> None:
        take = receiver.recognise(request())
        assert take is not None
        assert not take(b"x" * (LIMIT + 1), reply)
        assert take(b"x" * LIMIT, reply)
        await asyncio.sleep(0)  # what comes before the commit is of the same time
        backlog.waiting = 10**9
        clock.advance(1)
        assert not take(b"{}", reply)
        assert receiver.recognise(request()) is None
        backlog.waiting = 0
        clock.advance(1)
        assert take(b"{}", reply)
        await asyncio.sleep(0)

    asyncio.run(story())
    assert answers == [200, 200]
    assert journal.end() == 2


def test_a_secret_that_is_changed_while_a_connection_is_open(
    receiver: Receiver, sources: Sources, journal: SqliteLog, make_event: Any
) -> None:
    async def story() -> bytes:
        wire = Wire(receiver.handle, receiver.recognise, LIMIT)
        for number in range(1, 6):
            if number == 4:
                sources.put("nw", SOURCE | {"auth": {"secrets": ["new"]}})
            wire.receive(HEAD % len(make_event(number)) + make_event(number))
            await asyncio.sleep(0)
        wire.lose()
        return wire.sent

    sent = asyncio.run(story())
    assert [part[:3] for part in sent.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"401", b"401"]
    assert journal.end() == 3
