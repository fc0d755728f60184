"""When a head is remembered, when it is met again, and what happens to requests that have another one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from webhook_wire import Wire

from capstream.serving.exchange import Reply, Respond, Take, ThinRequest
from capstream.serving.head import remembered

HEAD = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\nContent-Length: %d\r\nx-a: 1\r\n\r\n"
OTHER = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\nx-a: %d\r\ncontent-length: 2\r\n\r\n%02d"
HEADERS = {b"host": b"h", b"content-length": b"2", b"x-a": b"1"}
LIMIT = 100_000


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (HEAD % 7, 7),
        (HEAD % 1234567 + b"body", 1234567),
        (HEAD.replace(b"%d", b"007"), 7),
        (HEAD.replace(b"%d", b"1234567890"), -1),  # more digits than are read
        (HEAD.replace(b"%d", b""), -1),
        (HEAD.replace(b"%d", b"-1"), -1),
        (HEAD.replace(b"%d", b"7 "), -1),
        (HEAD.replace(b"Content", b"content") % 7, -1),
        (HEAD.replace(b"x-a: 1", b"x-a: 2") % 7, -1),
        ((HEAD % 7)[:-1], -1),
        ((HEAD % 7)[:40], -1),
        (b"", -1),
    ],
)
def test_a_head_is_met_again_with_any_size(packet: bytes, found: int) -> None:
    head = remembered(HEAD % 2, HEADERS)
    assert head is not None
    body = head.find(b"ab" + packet, 2)
    assert (head.body_size if body >= 0 else -1) == found
    assert body < 0 or (b"ab" + packet)[body:] == packet.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("packet", "headers"),
    [
        ((HEAD % 2)[:-1], HEADERS),
        (HEAD.replace(b"h\r\n", b"h\n") % 2, HEADERS),
        (HEAD.replace(b"x-a", b"host") % 2, {b"host": b"1", b"content-length": b"2"}),
        (HEAD.replace(b"x-a: 1", b"expect: 100-continue") % 2, {**HEADERS, b"expect": b"100-continue"}),
        (HEAD.replace(b"x-a: 1", b"content-encoding: gzip") % 2, {**HEADERS, b"content-encoding": b"gzip"}),
        (HEAD.replace(b"x-a: 1", b"x-a: content-length: 2") % 2, {**HEADERS, b"x-a": b"content-length: 2"}),
        (HEAD.replace(b"Content-Length", b"x-content-length") % 2, {**HEADERS, b"x-content-length": b"2"}),
        (b"\r\n\r\n" + HEAD % 2, HEADERS),
    ],
)
def test_a_head_that_could_mean_something_else_is_not_remembered(packet: bytes, headers: dict[bytes, bytes]) -> None:
    assert remembered(packet, headers) is None


class Regular:
    """Takes bodies until it is full."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.taken: list[bytes] = []

    def take(self, body: bytes, reply: Reply) -> bool:
        if len(self.taken) >= self.room:
            return False
        self.taken.append(body)
        if body == b"boom":
            raise RecursionError
        asyncio.get_running_loop().call_soon(reply.give, 200, b"known " + body[:10], b"")
        return True


class Door:
    """A handler that answers at once and recognises everybody."""

    def __init__(self, room: int = 100) -> None:
        self.handled: list[bytes] = []
        self.recognised = 0
        self.regular = Regular(room)
        self.wire = Wire(self._handle, self._recognise, LIMIT)

    def _handle(self, request: ThinRequest, respond: Respond) -> None:
        self.handled.append(request.body)
        respond(200, b"whole " + request.body[:10], b"")

    def _recognise(self, _: ThinRequest) -> Take:
        self.recognised += 1
        return self.regular.take

    def answers(self) -> list[bytes]:
        return [part.partition(b"\r\n\r\n")[2] for part in self.wire.sent.split(b"HTTP/1.1 ")[1:]]


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def turn() -> None:
    await asyncio.sleep(0)


def test_a_head_is_parsed_once() -> None:
    async def story() -> None:
        door = Door()
        for body in (b"ab", b"cdef", b""):
            door.wire.receive(HEAD % len(body) + body)
            await turn()
        assert (door.handled, door.regular.taken) == ([b"ab"], [b"cdef", b""])
        assert door.answers() == [b"whole ab", b"known cdef", b"known "]
        door.wire.lose()

    play(story)


def test_known_requests_may_be_pipelined_split_and_mixed_with_others() -> None:
    async def story() -> None:
        door = Door()
        door.wire.receive(HEAD % 2 + b"ab")
        longer, longest = b"d" * 40_000, b"f" * 70_000
        stream = HEAD % 1 + b"c" + HEAD % 40_000 + longer + HEAD % 70_000 + longest + OTHER % (5, 5) + HEAD % 1 + b"e"
        for start in range(0, len(stream), 30_000):
            door.wire.receive(stream[start : start + 30_000])
        await turn()
        assert (door.regular.taken, door.handled) == ([b"c", longer], [b"ab", longest, b"05", b"e"])
        assert [answer[-2:] for answer in door.answers()] == [b"ab", b" c", b"dd", b"ff", b"05", b" e"]
        door.wire.lose()

    play(story)


def test_a_sender_that_is_not_taken_any_more_is_looked_at_again() -> None:
    async def story() -> None:
        door = Door(room=1)
        for number in range(4):
            door.wire.receive(HEAD % 1 + b"%d" % number)
            await turn()
        assert (door.handled, door.regular.taken, door.recognised) == ([b"0", b"2", b"3"], [b"1"], 3)
        door.wire.lose()

    play(story)


def test_heads_that_always_differ_are_soon_not_remembered_any_more() -> None:
    async def story() -> None:
        door = Door()
        for number in range(9):
            door.wire.receive(OTHER % (number, number))
        assert (len(door.handled), door.recognised) == (9, 3)
        door.wire.lose()

    play(story)


def test_a_known_request_that_breaks_its_handler_is_answered_too() -> None:
    async def story() -> None:
        door = Door()
        door.wire.receive(HEAD % 2 + b"ab")
        door.wire.receive(HEAD % 4 + b"boom")
        assert b"HTTP/1.1 500 " in door.wire.sent
        assert door.wire.closed
        door.wire.lose()

    play(story)


def test_a_connection_closes_behind_its_last_answer_not_before_the_first() -> None:
    async def story() -> None:
        waiting: list[Respond] = []

        def handle(request: ThinRequest, respond: Respond) -> None:
            waiting.append(respond)

        wire = Wire(handle, lambda _: None, LIMIT)
        wire.receive(HEAD % 1 + b"a" + HEAD.replace(b"x-a: 1", b"connection: close") % 1 + b"b")
        first, second = waiting
        second(200, b"second", b"")
        assert (wire.sent, wire.closed) == (b"", False)
        first(200, b"first", b"")
        assert wire.sent.index(b"first") < wire.sent.index(b"second")
        assert wire.closed
        wire.lose()

    play(story)


def test_a_stop_waits_for_a_known_request_that_is_arriving() -> None:
    async def story() -> None:
        door = Door()
        door.wire.receive(HEAD % 2 + b"ab")
        door.wire.receive(HEAD % 2 + b"c")
        (connection,) = door.wire.open_ones
        connection.stop()
        assert not door.wire.closed
        door.wire.receive(b"d")
        await turn()
        assert door.answers()[-1] == b"known cd"
        assert b"connection: close" in door.wire.sent
        assert door.wire.closed
        door.wire.lose()

    play(story)
