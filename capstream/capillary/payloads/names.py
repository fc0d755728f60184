"""The `_id` of payloads: the same event gives the same id, however often it is translated. Source: capillary.md 7.2."""

import re
from hashlib import sha256
from typing import Final
from urllib.parse import quote

_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
MAX_ID: Final = 255


def payload_id(*segments: str) -> str:
    """Return an `_id`: segments percent-encoded and joined by colons; when that is too long, the longest becomes its digest."""
    encoded = [segment if _is_plain(segment) else quote(segment, safe="") for segment in segments]
    name = f"capillary:{':'.join(encoded)}"
    return name if len(name) <= MAX_ID else _with_digest(segments, encoded)


def _with_digest(segments: tuple[str, ...], encoded: list[str]) -> str:
    longest = max(range(len(segments)), key=lambda index: len(encoded[index]))
    encoded[longest] = sha256(segments[longest].encode()).hexdigest()
    return f"capillary:{':'.join(encoded)}"


def _is_plain(segment: str) -> bool:
    """Say whether a segment needs no encoding. Numbers and UUIDs, which most are, are told without a pattern."""
    if segment.isalnum() or segment.replace("-", "").isalnum():
        return segment.isascii()
    return _PLAIN.fullmatch(segment) is not None
