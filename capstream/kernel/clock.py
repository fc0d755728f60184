"""Time as a value that is passed in: nothing else in capstream asks the operating system what time it is."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]
"""Returns the current instant in epoch milliseconds."""


def system_clock() -> int:
    """Return the wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def shifted(clock: Clock, by_ms: int) -> Clock:
    """Return a clock that is `by_ms` ahead of `clock`."""
    return (lambda: clock() + by_ms) if by_ms else clock


def rfc3339(millis: int) -> str:
    """Return `millis` as UTC RFC 3339 with milliseconds: `2024-09-17T15:04:31.220Z`."""
    seconds, rest = divmod(millis, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
