"""When to try again: pure decisions. Source: streaming-ingestion.md 16, capillary.md 5.4."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

Jitter = Callable[[], float]
"""Returns a number in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How waiting grows. Units: seconds."""

    first_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 300.0


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at `at_ms` (epoch milliseconds)."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further try."""

    reason: str


DELIVERY = Policy()
"""Deliveries are retried for as long as the journal holds the data."""

ENRICHMENT_WAITS_S = (1.0, 4.0, 15.0, 60.0, 300.0)
"""Waits before the five repeats of an API call."""


def wait_s(failures: int, *, asked_s: float | None, policy: Policy, jitter: float) -> float:
    """Return how long to wait after the `failures`-th failure in a row.

    The exponential wait is shortened by up to half through `jitter` (0 to 1) so that many senders do not return
    together; the other side's wish (`asked_s`, Retry-After) is a lower bound. Both stop at the policy's cap.
    """
    grown = policy.cap_s
    if failures <= 64:
        grown = min(policy.cap_s, policy.first_s * policy.factor ** max(failures - 1, 0))
    own = grown * (1.0 - 0.5 * jitter)
    return max(own, min(asked_s or 0.0, policy.cap_s))


def next_delivery(failures: int, *, asked_s: float | None, now_ms: int, jitter: float, policy: Policy = DELIVERY) -> RetryAt:
    """Return when a transient failure of the delivery is tried again; there is no last try."""
    return RetryAt(now_ms + int(wait_s(failures, asked_s=asked_s, policy=policy, jitter=jitter) * 1000))


def next_enrichment(
    failures: int, *, now_ms: int, jitter: float, waits_s: Sequence[float] = ENRICHMENT_WAITS_S
) -> RetryAt | GiveUp:
    """Return when an API call that failed `failures` times is repeated, or that it is not."""
    if failures > len(waits_s):
        return GiveUp(f"{failures} tries failed")
    return RetryAt(now_ms + int(waits_s[failures - 1] * (0.8 + 0.4 * jitter) * 1000))


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Return the wait a Retry-After header asks for, in seconds; None when it is absent or unreadable."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(at.timestamp() - now_ms / 1000, 0.0)
