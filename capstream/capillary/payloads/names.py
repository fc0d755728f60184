"""The `_id` of payloads: the same event gives the same id, however often it is translated. Source: capillary.md 7.2."""

import re
from hashlib import sha256
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9._~:-]+", re.ASCII)
MAX_ID = 255


def payload_id(*segments: str) -> str:
    """Return an `_id`: segments percent-encoded and joined by colons; when that is too long, the longest becomes its digest."""
    name = ":".join(("capillary", *segments))
    if len(name) <= MAX_ID and _PLAIN.fullmatch(name) and name.count(":") == len(segments):
        return name
    encoded = [quote(segment, safe="") for segment in segments]
    name = ":".join(("capillary", *encoded))
    if len(name) <= MAX_ID:
        return name
    longest = max(range(len(segments)), key=lambda index: len(encoded[index]))
    encoded[longest] = sha256(segments[longest].encode()).hexdigest()
    return ":".join(("capillary", *encoded))
