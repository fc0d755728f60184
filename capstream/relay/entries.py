"""Journal entries of webhooks in MessagePack: what an entry has in common with the one before it is encoded once.

Compiled: every webhook passes (docs/adr/0004). The webhooks of one commit differ in their bodies, mostly in nothing else.
"""

from typing import Final

from capstream.relay.journal import Entry, encode

_EMPTY_BODY: Final = 2  # bytes of MessagePack: bin 8, length 0
_BYTES: Final[list[bytes]] = [bytes([value]) for value in range(256)]


class Entries:
    """Encodes entries one after the other, as `journal.encode` does."""

    def __init__(self) -> None:
        self._source_key = ""
        self._received_ms = -1
        self._flags = 0
        self._headers = b""
        self._before = b""  # what comes before the body

    def encode(self, source_key: str, received_ms: int, flags: int, headers: bytes, body: bytes) -> bytes:
        """Return the bytes of an Entry."""
        is_other = received_ms != self._received_ms or flags != self._flags
        if is_other or headers != self._headers or source_key != self._source_key:
            self._source_key, self._received_ms, self._flags, self._headers = source_key, received_ms, flags, headers
            whole: bytes = encode(Entry(source_key, received_ms, flags, headers, b""))
            self._before = whole[:-_EMPTY_BODY]
        size = len(body)
        if size < 1 << 8:
            return b"%b\xc4%b%b" % (self._before, _BYTES[size], body)
        if size < 1 << 16:
            return b"%b\xc5%b%b%b" % (self._before, _BYTES[size >> 8], _BYTES[size & 255], body)
        return b"%b\xc6%b%b" % (self._before, size.to_bytes(4, "big"), body)
