"""What the graph writer remembers changes its cost, never the graphs."""

import random
from pathlib import Path

import pytest

from capstream.aep.identity_service.graphs import GRAPHS, IDENTITIES, Graphs, GraphWriter
from capstream.aep.identity_service.rules import Identity, Sighting
from capstream.storage.sqlite import SqliteDocuments

SANDBOX = "s1"


def _identity(name: str) -> Identity:
    return Identity(xid=name, nsid=6, value=name, rank=1, links=True)


def _seen(*names: str) -> Sighting:
    return Sighting(tuple(_identity(name) for name in names), 1_000, "d1", "b1")


def _write(writer: GraphWriter, state: SqliteDocuments, sighting: Sighting) -> None:
    with state.transaction() as change:
        writer.write(change, SANDBOX, [sighting])
    writer.settle()


def _partition(state: SqliteDocuments) -> dict[str, frozenset[str]]:
    graphs = Graphs(state)
    names = [key.partition("/")[2] for key, _ in state.scan(IDENTITIES)]
    return {name: frozenset(member.xid for member in graphs.members(SANDBOX, name)) for name in names}


@pytest.mark.parametrize("seed", range(3))
def test_a_writer_that_remembers_gives_the_graphs_of_one_that_does_not(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    remembering, state, plain = GraphWriter(), SqliteDocuments(tmp_path / "a.db"), SqliteDocuments(tmp_path / "b.db")
    for _ in range(400):
        member = chance.randrange(70)
        shared = "junk" if chance.random() < 0.7 else f"mail-{member}"
        sighting = _seen(f"member-{member:02}", shared)
        _write(remembering, state, sighting)
        _write(GraphWriter(), plain, sighting)
    assert _partition(state) == _partition(plain)
    assert min(map(len, _partition(state).values())) == 1, "the limit of a graph was never met"


def test_who_lost_no_links_is_not_written_again(tmp_path: Path) -> None:
    writer, state = GraphWriter(), SqliteDocuments(tmp_path / "a.db")
    _write(writer, state, _seen("member-a", "mail-a"))
    for number in range(60):
        _write(writer, state, _seen(f"member-{number:02}", "junk"))
    assert len(_partition(state)["junk"]) == 50
    with state.transaction() as change:  # what the writer knows it does not look up: nothing tells it that these are gone
        for collection in (IDENTITIES, GRAPHS):
            change.delete(collection, [key for key, _ in state.scan(collection)])
    _write(writer, state, _seen("member-a", "mail-a"))
    assert state.count(IDENTITIES) == 0
    _write(writer, state, _seen("member-00", "junk"))
    assert state.count(IDENTITIES) == 2
