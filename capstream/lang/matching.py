"""Regular expressions from users, with a time limit. Java's classes are ASCII, so ours are. Source: data-prep.md 2.9."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol, cast

import regex

from capstream.lang.diagnostics import Fail

TIMEOUT_S = 0.05
MAX_PATTERN = 4096


class Found(Protocol):
    """The part of a match that functions use."""

    def group(self, index: int = 0, /) -> str:
        """Return the text of a group."""
        ...

    def groups(self) -> tuple[str | None, ...]:
        """Return the texts of all groups."""
        ...

    def start(self) -> int:
        """Return where the match starts."""
        ...

    def end(self) -> int:
        """Return where the match ends."""
        ...


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> "regex.Pattern[str]":
    if len(pattern) > MAX_PATTERN:
        raise Fail(f"Regular expression is longer than {MAX_PATTERN} characters")
    try:
        return regex.compile(pattern, regex.ASCII)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise Fail(f"Regular expression is not valid: {error}") from error


def _limited() -> Fail:
    return Fail(f"Regular expression took longer than {TIMEOUT_S * 1000:.0f} ms")


def matches(text: str, pattern: str) -> bool:
    """Say whether the whole text matches. Errors: Fail for a bad pattern or when the time is up."""
    try:
        return _compiled(pattern).fullmatch(text, timeout=TIMEOUT_S) is not None
    except TimeoutError as error:
        raise _limited() from error


def first(text: str, pattern: str) -> Found | None:
    """Return the first match inside the text. Errors: as `matches`."""
    try:
        return cast("Found | None", _compiled(pattern).search(text, timeout=TIMEOUT_S))
    except TimeoutError as error:
        raise _limited() from error


def each(text: str, pattern: str) -> Iterator[Found]:
    """Yield the matches from left to right. Errors: as `matches`."""
    try:
        yield from cast("Iterator[Found]", _compiled(pattern).finditer(text, timeout=TIMEOUT_S))
    except TimeoutError as error:
        raise _limited() from error


def split(text: str, pattern: str) -> list[str]:
    """Return the parts between matches, empty ones included, as Java's `split(regex, -1)`."""
    parts: list[str] = []
    at = 0
    for match in each(text, pattern):
        if at == 0 and match.end() == 0:
            continue
        parts.append(text[at : match.start()])
        at = match.end()
    parts.append(text[at:])
    return parts
