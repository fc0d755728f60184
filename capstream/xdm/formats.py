"""String formats: exact tests, the text of a violation, and patterns that surely valid texts match. Source: xdm.md 11."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from types import MappingProxyType

import regex

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?", re.ASCII)
_EMAIL = re.compile(
    r"(?:[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*|\"(?:[^\"\\\r\n]|\\.)+\")"
    r"@(?=.{1,253}\Z)(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])?"
)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_TAIL = rf"{_PCHAR}*(?:\?(?:{_PCHAR}|\?)*)?(?:#(?:{_PCHAR}|\?)*)?"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*:"
_AUTHORITY = rf"//(?:{_PCHAR}*@)?(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{{2}})*)(?::\d*)?"
_URI = re.compile(rf"{_SCHEME}(?:(?:{_AUTHORITY})(?:/{_TAIL}|[?#]{_TAIL})?|(?!//){_TAIL})")
_NO_COLON_FIRST = r"(?![^/?#]*:)"
_RELATIVE = re.compile(rf"(?:(?:{_AUTHORITY})(?:/{_TAIL}|[?#]{_TAIL})?|(?!//){_NO_COLON_FIRST}{_TAIL})")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")

_DATE_TIMES = (
    "yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, "
    "yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm"
)


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> "re.Pattern[str] | regex.Pattern[str]":
    """Return a compiled `pattern`: by `re`, or by `regex` for classes such as `\\p{L}`. Errors: ValueError when neither can.

    `\\d` and `\\w` mean ASCII characters, as in ECMA 262 and in the Java engine whose words the violations have.
    """
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        try:
            return regex.compile(text)
        except regex.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None


def is_date(text: str) -> bool:
    """Tell whether the text is a full date of the calendar."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def is_date_time(text: str) -> bool:
    """Tell whether the text is an RFC 3339 date-time with a zone. ASSUMPTION: leap seconds are refused."""
    match = _DATE_TIME.fullmatch(text)
    return match is not None and is_date(match[1])


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def _is_uri_reference(text: str) -> bool:
    return _URI.fullmatch(text) is not None or _RELATIVE.fullmatch(text) is not None


def _is_regex(text: str) -> bool:
    try:
        pattern_of(text)
    except ValueError:
        return False
    return True


def _whole(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


CHECKS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "date": is_date,
        "date-time": is_date_time,
        "time": _whole(_TIME),
        "email": _whole(_EMAIL),
        "hostname": _whole(_HOST),
        "ipv4": _is_ipv4,
        "ipv6": _is_ipv6,
        "uri": _whole(_URI),
        "uri-reference": _is_uri_reference,
        "uuid": _whole(_UUID),
        "json-pointer": _whole(_POINTER),
        "regex": _is_regex,
    }
)
"""Format -> test. A format that is missing here is an annotation and restricts nothing."""

EXPECTATIONS: Mapping[str, str] = MappingProxyType(
    {
        "date": "date. Expected [yyyy-MM-dd]",
        "date-time": f"date-time. Expected [{_DATE_TIMES}]",
        "email": "email address",
        "ipv4": "ipv4 address",
        "ipv6": "ipv6 address",
        "uri": "URI",
    }
)

_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DAY = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
_LEAP_DAY = rf"(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_SAFE = r"[A-Za-z0-9\-._~+]"
SURE: Mapping[str, str] = MappingProxyType(
    {
        "date": rf"(?:{_YEAR}-{_DAY}|{_LEAP_DAY})",
        "date-time": rf"(?:{_YEAR}-{_DAY}|{_LEAP_DAY})T{_CLOCK}",
        "email": r"[A-Za-z0-9_+-]{1,40}(?:\.[A-Za-z0-9_+-]{1,40}){0,4}@(?:[A-Za-z0-9]{1,60}\.){1,3}[A-Za-z]{2,60}",
        "uri": rf"{_SCHEME}//[A-Za-z0-9.\-]+(?:/(?:{_SAFE}|/)*)?",
        "uri-reference": rf"(?:{_SCHEME}{_SAFE}(?:{_SAFE}|[:/])*|{_SAFE}(?:{_SAFE}|/)*)",
        "uuid": r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    }
)
"""Format -> pattern of whole texts valid beyond doubt, for any engine. Others need the exact test (exotic URIs)."""
