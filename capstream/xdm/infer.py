"""Drafts field definitions from real payloads: types from values, notes where a person has to look."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from capstream.kernel.json import Json
from capstream.xdm.formats import CHECKS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_WORDS = re.compile(r"[A-Za-z0-9]+")
_FORMATS = ("date-time", "date", "email", "ipv4", "ipv6")
_WEB = ("http://", "https://")
_INT = 2**31 - 1
_LONG = 2**53 - 1
_MAP_KEYS = 16  #: objects with more different keys than that, all of one type, are maps
_FEW = 8  #: so many different texts, each seen often, are suggested values
_OFTEN = 5


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should look at before the draft is used."""

    path: str  #: of the payload, dotted
    text: str


@dataclass(slots=True)
class _Seen:
    """What was seen at one place of the payloads."""

    count: int = 0
    nulls: int = 0
    booleans: int = 0
    integers: int = 0
    floats: int = 0
    texts: dict[str, int] = field(default_factory=dict)
    lists: int = 0
    objects: int = 0
    smallest: float = 0
    largest: float = 0
    items: "_Seen | None" = None
    members: dict[str, "_Seen"] = field(default_factory=dict)

    def add(self, value: Json) -> None:
        self.count += 1
        if value is None:
            self.nulls += 1
        elif isinstance(value, bool):
            self.booleans += 1
        elif isinstance(value, int | float):
            self._number(value)
        elif isinstance(value, str):
            self.texts[value] = self.texts.get(value, 0) + 1
        elif isinstance(value, list):
            self.lists += 1
            self.items = self.items or _Seen()
            for item in value:
                self.items.add(item)
        else:
            self.objects += 1
            for name, member in value.items():
                self.members.setdefault(name, _Seen()).add(member)

    def _number(self, value: float) -> None:
        if isinstance(value, float) and value != value // 1:
            self.floats += 1
        else:
            self.integers += 1
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)


def infer(records: Sequence[Json]) -> tuple[dict[str, Json], list[Note]]:
    """Return (properties in JSON Schema, notes) that fit every record. Nothing is made required: a sample proves no such rule."""
    seen = _Seen()
    for record in records:
        seen.add(record)
    notes: list[Note] = []
    return _properties(seen, "", notes), notes


def _properties(seen: _Seen, path: str, notes: list[Note]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, child in seen.members.items():
        here = f"{path}.{name}" if path else name
        fitting = _field_name(name)
        if not fitting:
            notes.append(Note(here, "left out: the name holds no letter or digit"))
            continue
        if fitting in found:
            notes.append(Note(here, f"left out: another member is called {fitting} already"))
            continue
        definition = _definition(child, here, notes)
        if definition is None:
            continue
        if fitting != name:
            notes.append(Note(here, f"renamed to {fitting}: names hold letters, digits, - and _ and do not start with _"))
        found[fitting] = {"title": _title(fitting), **definition}
    return found


def _definition(seen: _Seen, path: str, notes: list[Note]) -> Json | None:
    kinds = [name for name, count in _kinds(seen) if count]
    if not kinds:
        notes.append(Note(path, "left out: it was never anything but null"))
        return None
    if seen.nulls:
        notes.append(Note(path, "was null at times: a record must leave the field out instead"))
    if len(kinds) > 1:
        return _mixed(kinds, path, notes)
    match kinds[0]:
        case "object":
            return _object(seen, path, notes)
        case "array":
            return _array(seen, path, notes)
        case "boolean":
            return {"type": "boolean"}
        case "number":
            return _number(seen)
    return _text(seen, path, notes)


def _kinds(seen: _Seen) -> Iterator[tuple[str, int]]:
    yield "boolean", seen.booleans
    yield "number", seen.integers + seen.floats
    yield "string", sum(seen.texts.values())
    yield "array", seen.lists
    yield "object", seen.objects


def _mixed(kinds: list[str], path: str, notes: list[Note]) -> Json | None:
    if {"array", "object"} & set(kinds):
        notes.append(Note(path, f"left out: seen as {' and '.join(kinds)}; a mapping has to bring it into one shape"))
        return None
    notes.append(Note(path, f"seen as {' and '.join(kinds)}; drafted as string, a mapping has to convert it"))
    return {"type": "string"}


def _object(seen: _Seen, path: str, notes: list[Note]) -> Json | None:
    if _looks_like_map(seen):
        values = _Seen()
        for member in seen.members.values():
            _pour(values, member)
        inner = _definition(values, f"{path}.*", notes)
        notes.append(Note(path, f"drafted as a map: {len(seen.members)} different keys, values of one type"))
        return {"type": "object", "meta:xdmType": "map", "additionalProperties": inner}
    properties = _properties(seen, path, notes)
    if not properties:
        notes.append(Note(path, "left out: an object without usable members"))
        return None
    return {"type": "object", "properties": properties}


def _looks_like_map(seen: _Seen) -> bool:
    if len(seen.members) <= _MAP_KEYS and all(_NAME.fullmatch(name) for name in seen.members):
        return False
    kinds = {tuple(name for name, count in _kinds(member) if count) for member in seen.members.values()}
    return len(kinds) == 1 and len(seen.members) > 1 and kinds <= {("string",), ("number",), ("boolean",)}


def _pour(into: _Seen, other: _Seen) -> None:
    """Add the scalars seen at one place to those of another."""
    into.count += other.count
    into.booleans += other.booleans
    into.integers += other.integers
    into.floats += other.floats
    into.smallest, into.largest = min(into.smallest, other.smallest), max(into.largest, other.largest)
    for text, count in other.texts.items():
        into.texts[text] = into.texts.get(text, 0) + count


def _array(seen: _Seen, path: str, notes: list[Note]) -> Json | None:
    items = None if seen.items is None or not seen.items.count else _definition(seen.items, f"{path}[]", notes)
    if items is None:
        notes.append(Note(path, "left out: the array was always empty, or its items have no type"))
        return None
    return {"type": "array", "items": items}


def _number(seen: _Seen) -> Json:
    if seen.floats or max(-seen.smallest, seen.largest) > _LONG:
        return {"type": "number"}
    if max(-seen.smallest, seen.largest) > _INT:
        return {"type": "integer", "minimum": -_LONG, "maximum": _LONG}
    return {"type": "integer"}


def _text(seen: _Seen, path: str, notes: list[Note]) -> Json:
    texts = [text for text in seen.texts if text]
    if len(texts) < len(seen.texts):
        notes.append(Note(path, "was empty at times: a record must leave the field out instead"))
    for name in _FORMATS:
        if texts and all(CHECKS[name](text) for text in texts):
            return {"type": "string", "format": name}
    if texts and all(text.startswith(_WEB) and CHECKS["uri"](text) for text in texts):
        return {"type": "string", "format": "uri"}
    if 1 < len(texts) <= _FEW and all(seen.texts[text] >= _OFTEN for text in texts):
        return {"type": "string", "meta:enum": {text: _title(text) for text in sorted(texts)}}
    return {"type": "string"}


def _field_name(name: str) -> str:
    """Return the name a field may have: as it is, or its words in camel case."""
    if _NAME.fullmatch(name):
        return name
    words: list[str] = _WORDS.findall(name) or [""]
    first, *others = words
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _title(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[_.\-/]+", " ", name)).split()
    return " ".join(word[:1].upper() + word[1:] for word in words)
