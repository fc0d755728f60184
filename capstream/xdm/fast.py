"""The quick half of validation: types for msgspec, whose conversion runs in C.

A record that converts is valid beyond doubt. One that does not may still be valid (29 February, `10.0` for an integer,
an unusual URI): the exact half decides. So the types may be stricter than the schema, never laxer.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from capstream.kernel.json import Json
from capstream.xdm.formats import CHECKS, SURE, pattern_of
from capstream.xdm.schema import INTEGER_RANGES, Field
from capstream.xdm.violations import bounds, mandatory

_MAX_INT64 = 2**63 - 1


_LIST: Any = list  # types of values only known at run time: mypy takes these as values, as msgspec does
_DICT: Any = dict
_ANNOTATED: Any = Annotated
_META: Any = msgspec.Meta


_UNUSABLE = re.compile(r'["\\\x00-\x1f]')  #: msgspec takes no such names


class _Doubtful:
    """Nothing converts to this: the exact test decides about every value."""


def compile_sure(root: Field) -> Callable[[Json], bool]:
    """Return a function that tells whether a record is valid beyond doubt."""
    target = _type(root)
    convert = msgspec.convert

    def sure(record: Json) -> bool:
        try:
            convert(record, target)
        except (msgspec.ValidationError, OverflowError):
            return False
        return True

    return sure


def _type(field: Field) -> Any:
    kind = field.kind
    if kind in {"string", "date", "date-time"}:
        return _text(field)
    if kind in INTEGER_RANGES or kind == "number":
        return _number(field)
    if kind == "boolean":
        return bool if field.enum is None else _Doubtful
    if kind == "map":
        return _DICT[str, Any if field.values is None else _type(field.values)]
    if kind == "array":
        return _array(field)
    return _struct(field)


def _struct(field: Field) -> Any:
    """Return a Struct with generated member names; the schema's names are bound through `rename`, never printed."""
    if any(_UNUSABLE.search(name) for name in field.children):
        return _Doubtful
    needed = mandatory(field)
    members: list[Any] = []
    names: dict[str, str] = {}
    for number, (name, child) in enumerate(field.children.items()):
        label = f"f{number}"
        names[label] = name
        members.append((label, _type(child)) if name in needed else (label, _type(child), None))
    return msgspec.defstruct("Object", members, rename=names, kw_only=True, forbid_unknown_fields=True, gc=False)


def _array(field: Field) -> Any:
    item: Any = Any if field.items is None else _type(field.items)
    if field.min_items is None and field.max_items is None:
        return _LIST[item]
    return _ANNOTATED[_LIST[item], msgspec.Meta(min_length=field.min_items, max_length=field.max_items)]


def _text(field: Field) -> Any:
    name = field.format if field.kind == "string" else field.kind
    sure = SURE.get(name or "")
    if (name in CHECKS and sure is None) or (sure is not None and field.pattern is not None):
        return _Doubtful
    if field.enum is not None:
        return _literal(field)
    if field.pattern is not None and not isinstance(pattern_of(field.pattern), re.Pattern):
        return _Doubtful
    least = 1 if field.min_length is None else field.min_length
    return Annotated[str, msgspec.Meta(min_length=least, max_length=field.max_length, pattern=sure or field.pattern)]


def _literal(field: Field) -> Any:
    values = field.enum or ()
    plain = all(isinstance(value, str) for value in values)
    if not plain or field.pattern is not None or field.min_length is not None or field.max_length is not None or field.format:
        return _Doubtful
    usable = tuple(value for value in values if value)
    return Literal[usable] if usable else _Doubtful


def _number(field: Field) -> Any:
    if field.enum is not None:
        return _Doubtful
    low, high = bounds(field)
    above, below = field.exclusive_minimum, field.exclusive_maximum
    if None not in (above, low) or None not in (below, high):
        return _Doubtful
    limits = {"ge": low, "le": high, "gt": above, "lt": below}
    stated = {name: limit for name, limit in limits.items() if limit is not None}
    if field.kind == "number":
        return _ANNOTATED[float, _META(**stated)] if stated else float
    if any(limit != int(limit) or abs(limit) > _MAX_INT64 for limit in stated.values()):
        return _Doubtful
    return _ANNOTATED[int, _META(**{name: int(limit) for name, limit in stated.items()})]
