"""Laws of identity graphs: arrival order does not matter, the limit holds, links join what they name."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.identity_service.rules import GRAPH_LIMIT, Graph, Identity, Sighting, grow

PEOPLE = st.integers(0, 12).map(lambda n: Identity(f"x{n:02}", 6, str(n), True, 2))


@st.composite
def sightings(draw: st.DrawFn) -> list[Sighting]:
    """Return records of two or three identities each, at different times."""
    groups = draw(st.lists(st.lists(PEOPLE, min_size=2, max_size=3, unique=True), max_size=12))
    return [Sighting(tuple(group), 1000 + i, "d", f"b{i}") for i, group in enumerate(groups)]


def stitched(seen: list[Sighting], limit: int = GRAPH_LIMIT) -> list[Graph]:
    """Return the graphs after these records, applied one after another."""
    graphs: list[Graph] = []
    for sighting in seen:
        names = {identity.xid for identity in sighting.identities}
        touched = [graph for graph in graphs if names & {member.xid for member in graph.members}]
        graphs = [graph for graph in graphs if graph not in touched] + grow(touched, sighting, limit=limit)
    return graphs


def shape(graphs: list[Graph]) -> set[Any]:
    """Return what may not depend on the order of arrival: members, links and their times."""
    return {
        (
            frozenset((member.xid, member.updated_ms) for member in graph.members),
            frozenset((link.a, link.b, link.first_ms, link.last_ms) for link in graph.links),
        )
        for graph in graphs
    }


@given(sightings(), st.randoms())
def test_the_order_of_arrival_does_not_matter(seen: list[Sighting], random: Any) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)
    assert shape(stitched(shuffled)) == shape(stitched(seen))


@given(sightings())
def test_a_repeated_record_changes_nothing(seen: list[Sighting]) -> None:
    assert shape(stitched(seen + seen)) == shape(stitched(seen))


@given(sightings())
def test_identities_of_one_record_are_in_one_graph(seen: list[Sighting]) -> None:
    graphs = [{member.xid for member in graph.members} for graph in stitched(seen)]
    for sighting in seen:
        assert any({identity.xid for identity in sighting.identities} <= graph for graph in graphs)


@given(sightings(), st.integers(3, 6))
def test_no_graph_outgrows_the_limit_and_the_newest_record_stays_whole(seen: list[Sighting], limit: int) -> None:
    graphs = [{member.xid for member in graph.members} for graph in stitched(seen, limit)]
    assert all(len(graph) <= limit for graph in graphs)
    if seen:
        assert any({identity.xid for identity in seen[-1].identities} <= graph for graph in graphs)
    assert sum(len(graph) for graph in graphs) == len(set().union(*graphs) if graphs else set())
