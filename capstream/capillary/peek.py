"""What the receiver has to know of a body before it is kept, without building the rest of it. Source: capillary.md 1.4, 7.2."""

from hashlib import blake2b
from typing import Final, cast

import msgspec
from msgspec.structs import astuple

from capstream.capillary.envelope import Flat, Unreadable
from capstream.capillary.normalise import normalise
from capstream.capillary.values import Unfit, decimal_id, instant, opaque_id
from capstream.capillary.vocabulary import canonical_name
from capstream.kernel.json import JsonError

_HOUR_MS: Final = 3_600_000
_UNSET: Final[object] = msgspec.UNSET
_NOT_PLAIN: Final = ("", "", "", 0)
_blank: Final = blake2b(digest_size=16)  # a copy costs half of a new one

_flat: Final = msgspec.json.Decoder(Flat)

Member = str | int | float | None


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
        return _key(self.org_id, self.identity, self.created_at_ms or 0)


class _Hour:
    """The first bytes of keys: those of one hour come together."""

    def __init__(self) -> None:
        self._hour = -1
        self._text = b""

    def text(self, created_ms: int) -> bytes:
        hour = created_ms // _HOUR_MS
        if hour != self._hour:
            self._hour, self._text = hour, (hour & 0xFFFFFFFF).to_bytes(4, "big")
        return self._text


_hour: Final = _Hour()


def _key(org_id: str, identity: str, created_ms: int) -> bytes:
    hashed = _blank.copy()
    hashed.update(f"{org_id}\0{identity}".encode())
    digest: bytes = hashed.digest()
    return _hour.text(created_ms) + digest


def peek(raw: bytes) -> Peek | None:
    """Return org, name, id and time of the event in `raw`, cheaply; None when `normalise` cannot read it either."""
    org_id, name, event_id, created = _plain(raw)
    if not org_id:
        return _peek_slowly(raw)
    return Peek(org_id, canonical_name(name), event_id, created, event_id)


def key_and_id(raw: bytes) -> tuple[bytes, str | None]:
    """Return `dedupe_key` and `event_id` of what `peek` finds in `raw`; the key is empty when that is nothing."""
    org_id, _, event_id, created = _plain(raw)
    if org_id:
        return _key(org_id, event_id, created), event_id
    found = _peek_slowly(raw)
    return (b"", None) if found is None else (found.dedupe_key(), found.event_id)


def _plain(raw: bytes) -> tuple[str, str, str, int]:
    """Return org id, event name, event id and `createdAt` of a plain event; `_NOT_PLAIN` when it takes more to tell."""
    try:
        flat = _flat.decode(raw)
    except (JsonError, UnicodeDecodeError, RecursionError):
        return _NOT_PLAIN
    members = cast(tuple[str | None, Member, Member, Member, object, object], astuple(flat))
    name, any_event_id, any_org_id, any_created, attributes, body = members
    if attributes is not _UNSET or body is not _UNSET or not name:
        return _NOT_PLAIN
    try:
        org_id, event_id = decimal_id(any_org_id), opaque_id(any_event_id)
    except Unfit:
        return _NOT_PLAIN
    created = instant(any_created)
    if org_id is None or event_id is None or created is None:
        return _NOT_PLAIN
    return org_id, name, event_id, created


def _peek_slowly(raw: bytes) -> Peek | None:
    event = normalise(raw, 0)
    if isinstance(event, Unreadable):
        return None
    created = event.created_at_ms or None
    return Peek(event.org_id, event.event_name, None if event.event_id_synthetic else event.event_id, created, event.event_id)
