"""An httpx transport for the relay: requests over connections that are kept, parsed in C.

What a post costs is then mostly what its body costs. HTTP/1.1 alone, and no proxies: where the environment names one, httpx's own
transport is taken. Source: docs/adr/0019.
"""

import asyncio
import ssl
from collections.abc import Callable
from urllib.request import getproxies

import httptools
import httpx

_IDLE_S = 5.0  # as httpx has it: a connection that rested longer may be closed at any moment by the other side
_FRAMED = frozenset({b"content-length", b"transfer-encoding"})
_BODILESS = frozenset({204, 304})
_FINAL = 200
_TURNS = 10
_PORTS = {"http": 80, "https": 443}

_Origin = tuple[str, str, int]


def client(timeout: httpx.Timeout) -> httpx.AsyncClient:
    """Return a client for many requests to few places."""
    return httpx.AsyncClient(transport=None if getproxies() else Lines(), timeout=timeout)


class Lines(httpx.AsyncBaseTransport):
    """Connections by origin. One carries one request at a time; a request takes the one that was used last."""

    def __init__(self) -> None:
        self._idle: dict[_Origin, list[_Line]] = {}
        self._open: set[_Line] = set()
        self._security: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer. Errors: httpx.RequestError."""
        head, body = _head(request), await request.aread()
        limits = request.extensions.get("timeout", {})
        origin = _origin(request.url)
        line = self._rested(origin) or await self._opened(origin, limits.get("connect"))
        try:
            response = await line.ask(head, body, limits.get("read"))
        except BaseException:
            line.hang_up()
            raise
        if line.is_kept:
            self._idle.setdefault(origin, []).append(line)
        else:
            line.hang_up()
        return response

    def _rested(self, origin: _Origin) -> "_Line | None":
        idle = self._idle.get(origin)
        while idle:
            line = idle.pop()
            if line.is_usable():
                return line
            line.hang_up()
        return None

    async def _opened(self, origin: _Origin, limit_s: float | None) -> "_Line":
        scheme, host, port = origin
        security = self._secured() if scheme == "https" else None
        try:
            async with asyncio.timeout(limit_s):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: _Line(self._open.discard), host, port, ssl=security
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {limit_s} s") from error
        except (OSError, UnicodeError, OverflowError) as error:  # the last two: a host or a port that there cannot be
            raise httpx.ConnectError(str(error)) from error
        self._open.add(line)
        return line

    def _secured(self) -> ssl.SSLContext:
        if self._security is None:
            self._security = httpx.create_ssl_context()
        return self._security

    async def aclose(self) -> None:
        """Close all connections."""
        self._idle.clear()
        for line in list(self._open):
            line.hang_up()
        for _ in range(_TURNS):
            if self._open:
                await asyncio.sleep(0)  # until the loop has closed them


class _Line(asyncio.Protocol):
    """One connection. The parser calls `on_header` and the like."""

    def __init__(self, lost: Callable[["_Line"], None]) -> None:
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[httpx.Response] | None = None
        self._limit: asyncio.Timeout | None = None
        self._rests_since = self._loop.time()
        self.is_kept = True  #: for a further request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def is_usable(self) -> bool:
        return not self._transport.is_closing() and self._loop.time() - self._rests_since < _IDLE_S

    async def ask(self, head: bytes, body: bytes, silence_s: float | None) -> httpx.Response:
        """Send a request; return the answer. Errors: httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = self._loop.create_future()
        self._silence_s = silence_s
        self._begin()
        try:
            async with asyncio.timeout(silence_s) as self._limit:
                self._transport.writelines((head, body))
                return await self._answer
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing came for {silence_s} s") from error
        finally:
            self._answer, self._limit = None, None  # it knows the task, and that what was posted
            self._rests_since = self._loop.time()

    def hang_up(self) -> None:
        self._transport.abort()

    def _begin(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._ends_with_connection = False

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody asked
            self.hang_up()
            return
        if self._limit is not None and self._silence_s is not None and not self._limit.expired():
            self._limit.reschedule(self._loop.time() + self._silence_s)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.is_kept = False
            self._fail(httpx.RemoteProtocolError(f"the answer is not HTTP: {type(error).__name__}"))

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self.is_kept = False  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        named = {name.lower() for name, _ in self._headers}
        self._ends_with_connection = not named & _FRAMED and self._parser.get_status_code() not in _BODILESS

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < _FINAL:  # the answer is still to come
            self._begin()
            return
        self.is_kept = self.is_kept and self._parser.should_keep_alive()
        self._end()

    def _end(self) -> None:
        if self._answer is None or self._answer.done():
            return
        try:
            response = httpx.Response(self._parser.get_status_code(), headers=self._headers, content=b"".join(self._body))
        except httpx.DecodingError as error:
            self._fail(error)
        else:
            self._answer.set_result(response)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_kept = False
        self._lost(self)
        if exc is not None:
            self._fail(httpx.ReadError(str(exc)))
        elif self._ends_with_connection:
            self._end()
        else:
            self._fail(httpx.RemoteProtocolError("the connection was closed before the answer was whole"))


def _origin(url: httpx.URL) -> _Origin:
    """Return scheme, host and port. Errors: httpx.UnsupportedProtocol."""
    if url.scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol(f"an address of http or https is wanted, not {url.scheme or 'a relative one'}")
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


def _head(request: httpx.Request) -> bytes:
    """Return what comes before a request's body. Errors: httpx.LocalProtocolError when a header would be more than one."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    head = b"\r\n".join(lines)
    if len(head.splitlines()) != len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError("a header has a line break in it")
    return head + b"\r\n\r\n"
