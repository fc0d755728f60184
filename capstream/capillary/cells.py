"""Cells of Capillary's exports: ids, numbers, days and times as they are written there. Source: capillary.md 8.2."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstream.capillary.values import Unfit, decimal_id, number

Row = Mapping[str, str]
"""One row of an export: column name (lower case, blanks as underscores, aliases resolved) -> text."""

_DAY_FIRST = re.compile(r"(\d{2})-(\d{2})-(\d{4})")
_YEAR_FIRST = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_ABSENT = frozenset({"", "null", "not captured", "-1"})


class BadRow(Exception):
    """A row, or a bill of several, that cannot be imported: `field` is the column, `cure` what mends it."""

    def __init__(self, field: str, reason: str, cure: str) -> None:
        super().__init__(f"{field}: {reason}; {cure}")
        self.field = field
        self.reason = reason
        self.cure = cure


def text(row: Row, name: str) -> str | None:
    """Return what a cell holds; None for an empty one and the words that mean nothing."""
    value = (row.get(name) or "").strip()
    return None if value.lower() in _ABSENT else value


def needed_id(row: Row, names: Sequence[str]) -> str:
    """Return the id of the first of `names` that holds one. Errors: BadRow."""
    found = next((value for name in names if (value := optional_id(row, name)) is not None), None)
    if found is None:
        raise BadRow(names[0], "is missing", "export the column and keep every row's value")
    return found


def optional_id(row: Row, name: str) -> str | None:
    """Return an id as decimal digits, None when there is none. Errors: BadRow."""
    value = text(row, name)
    if value is None:
        return None
    try:
        found = decimal_id(value)
    except Unfit:
        found = None
    if found is None or not found.isdecimal():
        raise BadRow(name, f"{value[:40]!r} is no id", "ids are whole numbers")
    return found


def amount(row: Row, name: str) -> int | float | None:
    """Return a number, None for an empty cell. Errors: BadRow."""
    value = (row.get(name) or "").strip()
    if value.lower() in _ABSENT - {"-1"}:
        return None
    try:
        return number(value)
    except Unfit as error:
        raise BadRow(name, f"{value[:40]!r} is no number", "write numbers with a decimal point and no thousands mark") from error


def epoch(row: Row, name: str) -> int | None:
    """Return a Unix time in ms that is written in seconds or ms, None for an empty cell. Errors: BadRow."""
    value = amount(row, name)
    if value is None or value <= 0:
        return None
    return int(value) if value >= 100_000_000_000 else int(value * 1000)


def day(value: str, name: str) -> str:
    """Return a day as YYYY-MM-DD. Errors: BadRow when it can be read in no documented way."""
    head = value.strip()[:10]
    if _YEAR_FIRST.fullmatch(head):
        written = head
    elif found := _DAY_FIRST.fullmatch(head):
        written = f"{found[3]}-{found[2]}-{found[1]}"
    else:
        raise BadRow(name, f"{value[:20]!r} is no day", "write days as YYYY-MM-DD or DD-MM-YYYY")
    try:
        datetime.fromisoformat(written)
    except ValueError as error:
        raise BadRow(name, f"{value[:20]!r} is no day of the calendar", "write days as YYYY-MM-DD or DD-MM-YYYY") from error
    return written


def moment(row: Row, zone: ZoneInfo, *, on: str = "date", at: str = "time") -> int:
    """Return the instant, in ms, that the columns `on` and `at` state in the row's own zone, else in `zone`. Errors: BadRow."""
    stated = text(row, on)
    if stated is None:
        raise BadRow(on, "is missing", "give it as YYYY-MM-DD or DD-MM-YYYY")
    head, _, rest = stated.replace("T", " ").partition(" ")
    clock = rest.strip() or text(row, at) or "00:00:00"
    try:
        found = datetime.fromisoformat(f"{day(head, on)}T{clock}")
    except ValueError as error:
        raise BadRow(on if rest else at, f"{clock[:20]!r} is no time of the day", "give it as HH:MM:SS") from error
    return int(found.replace(tzinfo=found.tzinfo or _zone_of(row, zone)).timestamp() * 1000)


def _zone_of(row: Row, zone: ZoneInfo) -> ZoneInfo:
    name = text(row, "timezone")
    try:
        return zone if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadRow("timezone", f"{(name or '')[:40]!r} is no IANA zone", "give one such as Europe/London") from error
