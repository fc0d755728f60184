"""The record of one thing the relay has to deal with, as it lies in the journal: a webhook, a command or a tally.

The receiver appends, the courier reads. A command is how another process asks the courier to do something durably;
a tally carries counts of webhooks that were answered without being kept (repeats).
"""

from collections.abc import Iterable, Mapping
from enum import IntFlag

import msgspec

from capstream.kernel.json import Json, dumps, loads

SECRET_HEADERS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-cap-api-oauth-token"})
_TRANSPORT_HEADERS = frozenset({b"host", b"content-length", b"connection", b"accept", b"accept-encoding", b"transfer-encoding"})

NO_KEY = b""
"""The key of a record that cannot repeat."""


class Flag(IntFlag):
    """What is special about an entry."""

    WEBHOOK = 0  #: a body as it was received
    TOO_LARGE = 1  #: only the first part of the body was kept
    CONFLICT = 2  #: its event id was seen before with other data
    COMMAND = 4  #: the body is a command for the courier
    TALLY = 8  #: the body counts webhooks that were not kept
    ERASED = 16  #: the body was taken out for a privacy request
    PACKED = 32  #: the body has a Content-Encoding that could not be undone


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One record of the journal. Stored as MessagePack."""

    source_key: str
    received_ms: int
    flags: int
    headers: bytes  #: `name: value` lines, without secrets
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)

encode = _encoder.encode
"""Return the bytes of an Entry."""

decode = _decoder.decode
"""Return the Entry of journal bytes; raises msgspec.DecodeError."""


def hidden_headers(auth_header: bytes) -> frozenset[bytes]:
    """Return the header names that are not kept for a source that authenticates with `auth_header`."""
    return SECRET_HEADERS | _TRANSPORT_HEADERS | {auth_header}


def kept_headers(headers: Mapping[bytes, bytes], hidden: frozenset[bytes]) -> bytes:
    """Return the lines of those headers that may be kept."""
    return b"\n".join([b"%b: %b" % item for item in headers.items() if item[0] not in hidden])


def command(name: str, now_ms: int, **details: Json) -> bytes:
    """Return the journal bytes of a command to the courier."""
    return encode(Entry("", now_ms, Flag.COMMAND, b"", dumps({"command": name, **details})))


def tally(counts: Mapping[str, int], now_ms: int) -> bytes:
    """Return the journal bytes of counts of repeated webhooks per source key."""
    return encode(Entry("", now_ms, Flag.TALLY, b"", dumps(dict(counts))))


def erased(entry: Entry) -> Entry:
    """Return what stays of an entry whose body is taken out: where and when it came."""
    return Entry(entry.source_key, entry.received_ms, entry.flags | Flag.ERASED, b"", b"")


def tallied(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the sum of the tallies among `entries`."""
    sums: dict[str, int] = {}
    for entry in entries:
        if entry.flags & Flag.TALLY:
            for key, count in loads(entry.body).items():
                sums[key] = sums.get(key, 0) + int(count)
    return sums
