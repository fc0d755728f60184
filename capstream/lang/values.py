"""Values and coercions: the traps of the host language (`True == 1`, truthiness, float text) answered once.

Source: data-prep.md 2.5. Values are None, bool, int, float, str, list, dict, aware datetime and (lambdas) callables.
"""

import math
import re
from datetime import UTC, datetime

from capstream.kernel.json import Json
from capstream.lang.dates import date_text
from capstream.lang.diagnostics import Fail

MAX_SIZE = 1 << 20
"""The largest result of one field, in characters of its JSON text (1 MiB)."""

MAX_DIGITS = 4000
"""The most digits a number may have; conversion beyond takes quadratic time."""

_NUMERIC = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SCALARS = (str, int, float)
_ALIKE = frozenset({str, int, float})
_LOW, _HIGH = -(1 << 63), 1 << 64
_DATE_SIZE = 25
_DEEPEST = 200


def kind(value: Json) -> str:
    """Return the name of a value's type, for messages and strict equality."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "double"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case datetime():
            return "date"
        case _:
            return "function"


def shown(value: Json) -> str:
    """Return a value in the short form used in messages."""
    if value is None or isinstance(value, list | dict) or callable(value):
        return kind(value)
    written = f'"{value}"' if isinstance(value, str) else text(value)
    return written if len(written) <= 60 else f'{written[:57]}..."'


def text(value: Json) -> str:
    """Return the text form of a scalar. Errors: Fail on arrays, objects and null."""
    if value.__class__ is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value.__class__ is int:
        if value.bit_length() > MAX_DIGITS * 3:
            raise Fail("Number is too large")
        return str(value)
    if value.__class__ is float:
        return _double_text(value)
    if isinstance(value, datetime):
        return date_text(value)
    raise Fail(f"{kind(value)} has no text form")


def _double_text(value: float) -> str:
    if math.isfinite(value) and 1e16 <= abs(value) < 1e21:
        return f"{int(value)}.0"
    return repr(value)


def text_or_empty(value: Json) -> str:
    """Return the text form; null is empty text."""
    return "" if value is None else text(value)


def numeric(value: str) -> int | float | None:
    """Return the number that `value` spells, or None."""
    match = _NUMERIC.fullmatch(value)
    if match is None or len(value) > MAX_DIGITS:
        return None
    if match[1] is None and match[2] is None:
        return int(value)
    result = float(value)
    return result if math.isfinite(result) else None


def number(value: Json) -> int | float:
    """Return a number or the number a text spells. Errors: Fail otherwise, also for null."""
    if value.__class__ is int or value.__class__ is float:
        return value
    if value.__class__ is str:
        found = numeric(value)
        if found is not None:
            return found
    raise Fail(f"{shown(value)} is not a number")


def integer(value: Json) -> int:
    """Return a whole number, or the one a text spells. Errors: Fail otherwise."""
    found = number(value)
    if found.__class__ is float:
        if not found.is_integer():
            raise Fail(f"{shown(value)} is not a whole number")
        return int(found)
    return int(found)


def truth(value: Json) -> bool:
    """Return the truth value: null, 0, "" and "false" are false, everything else is true."""
    if value is None or value is False:
        return False
    if value.__class__ is str:
        return value not in {"", "false"}
    if value.__class__ is int or value.__class__ is float:
        return bool(value != 0)
    return True


def same(left: Json, right: Json) -> bool:
    """Return deep equality without coercion; numbers compare by value, a boolean is no number."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, datetime):
        return isinstance(right, datetime) and left.astimezone(UTC) == right.astimezone(UTC)
    return bool(left == right)


def equal(left: Json, right: Json) -> bool:
    """Return `left == right` of the language."""
    if left is None or right is None:
        return left is right
    if left.__class__ is right.__class__ and left.__class__ in _ALIKE:
        return bool(left == right)
    if left.__class__ is bool or right.__class__ is bool:
        return truth(left) == truth(right)
    for one, other in ((left, right), (right, left)):
        if one.__class__ is int or one.__class__ is float:
            if other.__class__ is str:
                other = numeric(other)
            return other.__class__ in {int, float} and bool(one == other)
    return same(left, right)


