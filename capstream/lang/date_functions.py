"""Date and time functions. Source: data-prep.md 5.2, 6. Arguments arrive coerced: a date is an aware datetime."""

import calendar
from collections.abc import Callable
from datetime import UTC, datetime

from capstream.kernel.json import Json
from capstream.lang.dates import from_millis, pattern, read_pattern, read_text, real, zone
from capstream.lang.diagnostics import Fail
from capstream.lang.values import kind, text


def as_date(value: Json) -> datetime:
    """Return a date: text read by 6.3, a number as epoch milliseconds. Errors: Fail otherwise."""
    if isinstance(value, datetime):
        return value
    if value.__class__ is str:
        return read_text(value)
    if value.__class__ is int or value.__class__ is float:
        return from_millis(value)
    raise Fail(f"{kind(value)} is no date")


def date(value: Json, date_pattern: str | None = None, default: datetime | None = None) -> datetime | None:
    """Return the date of a text (read by the pattern), a number or a date; the default for null."""
    if value is None:
        return default
    if value.__class__ is str and date_pattern is not None:
        return read_pattern(value, date_pattern)
    return as_date(value)


def format_date(value: datetime, date_pattern: str) -> str:
    """Return the date written by a pattern."""
    return pattern(date_pattern).write(value)


def dformat(millis: int, date_pattern: str) -> str:
    """Return epoch milliseconds written by a pattern, in UTC."""
    return pattern(date_pattern).write(from_millis(millis))


_PARTS: dict[str, Callable[[datetime], int]] = {
    "year": lambda value: value.year,
    "quarter": lambda value: (value.month + 2) // 3,
    "month": lambda value: value.month,
    "dayofyear": lambda value: value.timetuple().tm_yday,
    "day": lambda value: value.day,
    "week": lambda value: value.isocalendar().week,
    "weekday": lambda value: value.isoweekday(),
    "hour": lambda value: value.hour,
    "hh12": lambda value: value.hour % 12 or 12,
    "minute": lambda value: value.minute,
    "second": lambda value: value.second,
    "millisecond": lambda value: value.microsecond // 1000,
}
_READ_ALIASES = {
    "yyyy": "year", "yy": "year", "qq": "quarter", "q": "quarter", "mm": "month", "m": "month", "dy": "dayofyear",
    "y": "dayofyear", "dd": "day", "d": "day", "ww": "week", "w": "week", "dw": "weekday", "hh": "hour", "hh24": "hour",
    "mi": "minute", "n": "minute", "ss": "second", "s": "second", "sss": "millisecond", "ms": "millisecond",
}  # fmt: skip
_SET_ALIASES = {
    "year": "year", "yyyy": "year", "yy": "year", "month": "month", "mm": "month", "m": "month", "day": "day", "dd": "day",
    "d": "day", "hour": "hour", "hh": "hour", "minute": "minute", "mi": "minute", "n": "minute", "second": "second",
    "ss": "second", "s": "second",
}  # fmt: skip


def date_part(part: str | None, value: datetime | None) -> int | None:
    """Return one part of a date, in the date's own zone."""
    if value is None:
        return None
    name = text(part).lower() if part is not None else ""
    reader = _PARTS.get(_READ_ALIASES.get(name, name))
    if reader is None:
        raise Fail(f'Unknown date part "{name[:40]}"')
    return reader(value)


def set_date_part(part: str | None, number: int | None, value: datetime | None) -> datetime | None:
    """Return the date with one part changed; year and month changes keep the day inside the month."""
    if value is None:
        return None
    name = _SET_ALIASES.get((part or "").lower())
    if name is None or number is None:
        raise Fail(f'Cannot set date part "{(part or "null")[:40]}" to {"null" if number is None else number}')
    changes = {name: number}
    try:
        if name in {"year", "month"}:
            year, month = changes.get("year", value.year), changes.get("month", value.month)
            changes["day"] = min(value.day, calendar.monthrange(year, month)[1])
        return real(value.replace(**changes))  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise Fail(f"{name} {number} is not possible: {error}") from error


def make_date_time(*parts: Json) -> datetime | None:
    """Return the date of year, month, day, hour, minute, second, nanoseconds and zone name."""
    if any(part is None for part in parts):
        return None
    year, month, day, hour, minute, second, nanos, zone_name = parts
    try:
        if not 0 <= nanos < 1_000_000_000:
            raise ValueError("nanoseconds must be in 0..999999999")
        return real(datetime(year, month, day, hour, minute, second, nanos // 1000, zone(zone_name)))
    except (ValueError, OverflowError) as error:
        raise Fail(f"No such date: {error}") from error


def zone_date_to_utc(value: datetime) -> datetime:
    """Return the same instant in UTC."""
    return _moved(value, "UTC")


def zone_date_to_zone(value: datetime, zone_name: str) -> datetime:
    """Return the same instant in a zone."""
    return _moved(value, zone_name)


def _moved(value: datetime, zone_name: str) -> datetime:
    try:
        return value.astimezone(zone(zone_name))
    except (OverflowError, ValueError) as error:
        raise Fail(f"Date is out of range in {zone_name[:40]}") from error


def now(now_ms: int) -> datetime:
    """Return the current time in UTC, whole seconds."""
    return datetime.fromtimestamp(now_ms // 1000, UTC)
