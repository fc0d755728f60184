"""The operators: what each computes, and the entries of the operators endpoint. Source: data-prep.md 2.5, 2.6."""

import math
from collections.abc import Callable
from typing import NamedTuple

from capstream.kernel.json import Json
from capstream.lang import matching
from capstream.lang.diagnostics import Fail
from capstream.lang.values import (
    MAX_DIGITS,
    MAX_SIZE,
    equal,
    finite,
    integer,
    is_empty,
    kind,
    number,
    ordered,
    sized,
    strictly_equal,
    text,
    text_or_empty,
)

_NUMBERS = frozenset({int, float})


def add(left: Json, right: Json) -> Json:
    """Return the sum, or the joined text when one side is text."""
    if left.__class__ is str or right.__class__ is str:
        return sized(text_or_empty(left) + text_or_empty(right))
    return finite(number(left) + number(right))


def subtract(left: Json, right: Json) -> Json:
    """Return the difference."""
    return finite(number(left) - number(right))


def multiply(left: Json, right: Json) -> Json:
    """Return the product."""
    return finite(number(left) * number(right))


def _divisor(value: Json) -> int | float:
    divisor = number(value)
    if divisor == 0:
        raise Fail("Division by zero")
    return divisor


def divide(left: Json, right: Json) -> Json:
    """Return the quotient; of two integers it is cut toward zero."""
    dividend, divisor = number(left), _divisor(right)
    if isinstance(dividend, int) and isinstance(divisor, int):
        quotient = abs(dividend) // abs(divisor)
        return quotient if (dividend < 0) == (divisor < 0) else -quotient
    return finite(dividend / divisor)


def remainder(left: Json, right: Json) -> Json:
    """Return the remainder, with the sign of the dividend."""
    dividend, divisor = number(left), _divisor(right)
    if isinstance(dividend, int) and isinstance(divisor, int):
        rest = abs(dividend) % abs(divisor)
        return -rest if dividend < 0 else rest
    return math.fmod(dividend, divisor)


def bit_and(left: Json, right: Json) -> Json:
    """Return the bitwise and."""
    return integer(left) & integer(right)


def bit_or(left: Json, right: Json) -> Json:
    """Return the bitwise or."""
    return integer(left) | integer(right)


def bit_xor(left: Json, right: Json) -> Json:
    """Return the bitwise exclusive or."""
    return integer(left) ^ integer(right)


def _shift(value: Json) -> int:
    count = integer(value)
    if not 0 <= count <= MAX_DIGITS:
        raise Fail(f"Cannot shift by {count}")
    return count


def shift_left(left: Json, right: Json) -> Json:
    """Return the number with its bits moved up."""
    return finite(integer(left) << _shift(right))


def shift_right(left: Json, right: Json) -> Json:
    """Return the number with its bits moved down, the sign kept."""
    return integer(left) >> _shift(right)


def shift_right_unsigned(left: Json, right: Json) -> Json:
    """Return the number with its bits moved down; a negative number counts as 64 unsigned bits (ASSUMPTION, Java's long)."""
    value, count = integer(left), _shift(right)
    return (value & 0xFFFF_FFFF_FFFF_FFFF if value < 0 else value) >> count


def complement(value: Json) -> Json:
    """Return the bitwise complement."""
    return ~integer(value)


def negate(value: Json) -> Json:
    """Return the number with the other sign."""
    return -number(value)


def positivize(value: Json) -> Json:
    """Return the number."""
    return number(value)


def not_equal(left: Json, right: Json) -> bool:
    """Return `left != right`."""
    return not equal(left, right)


def not_strictly_equal(left: Json, right: Json) -> bool:
    """Return `left !== right`."""
    return not strictly_equal(left, right)


def less(left: Json, right: Json) -> bool:
    """Return `left < right`; false when one side is null."""
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return bool(left < right)  # type: ignore[operator]
    return ordered(left, right) == -1


def less_or_equal(left: Json, right: Json) -> bool:
    """Return `left <= right`; false when one side is null."""
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return bool(left <= right)  # type: ignore[operator]
    return ordered(left, right) in {-1, 0}


def greater(left: Json, right: Json) -> bool:
    """Return `left > right`; false when one side is null."""
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return bool(left > right)  # type: ignore[operator]
    return ordered(left, right) == 1


def greater_or_equal(left: Json, right: Json) -> bool:
    """Return `left >= right`; false when one side is null."""
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return bool(left >= right)  # type: ignore[operator]
    return ordered(left, right) in {0, 1}


def contained(left: Json, right: Json) -> bool:
    """Return `left =~ right`: full match of a regular expression, element of an array, key of a map."""
    if left is None or right is None:
        return left is right
    if right.__class__ is list:
        return any(equal(left, item) for item in right)
    if right.__class__ is dict:
        return text(left) in right
    if right.__class__ is str:
        return matching.matches(text(left), right)
    raise Fail(f"'=~' needs a regular expression, an array or a map, not {kind(right)}")


def not_contained(left: Json, right: Json) -> bool:
    """Return `left !~ right`."""
    return not contained(left, right)


def _affix(left: Json, right: Json, *, end: bool) -> bool:
    if left is None or right is None:
        return left is right
    whole, part = text(left), text(right)
    return whole.endswith(part) if end else whole.startswith(part)


