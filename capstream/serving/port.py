"""One port, two ways in: webhooks through a thin protocol, everything else through uvicorn and ASGI.

A webhook costs one parse, one append and one write; the ASGI machinery costs twice that again (docs/adr/0002). A connection
starts thin. With its first request that is no webhook it is handed, bytes and all, to uvicorn's protocol for good;
webhooks that arrive there are served by the same handler through ASGI.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from capstream.serving.exchange import Recognise, ThinHandler, ThinRequest, recognise_nobody
from capstream.serving.thin import ThinProtocol

_GRACE_S = 10.0
_TICK_S = 0.01

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


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
    recognise: Recognise = recognise_nobody,
) -> None:
    """Serve both ways in on one port until `stop` is set; answer what is under way, then return."""
    config = Config(app, http="httptools", lifespan="off", log_config=None, proxy_headers=False, timeout_keep_alive=75)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    thin: set[ThinProtocol] = set()

    def connection() -> asyncio.Protocol:
        made = ThinProtocol(webhooks, recognise, lambda: _Protocol(config, state, {}, loop), body_limit, thin)
        return cast(asyncio.Protocol, made)  # it is none by class: compiled classes have no plain ones above them

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