def strictly_equal(left: Json, right: Json) -> bool:
    """Return `left === right`: equal and of the same type."""
    return left.__class__ is right.__class__ and same(left, right)


def ordered(left: Json, right: Json) -> int | None:
    """Return -1, 0 or 1, or None when one side is null. Errors: Fail for values that have no order."""
    if left is None or right is None:
        return None
    if left.__class__ in {int, float} or right.__class__ in {int, float}:
        left, right = number(left), number(right)
    elif isinstance(left, datetime) and isinstance(right, datetime):
        left, right = left.astimezone(UTC), right.astimezone(UTC)
    elif left.__class__ is not str or right.__class__ is not str:
        raise Fail(f"Cannot compare {kind(left)} with {kind(right)}")
    return int(left > right) - int(left < right)


def is_empty(value: Json) -> bool:
    """Say whether a value is null, "", [] or {}."""
    return value is None or (value.__class__ in {str, list, dict} and not value)


def finite(value: int | float) -> int | float:
    """Return a result of arithmetic. Errors: Fail when it is infinite or too large."""
    if value.__class__ is float:
        if not math.isfinite(value):
            raise Fail("Result is not a finite number")
    elif int(value).bit_length() > MAX_DIGITS * 3:
        raise Fail("Result is too large")
    return value


def sized(value: str) -> str:
    """Return the text. Errors: Fail when it is larger than a field may be."""
    if len(value) > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")
    return value


def settled(value: Json) -> Json:
    """Return an expression's value as JSON: dates as text, and never larger than MAX_SIZE.

    Errors: Fail when it is too large, nested too deep or a lambda.
    """
    if value is None or value.__class__ is bool or value.__class__ is float:
        return value
    if value.__class__ is str:
        return sized(value)
    if value.__class__ is int:
        return value if _LOW <= value < _HIGH else float(finite(value))
    return _settle(value, [MAX_SIZE], 0)


def _settle(value: Json, left: list[int], depth: int) -> Json:
    left[0] -= len(value) + 2 if value.__class__ is str else 2
    if left[0] < 0:
        raise Fail("Result is larger than 1 MiB")
    if value is None or isinstance(value, _SCALARS):
        return settled(value)
    if depth > _DEEPEST:
        raise Fail("Result is nested too deep")
    if value.__class__ is list:
        return _settle_list(value, left, depth)
    if value.__class__ is dict:
        return _settle_dict(value, left, depth)
    left[0] -= _DATE_SIZE
    return text(value)


def _settle_dict(value: dict[str, Json], left: list[int], depth: int) -> dict[str, Json]:
    result: dict[str, Json] = {}
    rest = left[0]
    for key, item in value.items():
        rest -= len(key) + 6
        if item.__class__ is int and _LOW <= item < _HIGH:  # the most common members, without a call
            result[key] = item
        elif item.__class__ is str and rest >= len(item):
            rest -= len(item)
            result[key] = item
        else:
            left[0] = rest + 2
            result[key] = _settle(item, left, depth + 1)
            rest = left[0]
    left[0] = rest
    if rest < 0:
        raise Fail("Result is larger than 1 MiB")
    return result


def _settle_list(value: list[Json], left: list[int], depth: int) -> list[Json]:
    kinds = set(map(type, value))
    if kinds == {str}:
        left[0] -= sum(map(len, value)) + 2 * len(value)
    elif kinds == {int} and min(value) >= _LOW and max(value) < _HIGH:
        left[0] -= 2 * len(value)
    else:
        members = sum(map(len, value)) if kinds == {dict} else 0
        if len(value) * (2 + _DATE_SIZE * (kinds == {datetime})) + members * 6 > left[0]:  # before any is settled
            raise Fail("Result is larger than 1 MiB")
        if kinds == {dict} and depth < _DEEPEST:
            left[0] -= 2 * len(value)
            return [_settle_dict(item, left, depth + 1) for item in value]
        return [_settle(item, left, depth + 1) for item in value]
    if left[0] < 0:
        raise Fail("Result is larger than 1 MiB")
    return value.copy()
