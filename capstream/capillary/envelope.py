"""What is read of one Capillary webhook body before it is an event, or why it is none. Source: capillary.md 1.4, 7.2."""

from hashlib import blake2b

import msgspec

_HOUR_MS = 3_600_000


class Unreadable(msgspec.Struct, frozen=True):
    """A body that is no event: `code` is its dead-letter class, `pointer` the place in the body when one is known."""

    code: str
    reason: str
    pointer: str = ""


class Peek(msgspec.Struct, frozen=True):
    """What the receiver needs of an event: enough to answer, to de-duplicate and to count."""

    org_id: str
    event_name: str
    event_id: str | None  #: None when Capillary sent none
    created_at_ms: int | None
    identity: str  #: the event id, or the synthetic one that stands for a missing id

    def dedupe_key(self) -> bytes:
        """Return the key under which a repetition is recognised.

        Shape: 20 bytes: the hour of `createdAt` (4 bytes, keeps keys of one time together), then BLAKE2b over (org, event id).
        """
        hour = (self.created_at_ms or 0) // _HOUR_MS
        name = f"{self.org_id}\0{self.identity}".encode()
        return (hour & 0xFFFFFFFF).to_bytes(4, "big") + blake2b(name, digest_size=16).digest()


class Flat(msgspec.Struct):
    """Envelope A as far as `peek` needs it; everything else is skipped without being built."""

    eventName: str | None = None  # noqa: N815 - Capillary's spelling
    eventId: str | int | float | None = None  # noqa: N815
    orgId: str | int | float | None = None  # noqa: N815
    createdAt: str | int | float | None = None  # noqa: N815
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
