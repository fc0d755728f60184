"""The HTTP edge of the collection endpoints: paths, bodies, gzip, answers."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from capstream.aep.streaming_ingestion.errors import MALFORMED_TITLE, Refused, refused
from capstream.serving.port import Receive, Scope, Send

BODY_LIMIT = 1_048_576
"""Bytes a request may have, received and again when decompressed (ASSUMPTION: 1 MB is 2^20)."""

_DRAIN_LIMIT = 16 * BODY_LIMIT
_PLACE = re.compile(r"(?:/data/foundation/import)?/collection/((?:batch/)*)([^/]+)/?")
_SLASHES = re.compile(r"//+")
_JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names."""

    inlet_id: str
    is_batch: bool


def place_of(path: str) -> Place | None:
    """Return the inlet a path names, None for foreign paths. `/batch/batch/` is an alias: one client doubles it."""
    match = _PLACE.fullmatch(_SLASHES.sub("/", path))
    if match is None or match.group(2) == "batch":
        return None
    return Place(match.group(2), match.group(1) != "")


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request headers, names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def query_of(scope: Scope) -> dict[str, str]:
    """Return the query parameters, names in lower case; the first of several wins."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return {name.lower(): value for name, value in reversed(pairs)}


class SenderGone(Exception):
    """The sender closed the connection before its request was whole: nobody waits for an answer."""


async def read_body(receive: Receive) -> bytes:
    """Return the request body. Errors: Refused 413, SenderGone.

    What is too long is read on and dropped, up to a bound: a client that still sends would not see the answer.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SenderGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        if not message.get("more_body", False) or size > _DRAIN_LIMIT:
            break
    if size > BODY_LIMIT:
        raise _too_large()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decoded_body(body: bytes, encoding: str) -> bytes:
    """Return the body without its content encoding. Errors: Refused 413, 415 (other than gzip), 400 (broken gzip)."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise refused(415, f"Content-Encoding {encoding!r} is not supported; send gzip or none")
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(body, BODY_LIMIT + 1)
    except zlib.error as error:
        raise refused(400, f"{MALFORMED_TITLE}: the body is not gzip") from error
    if len(text) > BODY_LIMIT:
        raise _too_large()
    if not unzip.eof:
        raise refused(400, f"{MALFORMED_TITLE}: the gzip body is cut off")
    return text


def _too_large() -> Refused:
    return refused(413, f"The request is larger than {BODY_LIMIT} bytes. Split it and send the parts.")


def check_media_type(content_type: str) -> None:
    """Accept JSON with any parameters. Errors: Refused 415."""
    if content_type.partition(";")[0].strip().lower() != _JSON_TYPE:
        raise refused(415, f"Content-Type {content_type!r} is not supported; send {_JSON_TYPE}")


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send an answer; JSON unless it has no body."""
    lines = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    if body:
        lines.append((b"content-type", b"application/json"))
    lines += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
