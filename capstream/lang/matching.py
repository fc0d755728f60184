"""Regular expressions from users, with a time limit. Java's classes are ASCII, so ours are. Source: data-prep.md 2.9."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol, cast

import regex

from capstream.lang.diagnostics import Fail

TIMEOUT_S = 0.03
"""The limit asks for 50 ms at most; the engine looks at the clock now and then only, so it is told less."""
MAX_PATTERN = 4096
MAX_WEIGHT = 4096
"""How many single matchers a pattern may have with its counted repeats written out (ASSUMPTION): the engine writes them out.
An open repeat counts as four: many of them are slow to try."""

_PARTS = re.compile(
    r"(?P<skip>\\.|\(\?\#[^)]*\)|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<open>\()|(?P<close>\))|\{(?P<low>[0-9]*)(?:,(?P<high>[0-9]*))?\}|(?P<other>.)",
    re.DOTALL,
)
_REPEAT = re.compile(r"\{(?P<low>[0-9]*)(?:,(?P<high>[0-9]*))?\}")
_FLAGS = re.compile(r"\(\?[a-zA-Z0-9]*[xV]")
"""Flags that change what brackets mean: the structure of such a pattern is not taken apart."""


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
    if weight(pattern) > MAX_WEIGHT:
        raise Fail(f"Regular expression repeats more than {MAX_WEIGHT} times in all; use * or +, or smaller counts")
    try:
        return regex.compile(pattern, regex.ASCII)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise Fail(f"Regular expression is not valid: {error}") from error


def weight(pattern: str) -> int:
    """Return about how many single matchers a pattern has with its counted repeats written out."""
    if _FLAGS.search(pattern):
        total = len(pattern)
        for part in _REPEAT.finditer(pattern):
            total = min(total * max(1, _count(part)), MAX_WEIGHT + 1)
        return total
    groups, last = [0], 0  # of each open group the weight so far; weight of what a repeat would repeat
    for part in _PARTS.finditer(pattern):
        if part["open"]:
            groups.append(0)
            last = 0
        elif part["close"]:
            last = groups.pop()
            groups = groups or [0]
            groups[-1] += last
        elif part["skip"] or part["other"]:
            last = 4 if part["other"] in {"?", "*", "+"} else 1
            groups[-1] += last
        else:
            repeated = min(last * max(1, _count(part)), MAX_WEIGHT + 1)
            groups[-1] += repeated - last
            last = repeated
    return sum(groups)


def _count(part: "re.Match[str]") -> int:
    bounds = [bound[:6] for bound in (part["low"], part["high"]) if bound]  # six digits are too many in any case
    return max(map(int, bounds), default=1)


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
