"""Long logs of members kept in parts beside their states: whatever comes, and in whatever order, nothing shows of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from relay_rig import Rig, states

from capstream.relay.ledger import erase_members
from capstream.relay.sources import Sources

EXAMPLES = Path(__file__).parents[3] / "cases" / "capillary-events"
AT = 1_731_900_000_000
NEVER, ALWAYS = 10**9, 1
MERGE = "loyaltyCustomerMerge"


@pytest.fixture
def rigs(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Callable[[], Rig]]:
    """Make relays of the same source, each with stores of its own."""
    made: list[Rig] = []

    def make() -> Rig:
        folder = tmp_path / f"relay-{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, sources, clock))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def stream(seed: int, most_late_s: int) -> list[bytes]:
    """Return examples of every kind, each several times under new ids, late by some seconds, some twice."""
    dice = Random(seed)  # noqa: S311 - the same stream every time
    found: list[tuple[int, bytes]] = []
    for path in sorted(EXAMPLES.glob("*.json")):
        example = json.loads(path.read_bytes())
        if not isinstance(example, dict) or "eventName" not in example:
            continue
        for number in range(1 if example["eventName"] == MERGE else 3):
            at = dice.randrange(100)
            body = example | {"eventId": f"{path.stem}-{number}", "createdAt": AT + at * 1000}
            found.append((at + dice.randint(0, most_late_s), json.dumps(body).encode()))
    found += [(at + 1, body) for at, body in dice.sample(found, 10)]
    return [body for _, body in sorted(found, key=lambda item: item[0])]


@pytest.mark.parametrize("most_late_s", [0, 5, 100])
@pytest.mark.parametrize("seed", range(3))
def test_sealing_shows_nowhere(rigs: Callable[[], Rig], seed: int, most_late_s: int) -> None:
    whole, parted, events = rigs(), rigs(), stream(seed, most_late_s)
    portion = 1 + 4 * seed
    for first in range(0, len(events), 25):  # each slice by a courier that has just started
        whole.receive(*events[first : first + 25])
        parted.receive(*events[first : first + 25])
        whole.drain(portion=portion, portions=2, log_bytes=NEVER)
        parted.drain(portion=portion, portions=2, log_bytes=ALWAYS)
    assert parted.edge.events() == whole.edge.events()
    assert parted.edge.profiles() == whole.edge.profiles()
    assert {name: state for name, (state, _) in states(parted).items()} == {n: state for n, (state, _) in states(whole).items()}
    assert any(parts for _, parts in states(parted).values())
    assert not any(parts for _, parts in states(whole).values())


def test_no_part_is_left_of_a_log_that_was_joined(rigs: Callable[[], Rig], make_event: Any) -> None:
    rig = rigs()
    for number in range(1, 6):
        rig.receive(make_event(number))
        rig.drain(log_bytes=ALWAYS)
    assert [parts for _, parts in states(rig).values()] == [5]
    rig.receive(make_event(2))  # again: it has to be told from the others
    rig.drain(log_bytes=ALWAYS)
    assert [parts for _, parts in states(rig).values()] == [1]
    assert rig.documents.count("logs") == 1


def test_a_crash_before_the_batch_is_settled_leaves_the_log_as_it_was(rigs: Callable[[], Rig], make_event: Any) -> None:
    class Crash(BaseException):
        """The process is gone."""

    def crash(name: str) -> None:
        if name == "posted":
            raise Crash

    rig, calm = rigs(), rigs()
    order = [3, 1, 2, 5, 4, 4, 6]
    for number in order:
        rig.receive(make_event(number))
        calm.receive(make_event(number))
        with pytest.raises(Crash):
            rig.drain(log_bytes=ALWAYS, checkpoint=crash)
        rig.drain(log_bytes=ALWAYS)
        calm.drain(log_bytes=NEVER)
    assert {name: state for name, (state, _) in states(rig).items()} == {name: state for name, (state, _) in states(calm).items()}


def test_the_parts_go_with_a_member_that_is_erased(rigs: Callable[[], Rig], make_event: Any) -> None:
    rig = rigs()
    for number in range(1, 4):
        rig.receive(make_event(number), make_event(number + 10, customer=900000102))
        rig.drain(log_bytes=ALWAYS)
    with rig.documents.transaction() as transaction:
        erase_members(transaction, {"700123/900000101"}, parked=[], held=[], job="")
    assert list(states(rig)) == ["700123/900000102"]
    assert rig.documents.count("logs") == 3
