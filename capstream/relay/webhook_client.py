"""A small HTTP/1.1 client for webhooks: one request at a time on a kept connection, a quarter of the cost of a general client."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from capstream.kernel.errors import InputError


@dataclass(frozen=True, slots=True)
class Target:
    """Where the webhooks go, and the head that is the same in all of them."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    line: bytes
    headers: Mapping[str, str]
    head: bytes

    @classmethod
    def of(cls, url: str, method: str, headers: Mapping[str, str]) -> "Target":
        """Return the target of a webhook registration.

        Errors: InputError when the address is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("target url", f"{url!r} is no http(s) address", "give the relay's webhook address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fixed = {"content-type": "application/json"} | {name.lower(): value for name, value in headers.items()}
        fixed = {"host": parts.netloc.rpartition("@")[2]} | fixed
        line = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return cls(parts.hostname, port, tls, line, fixed, _lines(fixed))

    def request(self, raw: bytes, headers: Mapping[str, str]) -> bytes:
        """Return a whole request; `headers` are those that differ."""
        head = self.head if not headers else _lines({**self.headers, **headers})
        return b"%s%scontent-length: %d\r\n\r\n%s" % (self.line, head, len(raw), raw)


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


class Connection:
    """A kept connection to one target, made anew when it is gone; at most one request on its way."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._wire: _Wire | None = None

    async def post(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return (status, body); connects when needed.

        Errors: OSError when the connection fails, TimeoutError when no answer comes in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._wire is not None and self._wire.is_open:
                    try:
                        return await self._wire.exchange(request)
                    except ConnectionResetError:
                        self.close()  # the other side may have closed an idle connection: that is no failure yet
                self._wire = await self._connected()
                return await self._wire.exchange(request)
        except BaseException:
            self.close()
            raise

    async def _connected(self) -> "_Wire":
        target = self._target
        _, wire = await asyncio.get_running_loop().create_connection(_Wire, target.host, target.port, ssl=target.tls)
        return wire

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None


class _Wire(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self) -> None:
        self.is_open = False
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it
        self.is_open = True

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Return (status, body) of one request."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close at once."""
        self.is_open = False
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail(ConnectionResetError("the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # an answer nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionResetError(f"the answer is no HTTP: {error}"))
            self.close()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # Parser callbacks.

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None or self._answer.done() or status < 200:
            return
        self._answer.set_result((status, b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self.close()
