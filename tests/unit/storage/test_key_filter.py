"""What the filter says of keys, against an index that is a set."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from capstream.storage.key_filter import KeyFilter

TIMES = [b"hr01", b"hr02", b"hr03"]
keys = st.builds(lambda time, number: time + sha256(b"%d" % number).digest()[:16], st.sampled_from(TIMES), st.integers(0, 60))
others = st.binary(min_size=1, max_size=12)
steps = st.lists(st.tuples(st.booleans(), st.lists(keys | others, max_size=12)), max_size=12)


def filter_of(index: set[bytes], *, most_keys: int = 1000, most_times: int = 1000) -> KeyFilter:
    return KeyFilter(lambda time: any(key.startswith(time) for key in index), most_keys=most_keys, most_times=most_times)


@given(before=st.sets(keys), steps=steps, most_keys=st.integers(0, 30), most_times=st.integers(1, 5))
def test_no_key_of_the_index_is_denied(
    before: set[bytes], steps: list[tuple[bool, list[bytes]]], most_keys: int, most_times: int
) -> None:
    index = set(before)
    known = filter_of(index, most_keys=most_keys, most_times=most_times)
    for is_written, group in steps:
        if is_written:
            known.note(group)
            index.update(group)
        assert all(known.may_have(key) for key in index.union(group) if key in index)


def test_new_keys_of_a_new_time_are_told_apart_those_of_an_old_time_are_not() -> None:
    index = {b"hr01" + sha256(b"old").digest()[:16]}
    known = filter_of(index)
    fresh = [b"hr02" + sha256(b"%d" % n).digest()[:16] for n in range(200)]
    assert not any(known.may_have(key) for key in fresh)
    known.note(fresh[:100])
    index.update(fresh[:100])
    assert all(known.may_have(key) for key in fresh[:100])
    assert sum(known.may_have(key) for key in fresh[100:]) <= 1
    assert known.may_have(b"hr01" + sha256(b"new").digest()[:16])


def test_short_keys_have_to_be_looked_for() -> None:
    assert filter_of(set()).may_have(b"short")
