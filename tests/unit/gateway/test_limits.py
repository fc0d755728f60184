import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.limits import Buckets, RateLimit, parse
from capstream.kernel.errors import InputError

KEY = ("org", "client", "service")


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.integers(0, 3000), max_size=60))
def test_no_span_of_time_lets_more_through_than_it_may(rate: float, burst: int, gaps: list[int]) -> None:
    buckets = Buckets({"service": RateLimit(rate=rate, burst=burst)})
    now_ms, passed = 0, 0
    for gap in gaps:
        now_ms += gap
        passed += buckets.wait_s(KEY, now_ms) == 0
        assert passed <= burst + rate * now_ms / 1000 + 1e-6


@given(st.floats(0.1, 50), st.integers(1, 5))
def test_whoever_waits_as_told_gets_through(rate: float, burst: int) -> None:
    buckets = Buckets({"*": RateLimit(rate=rate, burst=burst)})
    now_ms = 0
    for _ in range(20):
        if wait_s := buckets.wait_s(KEY, now_ms):
            now_ms += wait_s * 1000
            assert buckets.wait_s(KEY, now_ms) == 0


def test_each_service_has_its_own_limit_and_star_is_every_other() -> None:
    buckets = Buckets(parse("catalog=1:1, *=1:2"))
    passed = {
        service: sum(buckets.wait_s(("org", "client", service), 0) == 0 for _ in range(5)) for service in ("catalog", "sandbox")
    }
    assert passed == {"catalog": 1, "sandbox": 2}
    assert parse("") == {}
    assert Buckets(parse("catalog=1:1")).wait_s(("org", "client", "sandbox"), 0) == 0


@pytest.mark.parametrize("text", ["catalog", "catalog=1", "catalog=0:5", "catalog=1:0", "=1:1", "catalog=x:1", "a=inf:1"])
def test_a_limit_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(InputError, match="rate_limits"):
        parse(text)
