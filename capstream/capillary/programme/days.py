"""Days of the org's zone as whole numbers (1 = 0001-01-01), and instants as epoch milliseconds."""

import calendar
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def add_months(day: int, months: int) -> int:
    """Return the day `months` later (earlier when negative); a day that month lacks becomes its last."""
    start = date.fromordinal(day)
    years, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(years, month + 1, min(start.day, calendar.monthrange(years, month + 1)[1])).toordinal()


@lru_cache(maxsize=4096)
def end_of_month(day: int) -> int:
    """Return the last day of the month of `day`."""
    start = date.fromordinal(day)
    return start.replace(day=calendar.monthrange(start.year, start.month)[1]).toordinal()


@lru_cache(maxsize=4096)
def iso(day: int) -> str:
    """Return `YYYY-MM-DD`."""
    return date.fromordinal(day).isoformat()


def weekday(day: int) -> int:
    """Return 0 for Monday to 6 for Sunday."""
    return (day + 6) % 7


class Calendar:
    """The days of one time zone. Remembers the day it was asked for last: events come in order of time."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._starts: dict[int, int] = {}
        self._day, self._from, self._to = 0, 0, 0

    def start_of(self, day: int) -> int:
        """Return the instant at which `day` begins."""
        start = self._starts.get(day)
        if start is None:
            start = self._starts[day] = self.at(day, time(0))
        return start

    def at(self, day: int, wall: time) -> int:
        """Return the instant at which the clocks show `wall` on `day`."""
        return (datetime.combine(date.fromordinal(day), wall, self.zone) - _EPOCH) // timedelta(milliseconds=1)

    def day_of(self, instant: int) -> int:
        """Return the day on which `instant` lies."""
        if not self._from <= instant < self._to:
            self._day = datetime.fromtimestamp(instant / 1000, self.zone).toordinal()
            self._from, self._to = self.start_of(self._day), self.start_of(self._day + 1)
        return self._day

    def months_before(self, instant: int, months: int) -> int:
        """Return the instant so many calendar months earlier, at the same distance from midnight."""
        day = self.day_of(instant)
        return self.start_of(add_months(day, -months)) + instant - self.start_of(day)

    def rfc3339(self, day: int, wall: time) -> str:
        """Return that wall time with the zone's offset: `2025-05-02T23:59:59+01:00`."""
        return datetime.combine(date.fromordinal(day), wall, self.zone).isoformat()
