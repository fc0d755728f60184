"""What a translator has for the end of a batch says in pieces what it says whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.relay import part
from capstream.relay.draft import Draft
from capstream.relay.part import Part
from capstream.relay.records import Record

NAMES = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=9)


def outbound(draft: Draft) -> dict[str, Any]:
    """Return what goes out for each source that has anything."""
    return {key: (out.events, out.profiles) for key, out in draft.outbound.items() if out.events or out.profiles}


@given(states=NAMES, parts=NAMES, joined=NAMES, profiles=NAMES, events=NAMES, others=NAMES)
def test_pieces_say_what_the_whole_says(
    states: list[str], parts: list[str], joined: list[str], profiles: list[str], events: list[str], others: list[str]
) -> None:
    sent, newest, theirs = ([Record(name, name, name.encode(), 1) for name in found] for found in (events, profiles, others))
    whole = Part(
        payloads={"nw": (sent, newest), "eu": ([], theirs)},
        counts=[("nw", 1, {"processed": 3})],
        states=[(name, name.encode()) for name in states],
        log_parts={name: name.encode() for name in parts},
        joined_parts=set(joined),
        dirty=7,
        is_full=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "_PIECE", 2)
        pieces = [part.decode(part.encode(piece)) for piece in part.pieces_of(whole)]
    assert [piece.is_more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece.states) + len(piece.log_parts) + len(piece.joined_parts) for piece in pieces) <= 6
    assert (pieces[0].dirty, pieces[0].is_full, pieces[0].counts) == (7, True, whole.counts)
    drafts = Draft(), Draft()
    for draft, taken in zip(drafts, ([whole], pieces), strict=True):
        for each in taken:
            part.take_over(draft, each)
    one, other = drafts
    assert outbound(one) == outbound(other)
    for name in ("states", "log_parts", "joined_parts"):
        assert getattr(one.settlement, name) == getattr(other.settlement, name)
    assert {key: tally.counts for key, tally in one.settlement.counts.items()} == {
        key: tally.counts for key, tally in other.settlement.counts.items()
    }
