"""Laws of lanes and requests: nothing lost, order kept for each member, limits respected."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from capstream.relay.batching import lanes, link, requests
from capstream.relay.inlet import body_size, request_body
from capstream.relay.records import Record
from capstream.relay.retry import DELIVERY, wait_s

MEMBERS = st.sampled_from([f"700123/{number}" for number in range(12)])
RECORDS = st.lists(st.tuples(MEMBERS, st.integers(2, 400)), max_size=120).map(
    lambda drawn: [Record(f"id-{index}", member, b"x" * size, index) for index, (member, size) in enumerate(drawn)]
)
MERGES = st.lists(st.lists(MEMBERS, min_size=2, max_size=3, unique=True), max_size=6)


@given(RECORDS, st.integers(1, 5), MERGES)
def test_lanes_keep_each_members_order_and_linked_members_share_one(
    records: list[Record], count: int, merges: list[list[str]]
) -> None:
    linked: dict[str, str] = {}
    for members in merges:
        link(linked, members)
    found = lanes(records, count, linked)
    assert sorted(record.offset for lane in found for record in lane) == list(range(len(records)))
    assert len(found) <= count
    lane_of = {record.member: index for index, lane in enumerate(found) for record in lane}
    for lane in found:
        assert [record.offset for record in lane] == sorted(record.offset for record in lane)
        assert all(lane_of[record.member] == found.index(lane) for record in lane)
    for members in merges:
        assert len({lane_of[member] for member in members if member in lane_of}) <= 1


@given(RECORDS, st.integers(1, 20), st.integers(50, 1000))
def test_requests_keep_order_and_limits(records: list[Record], max_records: int, max_bytes: int) -> None:
    cut = requests(records, max_records=max_records, max_bytes=max_bytes)
    assert [record for request in cut for record in request] == records
    for request in cut:
        size = len(request_body([record.body for record in request]))
        assert size == body_size([record.body for record in request])
        assert 0 < len(request) <= max_records
        assert size <= max_bytes or len(request) == 1


@given(RECORDS, st.integers(1, 20), st.integers(50, 1000))
def test_requests_are_as_full_as_the_limits_allow(records: list[Record], max_records: int, max_bytes: int) -> None:
    cut = requests(records, max_records=max_records, max_bytes=max_bytes)
    for request, following in pairwise(cut):
        grown = [record.body for record in [*request, following[0]]]
        assert len(grown) > max_records or body_size(grown) > max_bytes


@given(st.integers(1, 200), st.floats(0, 1e6) | st.none(), st.floats(0, 1, exclude_max=True))
def test_waits_stay_between_half_a_second_and_the_cap(failures: int, asked: float | None, jitter: float) -> None:
    wait = wait_s(failures, asked_s=asked, policy=DELIVERY, jitter=jitter)
    assert 0.5 <= wait <= DELIVERY.cap_s
    assert wait >= min(asked or 0.0, DELIVERY.cap_s)


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_waits_never_shrink_with_more_failures(failures: int, jitter: float) -> None:
    first = wait_s(failures, asked_s=None, policy=DELIVERY, jitter=jitter)
    assert wait_s(failures + 1, asked_s=None, policy=DELIVERY, jitter=jitter) >= first
