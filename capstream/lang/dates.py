"""Dates: zones, reading without a pattern, the text form. Source: data-prep.md 6. A date is an aware datetime."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstream.lang.date_patterns import DatePattern, ZoneReader, compile_pattern
from capstream.lang.diagnostics import Fail

_ABBREVIATIONS = {
    "PST": -480, "PDT": -420, "MST": -420, "MDT": -360, "CST": -360, "CDT": -300, "EST": -300, "EDT": -240,
    "BST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180, "IST": 330, "JST": 540,
}  # fmt: skip
"""Minutes east of UTC. Abbreviations are fixed offsets: PST is -08:00 in October too."""

_OFFSET = re.compile(r"(?:GMT|UTC|UT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?(?::?([0-9]{2}))?")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r" ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?|[A-Za-z][A-Za-z0-9_/+:-]*)?"
)
LISTED = (
    "yyyy-MM-dd HH:mm:ssZ", "yyyy-MM-dd HH:mm:ss.SSSZ", "yyyy-MM-dd HH:mm:ss.SSS", "yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "yyyy-MM-dd'T'HH:mm:ss'Z'", "yyyy-MM-dd", "yyyy/MM/dd", "yyyy.MM.dd", "yyyy-MMM-dd", "yyyyMMdd", "MM-dd-yyyy", "MMddyyyy",
    "M/dd/yyyy", "dd.M.yyyy", "M/dd/yyyy hh:mm:ss a", "dd.M.yyyy hh:mm:ss a", "dd.MMM.yyyy", "dd-MMM-yyyy",
)  # fmt: skip
"""The patterns tried when none is given, in this order."""

RFC3339 = re.compile(
    r"[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""Date-times that are certainly valid; 29 February needs a look at the calendar."""

_RFC3339_SHAPE = re.compile(r"[0-9-]{10}T[0-9:]{8}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})")


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """Return the zone of a name, offset or abbreviation. Errors: Fail when it is unknown."""
    if name in {"Z", "UTC", "GMT", "UT"}:
        return UTC
    if name in _ABBREVIATIONS:
        return timezone(timedelta(minutes=_ABBREVIATIONS[name]), name)
    if match := _OFFSET.fullmatch(name):
        sign, hours, minutes, seconds = match.groups()
        delta = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
        if delta <= timedelta(hours=18) and int(minutes or 0) < 60:
            return timezone(-delta if sign == "-" else delta) if delta else UTC
    else:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise Fail(f'Unknown zone "{name[:60]}"')


def date_text(date: datetime) -> str:
    """Return RFC 3339 text in the date's own offset, milliseconds only when not zero."""
    written = date.isoformat(timespec="milliseconds" if date.microsecond >= 1000 else "seconds")
    if written[-6] in "+-":
        return f"{written[:-6]}Z" if written.endswith("00:00") else written
    # An offset with seconds, as local mean times have, is cut to minutes.
    offset = date.utcoffset() or timedelta()
    minutes = int(offset.total_seconds()) // 60
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    suffix = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else "Z"
    millis = f".{date.microsecond // 1000:03d}" if date.microsecond >= 1000 else ""
    day = f"{date.year:04d}-{date.month:02d}-{date.day:02d}"
    return f"{day}T{date.hour:02d}:{date.minute:02d}:{date.second:02d}{millis}{suffix}"


def from_millis(millis: float) -> datetime:
    """Return the instant `millis` after the epoch, in UTC. Errors: Fail outside the years 1 to 9999."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(millis))
    except (OverflowError, ValueError) as error:
        raise Fail(f"{millis} is no date") from error


def real(date: datetime) -> datetime:
    """Return the date with a wall time that exists: inside a gap of daylight saving time it moves forward."""
    if date.tzinfo is UTC or date.tzinfo.__class__ is timezone:
        return date
    return date.astimezone(UTC).astimezone(date.tzinfo)


def is_rfc3339(text: str) -> bool:
    """Say whether the text is a valid RFC 3339 date-time with an offset."""
    if RFC3339.fullmatch(text) is not None:
        return True
    if _RFC3339_SHAPE.fullmatch(text) is None:
        return False
    try:
        _read_iso(text)
    except Fail:
        return False
    return True


@lru_cache(maxsize=256)
def pattern(text: str) -> DatePattern:
    """Return the compiled pattern. Errors: Fail when it is no pattern."""
    return compile_pattern(text)


def read_pattern(text: str, date_pattern: str) -> datetime:
    """Return the date that `text` spells by a pattern. Errors: Fail when it does not fit."""
    found = pattern(date_pattern).read(text, _ZONES)
    if found is None:
        raise Fail(f'"{text[:60]}" is no date of the form {date_pattern[:60]}')
    return real(found)


def read_text(text: str) -> datetime:
    """Return the date that `text` spells without a pattern. No zone means UTC, its fraction of a second is dropped.

    Errors: Fail when no form fits.
    """
    if _ISO.fullmatch(text):  # covers the listed forms that begin alike, with the same results
        return _read_iso(text)
    for listed in LISTED:
        found = pattern(listed).read(text, _ZONES)
        if found is not None:
            return found
    raise Fail(f'"{text[:60]}" is no date')


def _read_iso(text: str) -> datetime:
    match = _ISO.fullmatch(text)
    if match is None:
        raise Fail(f'"{text[:60]}" is no date')
    year, month, day, hour, minute, second, fraction, zone_name = match.groups()
    micros = int((fraction or "0")[:6].ljust(6, "0")) if zone_name else 0
    try:
        date = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), micros, zone(zone_name or "Z"))
    except ValueError as error:
        raise Fail(f'"{text[:60]}" is no date: {error}') from error
    return real(date)


_ZONES = ZoneReader(zone, UTC)
