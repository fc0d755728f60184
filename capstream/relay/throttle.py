"""How often and whether an API may be called: a token bucket, a circuit breaker. Time is passed in. Source: capillary.md 5.3."""

from collections import deque

_MINUTE_MS = 60_000


class Bucket:
    """Lets `per_minute` calls through, a tenth of them at once."""

    def __init__(self, per_minute: int, now_ms: int) -> None:
        self._rate = per_minute / _MINUTE_MS
        self._room = max(1.0, per_minute / 10)
        self._level = self._room
        self._at_ms = now_ms

    def take(self, now_ms: int) -> bool:
        """Return whether a call may be made now; it is counted then."""
        self._level = min(self._room, self._level + max(now_ms - self._at_ms, 0) * self._rate)
        self._at_ms = now_ms
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class Breaker:
    """Opens after 10 failures within 30 s; 60 s later one call tries whether the other side is back."""

    def __init__(self, *, failures: int = 10, window_ms: int = 30_000, rest_ms: int = 60_000) -> None:
        self._limit = failures
        self._window_ms = window_ms
        self._rest_ms = rest_ms
        self._failures: deque[int] = deque(maxlen=failures)
        self._opened_ms: int | None = None
        self._is_probing = False

    def allows(self, now_ms: int) -> bool:
        """Return whether a call may be made now; when half-open, only one until its result is known."""
        if self._opened_ms is None:
            return True
        if now_ms - self._opened_ms < self._rest_ms or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """Note a call that was answered."""
        self._failures.clear()
        self._opened_ms = None
        self._is_probing = False

    def failed(self, now_ms: int) -> None:
        """Note a call that was not."""
        self._failures.append(now_ms)
        full = len(self._failures) == self._limit and now_ms - self._failures[0] <= self._window_ms
        if self._is_probing or full:
            self._opened_ms = now_ms
        self._is_probing = False
