"""Checks of whole columns: what is found while a table is made proves that the records in it are valid.

A record of sixty fields costs `validate` ten microseconds, most of it for walking the record; the table's maker has all values
of a field in one list. As with `fast`, a proof may fail for valid records, and never holds for invalid ones.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from capstream.xdm.fast import ALIKE
from capstream.xdm.formats import CHECKS, SURE, is_date_time
from capstream.xdm.schema import INTEGER_RANGES, Field
from capstream.xdm.violations import bounds

_NONE = type(None)
_OBJECT = frozenset({dict})
_MAYBE_OBJECT, _MAYBE_LIST = frozenset({dict, _NONE}), frozenset({list, _NONE})
_INTEGERS, _NUMBERS, _BOOLEANS = frozenset({int, _NONE}), frozenset({int, float, _NONE}), frozenset({bool, _NONE})
_NULL = b"null"
_DIGITS = str.maketrans("123456789", "000000000")
_FORMS = ("0000-00-00T00:00:00.000Z", "0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000000Z")


class Proof:
    """What speaks against the records of one table; nothing that stays silent is missed.

    The values of a column hold None where a record has none: a null in a record is told from that by its JSON text.
    """

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds = True

    def begin(self, texts: Iterable[bytes]) -> None:
        """Begin with records of these JSON texts."""
        self.holds = not any(_NULL in text for text in texts)

    def fail(self) -> None:
        """Note that the records are not proved valid."""
        self.holds = False

    def objects(self, rows: Sequence[Any]) -> None:
        """Look at values that must be objects."""
        if not _OBJECT.issuperset(map(type, rows)):
            self.holds = False

    def maps(self, values: Sequence[Any]) -> None:
        """Look at values that must be objects."""
        if not _MAYBE_OBJECT.issuperset(map(type, values)):
            self.holds = False

    def lists(self, field: Field, values: Sequence[Any]) -> None:
        """Look at values that must be arrays."""
        if not _MAYBE_LIST.issuperset(map(type, values)):
            self.holds = False
        elif field.min_items is not None or field.max_items is not None:
            low, high = field.min_items or 0, field.max_items
            lengths = [len(value) for value in values if value is not None]
            self.holds &= all(low <= length and (high is None or length <= high) for length in lengths)


Check = Callable[[Sequence[Any], pa.Array], bool]
"""Tells whether the values of a column, and the array that they became, are valid beyond doubt."""


def text_check(field: Field) -> Check:
    """Return the check of a column of strings, dates or date-times, the array one of strings."""
    name = (field.format or "") if field.kind == "string" else field.kind
    tests: list[Check] = [_lengths(field)]
    if field.kind == "date-time":
        tests.append(_date_times)
    elif name in SURE:
        whole = re.compile(SURE[name]).fullmatch
        tests.append(_each(lambda text: whole(text) is not None))
    elif name in CHECKS:
        tests.append(_each(CHECKS[name]))
    if field.pattern is not None:
        tests.append(_pattern(field.pattern))
    if field.enum is not None:
        allowed = {each for each in field.enum if isinstance(each, str)} | {None}
        tests.append(lambda values, _: allowed.issuperset(values))
    return lambda values, array: all(test(values, array) for test in tests)


def number_check(field: Field) -> Check:
    """Return the check of a column of numbers. Arrow takes 1.5 for an integer and true for a number: classes are looked at."""
    classes = _INTEGERS if field.kind in INTEGER_RANGES else _NUMBERS
    low, high = bounds(field)
    narrow = field.kind == "long" or (low, high) != INTEGER_RANGES.get(field.kind, (None, None))
    above, below = field.exclusive_minimum, field.exclusive_maximum
    narrow = narrow or above is not None or below is not None

    def check(values: Sequence[Any], array: pa.Array) -> bool:
        if field.enum is not None or not classes.issuperset(map(type, values)):
            return False
        if not narrow:
            return True
        ends = pc.min_max(array).as_py()
        return ends["min"] is None or (
            (low is None or ends["min"] >= low)
            and (high is None or ends["max"] <= high)
            and (above is None or ends["min"] > above)
            and (below is None or ends["max"] < below)
        )

    return check


def boolean_check(field: Field) -> Check:
    """Return the check of a column of booleans."""
    return lambda values, _: field.enum is None and _BOOLEANS.issuperset(map(type, values))


def _lengths(field: Field) -> Check:
    least = 1 if field.min_length is None else field.min_length
    most = field.max_length
    if least <= 1 and most is None:
        return lambda values, _: not least or "" not in values

    def check(values: Sequence[Any], _: pa.Array) -> bool:
        lengths = [len(value) for value in values if value is not None]
        return not lengths or (min(lengths) >= least and (most is None or max(lengths) <= most))

    return check


def _date_times(values: Sequence[Any], _: pa.Array) -> bool:
    """Tell whether texts are date-times, if Arrow can read them: it knows the calendar, but takes many forms.

    Nearly always all have the same form, and one comparison tells.
    """
    found = [value for value in values if value is not None]
    text = "\n".join(found)
    if not found or ("\n0000-" not in f"\n{text}" and text.translate(_DIGITS) in _same(len(found))):
        return True
    return all(is_date_time(value) for value in found)


@lru_cache(maxsize=64)
def _same(count: int) -> frozenset[str]:
    return frozenset("\n".join([form] * count) for form in _FORMS)


def _pattern(pattern: str) -> Check:
    """By RE2, which no pattern can hold up; what it might read otherwise than Python's engine is not proved."""
    if not ALIKE.fullmatch(pattern):
        return lambda values, _: all(value is None for value in values)
    return lambda _, array: pc.all(pc.match_substring_regex(array, pattern)).as_py() is not False


def _each(test: Callable[[str], bool]) -> Check:
    return lambda values, _: all(test(value) for value in set(values) if value is not None)
