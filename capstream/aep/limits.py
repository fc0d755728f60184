"""How many calls a client may make: one token bucket per organisation, client and service. Source: gateway.md 9 (ASSUMPTION)."""

import math
from dataclasses import dataclass

_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate` calls a second in the long run, `burst` at once."""

    rate: float
    burst: int


class Buckets:
    """The buckets of all clients. Time is passed in."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._buckets: dict[tuple[str, str, str], tuple[float, int]] = {}  # calls left, and when that was so

    def wait_s(self, key: tuple[str, str, str], now_ms: int) -> int:
        """Return 0 and count the call when it may be made now, else after how many seconds it may."""
        left, since_ms = self._buckets.pop(key, (float(self._limit.burst), now_ms))
        left = min(self._limit.burst, left + max(0, now_ms - since_ms) / 1000 * self._limit.rate)
        allowed = left > 1 - 1e-9  # sums of floats
        self._buckets[key] = (left - 1 if allowed else left, now_ms)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))  # the one unused for longest: popping moved the others behind it
        return 0 if allowed else max(1, math.ceil((1 - left) / self._limit.rate))
