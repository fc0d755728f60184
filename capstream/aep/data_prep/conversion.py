"""Values to the types of XDM fields, and object copy: one specialised function per field. Source: data-prep.md 3.4, 4.2.

A scalar converter takes a value that is not null. A composite one (array, object, map, field without schema) also takes a
list for the failures of single attributes and the place it writes to; the place is a chain (parent, name or position)
whose end is the text of the destination.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from capstream.kernel.json import Json
from capstream.lang.date_functions import as_date
from capstream.lang.dates import RFC3339, date_text, is_rfc3339
from capstream.lang.diagnostics import Fail
from capstream.lang.expression import FAILURES
from capstream.lang.nodes import Name
from capstream.lang.paths import path_text
from capstream.lang.values import kind, numeric, shown, text
from capstream.xdm.schema import INTEGER_RANGES, Field

Place = str | tuple["Place", str | int]
Failures = list[tuple[Place, str]]
Scalar = Callable[[Json], Json]
Composite = Callable[[Json, Failures, Place], Json]

_YES = frozenset({"y", "yes", "on", "true"})
_NO = frozenset({"n", "no", "off", "false"})
DAY = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])")
_LARGEST = 1 << 64
_is_usual = RFC3339.fullmatch


@dataclass(frozen=True, slots=True)
class Converter:
    """How values become values of one field; exactly one of both is set."""

    scalar: Scalar | None = None
    composite: Composite | None = None


def concrete(place: Place) -> str:
    """Return a place as path text: `productListItems[2].quantity`."""
    steps: list[str] = []
    while not isinstance(place, str):
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{path_text((Name(step),))}")
    return place + "".join(reversed(steps)) if place else "".join(reversed(steps)).removeprefix(".")


def to_string(value: Json) -> str:
    """Return the text form. Errors: Fail for arrays and objects."""
    return text(value)


def to_number(value: Json) -> int | float:
    """Return a number. Errors: Fail for anything but numbers and numeric text."""
    if value.__class__ is str:
        found = numeric(value)
        if found is None:
            raise Fail(f"{shown(value)} is not a number")
        value = found
    if value.__class__ is int:
        return value if -_LARGEST // 2 <= value < _LARGEST else float(value)
    if value.__class__ is not float:
        raise Fail(f"{shown(value)} is not a number")
    return value


def integer_within(low: int, high: int) -> Scalar:
    """Return the converter to whole numbers from `low` to `high`."""

    def convert(value: Json) -> int:
        if value.__class__ is int and low <= value <= high:
            return value
        found = to_number(value)
        if found.__class__ is float:
            if not float(found).is_integer():
                raise Fail(f"{shown(value)} is not a whole number")
            found = int(found)
        if not low <= found <= high:
            raise Fail(f"{shown(value)} is not between {low} and {high}")
        return int(found)

    return convert


def to_boolean(value: Json) -> bool:
    """Return a boolean. Errors: Fail for anything but booleans and the documented words."""
    if value.__class__ is bool:
        return bool(value)
    if value.__class__ is str:
        word = value.lower()
        if word in _YES:
            return True
        if word in _NO:
            return False
    raise Fail(f"{shown(value)} is not a boolean; words are y, yes, on, true, n, no, off, false")


def to_date_time(value: Json) -> str:
    """Return RFC 3339 text; text that is one already stays as it is. Errors: Fail when the value is no date."""
    if value.__class__ is str and (_is_usual(value) is not None or is_rfc3339(value)):
        return value
    return date_text(as_date(value))


def to_date(value: Json) -> str:
    """Return `yyyy-MM-dd` in the value's own offset. Errors: Fail when the value is no date."""
    if value.__class__ is str and DAY.fullmatch(value):
        return value
    return date_text(as_date(value))[:10]


