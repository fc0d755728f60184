"""How records become requests: lanes that keep each member's order, and cuts by count and bytes. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from capstream.relay.inlet import body_size
from capstream.relay.records import Record


def lanes(records: Sequence[Record], count: int, linked: Mapping[str, str]) -> list[list[Record]]:
    """Return the records in at most `count` lanes; all records of a member share a lane and keep their order.

    `linked` names, for members whose payloads must keep an order among each other (a merge), the member whose lane they use.
    """
    if count <= 1:
        return [list(records)] if records else []
    found: list[list[Record]] = [[] for _ in range(count)]
    for record in records:
        found[hash(linked.get(record.member, record.member)) % count].append(record)
    return [lane for lane in found if lane]


def requests(lane: Iterable[Record], *, max_records: int, max_bytes: int) -> list[list[Record]]:
    """Return the lane cut, in order, into requests within both limits; a record too big for any is a request of its own."""
    cut: list[list[Record]] = []
    current: list[Record] = []
    size = empty = body_size([])
    for record in lane:
        grown = size + len(record.body) + (1 if current else 0)
        if current and (len(current) >= max_records or grown > max_bytes):
            cut.append(current)
            current, grown = [], empty + len(record.body)
        current.append(record)
        size = grown
    if current:
        cut.append(current)
    return cut


def lane_count(records: int, *, max_records: int, limit: int) -> int:
    """Return how many lanes `records` deserve: a few records travel together."""
    return max(1, min(limit, -(-records // max_records)))


def link(linked: dict[str, str], members: Sequence[str]) -> None:
    """Note in `linked` that the payloads of `members` keep an order among each other."""
    leaders = {linked.get(member, member) for member in members}
    leader = min(leaders)
    for member in (*members, *leaders):
        linked[member] = leader
    for member, of in list(linked.items()):
        if of in leaders:
            linked[member] = leader
