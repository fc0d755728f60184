"""Reading Capillary's loosely typed values: ids, amounts, instants.

One rule set for every kind. `None` means absent; `Unfit` means present and not readable as what is needed.
Source: capillary.md 1.4 (5-7), 2.6.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

from capstream.kernel.json import Json

_ABSENT: Final = frozenset({"", "-1", "-1.0", "null", "NULL", "Null"})
_DECIMAL_ID: Final = re.compile(r"[0-9]+(?:\.0+)?", re.ASCII)
_MAX_EXACT: Final = 2**53
_MAX_EXACT_FLOAT: Final = 2.0**53
_HUGE: Final = 10**300  #: no number from here on is taken: doubles end at 1.8e308, and sums must stay numbers
_MAX_MILLI: Final = 10**15
_MAX_WHOLE: Final = _MAX_MILLI // 1000
_END_OF_TIME: Final = 253_402_300_800_000  #: the year 10000


class Unfit(Exception):
    """A value that cannot be read as its field needs it. `pointer` grows from the leaf upwards."""

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointer = pointer

    def under(self, *keys: str | int) -> "Unfit":
        """Return this error with `keys` in front of its pointer."""
        self.pointer = "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys) + self.pointer
        return self


def text(value: Json) -> str | None:
    """Return scalar text as it was sent, None when blank. Numbers and booleans are written as JSON writes them."""
    if type(value) is str:
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return str(int(value)) if value.is_integer() else repr(value)
    raise Unfit("must be text")


def opaque_id(value: Json) -> str | None:
    """Return an id whose characters mean nothing to us: trimmed text; `-1`, `null` and blank count as absent."""
    if type(value) is str:
        value = value.strip()
        return None if value in _ABSENT else value
    found = text(value)
    return None if found in _ABSENT else found


def decimal_id(value: Json) -> str | None:
    """Return one of Capillary's numeric ids as canonical decimal text: `900000101.0` gives `"900000101"`."""
    if type(value) is int:
        return None if value == -1 else str(value)
    found = opaque_id(value)
    if found is not None and _DECIMAL_ID.fullmatch(found):
        return str(int(found.partition(".")[0]))
    return found


def number(value: Json) -> int | float | None:
    """Return a JSON number, an int when it is integral. Accepts numeric text."""
    if value is None:
        return None
    if type(value) is int:
        return _exact_int(value)
    if type(value) is float:
        return _exact_float(value)
    if type(value) is str:
        if not value or value.isspace():
            return None
        try:
            exact = Decimal(value.strip())
        except InvalidOperation:
            raise Unfit("must be a number") from None
        if not exact.is_finite() or abs(exact) >= 1e300:
            raise Unfit("must be a finite number")
        return plain(exact)
    raise Unfit("must be a number")


def _exact_int(value: int) -> int | float:
    if -_MAX_EXACT < value < _MAX_EXACT:
        return value
    if not -_HUGE < value < _HUGE:
        raise Unfit("must be a finite number")
    return float(value)


def _exact_float(value: float) -> int | float:
    if -_MAX_EXACT_FLOAT < value < _MAX_EXACT_FLOAT:
        cut = int(value)
        if float(cut) == value:
            return cut
    return value


def whole(value: Json) -> int | None:
    """Return an integer; integral floats and numeric text are accepted."""
    found = number(value)
    if found is None or type(found) is int:
        return found
    raise Unfit("must be a whole number")


def plain(exact: Decimal) -> int | float:
    """Return the JSON number of a Decimal: an int when integral, else the float that prints the same digits."""
    return int(exact) if abs(exact) < _MAX_EXACT and exact == exact.to_integral_value() else float(exact)


def exactly(value: int | float) -> Decimal:
    """Return the decimal a JSON number was written as (0.1 is one tenth, not its binary neighbour)."""
    return Decimal(value) if type(value) is int else Decimal(repr(value))


def milli(value: Json) -> int | None:
    """Return points or money in thousandths, so that sums are exact. Units: 1/1000 point or currency unit."""
    if type(value) is float:
        exact: float = value
        if -1e11 < exact < 1e11:
            near = int(exact * 1000.0 + (0.5 if exact > 0.0 else -0.5))
            if near / 1000 == exact:  # of at most 15 digits, no two decimals are the same float
                return near
    else:
        cut = small_whole(value)
        if cut is not None:
            return cut * 1000
    found = number(value)
    if found is None:
        return None
    if abs(found) * 1000 > _MAX_MILLI:
        raise Unfit("is too large")
    return found * 1000 if type(found) is int else int((exactly(found) * 1000).to_integral_value(ROUND_HALF_EVEN))


def small_whole(value: Json) -> int | None:
    """Return a number below 1e12 that is integral as an int; None for all that has to be looked at more closely."""
    if type(value) is int:
        number: int = value
        return number if -_MAX_WHOLE < number < _MAX_WHOLE else None
    if type(value) is float:
        exact: float = value
        if -1e12 < exact < 1e12:
            cut = int(exact)
            return cut if float(cut) == exact else None
    return None


def from_milli(thousandths: int) -> int | float:
    """Return the JSON number of an amount held in thousandths."""
    if thousandths % 1000:
        return thousandths / 1000
    return thousandths // 1000


def points(value: Json) -> int | float | None:
    """Return points as a JSON number with at most 3 decimals."""
    if type(value) is int and -_MAX_WHOLE <= value <= _MAX_WHOLE:
        return int(value)
    found = milli(value)
    return None if found is None else from_milli(found)


def flag(value: Json) -> bool | None:
    """Return a boolean; the texts true and false are accepted."""
    if type(value) is bool or value is None:
        return value
    if type(value) is str:
        if not value or value.isspace():
            return None
        lowered = value.strip().lower()
        if lowered in ("true", "false"):
            return lowered == "true"
    raise Unfit("must be true or false")


def instant(value: Json) -> int | None:
    """Return epoch milliseconds of a Unix time in milliseconds or seconds; None when it is neither."""
    if type(value) is not int:
        try:
            found = number(value)
        except Unfit:
            return None
        if found is None or not -_MAX_EXACT < found < _MAX_EXACT:
            return None
        value = round(found * 1000) if 1e9 <= found < 1e11 else int(found)
        return value if 1_000_000_000_000 <= value < _END_OF_TIME else None
    if value >= 1_000_000_000_000:
        return value if value < _END_OF_TIME else None
    return value * 1000 if 1_000_000_000 <= value < 100_000_000_000 else None