class Conversions:
    """Converters of the fields of one schema, each made when it is first needed."""

    def __init__(self, *, keep_nulls: bool) -> None:
        self._keep_nulls = keep_nulls
        self._made: dict[int, tuple[Field, Converter]] = {}

    def of(self, field: Field | None) -> Converter:
        """Return the converter of a field; a field without schema takes everything."""
        if field is None:
            return Converter(composite=self._copy)
        found = self._made.get(id(field))
        if found is None:
            found = self._made[id(field)] = (field, self._make(field))
        return found[1]

    def _make(self, field: Field) -> Converter:
        match field.kind:
            case "string":
                return Converter(to_string)
            case "number":
                return Converter(to_number)
            case "boolean":
                return Converter(to_boolean)
            case "date-time":
                return Converter(to_date_time)
            case "date":
                return Converter(to_date)
            case "array":
                return Converter(composite=self._array(field.items))
            case "map":
                return Converter(composite=self._map(field.values))
            case "object":
                return Converter(composite=self._object(field) if field.children else self._free_object)
            case _:
                low, high = integer_range(field)
                return Converter(integer_within(low, high))

    def _array(self, items: Field | None) -> Composite:
        item = self.of(items)
        scalar, composite = item.scalar, item.composite
        plain = _PLAIN.get("" if items is None else items.kind, _NONE)

        def convert(value: Json, failures: Failures, place: Place) -> Json:
            if value.__class__ is not list:
                return [_one(item, value, failures, (place, 0))]
            if plain and plain.issuperset(map(type, value)):
                return value.copy()
            result: list[Json] = []
            for at, element in enumerate(value):
                if element is None:
                    result.append(None)
                    continue
                try:
                    if scalar is not None:
                        result.append(scalar(element))
                    else:
                        result.append(composite(element, failures, (place, at)))  # type: ignore[misc]
                except FAILURES as error:
                    failures.append(((place, at), str(error)))
            return result

        return convert

    def _map(self, values: Field | None) -> Composite:
        keep_nulls = self._keep_nulls
        converter = self.of(values)

        def convert(value: Json, failures: Failures, place: Place) -> Json:
            if value.__class__ is not dict:
                raise Fail(f"{shown(value)} is not an object")
            result: dict[str, Json] = {}
            for key, member in value.items():
                if member is None:
                    if keep_nulls:
                        result[key] = None
                    continue
                try:
                    result[key] = _one(converter, member, failures, (place, key))
                except FAILURES as error:
                    failures.append(((place, key), str(error)))
            return result

        return convert

    def _object(self, field: Field) -> Composite:
        keep_nulls = self._keep_nulls
        # Most attributes already have their type: one look-up tells, without a call.
        plain = {name: _PLAIN[child.kind] for name, child in field.children.items() if child.kind in _PLAIN}
        converters = {name: self.of(child) for name, child in field.children.items()}
        plain_of, converter_of = plain.get, converters.get

        def convert(value: Json, failures: Failures, place: Place) -> Json:
            if value.__class__ is not dict:
                raise Fail(f"{shown(value)} is not an object")
            result = {}
            for name, member in value.items():
                if member.__class__ in plain_of(name, _NONE):
                    result[name] = member
                    continue
                converter = converter_of(name)
                if converter is None:
                    continue
                if member is None:
                    if keep_nulls:
                        result[name] = None
                    continue
                try:
                    scalar = converter.scalar
                    if scalar is not None:
                        result[name] = scalar(member)
                    else:
                        result[name] = converter.composite(member, failures, (place, name))  # type: ignore[misc]
                except FAILURES as error:
                    failures.append(((place, name), str(error)))
            return result

        return convert

    def _free_object(self, value: Json, failures: Failures, place: Place) -> Json:
        if value.__class__ is not dict:
            raise Fail(f"{shown(value)} is not an object")
        return self._copy(value, failures, place)

    def _copy(self, value: Json, failures: Failures, place: Place) -> Json:
        """Return a copy of any value: nulls of objects dropped, those of arrays kept, dates as text."""
        if value.__class__ is dict:
            keep = self._keep_nulls
            return {name: self._copy(member, failures, place) for name, member in value.items() if keep or member is not None}
        if value.__class__ is list:
            return [self._copy(element, failures, place) for element in value]
        if isinstance(value, datetime):
            return date_text(value)
        if value.__class__ is int:
            return to_number(value)
        if callable(value):
            raise Fail(f"a {kind(value)} is no value")
        return value


_NONE: frozenset[type] = frozenset()
_PLAIN: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
}
"""Classes that need no conversion. Integers have a range to check, dates a form."""


def integer_range(field: Field) -> tuple[int, int]:
    """Return the smallest and largest value of an integer field."""
    low, high = INTEGER_RANGES[field.kind]
    if field.minimum is not None:
        low = max(low, -int(-field.minimum // 1))
    if field.maximum is not None:
        high = min(high, int(field.maximum // 1))
    return low, high


def convert(converter: Converter, value: Json, failures: Failures, place: Place) -> Json:
    """Return a value that is not null, converted. Errors: Fail."""
    return _one(converter, value, failures, place)


def _one(converter: Converter, value: Json, failures: Failures, place: Place) -> Json:
    if converter.scalar is not None:
        return converter.scalar(value)
    return converter.composite(value, failures, place)  # type: ignore[misc]


__all__ = ["Conversions", "Converter", "Failures", "Place", "concrete", "convert"]
