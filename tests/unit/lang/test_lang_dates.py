"""Date patterns, reading without a pattern, the text form."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from capstream.lang.dates import LISTED, date_text, is_rfc3339, pattern, read_pattern, read_text, zone
from capstream.lang.diagnostics import Fail

MOMENT = datetime(2019, 10, 3, 7, 5, 9, 45_678, ZoneInfo("America/Los_Angeles"))

WRITTEN = [
    ("G yyyy yy y u", "AD 2019 19 2019 4"),
    ("YYYY-'W'ww W", "2019-W40 1"),
    ("M MM MMM MMMM MMMMM L", "10 10 Oct October O 10"),
    ("D DDD d dd F", "276 276 3 03 1"),
    ("E EEE EEEE EEEEE", "Thu Thu Thursday T"),
    ("a h hh K k H HH", "AM 7 07 7 7 7 07"),
    ("m mm s ss S SS SSS SSSSSS", "5 05 9 09 0 04 045 045678"),
    ("z Z ZZZZ ZZZZZ", "PDT -0700 GMT-07:00 -07:00"),
    ("X XX XXX V O OOOO", "-07 -0700 -07:00 America/Los_Angeles GMT-7 GMT-07:00"),
    ("Q QQ QQQ QQQQ q", "4 04 Q4 4th quarter 4"),
    ("'o''clock' '' yyyy.MM", "o'clock ' 2019.10"),
]


@pytest.mark.parametrize(("written_by", "expected"), WRITTEN)
def test_every_letter_writes(written_by: str, expected: str) -> None:
    assert pattern(written_by).write(MOMENT) == expected


READ = [
    ("3/7/2020", "M/d/yyyy", "2020-03-07T00:00:00Z"),
    ("2020-060", "yyyy-DDD", "2020-02-29T00:00:00Z"),
    ("12:05 AM", "hh:mm a", "1970-01-01T00:05:00Z"),
    ("12:05 pm", "hh:mm a", "1970-01-01T12:05:00Z"),
    ("24", "k", "1970-01-01T00:00:00Z"),
    ("05-FEB-21", "dd-MMM-yy", "2021-02-05T00:00:00Z"),
    ("Friday 05 february 2021", "EEEE dd MMMM yyyy", "2021-02-05T00:00:00Z"),
    ("20200101T0000+01", "yyyyMMdd'T'HHmmX", "2020-01-01T00:00:00+01:00"),
    ("2020-01-01 10 IST", "yyyy-MM-dd HH z", "2020-01-01T10:00:00+05:30"),
    ("2020-01-01 GMT+8", "yyyy-MM-dd O", "2020-01-01T00:00:00+08:00"),
    ("10:11:12.5", "HH:mm:ss.S", "1970-01-01T10:11:12.500Z"),
]


@pytest.mark.parametrize(("text", "read_by", "expected"), READ)
def test_reading_by_pattern(text: str, read_by: str, expected: str) -> None:
    assert date_text(read_pattern(text, read_by)) == expected


STRICT = [
    ("1/07/2020", "MM/dd/yyyy"),
    ("2020-02-30", "yyyy-MM-dd"),
    ("20-01-01", "yyyy-MM-dd"),
    ("Monday 2021-02-05", "EEEE yyyy-MM-dd"),
    ("13:00 PM", "hh:mm a"),
    ("2020-01-01 ", "yyyy-MM-dd"),
    ("2019-366", "yyyy-DDD"),
]


@pytest.mark.parametrize(("text", "read_by"), STRICT)
def test_reading_is_strict(text: str, read_by: str) -> None:
    with pytest.raises(Fail):
        read_pattern(text, read_by)


@pytest.mark.parametrize("listed", LISTED)
def test_every_listed_pattern_is_tried(listed: str) -> None:
    moment = datetime(2020, 12, 25, 10, 11, 12, tzinfo=UTC)
    written = pattern(listed).write(moment)
    expected = moment if "ss" in listed else moment.replace(hour=0, minute=0, second=0)
    assert read_text(written) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-11-09T11:44:44.797", "2016-11-09T11:44:44Z"),
        ("2016-11-09 11:44:44.797 PST", "2016-11-09T11:44:44.797-08:00"),
        ("2016-11-09T11:44+0530", "2016-11-09T11:44:00+05:30"),
        ("2016-11-09T11:44:44.123456789Z", "2016-11-09T11:44:44.123Z"),
        ("2016-07-01 00:00:00 Europe/Paris", "2016-07-01T00:00:00+02:00"),
        ("12112020", "2020-12-11T00:00:00Z"),
        ("20201211", "2020-12-11T00:00:00Z"),
    ],
)
def test_reading_without_pattern(text: str, expected: str) -> None:
    assert date_text(read_text(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2020-13-01", "0000-01-01", "2020-01-01T25:00:00Z", "1/1/20", "2020-01-01T00:00X"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(Fail):
        read_text(text)


def test_rfc3339_is_told_from_its_likenesses() -> None:
    assert is_rfc3339("2024-02-29T23:59:59.5+05:30")
    assert not is_rfc3339("2023-02-29T23:59:59Z")
    assert not is_rfc3339("2024-02-29T23:59:59")
    assert not is_rfc3339("2024-02-29 23:59:59Z")
    assert not is_rfc3339("2024-04-31T00:00:00Z")


def test_abbreviations_are_fixed_offsets() -> None:
    assert zone("EST").utcoffset(None) == timedelta(hours=-5)
    assert zone("+01:30") == timezone(timedelta(hours=1, minutes=30))
    assert zone("GMT") is UTC
