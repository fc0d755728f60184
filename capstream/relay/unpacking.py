"""Webhook bodies with a Content-Encoding: what can be unpacked, and what is said of the rest. Source: capillary.md 1.3, 1.6."""

import zlib

_GZIP, _ZLIB, _BARE = 31, 15, -15
"""Window bits of zlib: with gzip's frame, with zlib's, without any (what many senders call deflate)."""

_WINDOWS = {b"gzip": (_GZIP,), b"x-gzip": (_GZIP,), b"deflate": (_ZLIB, _BARE)}
_NO_ENCODING = (b"", b"identity")
_JSON_BEGINS = (b"{", b"[")
_MEMBERS = 64  #: of a gzip file: what is behind each is copied, so thousands of empty ones would take minutes
_CURE = "send it plain, or packed with gzip or deflate"


def unpacked(encoding: bytes, body: bytes, limit: int) -> bytes | None:
    """Return the plain body, at most one byte over `limit`; None when it cannot be unpacked and is no JSON as it is.

    A plain body that only claims to be packed is returned as it came.
    """
    name = encoding.strip().lower()
    if name in _NO_ENCODING:
        return body
    for window in _WINDOWS.get(name, ()):
        plain = _inflated(body, window, limit)
        if plain is not None:
            return plain
    return body if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in _JSON_BEGINS else None


def why_packed(headers: bytes) -> str:
    """Return the reason of the dead letter for a body that could not be unpacked; `headers` are the journal's lines."""
    values = [value for name, _, value in (line.partition(b": ") for line in headers.split(b"\n")) if name == b"content-encoding"]
    encoding = b"".join(values).decode("ascii", "replace")[:40]
    fault = "the body is not what it says" if encoding.strip().lower().encode() in _WINDOWS else "it is not supported"
    return f"Content-Encoding is {encoding!r}: {fault}; {_CURE}"


def _inflated(body: bytes, window: int, limit: int) -> bytes | None:
    """Return what zlib makes of a body, the members of a gzip file joined; None when it is broken or cut short."""
    plain, rest = b"", body
    for _ in range(_MEMBERS):
        unpacker = zlib.decompressobj(window)
        try:
            plain += unpacker.decompress(rest, limit + 1 - len(plain))
        except zlib.error:
            return None
        rest = unpacker.unused_data
        if len(plain) > limit or (unpacker.eof and not (rest and window == _GZIP)):
            return plain
        if not unpacker.eof:
            return None
    return None
