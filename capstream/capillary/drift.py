"""What is new in the form of webhooks: members nobody documents, values of another type. Source: capillary.md 7.8.

Only names, places and types are told, never values. A name that may itself be data (a key of a map, an address) is told as `*`.
"""

import re
from collections.abc import Iterator, Mapping

from capstream.capillary.vocabulary import MEMBER_OF, MEMBERS, OPAQUE
from capstream.kernel.json import Json

Seen = tuple[str, str, bool]
"""(path as a JSON pointer, type: text, number, boolean, object or list; whether the member is documented)"""

_TYPES = {str: "text", int: "number", float: "number", bool: "boolean", dict: "object", list: "list"}
_BRAND = OPAQUE | {"behavioralEventAttributes"}  # below them the brand chooses the names
_NAME = re.compile(r"(?!.*\d{5})[A-Za-z_][A-Za-z0-9_. -]{0,63}", re.ASCII)
_ELEMENTS = 20  # of a list that are looked at
_NAMES = 20  # more unknown names than that in one object make it a map


def forms(body: Json) -> Iterator[Seen]:
    """Yield every member of a webhook body with its type; those of a wrapper as if it were not there."""
    if type(body) is not dict:
        return
    wrapped = next((body[name] for name in ("body", "attributes") if type(body.get(name)) is dict), None)
    data = body.get("data")
    if wrapped is not None:
        yield from _members("", {name: value for name, value in body.items() if value is not wrapped})
        yield from _members("", wrapped)
    elif type(data) is dict and "eventName" in data:
        yield from _members("", data)
    else:
        yield from _members("", body)


def shown_name(name: str) -> str:
    """Return a name as it may be told: `*` when it may be data."""
    return name if _NAME.fullmatch(name) else "*"


def _members(path: str, node: Mapping[str, Json]) -> Iterator[Seen]:
    unknown = 0
    for name, value in node.items():
        is_known = name in MEMBERS
        if not is_known:
            canonical = MEMBER_OF.get("".join(name.split()).lower())
            is_known = canonical is not None
            unknown += not is_known
            name = canonical or (shown_name(name) if unknown <= _NAMES else "*")
        kind = type(value)
        if value is None or kind not in _TYPES:
            continue
        here = f"{path}/{name}"
        yield here, _TYPES[kind], is_known
        if kind is dict and is_known and name not in _BRAND:
            yield from _members(here, value)
        elif kind is list and is_known:
            for item in value[:_ELEMENTS]:
                if type(item) is dict:
                    yield from _members(f"{here}/-", item)
