"""Long logs of members kept in parts beside their states: whatever comes, and in whatever order, nothing shows of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from relay_rig import Rig, states

from capstream.capillary.ledger import ledger_of
from capstream.capillary.records import MemberState
from capstream.capillary.state import dump, load
from capstream.relay.ledger import erase_members, read_states
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


def spent(number: int, at_s: int) -> bytes:
    """Return an event that moves a counter and states nothing: it counts once or it shows."""
    data = {"pointsExpired": 1, "loyaltyProgramId": 4101, "customerIdentifiers": {"customerId": 900000101}}
    body = {
        "eventName": "pointsExpired",
        "eventId": f"spent-{number}",
        "orgId": 700123,
        "createdAt": AT + at_s * 1000,
        "data": data,
    }
    return json.dumps(body).encode()


def registered(at_s: int) -> bytes:
    """Return the event from which counters are known."""
    example = json.loads((EXAMPLES / "customerAdded.json").read_bytes())
    at = AT + at_s * 1000
    example["data"] |= {"customerIdentifiers": {"customerId": 900000101}, "enteredAt": at}
    return json.dumps(example | {"eventId": "registered", "createdAt": at}).encode()


def in_slices(rigs: Callable[[], Rig], slices: list[list[bytes]], pause_s: float, log_bytes: int) -> tuple[Rig, Rig, int]:
    """Return a relay that keeps logs whole and one that parts them, and how many parts of the log left the latter one by one."""
    whole, parted, left = rigs(), rigs(), 0
    for each in slices:
        whole.receive(*each)
        parted.receive(*each)
        whole.drain(log_bytes=NEVER)
        parted.drain(log_bytes=log_bytes)
        whole.clock.advance(pause_s)  # theirs together
        left = max(left, *(load(body).opened for _, body in read_states(parted.documents, after="", limit=10)))
    return whole, parted, left


def states_of(rig: Rig) -> dict[str, MemberState]:
    """Return each member's state with its whole log."""
    return {name: state for name, (state, _) in states(rig).items()}


def test_a_full_log_loses_its_oldest_parts_and_counts_on(rigs: Callable[[], Rig]) -> None:
    """Late ones are among them: known though they left the log, before the checkpoint and new, within the log."""
    numbers = list(range(1, 1301))
    slices = [[spent(number, 10 * number) for number in numbers[first : first + 50]] for first in range(0, 1300, 50)]
    slices.insert(0, [registered(0)])
    slices[20] += [spent(7, 70), spent(5001, 75), spent(5001, 75), spent(980, 9800), spent(5002, 9795)]
    slices[26] += [spent(8, 80), spent(5003, 85), spent(5004, 12_005)]
    whole, parted, left = in_slices(rigs, slices, 1.0, 700)
    assert left > 5
    assert states_of(parted) == states_of(whole)
    [state] = states_of(parted).values()
    assert ledger_of(state.book).accounts["4101"].expired == 1_304_000
    assert parted.edge.profiles() == whole.edge.profiles()
    assert parted.documents.count("logs") == sum(parts for _, parts in states(parted).values())


def test_facts_leave_a_parted_log_when_they_are_old(rigs: Callable[[], Rig]) -> None:
    slices = [[spent(10 * day + each, 86_400 * day + each) for each in range(10)] for day in range(70)]
    slices.insert(0, [registered(-1)])
    whole, parted, left = in_slices(rigs, slices, 86_400.0, 700)
    assert left > 5
    assert states_of(parted) == states_of(whole)
    [state] = states_of(parted).values()
    assert ledger_of(state.book).accounts["4101"].expired == 700_000
    assert state.log_count < 400
    assert parted.documents.count("logs") == sum(parts for _, parts in states(parted).values())


def test_parts_that_were_never_counted_come_back_together(rigs: Callable[[], Rig]) -> None:
    """Those of an earlier version are: the state says how many there are, not what is in them."""
    slices = [[registered(0)], *([spent(number, number) for number in range(first, first + 50)] for first in range(1, 500, 50))]
    whole, parted, _ = in_slices(rigs, slices, 1.0, 700)
    with parted.documents.transaction() as transaction:
        for name, body in read_states(parted.documents, after="", limit=10):
            state = load(body)
            state.counts = []
            transaction.put("states", [(name, dump(state))])
    more = [[spent(number, number) for number in range(first, first + 50)] for first in range(501, 801, 50)]
    for each in more:
        whole.receive(*each)
        parted.receive(*each)
        whole.drain(log_bytes=NEVER)
        parted.drain(log_bytes=700)
    assert states_of(parted) == states_of(whole)
    assert parted.documents.count("logs") == sum(parts for _, parts in states(parted).values())


def test_a_crash_while_a_full_log_loses_its_oldest_parts_changes_nothing(rigs: Callable[[], Rig]) -> None:
    class Crash(BaseException):
        """The process is gone."""

    def crash(name: str) -> None:
        if name == "posted":
            raise Crash

    rig, calm = rigs(), rigs()
    slices = [[spent(number, number) for number in range(first, first + 60)] for first in range(1, 900, 60)]
    for each in ([registered(0)], *slices):
        rig.receive(*each)
        calm.receive(*each)
        with pytest.raises(Crash):
            rig.drain(log_bytes=700, portion=20, portions=2, checkpoint=crash)
        rig.drain(log_bytes=700, portion=20, portions=2)
        calm.drain(log_bytes=NEVER)
    assert states_of(rig) == states_of(calm)
    assert rig.documents.count("logs") == sum(parts for _, parts in states(rig).values())
