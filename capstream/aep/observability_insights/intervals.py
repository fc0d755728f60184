"""ISO 8601 instants and intervals of requests. Pure."""

import re
from datetime import UTC, datetime, timedelta

from capstream.kernel.json import Json

_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII)


class BadInterval(Exception):
    """The text is no instant or interval; the message says which and why."""


def instant(name: str, value: Json) -> int:
    """Return an ISO 8601 instant in epoch milliseconds; without a zone it is UTC. Errors: BadInterval."""
    if not isinstance(value, str) or not value:
        wrong = "is missing" if value is None or value == "" else "is not a text"
        raise BadInterval(f"{name} {wrong}: send an ISO 8601 date and time, for example 2024-07-18T00:00:00Z.")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadInterval(f"{name} {value} is not an ISO 8601 date and time.") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() * 1000)
    except (OverflowError, ValueError) as error:
        raise BadInterval(f"{name} {value} is too far away.") from error


def interval(text: str) -> tuple[int, int]:
    """Return (start, end) of `start/end`, `start/duration` or `duration/end` in milliseconds. Errors: BadInterval."""
    first, slash, second = text.partition("/")
    if not slash:
        raise BadInterval(f"dateRange {text} is not an ISO 8601 interval: send start/end, start/P7D or P7D/end.")
    if first.startswith("P"):
        end_ms = instant("dateRange", second)
        return end_ms - _duration_ms(first), end_ms
    start_ms = instant("dateRange", first)
    end_ms = start_ms + _duration_ms(second) if second.startswith("P") else instant("dateRange", second)
    if start_ms > end_ms:
        raise BadInterval("Start date cannot be after end date.")
    return start_ms, end_ms


def _duration_ms(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise BadInterval(f"dateRange: {text} is not a duration of weeks, days, hours, minutes and seconds.")
    weeks, days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    try:
        return int(timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds() * 1000)
    except OverflowError as error:
        raise BadInterval(f"dateRange: {text} is too long.") from error
