"""What the receiver has to know of a body before it is kept, without building the rest of it. Source: capillary.md 1.4, 7.2."""

from hashlib import blake2b
from typing import Final

import msgspec

from capstream.capillary.envelope import Flat, Unreadable
from capstream.capillary.normalise import normalise
from capstream.capillary.values import Unfit, decimal_id, instant, opaque_id
from capstream.capillary.vocabulary import canonical_name
from capstream.kernel.json import JsonError

_HOUR_MS: Final = 3_600_000

_flat: Final = msgspec.json.Decoder(Flat)


class Peek:
    """What the receiver needs of an event: enough to answer, to de-duplicate and to count."""

    def __init__(self, org_id: str, event_name: str, event_id: str | None, created_at_ms: int | None, identity: str) -> None:
        self.org_id: Final = org_id
        self.event_name: Final = event_name
        self.event_id: Final = event_id  #: None when Capillary sent none
        self.created_at_ms: Final = created_at_ms
        self.identity: Final = identity  #: the event id, or the synthetic one that stands for a missing id

    def dedupe_key(self) -> bytes:
        """Return the key under which a repetition is recognised.

        Shape: 20 bytes: the hour of `createdAt` (4 bytes, keeps keys of one time together), then BLAKE2b over (org, event id).
        """
        hour = (self.created_at_ms or 0) // _HOUR_MS
        name = f"{self.org_id}\0{self.identity}".encode()
        digest: bytes = blake2b(name, digest_size=16).digest()
        return (hour & 0xFFFFFFFF).to_bytes(4, "big") + digest


def peek(raw: bytes) -> Peek | None:
    """Return org, name, id and time of the event in `raw`, cheaply; None when `normalise` cannot read it either."""
    try:
        flat = _flat.decode(raw)
    except (JsonError, UnicodeDecodeError, RecursionError):
        return _peek_slowly(raw)
    name = flat.eventName
    if flat.attributes is not msgspec.UNSET or flat.body is not msgspec.UNSET or not name:
        return _peek_slowly(raw)
    try:
        org_id, event_id = decimal_id(flat.orgId), opaque_id(flat.eventId)
    except Unfit:
        return _peek_slowly(raw)
    created = instant(flat.createdAt)
    if org_id is None or event_id is None or created is None:
        return _peek_slowly(raw)
    return Peek(org_id, canonical_name(name), event_id, created, event_id)


def _peek_slowly(raw: bytes) -> Peek | None:
    event = normalise(raw, 0)
    if isinstance(event, Unreadable):
        return None
    created = event.created_at_ms or None
    return Peek(event.org_id, event.event_name, None if event.event_id_synthetic else event.event_id, created, event.event_id)
