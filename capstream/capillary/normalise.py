"""One Capillary webhook body, in any of its published shapes, as one normalised event.

`normalise` reads everything and never raises; `split` takes arrays apart.
Source: capillary.md 1.4, 7.2. ASSUMPTION: a body that is a JSON array is a list of events (1.3).
"""

import json
from hashlib import sha256
from typing import Final

import msgspec

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.shapes import Shapes, holds_only
from capstream.capillary.values import Unfit, decimal_id, instant, opaque_id, whole
from capstream.capillary.vocabulary import MAPPED, MEMBER_OF, MEMBERS, OPAQUE, canonical_name
from capstream.kernel.json import Json, JsonError, canonical, loads

_BOM: Final = b"\xef\xbb\xbf"

_MOST_LEVELS: Final = 64
_TOO_DEEP: Final = Unreadable(
    "INVALID_BODY", f"the body has objects or lists in each other, more than {_MOST_LEVELS} levels deep"
)

_shapes: Final = Shapes()

_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


def split(raw: bytes) -> list[bytes]:
    """Return the bodies in `raw`: the elements of a JSON array, or `raw` itself when it is anything else."""
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"[":
        return [raw]
    try:
        return [bytes(item) for item in _array.decode(raw.removeprefix(_BOM))]
    except (JsonError, UnicodeDecodeError, RecursionError):
        return [raw]


def normalise(raw: bytes, received_ms: int) -> NormalisedEvent | Unreadable:
    """Return the event in one webhook body, or why there is none.

    Shape: accepts all four envelopes, stray blanks and foreign case in known member names, ids as numbers, times in seconds.
    Errors: Unreadable INVALID_BODY (no JSON object, no name, no data) or INVALID_FIELD (no usable org).
    Source: capillary.md 1.4.
    """
    raw = raw.removeprefix(_BOM)
    notes = _Notes()
    body = _shapes.read(raw)
    if body is None:
        read = _read(raw, notes)
        if isinstance(read, Unreadable):
            return read
        body = read
    fields, envelope = _unwrap(body)
    return _event(fields, envelope, received_ms, notes)


def _read(raw: bytes, notes: "_Notes") -> dict[str, Json] | Unreadable:
    """Return a body of any shape with its known members under their canonical names."""
    try:
        body = loads(raw)
    except (JsonError, UnicodeDecodeError) as error:
        return Unreadable("INVALID_BODY", f"the body is not JSON: {error}")
    except RecursionError:
        return _TOO_DEEP
    if type(body) is not dict:
        return Unreadable("INVALID_BODY", "the body must be one JSON object")
    is_canonical = _clean(body, notes)
    if notes.levels > _MOST_LEVELS and _is_deep(body):
        return _TOO_DEEP
    if notes.collided or (not holds_only(raw, notes.keys) and _finds_a_key_twice(raw)):
        notes.flags.append("dup_key")
    elif is_canonical:
        _shapes.learn(body)
    return body


def _is_deep(body: Json) -> bool:
    """Say whether a value has more levels than anything reads: what is deeper could end any code that descends into it."""
    nodes, levels = [body], 0
    while nodes and levels < _MOST_LEVELS:
        levels += 1
        inner: list[Json] = []
        for node in nodes:
            for part in node.values() if type(node) is dict else node:
                if type(part) is dict or type(part) is list:
                    inner.append(part)
        nodes = inner
    return bool(nodes)


class _Notes:
    """What cleaning noticed: how many members and at most how many levels there are, which members were unknown, whether two
    fell together.
    """

    __slots__ = ("collided", "flags", "keys", "levels", "unknown")

    def __init__(self) -> None:
        self.keys = 0
        self.levels = 0
        self.unknown: list[str] = []
        self.flags: list[str] = []
        self.collided = False


class _Level:
    """The objects on one level of a body, and the opaque ones beside them."""

    __slots__ = ("nodes", "opaque")

    def __init__(self) -> None:
        self.nodes: list[dict[str, Json]] = []
        self.opaque: list[Json] = []


def _clean(root: dict[str, Json], notes: _Notes) -> bool:
    """Give known members their canonical names, at every depth and in place; say whether all had them."""
    level, opaque = _Level(), list[Json]()
    level.nodes.append(root)
    is_canonical = True
    while level.nodes:
        notes.levels += 2  # an object, and perhaps the list around it
        inner = _Level()
        for node in level.nodes:
            if not all(key in MEMBERS for key in node):
                is_canonical = False
                _rename(node, notes)
            for key, value in node.items():
                if type(value) is dict or type(value) is list:
                    _sort_out(key, value, inner)
            notes.keys += len(node)
        opaque += inner.opaque
        level = inner
    while opaque:
        notes.levels += 1
        opaque = _inside(opaque, notes)
    return is_canonical


def _sort_out(name: str, value: Json, inner: _Level) -> None:
    """Add the object, or those of the list, that stands under a name; lists in lists, in which names are kept, are opaque."""
    if type(value) is dict:
        if name in OPAQUE:
            inner.opaque.append(value)
        else:
            inner.nodes.append(value)
        return
    for item in value:
        if type(item) is dict:
            inner.nodes.append(item)
        elif type(item) is list:
            inner.opaque.append(item)


