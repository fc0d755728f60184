"""Entries that share what comes before their bodies, against the plain encoding."""

from hypothesis import given
from hypothesis import strategies as st

from capstream.relay.entries import Entries
from capstream.relay.journal import Entry, decode, encode

sizes = st.sampled_from([0, 1, 255, 256, 257, 65_535, 65_536, 70_000])
entries = st.builds(
    Entry,
    source_key=st.sampled_from(["nw", "süd", "x" * 40]),
    received_ms=st.integers(1_726_585_471_220, 1_726_585_471_221),
    flags=st.sampled_from([0, 2]),
    headers=st.sampled_from([b"", b"content-type: application/json", b"x: " + b"y" * 300]),
    body=st.builds(lambda size, byte: byte * size, sizes, st.sampled_from([b"a", b"\xc4"])),
)


@given(st.lists(entries, max_size=8))
def test_each_entry_is_encoded_as_it_is_alone(wanted: list[Entry]) -> None:
    made = Entries()
    records = [made.encode(each.source_key, each.received_ms, each.flags, each.headers, each.body) for each in wanted]
    assert records == [encode(each) for each in wanted]
    assert [decode(record) for record in records] == wanted
