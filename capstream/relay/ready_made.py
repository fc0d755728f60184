"""Webhooks of a source with the preset `adobe-ready`: the body is the payload already. Source: capillary.md 1.8, 6.

Such bodies come from a Neo dataflow that Capillary runs before delivery. They are checked, given an `_id` where they have
none, and forwarded.
"""

from datetime import datetime

from capstream.capillary.envelope import Unreadable
from capstream.kernel.json import Json, JsonError, digest, dumps, loads
from capstream.relay.records import Kind, Record


def ready_made(body: bytes, offset: int) -> tuple[Kind, Record] | Unreadable:
    """Return the payload in a body and the dataflow it belongs to, or why there is none.

    A body with a `timestamp` is an event, one with `loyalty` alone a profile. An `_id` that is missing follows from the content,
    so that a repeat has the same one.
    """
    try:
        payload = loads(body)
    except (JsonError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable("INVALID_BODY", f"the body is not JSON: {error}")
    if type(payload) is not dict:
        return Unreadable("INVALID_BODY", "the body must be one JSON object")
    member = _primary(payload.get("identityMap"))
    if member is None:
        return Unreadable("NO_IDENTITY", "no identity with an id is in identityMap", "/identityMap")
    if "timestamp" in payload:
        if not _is_instant(payload["timestamp"]):
            return Unreadable("INVALID_FIELD", "timestamp is no RFC 3339 time with an offset", "/timestamp")
        return "event", _record(payload, body, member, offset, f"capillary:ready:{digest(payload)[:32]}")
    if type(payload.get("loyalty")) is not dict:
        return Unreadable("INVALID_BODY", "it is neither an event (timestamp) nor a profile (loyalty)")
    return "profile", _record(payload, body, member, offset, f"capillary:ready:member:{digest(member)[:32]}")


def _record(payload: dict[str, Json], body: bytes, member: str, offset: int, made_id: str) -> Record:
    given = payload.get("_id")
    if type(given) is str and given:
        return Record(given, member, body, offset)
    return Record(made_id, member, dumps({**payload, "_id": made_id}), offset)


def _primary(identities: Json) -> str | None:
    """Return `namespace:id` of the primary identity, else of the first one."""
    if type(identities) is not dict:
        return None
    found = [
        (item.get("primary") is True, f"{namespace}:{item['id']}")
        for namespace, items in identities.items()
        if type(items) is list
        for item in items
        if type(item) is dict and type(item.get("id")) is str and item["id"]
    ]
    return next((name for is_primary, name in found if is_primary), found[0][1] if found else None)


def _is_instant(value: Json) -> bool:
    try:
        return type(value) is str and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
