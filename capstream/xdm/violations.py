"""Finds what is wrong with a record, and where. The exact, readable half of validation. Source: xdm.md 11."""

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from capstream.kernel.json import Json
from capstream.xdm import advice
from capstream.xdm.formats import CHECKS, EXPECTATIONS, pattern_of
from capstream.xdm.schema import INTEGER_RANGES, Field

LIMIT = 5
"""A validator stops with a record after that many violations."""


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule. Pointers are JSON pointer fragments: `#/identityMap/Email/0/id`."""

    keyword: str
    message: str  #: what was found and expected, in the platform's words
    pointer: str
    schema_location: str
    hint: str = dataclasses.field(default="", compare=False)  #: how to mend the record


class _Spot(NamedTuple):
    """A place in the record and the matching place in the schema."""

    pointer: str
    location: str

    def violation(self, keyword: str, message: str, hint: str = "") -> Violation:
        return Violation(keyword, message, self.pointer, self.location, hint or advice.cure(keyword))

    def member(self, name: str) -> "_Spot":
        return _Spot(f"{self.pointer}/{_escape(name)}", f"{self.location}/properties/{_escape(name)}")

    def element(self, index: int) -> "_Spot":
        return _Spot(f"{self.pointer}/{index}", f"{self.location}/items")

    def entry(self, key: str) -> "_Spot":
        return _Spot(f"{self.pointer}/{_escape(key)}", f"{self.location}/additionalProperties")


_ROOT = _Spot("#", "#")
_TEXT_KINDS = frozenset({"string", "date", "date-time"})
_EXPECTED = {
    "string": "String",
    "date": "String",
    "date-time": "String",
    "number": "Double",
    "long": "Long",
    "int": "Integer",
    "short": "Integer",
    "byte": "Integer",
    "boolean": "Boolean",
    "array": "JSONArray",
    "object": "JSONObject",
    "map": "JSONObject",
}


def violations(root: Field, record: Json, *, partial: bool = False) -> list[Violation]:
    """Return what is wrong with the record, at most LIMIT violations in the order of the record's members.

    Shape: `partial` is for a part of a record, which need not hold what the whole must hold.
    """
    found = _check(root, record, _ROOT)
    return list(islice((one for one in found if one.keyword != "required") if partial else found, LIMIT))


def mandatory(field: Field) -> frozenset[str]:
    """Return the members that must be there: required ones, but for enums and booleans with a default."""
    return frozenset(name for name in field.required if name in field.children and not _defaulted(field.children[name]))


def matches(pattern: str, text: str) -> bool:
    """Tell whether the pattern is found in the text; anchors decide about whole matches. Source: xdm.md 11."""
    return pattern_of(pattern).search(text) is not None


def _defaulted(child: Field) -> bool:
    return child.default is not None and (child.kind == "boolean" or child.enum is not None)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def _check(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    kind = field.kind
    if kind in _TEXT_KINDS:
        yield from _text(field, value, spot)
    elif kind == "object":
        yield from _object(field, value, spot)
    elif kind == "array":
        yield from _array(field, value, spot)
    elif kind == "map":
        yield from _map(field, value, spot)
    elif kind == "boolean":
        yield from _enumerated(field, value, spot) if isinstance(value, bool) else _mistyped(field, value, spot)
    else:
        yield from _number(field, value, spot)


def _mistyped(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    yield spot.violation("type", f"expected type: {_EXPECTED[field.kind]}, found: {_found(value)}", advice.of_type(field, value))


def _found(value: Json) -> str:
    if value is None:
        return "Null"
    names: dict[type, str] = {bool: "Boolean", int: "Long", float: "Double", str: "String", dict: "JSONObject", list: "JSONArray"}
    return names.get(type(value), type(value).__name__)


def _object(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield from _mistyped(field, value, spot)
        return
    for name, member in value.items():
        child = field.children.get(name)
        if child is not None:
            yield from _check(child, member, spot.member(name))
    missing = mandatory(field) - value.keys() if field.required else ()
    for name in sorted(missing, key=list(field.children).index):
        yield spot.violation("required", f"required key [{name}] not found", advice.missing(field, name))
    for name in value:
        if name not in field.children:
            yield spot.violation("additionalProperties", f"extraneous key [{name}] is not permitted", advice.unknown(field, name))


def _map(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield from _mistyped(field, value, spot)
    elif field.values is not None:
        for key, entry in value.items():
            yield from _check(field.values, entry, spot.entry(key))


def _array(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    if not isinstance(value, list):
        yield from _mistyped(field, value, spot)
        return
    if field.min_items is not None and len(value) < field.min_items:
        yield spot.violation("minItems", f"expected minimum item count: {field.min_items}, found: {len(value)}")
    if field.max_items is not None and len(value) > field.max_items:
        yield spot.violation("maxItems", f"expected maximum item count: {field.max_items}, found: {len(value)}")
    if field.items is not None:
        for index, item in enumerate(value):
            yield from _check(field.items, item, spot.element(index))


def _text(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    if not isinstance(value, str):
        yield from _mistyped(field, value, spot)
        return
    least = 1 if field.min_length is None else field.min_length
    if len(value) < least:
        yield spot.violation("minLength", f"expected minLength: {least}, actual: {len(value)}", advice.too_short(least))
        if not value:
            return
    if field.max_length is not None and len(value) > field.max_length:
        yield spot.violation("maxLength", f"expected maxLength: {field.max_length}, actual: {len(value)}")
    if field.pattern is not None and not matches(field.pattern, value):
        yield spot.violation("pattern", f"string [{value}] does not match pattern {field.pattern}")
    name = (field.format or "") if field.kind == "string" else field.kind
    if name in CHECKS and not CHECKS[name](value):
        yield spot.violation("format", f"[{value}] is not a valid {EXPECTATIONS.get(name, name)}", advice.of_format(name))
    yield from _enumerated(field, value, spot)


def _number(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    integral = field.kind in INTEGER_RANGES
    if isinstance(value, bool) or not isinstance(value, int | float) or (integral and value != value // 1):
        yield from _mistyped(field, value, spot)
        return
    low, high = bounds(field)
    if low is not None and value < low:
        yield spot.violation("minimum", f"{value} is not greater or equal to {low}", advice.out_of_range(field, low, high))
    if high is not None and value > high:
        yield spot.violation("maximum", f"{value} is not less or equal to {high}", advice.out_of_range(field, low, high))
    if field.exclusive_minimum is not None and value <= field.exclusive_minimum:
        yield spot.violation("exclusiveMinimum", f"{value} is not greater than {field.exclusive_minimum}")
    if field.exclusive_maximum is not None and value >= field.exclusive_maximum:
        yield spot.violation("exclusiveMaximum", f"{value} is not less than {field.exclusive_maximum}")
    yield from _enumerated(field, value, spot)


def bounds(field: Field) -> tuple[float | int | None, float | int | None]:
    """Return (smallest, largest) value of a number: stated bounds, narrowed to the range of its integer type."""
    if field.kind not in INTEGER_RANGES:
        return field.minimum, field.maximum
    low, high = INTEGER_RANGES[field.kind]
    return (
        low if field.minimum is None else max(low, field.minimum),
        high if field.maximum is None else min(high, field.maximum),
    )


def _enumerated(field: Field, value: Json, spot: _Spot) -> Iterator[Violation]:
    if field.enum is not None and not any(value == allowed and type(value) is type(allowed) for allowed in field.enum):
        yield spot.violation("enum", f"{value} is not a valid enum value", advice.one_of(field.enum))
