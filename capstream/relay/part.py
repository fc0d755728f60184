"""What a translator hands to the courier: its part of a batch, in MessagePack, and how the courier takes it over."""

from collections.abc import Callable, Collection, Iterator
from itertools import islice, zip_longest
from typing import TypeVar

import msgspec

from capstream.relay.dead_letters import DeadLetter
from capstream.relay.draft import Draft, Outbound
from capstream.relay.records import Record
from capstream.relay.settlement import Settlement

T = TypeVar("T")
_PIECE = 500  # members, payloads or parts of logs in one answer: the end of a batch is large, and neither side holds it twice


class Part(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """What a translator made of webhooks, or of the end of a batch."""

    refusal: str = ""  #: why this batch cannot be shared; nothing else counts then
    payloads: dict[str, tuple[list[Record], list[Record]]] = {}  #: source -> for its two dataflows, events first
    created: dict[str, list[tuple[int, int]]] = {}
    counts: list[tuple[str, int, dict[str, int]]] = []  #: source, day, counters
    linked: dict[str, str] = {}
    dead: dict[str, DeadLetter] = {}
    awaiting: dict[str, bool] = {}
    privacy: list[tuple[str, bytes]] = []
    late: set[int] = set()
    states: list[tuple[str, bytes]] = []
    log_parts: dict[str, bytes] = {}
    joined_parts: set[str] = set()
    dirty: int = 0  #: members whose state the batch may have changed
    is_full: bool = False  #: so much is in memory that the batch may grow no further
    is_more: bool = False  #: a further piece is to be asked for


encode: Callable[[Part], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Part] = msgspec.msgpack.Decoder(Part).decode


def part_of(draft: Draft, *, is_full: bool) -> Part:
    """Return what is in a translator's batch. What is to be posted and settled is out of it then."""
    settlement, draft.settlement = draft.settlement, Settlement()
    created, draft.created = draft.created, {}
    return Part(
        payloads={key: (out.events, out.profiles) for key, out in draft.ship().items()},
        created=created,
        counts=[(source_key, day, tally.counts) for (source_key, day), tally in settlement.counts.items()],
        linked=draft.linked,
        dead=settlement.dead,
        awaiting=settlement.awaiting,
        privacy=settlement.privacy,
        late=settlement.late,
        states=settlement.states,
        log_parts=settlement.log_parts,
        joined_parts=settlement.joined_parts,
        dirty=len(draft.dirty),
        is_full=is_full,
    )


def pieces_of(whole: Part) -> list[Part]:
    """Return a part in pieces; in the order in which they come they say the same."""
    profiles = [(key, found) for key, (_, each) in whole.payloads.items() for found in _cut(each)]
    rows = zip_longest(profiles, _cut(whole.states), _cut(whole.log_parts.items()), _cut(whole.joined_parts), fillvalue=None)
    made = [
        Part(
            payloads={} if sent is None else {sent[0]: ([], sent[1])},
            states=states or [],
            log_parts=dict(log_parts or ()),
            joined_parts=set(joined or ()),
            is_more=True,
        )
        for sent, states, log_parts, joined in rows
    ]
    events: dict[str, tuple[list[Record], list[Record]]] = {key: (each, []) for key, (each, _) in whole.payloads.items() if each}
    first = msgspec.structs.replace(whole, payloads=events, states=[], log_parts={}, joined_parts=set(), is_more=bool(made))
    if made:
        made[-1].is_more = False
    return [first, *made]


def _cut(items: Collection[T]) -> Iterator[list[T]]:
    found = iter(items)
    while piece := list(islice(found, _PIECE)):
        yield piece


def take_over(draft: Draft, part: Part) -> None:
    """Add a part to the courier's batch: its members are none of those the courier translates itself."""
    settlement = draft.settlement
    for source_key, (events, profiles) in part.payloads.items():
        out: Outbound = draft.out(source_key)
        out.events += events
        out.profiles += profiles
    for source_key, events_of in part.created.items():
        draft.created.setdefault(source_key, []).extend(events_of)
    for source_key, day, counts in part.counts:
        tally = settlement.count_of_day(source_key, day)
        for name, count in counts.items():
            tally.add(name, count)
    draft.linked.update(part.linked)
    settlement.dead |= part.dead
    settlement.awaiting |= part.awaiting
    settlement.privacy += part.privacy
    settlement.late |= part.late
    settlement.states += part.states
    settlement.log_parts |= part.log_parts
    settlement.joined_parts |= part.joined_parts