def starts(left: Json, right: Json) -> bool:
    """Return `left =^ right`."""
    return _affix(left, right, end=False)


def not_starts(left: Json, right: Json) -> bool:
    """Return `left !^ right`."""
    return not _affix(left, right, end=False)


def ends(left: Json, right: Json) -> bool:
    """Return `left =$ right`."""
    return _affix(left, right, end=True)


def not_ends(left: Json, right: Json) -> bool:
    """Return `left !$ right`."""
    return not _affix(left, right, end=True)


def integers(left: Json, right: Json) -> list[int]:
    """Return `left .. right`: the integers between both, downwards when the right one is smaller."""
    first, last = integer(left), integer(right)
    if abs(last - first) >= MAX_SIZE // 2:
        raise Fail("Range is too long")
    return list(range(first, last + 1)) if first <= last else list(range(first, last - 1, -1))


def size(value: Json) -> int:
    """Return the length of a string, array or map; null 0, any other value 1."""
    if value is None:
        return 0
    return len(value) if value.__class__ in {str, list, dict} else 1


BINARY: dict[str, Callable[[Json, Json], Json]] = {
    "+": add, "-": subtract, "*": multiply, "/": divide, "%": remainder,
    "&": bit_and, "|": bit_or, "^": bit_xor, "<<": shift_left, ">>": shift_right, ">>>": shift_right_unsigned,
    "==": equal, "!=": not_equal, "===": strictly_equal, "!==": not_strictly_equal,
    "<": less, "<=": less_or_equal, ">": greater, ">=": greater_or_equal,
    "=~": contained, "!~": not_contained, "=^": starts, "!^": not_starts, "=$": ends, "!$": not_ends,
    "..": integers,
}  # fmt: skip
UNARY: dict[str, Callable[[Json], Json]] = {
    "negate": negate, "positivize": positivize, "~": complement, "empty": is_empty, "size": size
}  # fmt: skip
LAZY = frozenset({"&&", "||", "!", "?", "?:", "??"})
"""Operators the emitter writes out, because they need not evaluate every operand."""

BOOLEAN = frozenset(
    {"==", "!=", "===", "!==", "<", "<=", ">", ">=", "=~", "!~", "=^", "!^", "=$", "!$", "&&", "||", "!", "empty"}
)
"""Operators whose result is always true or false."""


MATCHING = frozenset({"=~", "!~"})
"""Operators that may run a regular expression."""


ORDERING = frozenset({"<", "<=", ">", ">="})
"""Operators that are Python's own between two numbers."""


class OperatorDoc(NamedTuple):
    """One entry of the operators endpoint."""

    symbol: str
    method: str
    operands: int
    description: str
    example: str


DOCS = (
    OperatorDoc("+", "add", 2, "Adds two numbers; with text on one side joins both as text.", "1 + 2"),
    OperatorDoc("-", "subtract", 2, "Takes the second number from the first.", "5 - 3"),
    OperatorDoc("*", "multiply", 2, "Multiplies two numbers.", "2 * 3"),
    OperatorDoc("/", "divide", 2, "Divides; two integers give an integer, cut toward zero.", "1 / 2"),
    OperatorDoc("%", "mod", 2, "Gives the remainder of a division; the word is mod.", "5 % 2"),
    OperatorDoc("&", "and", 2, "Combines the bits of two integers by and.", "33 & 4"),
    OperatorDoc("|", "or", 2, "Combines the bits of two integers by or.", "33 | 4"),
    OperatorDoc("^", "xor", 2, "Combines the bits of two integers by exclusive or.", "33 ^ 4"),
    OperatorDoc("==", "equals", 2, "True when both values are equal; null equals only null. The word is eq.", "1 == 1"),
    OperatorDoc("<", "lessThan", 2, "True when the first value is smaller; the word is lt.", "1 < 2"),
    OperatorDoc("<=", "lessThanOrEqual", 2, "True when the first value is not larger; the word is le.", "1 <= 2"),
    OperatorDoc(">", "greaterThan", 2, "True when the first value is larger; the word is gt.", "2 > 1"),
    OperatorDoc(">=", "greaterThanOrEqual", 2, "True when the first value is not smaller; the word is ge.", "2 >= 1"),
    OperatorDoc("=~", "contains", 2, "Full regular-expression match, element of an array or key of a map.", '"abc" =~ "a.*"'),
    OperatorDoc("=^", "startsWith", 2, "True when the first text starts with the second.", '"abc" =^ "a"'),
    OperatorDoc("=$", "endsWith", 2, "True when the first text ends with the second.", '"abc" =$ "c"'),
    OperatorDoc("!", "not", 1, "Turns true to false and false to true; the word is not.", "!cond1"),
    OperatorDoc("~", "complement", 1, "Flips every bit of an integer.", "~44"),
    OperatorDoc("-", "negate", 1, "Changes the sign of a number.", "-12"),
    OperatorDoc("+", "positivize", 1, "Leaves a number as it is.", "+12"),
    OperatorDoc("empty", "empty", 1, "True for null, empty text, an empty array and an empty map.", "empty tags"),
    OperatorDoc("size", "size", 1, "Counts characters, elements or keys.", "size tags"),
)