def _inside(parts: list[Json], notes: _Notes) -> list[Json]:
    """Return the objects and lists one level below `parts`; their members are counted."""
    inner: list[Json] = []
    for part in parts:
        if type(part) is dict:
            notes.keys += len(part)
        for item in part.values() if type(part) is dict else part:
            if type(item) is dict or type(item) is list:
                inner.append(item)
    return inner


def _rename(node: dict[str, Json], notes: _Notes) -> None:
    renamed: dict[str, Json] = {}
    for key, value in node.items():
        name = key
        if key not in MEMBERS:
            name = MEMBER_OF.get("".join(key.split()).lower(), key)
            if name not in MEMBERS:
                notes.unknown.append(key)
        if name in renamed:
            notes.collided = True
        renamed[name] = value
    node.clear()
    node.update(renamed)


def _finds_a_key_twice(raw: bytes) -> bool:
    """Say whether an object in `raw` names a member twice (the decoder keeps the last one silently)."""
    repeated = False

    def look(pairs: list[tuple[str, Json]]) -> None:
        nonlocal repeated
        repeated = repeated or len({key for key, _ in pairs}) < len(pairs)

    json.loads(raw, object_pairs_hook=look)
    return repeated


def _unwrap(body: dict[str, Json]) -> tuple[dict[str, Json], str]:
    inner = body.get("body")
    if type(inner) is dict:
        return inner, "D"
    inner = body.get("attributes")
    if type(inner) is dict:
        outer = {key: body[key] for key in ("eventId", "eventLogId", "eventType", "timeStamp", "consumerGroupId") if key in body}
        merged = {**outer, **inner}
        if body.get("eventId") is not None:
            merged["eventId"] = body["eventId"]
        return merged, "B"
    inner = body.get("data")
    if type(inner) is dict and "eventName" in inner:
        return inner, "C"
    return body, "A"


def _event(fields: dict[str, Json], envelope: str, received_ms: int, notes: _Notes) -> NormalisedEvent | Unreadable:
    name = _name(fields)
    if name is None:
        return Unreadable("INVALID_BODY", "the event has no eventName", "/eventName")
    data = fields.get("data")
    if type(data) is not dict:
        return Unreadable("INVALID_BODY", "the event has no data object", "/data")
    try:
        org_id, event_id, ref_id, request_id, loyalty_event_id = _ids(fields, data)
    except Unfit as unfit:
        return Unreadable("INVALID_FIELD", f"an id of the envelope {unfit.reason}", unfit.pointer)
    if org_id is None:
        return Unreadable("INVALID_FIELD", "the event names no organisation", "/orgId")
    stated = instant(fields.get("createdAt"))
    created = stated
    if created is None:
        notes.flags.append("bad_created_at")
        created = instant(fields.get("timeStamp")) or received_ms
    return NormalisedEvent(
        org_id=org_id,
        event_name=name,
        event_id=event_id or _synthetic_id(org_id, name, ref_id, stated, data),
        event_id_synthetic=event_id is None,
        event_log_id=_log_id(fields.get("eventLogId")),
        ref_id=ref_id,
        api_request_id=request_id,
        loyalty_event_id=loyalty_event_id,
        created_at_ms=created,
        received_ms=received_ms,
        envelope=envelope,
        data=data,
        flags=tuple(notes.flags),
        unknown=tuple(notes.unknown),
    )


def _ids(fields: dict[str, Json], data: dict[str, Json]) -> tuple[str | None, str | None, str | None, str | None, str | None]:
    """Return org, event, ref, request and loyalty event id. Errors: Unfit, its pointer naming the member."""
    field = "orgId"
    try:
        org_id = _org(fields)
        field = "eventId"
        event_id = opaque_id(fields.get(field))
        field = "refId"
        ref_id = opaque_id(fields.get(field))
        field = "apiRequestId"
        request_id = opaque_id(fields.get(field))
        field = "loyaltyEventId"
        loyalty_event_id = opaque_id(fields.get(field)) or opaque_id(data.get(field))
    except Unfit as unfit:
        raise Unfit(unfit.reason, f"/{field}") from None
    return org_id, event_id, ref_id, request_id, loyalty_event_id


def _name(fields: dict[str, Json]) -> str | None:
    for name in (fields.get("eventName"), fields.get("eventType")):
        if type(name) is str and name in MAPPED:
            return name
        if type(name) is str and name.strip():
            prefix, mark, rest = name.strip().partition("_")
            return canonical_name(rest if mark and prefix.isdecimal() and rest else name)
    return None


def _org(fields: dict[str, Json]) -> str | None:
    """Return the org: its own member, else what `eventType` and `refId` carry in front of their first underscore."""
    found = decimal_id(fields.get("orgId"))
    if found is not None:
        return found
    for carrier in (fields.get("eventType"), fields.get("refId")):
        if type(carrier) is str:
            prefix, mark, _ = carrier.strip().partition("_")
            if mark and prefix.isdecimal():
                return decimal_id(prefix)
    return None


def _log_id(value: Json) -> int | None:
    try:
        found = whole(value)
    except Unfit:
        return None
    return found if found is not None and 0 < found < 2**63 else None


def _synthetic_id(org_id: str, name: str, ref_id: str | None, created: int | None, data: dict[str, Json]) -> str:
    body = {"orgId": org_id, "eventName": name, "refId": ref_id, "createdAt": created, "data": data}
    return "syn-" + sha256(canonical(body)).hexdigest()[:32]
