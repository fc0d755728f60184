"""Text, regular expression, hashing and URL functions. Source: data-prep.md 5.2. Arguments arrive coerced."""

import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_to_bytes

from capstream.kernel.json import Json
from capstream.lang import matching
from capstream.lang.diagnostics import Fail
from capstream.lang.values import MAX_SIZE, text, text_or_empty

_MOST_PARTS = 100_000
"""Parameters or percent escapes of one text: each is looked at by itself, and more take too long."""

_CHARSETS = {"UTF-8": "utf-8", "UTF-16": "utf-16-be", "ISO-8859-1": "iso-8859-1", "US-ASCII": "ascii"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_BLANK = re.compile(r"\s")
_PORTS = {"http": 80, "https": 443, "ftp": 21, "sftp": 22, "ssh": 22, "ws": 80, "wss": 443}


def concat(*values: Json) -> str | None:
    """Return the texts joined; null counts as empty text, all null gives null."""
    if all(value is None for value in values):
        return None
    parts = list(map(text_or_empty, values))
    if sum(map(len, parts)) > MAX_SIZE:  # before they are joined: many large arguments fill the memory
        raise Fail("Result is larger than 1 MiB")
    return "".join(parts)


def explode(value: str, separator: str = ",") -> list[str]:
    """Return the parts between matches of a regular expression, empty ones included."""
    return matching.split(value, separator)


def instr(value: str, part: str, start: int = 0, nth: int = 1) -> int:
    """Return the position of the nth occurrence, -1 when there is none."""
    if min(nth, len(value)) * len(part) > MAX_SIZE // 4:
        raise Fail(f"Occurrence {nth} of a text of {len(part)} characters is too far to look for")
    at = max(0, start) - 1
    for _ in range(min(nth, len(value) + 2)):
        at = value.find(part, at + 1)
        if at < 0:
            break
    return at if nth > 0 else -1


def replacestr(value: str, find: str | None, replacement: str | None) -> str:
    """Return the text with every literal occurrence replaced."""
    if not find or replacement is None:
        return value
    if len(value) + value.count(find) * (len(replacement) - len(find)) > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")
    return value.replace(find, replacement)


def substr(value: str, start: int, length: int) -> str:
    """Return up to `length` characters from `start`."""
    start = max(0, start)
    return value[start : start + max(0, length)]


def split(value: str, chars: str | None) -> list[str]:
    """Return the non-empty parts between any of the given characters."""
    if chars is None:
        return _few(value.split())
    if not chars:
        return [value] if value else []
    table = dict.fromkeys(map(ord, chars), chars[0])
    return _few([part for part in value.translate(table).split(chars[0]) if part])


def _few(parts: list[str]) -> list[str]:
    """Return the parts of a text. Errors: Fail when they are so many that they cannot be written in 1 MiB."""
    if len(parts) * 4 > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")
    return parts


def join(separator: str, *values: Json) -> str | None:
    """Return the elements as text with the separator between; nulls are skipped, a null list gives null."""
    if len(values) == 1:
        if values[0] is None:
            return None
        if values[0].__class__ is list:
            return _joined(separator, values[0])
    return _joined(separator, values)


def _joined(separator: str, values: Sequence[Json]) -> str:
    parts = [text(value) for value in values if value is not None]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")
    return separator.join(parts)


def array_to_string(separator: str, array: list[Json] | None) -> str | None:
    """Return the elements of an array as text."""
    return None if array is None else _joined(separator, array)


def _padding(value: str, length: int, pad: str | None) -> str:
    if length > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")
    pad = pad or " "
    missing = max(0, length - len(value))
    return (pad * (missing // len(pad) + 1))[:missing]


def lpad(value: str, length: int, pad: str | None) -> str:
    """Return the text padded on the left."""
    return _padding(value, length, pad) + value


def rpad(value: str, length: int, pad: str | None) -> str:
    """Return the text padded on the right."""
    return value + _padding(value, length, pad)


def left(value: str, count: int) -> str:
    """Return the first characters."""
    return value[: max(0, count)]


def right(value: str, count: int) -> str:
    """Return the last characters."""
    return value[-count:] if count > 0 else ""


def trim(value: str) -> str:
    """Return the text without white space at both ends."""
    return value.strip()


def extract_regex(value: str, pattern: str) -> list[str | None]:
    """Return the first match and its groups; empty when there is none."""
    found = matching.first(value, pattern)
    return [] if found is None else [found.group(), *found.groups()]


def matches_regex(value: str | None, pattern: str | None) -> bool:
    """Say whether the whole text matches; null never does."""
    return value is not None and pattern is not None and matching.matches(value, pattern)


def _encoded(value: str, charset: str) -> bytes:
    encoding = _CHARSETS.get(charset.upper())
    if encoding is None:
        raise Fail(f"Unknown charset {charset[:40]}; known are {', '.join(_CHARSETS)}")
    return (b"\xfe\xff" if encoding == "utf-16-be" else b"") + value.encode(encoding, "replace")


def hashing(algorithm: str) -> Callable[..., str]:
    """Return the function that hashes text to lower-case hex."""
    make = getattr(hashlib, algorithm)

    def digest(value: str, charset: str = "UTF-8") -> str:
        if charset == "UTF-8":
            return str(make(value.encode("utf-8", "replace")).hexdigest())
        return str(make(_encoded(value, charset)).hexdigest())

    return digest


def crc32(value: str, charset: str = "UTF-8") -> str:
    """Return the CRC as 8 hex digits, bytes in little-endian order (Guava's form, data-prep.md D4)."""
    return zlib.crc32(_encoded(value, charset)).to_bytes(4, "little").hex()


def _url(value: str) -> tuple[str, str | None, str, str | None, str | None] | None:
    match = None if _BLANK.search(value) else _URL.fullmatch(value)
    return None if match is None else match.groups()  # type: ignore[return-value]


def _authority(authority: str) -> tuple[str, str]:
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        inside, _, rest = host.partition("]")
        return f"{inside}]", rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def get_url_protocol(value: str) -> str | None:
    """Return the scheme."""
    url = _url(value)
    return None if url is None else url[0]


def get_url_host(value: str) -> str | None:
    """Return the host."""
    url = _url(value)
    return None if url is None or not url[1] else _authority(url[1])[0] or None


def get_url_port(value: str) -> int | None:
    """Return the explicit port, or the scheme's own."""
    url = _url(value)
    if url is None:
        return None
    port = _authority(url[1] or "")[1]
    if port:
        return int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None
    return _PORTS.get(url[0].lower())


def get_url_path(value: str, full: bool = True) -> str | None:
    """Return the path, or only what follows its last slash."""
    url = _url(value)
    if url is None:
        return None
    return url[2] if full else url[2].rpartition("/")[2]


def get_url_query_str(value: str, mode: str) -> dict[str, str] | None:
    """Return the query parameters; `mode` says what becomes of the anchor."""
    if mode not in {"retain", "remove", "append"}:
        raise Fail(f'Unknown mode "{mode[:40]}"; known are retain, remove, append')
    url = _url(value)
    if url is None:
        return None
    query, anchor = url[3], url[4]
    if (query or "").count("&") > _MOST_PARTS:
        raise Fail(f"URL has more than {_MOST_PARTS} parameters")
    pairs = [part.partition("=") for part in (query or "").split("&") if part]
    result = {name: value for name, _, value in pairs}
    if anchor is not None and query is not None:
        if mode == "retain" and pairs:
            result[pairs[-1][0]] += f"#{anchor}"
        elif mode == "append":
            result["_anchor_"] = anchor
    return result


def get_url_encoded(value: str) -> str:
    """Return the text percent-encoded as UTF-8."""
    return quote(value, safe="", errors="replace").replace("~", "%7E")


def get_url_decoded(value: str) -> str:
    """Return the text with percent escapes decoded; `+` stays."""
    if value.count("%") > _MOST_PARTS:
        raise Fail(f"Text has more than {_MOST_PARTS} percent escapes")
    return unquote_to_bytes(value.encode("utf-8", "replace")).decode("utf-8", "replace")
