"""How many calls a client may make: one token bucket per organisation, client and service. Source: gateway.md 9 (ASSUMPTION)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from capstream.kernel.errors import InputError

_MOST_BUCKETS = 10_000
ANY_OTHER = "*"
"""Stands for every service that has no limit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate` calls a second in the long run, `burst` at once."""

    rate: float
    burst: int


RateLimits = Mapping[str, RateLimit]
"""Limits by service; `*` is every other service."""


def parse(text: str) -> RateLimits:
    """Return the limits of a setting such as `flow_service=2:10,*=50:100`. Errors: InputError naming the part that is wrong."""
    return dict(_limit(part.strip()) for part in text.split(",") if part.strip())


def _limit(part: str) -> tuple[str, RateLimit]:
    service, _, numbers = part.partition("=")
    rate, _, burst = numbers.partition(":")
    try:
        limit = RateLimit(rate=float(rate), burst=int(burst))
    except ValueError as error:
        raise InputError("gateway.rate_limits", f"{part!r} is not service=rate:burst", "e.g. flow_service=2:10") from error
    if not service or not (0 < limit.rate < math.inf) or limit.burst < 1:
        raise InputError("gateway.rate_limits", f"{part!r} needs a service, a rate above 0 and a burst of 1 or more")
    return service, limit


class Buckets:
    """The buckets of all clients. Time is passed in."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._buckets: dict[tuple[str, str, str], tuple[float, int]] = {}  # calls left, and when that was so

    def wait_s(self, key: tuple[str, str, str], now_ms: int) -> int:
        """Return 0 and count the call when it may be made now, else after how many seconds it may."""
        limit = self._limits.get(key[2]) or self._limits.get(ANY_OTHER)
        if limit is None:
            return 0
        left, since_ms = self._buckets.pop(key, (float(limit.burst), now_ms))
        left = min(limit.burst, left + max(0, now_ms - since_ms) / 1000 * limit.rate)
        allowed = left > 1 - 1e-9  # sums of floats
        self._buckets[key] = (left - 1 if allowed else left, now_ms)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))  # the one unused for longest: popping moved the others behind it
        return 0 if allowed else max(1, math.ceil((1 - left) / limit.rate))
