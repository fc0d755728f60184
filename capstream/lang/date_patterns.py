"""Java date patterns: compiled once to a reader and a writer. Source: data-prep.md 6.2."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import regex

from capstream.lang.diagnostics import Fail
from capstream.lang.matching import TIMEOUT_S

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = "GYyuMLwWDdFEaHkKhmsSzZXVOQq"
_UNREADABLE = "FWwYQq"
_MAX_LENGTH = 200
_SHORT_MONTHS = tuple(name[:3].lower() for name in MONTHS)
_LONG_MONTHS = tuple(name.lower() for name in MONTHS)
_SHORT_DAYS = tuple(name[:3].lower() for name in WEEKDAYS)
_ORDINALS = ("1st", "2nd", "3rd", "4th")


@dataclass(frozen=True, slots=True)
class ZoneReader:
    """How zone names become zones; the default stands for text without one."""

    find: Callable[[str], tzinfo]
    default: tzinfo


@dataclass(frozen=True, slots=True)
class Letters:
    """A run of one pattern letter."""

    letter: str
    count: int


@dataclass(frozen=True, slots=True)
class DatePattern:
    """A compiled pattern."""

    parts: tuple[str | Letters, ...]
    regex: "regex.Pattern[str] | None"  #: None when a letter cannot be read
    source: str

    def write(self, date: datetime) -> str:
        """Return the date written by the pattern."""
        return "".join(part if isinstance(part, str) else _write(part.letter, part.count, date) for part in self.parts)

    def read(self, text: str, zones: ZoneReader) -> datetime | None:
        """Return the date of `text`, or None when it does not fit. Errors: Fail when the pattern cannot be read by."""
        if self.regex is None:
            raise Fail(f"Pattern {self.source} has a letter that can be written but not read")
        try:
            match = self.regex.fullmatch(text, timeout=TIMEOUT_S) if len(text) <= _MAX_LENGTH else None
        except TimeoutError as error:
            reason = f"Date pattern {self.source[:40]} is too ambiguous to read by; write two letters for fields in a row"
            raise Fail(reason) from error
        if match is None:
            return None
        letters = [part for part in self.parts if isinstance(part, Letters)]
        return _assemble(list(zip(letters, match.groups(), strict=True)), zones)


def compile_pattern(source: str) -> DatePattern:
    """Return the compiled pattern. Errors: Fail for unknown letters, open quotes, excessive length."""
    if len(source) > _MAX_LENGTH:
        raise Fail("Date pattern is too long")
    parts = tuple(_split(source))
    letters = [part for part in parts if isinstance(part, Letters)]
    if any(part.letter in _UNREADABLE for part in letters):
        return DatePattern(parts, None, source)
    expression = "".join(re.escape(part) if isinstance(part, str) else f"({_form(part)})" for part in parts)
    return DatePattern(parts, regex.compile(expression, regex.IGNORECASE), source)


def _split(source: str) -> list[str | Letters]:
    parts: list[str | Letters] = []
    at = 0
    while at < len(source):
        char = source[at]
        if char == "'":
            end = at + 1
            while end < len(source) and (source[end] != "'" or source[end : end + 2] == "''"):
                end += 2 if source[end : end + 2] == "''" else 1
            if source[at : at + 2] == "''":
                parts.append("'")
                at += 2
                continue
            if end >= len(source):
                raise Fail(f"Quote in date pattern {source} is not closed")
            parts.append(source[at + 1 : end].replace("''", "'"))
            at = end + 1
        elif char.isascii() and char.isalpha():
            if char not in _LETTERS:
                raise Fail(f"Unknown letter {char} in date pattern {source}")
            end = at
            while end < len(source) and source[end] == char:
                end += 1
            parts.append(Letters(char, end - at))
            at = end
        else:
            parts.append(char)
            at += 1
    return parts


def _digits(count: int) -> str:
    return "[0-9]+" if count == 1 else f"[0-9]{{{count}}}"


_NAME_FORMS = {
    "G": "BC|AD", "a": "AM|PM", "z": "[A-Za-z][A-Za-z0-9_/+:-]*", "V": "[A-Za-z][A-Za-z0-9_/+:-]*|[+-][0-9:]+",
    "O": r"GMT(?:[+-][0-9]{1,2}(?::?[0-9]{2})?)?",
}  # fmt: skip


def _form(part: Letters) -> str:
    """Return the regular expression of the text that a run of letters reads."""
    letter, count = part.letter, part.count
    if letter in "ML" and count >= 3:
        return {3: "|".join(_SHORT_MONTHS), 4: "|".join(_LONG_MONTHS)}.get(count, "[JFMASOND]")
    if letter == "E":
        return "|".join(_SHORT_DAYS) if count <= 3 else "|".join(name.lower() for name in WEEKDAYS)
    if letter == "Z":
        return "[+-][0-9]{4}" if count <= 3 else "(?:GMT)?[+-][0-9]{2}:[0-9]{2}" if count == 4 else "Z|[+-][0-9]{2}:[0-9]{2}"
    if letter == "X":
        return "Z|[+-][0-9]{2}" + {1: "(?:[0-9]{2})?", 2: "[0-9]{2}"}.get(count, ":[0-9]{2}")
    return _NAME_FORMS.get(letter) or _digits(count)


@dataclass(slots=True)
class _Fields:
    year: int = 1970
    month: int = 1
    day: int = 1
    day_of_year: int | None = None
    weekday: int | None = None
    hour: int = 0
    half: int | None = None  #: hour of a 12-hour clock
    afternoon: bool | None = None
    minute: int = 0
    second: int = 0
    micros: int = 0
    zone: tzinfo | None = None


def _assemble(found: list[tuple[Letters, str]], zones: ZoneReader) -> datetime | None:
    fields = _Fields()
    try:
        for part, text in found:
            _set(fields, part, text, zones)
        if fields.half is not None:
            fields.hour = fields.half + (12 if fields.afternoon else 0)
        if fields.day_of_year is not None:
            start = datetime(fields.year, 1, 1, tzinfo=UTC)
            moved = start + timedelta(days=fields.day_of_year - 1)
            if moved.year != fields.year:
                return None
            fields.month, fields.day = moved.month, moved.day
        date = datetime(
            fields.year,
            fields.month,
            fields.day,
            fields.hour,
            fields.minute,
            fields.second,
            fields.micros,
            fields.zone or zones.default,
        )
    except (ValueError, OverflowError):
        return None
    if fields.weekday is not None and date.isoweekday() != fields.weekday:
        return None
    return date


def _in(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _set(fields: _Fields, part: Letters, text: str, zones: ZoneReader) -> None:
    letter, count = part.letter, part.count
    match letter:
        case "y":
            fields.year = int(text) + (2000 if count == 2 else 0)
        case "u":
            if count == 1:
                fields.weekday = _in(int(text), 1, 7)
            else:
                fields.year = int(text) + (2000 if count == 2 else 0)
        case "M" | "L":
            fields.month = _month(text.lower(), count)
        case "d":
            fields.day = int(text)
        case "D":
            fields.day_of_year = _in(int(text), 1, 366)
        case "E":
            fields.weekday = _SHORT_DAYS.index(text[:3].lower()) + 1
        case "a":
            fields.afternoon = text.lower() == "pm"
        case "H":
            fields.hour = int(text)
        case "k":
            fields.hour = _in(int(text), 1, 24) % 24
        case "K":
            fields.half = _in(int(text), 0, 11)
        case "h":
            fields.half = _in(int(text), 1, 12) % 12
        case "m":
            fields.minute = int(text)
        case "s":
            fields.second = int(text)
        case "S":
            fields.micros = int(text[:6].ljust(6, "0"))
        case "z" | "Z" | "X" | "V" | "O":
            fields.zone = zones.find(text if letter in "zV" else text.upper())


def _month(text: str, count: int) -> int:
    if count <= 2:
        return int(text)
    if count == 5:
        starts = [at for at, name in enumerate(_LONG_MONTHS) if name[0] == text]
        if len(starts) != 1:
            raise ValueError(text)
        return starts[0] + 1
    return _SHORT_MONTHS.index(text[:3]) + 1


def _offset(date: datetime) -> tuple[str, int, int]:
    minutes = int((date.utcoffset() or timedelta()).total_seconds()) // 60
    return ("-" if minutes < 0 else "+", *divmod(abs(minutes), 60))


def _write_zone(letter: str, count: int, date: datetime) -> str:
    sign, hours, minutes = _offset(date)
    zero = hours == 0 and minutes == 0
    if letter == "X":
        if zero:
            return "Z"
        tail = (f"{minutes:02d}" if minutes else "") if count == 1 else f"{minutes:02d}" if count == 2 else f":{minutes:02d}"
        return f"{sign}{hours:02d}{tail}"
    if letter == "Z":
        if count <= 3:
            return f"{sign}{hours:02d}{minutes:02d}"
        return ("GMT" if count == 4 else "") + ("Z" if zero and count == 5 else f"{sign}{hours:02d}:{minutes:02d}")
    if letter == "O":
        if zero:
            return "GMT"
        short = f"{hours}" + (f":{minutes:02d}" if minutes else "")
        return f"GMT{sign}" + (short if count == 1 else f"{hours:02d}:{minutes:02d}")
    if letter == "V":
        key = getattr(date.tzinfo, "key", None)
        return key or ("Z" if zero else f"{sign}{hours:02d}:{minutes:02d}")
    name = date.tzname() or ""
    if date.tzinfo is UTC:
        return "UTC" if count <= 3 else "Coordinated Universal Time"
    return f"{sign}{hours:02d}:{minutes:02d}" if name.startswith("UTC") else name


def _write_name(letter: str, count: int, date: datetime) -> str | None:
    """Return the text of a letter that writes words, or None for a number."""
    match letter:
        case "G":
            return "AD" if count <= 3 else "Anno Domini" if count == 4 else "A"
        case "M" | "L" if count >= 3:
            name = MONTHS[date.month - 1]
            return name[:3] if count == 3 else name if count == 4 else name[0]
        case "E":
            name = WEEKDAYS[date.isoweekday() - 1]
            return name[:3] if count <= 3 else name if count == 4 else name[0]
        case "a":
            return "PM" if date.hour >= 12 else "AM"
        case "Q" | "q" if count >= 3:
            quarter = (date.month + 2) // 3
            return f"Q{quarter}" if count == 3 else f"{_ORDINALS[quarter - 1]} quarter"
        case _:
            return None


def week_of_month(date: datetime) -> int:
    """Return the ISO week of the month: week 1 is the first with at least four days in the month."""
    thursday = date.day + 4 - date.isoweekday()
    return (thursday - 1) // 7 + 1 if thursday >= 1 else 0


_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "M": lambda date: date.month,
    "L": lambda date: date.month,
    "w": lambda date: date.isocalendar().week,
    "W": week_of_month,
    "D": lambda date: date.timetuple().tm_yday,
    "d": lambda date: date.day,
    "F": lambda date: (date.day - 1) // 7 + 1,
    "u": lambda date: date.isoweekday(),
    "H": lambda date: date.hour,
    "k": lambda date: date.hour or 24,
    "K": lambda date: date.hour % 12,
    "h": lambda date: date.hour % 12 or 12,
    "m": lambda date: date.minute,
    "s": lambda date: date.second,
    "Q": lambda date: (date.month + 2) // 3,
    "q": lambda date: (date.month + 2) // 3,
}


def _write(letter: str, count: int, date: datetime) -> str:
    if letter in "zZXVO":
        return _write_zone(letter, count, date)
    word = _write_name(letter, count, date)
    if word is not None:
        return word
    if letter == "S":
        return f"{date.microsecond:06d}"[:count].ljust(count, "0")
    if letter in "yY" or (letter == "u" and count > 1):
        year = date.isocalendar().year if letter == "Y" else date.year
        return f"{year % 100:02d}" if count == 2 else str(year).zfill(count)
    return str(_NUMBERS[letter](date)).zfill(count)
