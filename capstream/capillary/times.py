"""Instants and days: RFC 3339 text, days of the organisation's zone, and which of an event's times to believe.

Source: capillary.md 7.3.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from capstream.capillary.values import Unfit
from capstream.kernel.json import Json

DAY_MS: Final = 86_400_000
_DAY_S: Final = 86_400
_MINUTE_MS: Final = 60_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_ISO_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NEVER: Final = "2100"

_STEP_MS: Final = 15 * _MINUTE_MS
_TOLERANCE_MS: Final = 3 * _MINUTE_MS
_WIDEST_SHIFT_MS: Final = 14 * 60 * _MINUTE_MS


_MINUTES: Final[tuple[str, ...]] = tuple(f"{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))
_SECONDS: Final[tuple[str, ...]] = tuple(f"{second:02d}." for second in range(60))
_MILLIS: Final[tuple[str, ...]] = tuple(f"{milli:03d}Z" for milli in range(1000))


def _day_text(number: int) -> str:
    written = _day_texts.get(number)
    if written is None:
        if len(_day_texts) >= _WRITTEN_LIMIT:
            _day_texts.clear()
        written = _day_texts[number] = f"{date.fromordinal(number + _EPOCH).isoformat()}T"
    return written


_day_texts: Final[dict[int, str]] = {}


def rfc3339(millis: int) -> str:
    """Return UTC RFC 3339 text with milliseconds: this runs several times for every event, mostly in a second just written."""
    second = millis // 1000
    written = _written.get(second)
    if written is None:
        if len(_written) >= _WRITTEN_LIMIT:
            _written.clear()
        written = _written[second] = _second_text(second)
    return written + _MILLIS[millis % 1000]


def rfc3339_shared(millis: int) -> str:
    """Return what `rfc3339` does, of an instant that many events share: what one commit received, say."""
    written = _shared.get(millis)
    if written is None:
        if len(_shared) >= _WRITTEN_LIMIT:
            _shared.clear()
        written = _shared[millis] = rfc3339(millis)
    return written


_shared: Final[dict[int, str]] = {}
_written: Final[dict[int, str]] = {}
_WRITTEN_LIMIT: Final = 4096


def _second_text(second: int) -> str:
    rest = second % _DAY_S
    return _day_text(second // _DAY_S) + _MINUTES[rest // 60] + _SECONDS[rest % 60]


def day_of(value: Json) -> str | None:
    """Return the `YYYY-MM-DD` a date-only field holds; a longer text gives its first ten characters.

    Errors: Unfit when it is no calendar day.
    """
    if value is None:
        return None
    if type(value) is not str:
        raise Unfit("must be a date as YYYY-MM-DD")
    if len(value) == 10 and _is_day(value):
        return value
    day = value.strip()[:10]
    if not day:
        return None
    if not _is_day(day):
        raise Unfit("must be a date as YYYY-MM-DD")
    return day


def _is_day(day: str) -> bool:
    if day in _days:
        return True
    if not _is_iso_day(day):
        return False
    if len(_days) >= _DAYS_LIMIT:
        _days.clear()
    _days.add(day)
    return True


_days: Final[set[str]] = set()


def _is_iso_day(day: str) -> bool:
    if not _ISO_DAY.fullmatch(day):
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def is_never(day: str) -> bool:
    """Say whether a day stands for no limit at all (year 2100 and later)."""
    return day >= _NEVER


def end_of_day(day: str, zone: str) -> str:
    """Return the last second of `day` in `zone` as UTC text."""
    return _known_day(_ENDS, day, zone, _LAST_SECOND)


def start_of_day(day: str, zone: str) -> str:
    """Return the first moment of `day` in `zone` as UTC text."""
    return _known_day(_STARTS, day, zone, _MIDNIGHT)


_ENDS: Final[dict[str, dict[str, str]]] = {}
_STARTS: Final[dict[str, dict[str, str]]] = {}
_DAYS_LIMIT: Final = 8192
_MIDNIGHT: Final = time(0)
_LAST_SECOND: Final = time(23, 59, 59)


def _known_day(zones: dict[str, dict[str, str]], day: str, zone: str, clock: time) -> str:
    """Return a moment of a day in a zone as UTC text: few days are named, and again and again."""
    days = zones.get(zone)
    if days is None:
        days = zones[zone] = {}
    written = days.get(day)
    if written is None:
        if len(days) >= _DAYS_LIMIT:
            days.clear()
        written = days[day] = rfc3339(_local_ms(date.fromisoformat(day), clock, zone))
    return written


def day_in(millis: int, zone: str) -> str:
    """Return the `YYYY-MM-DD` on which an instant falls in `zone`."""
    if zone == "UTC":
        return _day_text(millis // DAY_MS)[:10]
    return datetime.fromtimestamp(millis // 1000, ZoneInfo(zone)).date().isoformat()


def iso_instant(value: Json, zone: str) -> int | None:
    """Return epoch milliseconds of ISO 8601 text; without an offset it is read in `zone`. None when it is no time."""
    if type(value) is not str or not value.strip():
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return _local_ms(moment.date(), moment.time(), zone)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def _local_ms(day: date, clock: time, zone: str) -> int:
    """Return the instant of a wall-clock reading: inside a gap it moves forward, in an overlap the earlier offset holds."""
    wall = datetime.combine(day, clock.replace(fold=0), ZoneInfo(zone))
    return round((wall - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def reinterpreted(millis: int, cluster_zone: str, store_zone: str) -> int:
    """Return the instant meant by a store's wall clock that the cluster stored as if it were its own."""
    wall = datetime.fromtimestamp(millis // 1000, ZoneInfo(cluster_zone)).replace(tzinfo=None)
    return _local_ms(wall.date(), wall.time(), store_zone) + millis % 1000


def looks_shifted(candidate_ms: int, created_ms: int) -> bool:
    """Say whether a bill lies ahead of its own event by what an unapplied zone offset would explain."""
    ahead = candidate_ms - created_ms
    if ahead <= 0:
        return False
    nearest = round(ahead / _STEP_MS) * _STEP_MS
    return 0 < nearest <= _WIDEST_SHIFT_MS and abs(ahead - nearest) <= _TOLERANCE_MS
