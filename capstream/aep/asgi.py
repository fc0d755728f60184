"""The few steps between ASGI messages and the records handlers work with: read a body, send an answer."""

import gzip
import string
import traceback
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from capstream.aep.call import Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_COMPRESS_FROM = 8192  # below this the CPU costs more than the bytes


class BodyRefused(Exception):
    """The body cannot be taken; `too_large` tells 413 from 400."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_large = too_large


class ClientGone(Exception):
    """The client closed the connection before its body was whole."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole request body. Errors: BodyRefused when it is longer than `limit` bytes; ClientGone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise BodyRefused(f"The body is longer than {limit} bytes: send it in parts.", too_large=True)
    return b"".join(parts)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the body without its Content-Encoding. Errors: BodyRefused (unknown coding, broken, too long unpacked)."""
    coding = encoding.strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in {"gzip", "x-gzip"}:
        raise BodyRefused(f"Content-Encoding {coding} is not supported: use gzip or none.")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise BodyRefused("The body is not gzip although Content-Encoding says so.") from error
    if len(plain) > limit:
        raise BodyRefused(f"The body is longer than {limit} bytes when unpacked: send it in parts.", too_large=True)
    if not unpacker.eof:
        raise BodyRefused("The gzip body ends too early.")
    return plain


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request headers by lower-case name."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def base_url(scope: Scope, headers: Mapping[str, str]) -> str:
    """Return scheme and host the client used, without a trailing slash."""
    host = headers.get("host", "")
    if not host:
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else str(name)
    return f"{scope.get('scheme', 'http')}://{host}"


async def send_answer(send: Send, answer: Answer, request: "Reply") -> None:
    """Send the answer with the headers every answer has. A HEAD request gets no body."""
    content = answer.content()
    lines = [(name.lower().encode("latin-1"), _header(value)) for name, value in answer.headers.items()]
    lines.append((b"x-request-id", request.request_id.encode("latin-1")))
    if content:
        lines.append((b"content-type", answer.media_type.encode("latin-1")))
        if len(content) >= _COMPRESS_FROM and request.gzip and "json" in answer.media_type:
            content = gzip.compress(content, compresslevel=1)
            lines += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
    if answer.status != 204 and "content-length" not in {name.lower() for name in answer.headers}:
        lines.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if request.head else content})


def _header(value: str) -> bytes:
    """Return the value of a header; what no header may hold, such as an id a client has chosen, is percent-encoded."""
    plain = value if value.isascii() and value.isprintable() else quote(value, safe=f"{string.punctuation} ")
    return plain.encode("latin-1")


class Reply:
    """What the request says about the form of its answer."""

    __slots__ = ("gzip", "head", "request_id")

    def __init__(self, scope: Scope, headers: Mapping[str, str], request_id: str) -> None:
        self.request_id = request_id
        self.head: bool = scope["method"] == "HEAD"
        self.gzip = "gzip" in headers.get("accept-encoding", "")


def places(error: BaseException) -> list[str]:
    """Return where an exception came through, innermost last. Its message stays out of logs: it may hold a member's data."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop messages: nothing has to be done for either."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
