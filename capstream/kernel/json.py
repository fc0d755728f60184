"""JSON in and out, through msgspec."""

from hashlib import sha256
from typing import Any

import msgspec

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list[Json] or dict[str, Json]."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_ordered = msgspec.json.Encoder(order="sorted")

JsonError = msgspec.DecodeError

dumps = _encoder.encode
"""Return the compact UTF-8 bytes of a JSON value."""

loads = _decoder.decode
"""Return the value of JSON text (bytes or str); raises JsonError. NaN and Infinity are refused."""


def canonical(value: Json) -> bytes:
    """Return compact JSON with sorted keys: equal values give equal bytes."""
    return _ordered.encode(value)


def digest(value: Json) -> str:
    """Return the SHA-256 hex digest of the canonical form of `value`."""
    return sha256(canonical(value)).hexdigest()


def pretty(value: Json) -> str:
    """Return indented JSON for people."""
    return msgspec.json.format(_encoder.encode(value), indent=2).decode()
