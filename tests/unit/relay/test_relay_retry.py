"""Retry decisions, request cutting and throttling are pure: tables and edges."""

import pytest

from capstream.relay.retry import (
    DELIVERY,
    ENRICHMENT_WAITS_S,
    GiveUp,
    RetryAt,
    next_delivery,
    next_enrichment,
    retry_after_s,
    wait_s,
)
from capstream.relay.throttle import Breaker, Bucket

NOW = 1_732_000_000_000


@pytest.mark.parametrize(
    ("failures", "asked", "jitter", "expected"),
    [
        (1, None, 0.0, 1.0),
        (1, None, 1.0, 0.5),
        (2, None, 0.0, 2.0),
        (5, None, 0.0, 16.0),
        (9, None, 0.0, 256.0),
        (10, None, 0.0, 300.0),
        (10_000, None, 0.0, 300.0),
        (1, 7.0, 0.5, 7.0),
        (9, 7.0, 0.0, 256.0),
        (1, 86_400.0, 0.0, 300.0),
    ],
)
def test_waits_grow_to_five_minutes_and_honour_retry_after(
    failures: int, asked: float | None, jitter: float, expected: float
) -> None:
    assert wait_s(failures, asked_s=asked, policy=DELIVERY, jitter=jitter) == expected
    assert next_delivery(failures, asked_s=asked, now_ms=NOW, jitter=jitter) == RetryAt(NOW + int(expected * 1000))


def test_enrichment_is_repeated_five_times() -> None:
    waits = [next_enrichment(failures, now_ms=0, jitter=0.5) for failures in range(1, 6)]
    assert waits == [RetryAt(int(wait * 1000)) for wait in ENRICHMENT_WAITS_S]
    assert isinstance(next_enrichment(6, now_ms=0, jitter=0.5), GiveUp)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("soon", None),
        ("-3", None),
        ("Tue, 19 Nov 2024 07:07:20 GMT", 40.0),
        ("Tue, 19 Nov 2024 07:06:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, NOW) == expected


def test_bucket_lets_a_tenth_through_at_once_and_refills_by_the_minute() -> None:
    bucket = Bucket(300, NOW)
    assert sum(bucket.take(NOW) for _ in range(100)) == 30
    assert sum(bucket.take(NOW + 1000) for _ in range(100)) == 5
    assert sum(bucket.take(NOW + 10 * 60_000) for _ in range(100)) == 30


def test_breaker_opens_rests_and_lets_one_probe_through() -> None:
    breaker = Breaker()
    for second in range(10):
        assert breaker.allows(NOW + second * 1000)
        breaker.failed(NOW + second * 1000)
    opened = NOW + 9000
    assert not breaker.allows(opened + 59_999)
    assert breaker.allows(opened + 60_000)
    assert not breaker.allows(opened + 60_000)
    breaker.failed(opened + 60_500)
    assert not breaker.allows(opened + 120_000)
    assert breaker.allows(opened + 120_500)
    breaker.succeeded()
    assert breaker.allows(opened + 120_501)
    assert breaker.allows(opened + 120_501)


def test_failures_far_apart_do_not_open_the_breaker() -> None:
    breaker = Breaker()
    for minute in range(30):
        breaker.failed(NOW + minute * 60_000)
    assert breaker.allows(NOW + 30 * 60_000)
