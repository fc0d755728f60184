"""One port, two ways in: raw bytes in, raw bytes out, against the real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvloop
from running import free_port

from capstream.serving.exchange import Respond, ThinRequest
from capstream.serving.port import asgi_webhooks, serve

LIMIT = 1000
WEBHOOK = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n%02d"
PLAIN = b"GET /plain HTTP/1.1\r\nhost: h\r\n\r\n"


async def plain(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].startswith("/webhooks/"):
        await asgi_webhooks(echo, LIMIT)(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"plain"})


def echo(request: ThinRequest, respond: Respond) -> None:
    if request.body == b"boom":
        raise RecursionError
    body = b"%s %s %d " % (request.method.encode(), request.path.encode(), len(request.body)) + request.body[:10]
    asyncio.get_running_loop().call_soon(respond, 200, body, b"x-thin: yes\r\n")


@asynccontextmanager
async def server(unused_tcp_port: int) -> AsyncIterator[int]:
    stop, ready = asyncio.Event(), asyncio.Event()
    options = {"host": "127.0.0.1", "port": unused_tcp_port, "body_limit": LIMIT, "stop": stop, "ready": ready.set}
    task = asyncio.create_task(serve(plain, echo, **options))  # type: ignore[arg-type]
    await ready.wait()
    yield unused_tcp_port
    stop.set()
    await task


async def talk(port: int, *packets: bytes, until: Callable[[bytes], bool]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    for packet in packets:
        writer.write(packet)
        await writer.drain()
        await asyncio.sleep(0.02)
    while not until(got):
        chunk = await asyncio.wait_for(reader.read(65536), 5)
        if not chunk:
            break
        got += chunk
    writer.close()
    return got


@pytest.fixture
def port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(port: int, *packets: bytes, until: Callable[[bytes], bool]) -> bytes:
    async def main() -> bytes:
        async with server(port):
            return await talk(port, *packets, until=until)

    return uvloop.run(main())  # the loop the server runs on


def test_webhooks_keep_alive_and_pipelined_are_answered_in_order(port: int) -> None:
    got = run(port, b"".join(WEBHOOK % i for i in range(20)), WEBHOOK % 20, until=lambda got: b" 20" in got[-4:])
    bodies = [int(part.split(b"\r\n\r\n")[1][-2:]) for part in got.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == list(range(21))
    assert got.count(b"x-thin: yes\r\n") == 21


def test_other_requests_reach_the_application_also_after_a_webhook_and_split_anywhere(port: int) -> None:
    for cut in (1, 5, 12, len(PLAIN) - 1):
        got = run(port, WEBHOOK % 1, PLAIN[:cut], PLAIN[cut:], until=lambda got: b"plain" in got)
        assert got.endswith(b"plain"), cut
        assert b"POST /webhooks/x 2 01" in got


def test_a_webhook_on_a_handed_over_connection_is_served_too(port: int) -> None:
    got = run(port, PLAIN, WEBHOOK % 7, PLAIN, until=lambda got: got.count(b"plain") == 2)
    assert b"POST /webhooks/x 2 07" in got
    assert b"x-thin: yes" in got


def test_a_request_pipelined_behind_a_webhook_closes_the_connection_after_the_answer(port: int) -> None:
    got = run(port, WEBHOOK % 1 + PLAIN, until=lambda got: False)
    assert b"POST /webhooks/x 2 01" in got
    assert b"plain" not in got


def test_chunked_bodies_arrive_whole_and_long_ones_cut_one_past_the_limit(port: int) -> None:
    chunked = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert b"POST /webhooks/x 5 abcde" in run(port, chunked, until=lambda got: b"abcde" in got)
    long = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n" + b"y" * 5000
    assert b"POST /webhooks/x 1001 yyyyyyyyyy" in run(port, long, WEBHOOK % 3, until=lambda got: b" 03" in got[-4:])


def test_a_request_that_breaks_its_handler_is_answered_too(port: int) -> None:
    packet = b"POST /webhooks/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nboom"
    assert run(port, packet, until=lambda got: got.endswith(b"}")).startswith(b"HTTP/1.1 500 ")


def test_expect_continue_and_connection_close_are_honoured(port: int) -> None:
    head = b"POST /webhooks/x HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
    got = run(port, head, b"09", until=lambda got: False)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert b"connection: close" in got


def test_garbage_is_answered_with_400(port: int) -> None:
    assert b" 400 " in run(port, b"\x00\x01garbage\r\n\r\n", until=lambda got: False)


def test_ordinary_clients_work(port: int) -> None:
    async def main() -> list[str]:
        async with server(port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = [
                await client.post("/webhooks/a", content=b"x"),
                await client.get("/plain"),
                await client.put("/webhooks/b"),
            ]
            return [answer.text for answer in answers]

    assert asyncio.run(main()) == ["POST /webhooks/a 1 x", "plain", "PUT /webhooks/b 0 "]


def test_a_stop_answers_what_is_under_way_and_closes_what_is_idle() -> None:
    held: list[Respond] = []

    def slow(request: ThinRequest, respond: Respond) -> None:
        held.append(respond)

    async def main() -> tuple[bytes, bytes, bytes]:
        stop, ready, port = asyncio.Event(), asyncio.Event(), free_port()
        options = {"host": "127.0.0.1", "port": port, "body_limit": LIMIT, "stop": stop, "ready": ready.set}
        serving = asyncio.create_task(serve(plain, slow, **options))  # type: ignore[arg-type]
        await ready.wait()
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        waiting, arriving, _idle = connections
        waiting[1].write(WEBHOOK % 1)
        arriving[1].write((WEBHOOK % 2)[:-1])
        while not held:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.sleep(0.05)
        assert not serving.done()
        arriving[1].write(b"2")
        while len(held) < 2:
            await asyncio.sleep(0.01)
        for respond in held:
            respond(200, b"{}", b"")
        await asyncio.wait_for(serving, 5)
        answers = [await reader.read() for reader, _ in connections]
        for _, writer in connections:
            writer.close()
        return answers[0], answers[1], answers[2]

    first, second, third = uvloop.run(main())
    for answer in (first, second):
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
    assert third == b""
