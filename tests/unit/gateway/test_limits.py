from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.limits import Buckets, RateLimit

KEY = ("org", "client", "service")


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.integers(0, 3000), max_size=60))
def test_no_span_of_time_lets_more_through_than_it_may(rate: float, burst: int, gaps: list[int]) -> None:
    buckets = Buckets(RateLimit(rate=rate, burst=burst))
    now_ms, passed = 0, 0
    for gap in gaps:
        now_ms += gap
        passed += buckets.wait_s(KEY, now_ms) == 0
        assert passed <= burst + rate * now_ms / 1000 + 1e-6


@given(st.floats(0.1, 50), st.integers(1, 5))
def test_whoever_waits_as_told_gets_through(rate: float, burst: int) -> None:
    buckets = Buckets(RateLimit(rate=rate, burst=burst))
    now_ms = 0
    for _ in range(20):
        if wait_s := buckets.wait_s(KEY, now_ms):
            now_ms += wait_s * 1000
            assert buckets.wait_s(KEY, now_ms) == 0
