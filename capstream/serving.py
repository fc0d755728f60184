"""One port, two ways in: webhooks through a thin protocol, everything else through uvicorn and ASGI.

A webhook costs one parse, one append and one write; the ASGI machinery costs twice that again (docs/adr/0002). A connection
starts thin. With its first request that is no webhook it is handed, bytes and all, to uvicorn's protocol for good;
webhooks that arrive there are served by the same handler through ASGI.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from capstream.kernel import log

_PREFIX = b"/webhooks/"
_IDLE_S = 75.0
_GRACE_S = 10.0
_TICK_S = 0.01
_FAILED = b'{"status":"failed","reason":"the server failed; its log says where"}'
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)  # not frozen: setting its members through the check costs as much as the rest of the object
class ThinRequest:
    """A whole request. `body` holds at most `limit + 1` bytes: longer bodies are cut there."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]  #: names in lower case
    body: bytes
    peer: str


Respond = Callable[[int, bytes, bytes], None]
"""Sends (status, JSON body, extra header lines each ending in CRLF)."""

ThinHandler = Callable[[ThinRequest, Respond], None]
"""Handles a request and calls `respond` exactly once, now or later, on the event loop."""


class ThinProtocol(asyncio.Protocol):
    """HTTP/1.1 for webhooks only: keep-alive, pipelining in order, chunked bodies; others are handed to `fallback`."""

    def __init__(
        self, handler: ThinHandler, fallback: Callable[[], asyncio.Protocol], body_limit: int, open_ones: "set[ThinProtocol]"
    ) -> None:
        self._handler = handler
        self._open_ones = open_ones
        self._stopping = False
        self._begun = False  # a request has begun to arrive and is not whole yet
        self._fallback = fallback
        self._body_limit = body_limit
        self._parser = httptools.HttpRequestParser(self)
        self._answers: deque[list[bytes]] = deque()
        self._held: list[bytes] = []  # what has arrived of a request that may not be ours
        self._foreign = False
        self._ours = False
        self._whole = True  # `_held` starts where the current request starts
        self._ended_one = False
        self._idle: asyncio.TimerHandle | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by class
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._loop = asyncio.get_running_loop()
        self._open_ones.add(self)
        self._arm()

    def stop(self) -> None:
        """Answer what has arrived and what is arriving, then close."""
        self._stopping = True
        if not self._answers and not self._begun and not self._foreign:
            self._transport.close()

    def _arm(self) -> None:
        self._last = self._loop.time()
        self._idle = self._loop.call_later(_IDLE_S, self._check_idle)

    def _check_idle(self) -> None:
        if self._answers or self._loop.time() - self._last < _IDLE_S:
            self._idle = self._loop.call_later(_IDLE_S, self._check_idle)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        if self._idle:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._last = self._loop.time()
        self._ended_one = False
        if not self._ours:
            self._held.append(data)
        if self._foreign:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._hand_over()
            return
        if self._foreign:
            self._hand_over()

    # Parser callbacks. The parser calls them in this order for each request.

    def on_message_begin(self) -> None:
        self._begun = True
        self._whole = not self._ended_one
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if not self._url.startswith(_PREFIX) or self._parser.should_upgrade():
            self._foreign = True
            return
        self._ours = True
        self._held.clear()
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._size <= self._body_limit and not self._foreign:
            self._body.append(body[: self._body_limit + 1 - self._size])
        self._size += len(body)

    def on_message_complete(self) -> None:
        if self._foreign:
            return
        self._ours, self._begun, self._ended_one = False, False, True
        slot: list[bytes] = []
        self._answers.append(slot)
        request = ThinRequest(
            self._parser.get_method().decode(),
            self._url.decode("latin-1"),
            self._headers,
            b"".join(self._body) if len(self._body) != 1 else self._body[0],
            self._peer,
        )
        keep_alive = self._parser.should_keep_alive()
        try:
            self._handler(request, lambda status, body, extra: self._answer(slot, status, body, extra, keep_alive))
        except Exception as error:  # noqa: BLE001 - whatever a request did to its handler, its sender gets an answer
            log.error("a request broke its handler", action="webhook_failed", exc=error)
            self._answer(slot, 500, _FAILED, b"", keep_alive=False)

    def _answer(self, slot: list[bytes], status: int, body: bytes, extra: bytes, keep_alive: bool) -> None:
        keep_alive = keep_alive and not (self._stopping and len(self._answers) == 1 and not self._begun)
        slot.append(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s%s\r\n%s"
            % (status, _REASONS.get(status, b""), len(body), extra, b"" if keep_alive else b"connection: close\r\n", body)
        )
        while self._answers and self._answers[0]:
            self._transport.write(self._answers.popleft()[0])
        if not keep_alive:
            self._transport.close()
        elif self._foreign and not self._answers:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the connection and the bytes of the request that is not ours to uvicorn's protocol.

        A request pipelined behind a webhook in one packet cannot be told apart any more: the connection is closed
        after the webhook's answer, and the client sends that request again.
        """
        self._foreign = True
        if self._answers or self._transport.is_closing():
            return
        if not self._whole:
            self._transport.close()
            return
        if self._idle:
            self._idle.cancel()
        self._open_ones.discard(self)
        protocol = self._fallback()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        held, self._held = b"".join(self._held), []
        if held:
            protocol.data_received(held)


class _Protocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's protocol whose applications may end the connection: extensions `capstream.reset` and `capstream.close`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"capstream.reset": self._abort, "capstream.close": self.transport.close}

    def _abort(self) -> None:
        """Reset the connection: what is under way is lost on both sides."""
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def asgi_webhooks(handler: ThinHandler, body_limit: int) -> AsgiApp:
    """Return the ASGI form of a thin handler, for webhooks on connections that uvicorn already serves."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if len(body) <= body_limit:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        client = scope.get("client") or ("",)
        done: asyncio.Future[tuple[int, bytes, bytes]] = asyncio.get_running_loop().create_future()
        request = ThinRequest(
            scope["method"], scope["raw_path"].decode("latin-1"), dict(scope["headers"]), body[: body_limit + 1], str(client[0])
        )
        handler(request, lambda status, content, extra: done.set_result((status, content, extra)))
        status, content, extra = await done
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [tuple(line.split(b": ", 1)) for line in extra.split(b"\r\n") if line]  # type: ignore[misc]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


async def serve(
    app: AsgiApp,
    webhooks: ThinHandler,
    *,
    host: str,
    port: int,
    body_limit: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Serve both ways in on one port until `stop` is set; answer what is under way, then return."""
    config = Config(app, http="httptools", lifespan="off", log_config=None, proxy_headers=False, timeout_keep_alive=75)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    thin: set[ThinProtocol] = set()

    def connection() -> ThinProtocol:
        return ThinProtocol(webhooks, lambda: _Protocol(config, state, {}, loop), body_limit, thin)

    server = await loop.create_server(connection, host, port, backlog=2048)
    ready()
    await stop.wait()
    server.close()
    for protocol in list(state.connections):
        protocol.shutdown()
    for each in list(thin):
        each.stop()
    until = loop.time() + _GRACE_S
    while thin and loop.time() < until:
        await asyncio.sleep(_TICK_S)
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=max(until - loop.time(), 0))
