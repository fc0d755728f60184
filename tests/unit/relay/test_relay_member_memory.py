"""Member states that leave memory while others work: what is being translated stays, whoever settles meanwhile."""

from typing import Any

import httpx
from relay_rig import PROFILE, Rig, states

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.member_log import LOG_LIMIT
from capstream.capillary.members import members_of
from capstream.capillary.normalise import normalise
from capstream.relay.journal import command
from capstream.relay.ledger import Ledger, read_cursor, read_waiting
from capstream.relay.members import Members
from capstream.relay.settlement import Settlement

BUSY = httpx.Response(503, json={})
MEMBERS = 640


def test_a_dataflow_that_catches_up_takes_no_state_from_the_translation(rig: Rig, make_event: Any) -> None:
    """Its settlements let go of states between two events of a slice; with no room for any, of all that may go."""
    rig.edge.down[PROFILE] = BUSY
    rig.receive(*(make_event(member, customer=member) for member in range(1, MEMBERS + 1)))
    rig.work(lambda: read_cursor(rig.documents) == MEMBERS, portion=20, portions=1)
    assert read_waiting(rig.documents)["outbox"] == MEMBERS
    rig.edge.down.clear()
    later = range(MEMBERS + 1, 4 * MEMBERS + 1)
    rig.receive(*(make_event(number, customer=(number - 1) % MEMBERS + 1) for number in later))
    rig.drain(member_bytes=0, portions=1)
    versions = {body["capillary"]["customerId"]: body["capillary"]["stateVersion"] for body in rig.edge.profiles().values()}
    assert versions == {str(member): 4 for member in range(1, MEMBERS + 1)}


def test_a_replay_beside_a_dataflow_that_catches_up_keeps_every_log(rig: Rig, make_event: Any) -> None:
    """All events of a replay are late and want the whole logs, which are written again with their batch."""
    few = range(1, 101)
    rounds = [[make_event(member + 1000 * turn, customer=member) for member in few] for turn in range(4)]
    for bodies in rounds[:3]:
        rig.receive(*bodies)
        rig.drain(log_bytes=1, member_bytes=0)
    before = {name: len(state.log) for name, (state, _) in states(rig).items()}
    rig.edge.down[PROFILE] = BUSY
    rig.receive(*rounds[3])
    rig.work(lambda: read_cursor(rig.documents) == 400, portion=10, portions=1, log_bytes=1, member_bytes=0)
    rig.edge.down.clear()
    rig.journal.append([command("replay_range", rig.clock(), range={})])
    rig.drain(log_bytes=1, member_bytes=0)
    found = states(rig)
    assert {state.log_count for state, _ in found.values()} == {4}
    assert all(len(state.log) > before[name] for name, (state, _) in found.items())
    assert rig.documents.count("logs") == sum(parts for _, parts in found.values())


def test_logs_that_were_brought_back_count_as_memory_until_they_are_settled(rig: Rig, make_event: Any) -> None:
    """A backlog of members with long histories wants many logs at once; the batch has to end before they fill the memory."""
    first = make_event(1, customer=1)
    for turn in range(1, 400, 40):
        rig.receive(*(make_event(number, customer=1) for number in range(turn, turn + 40)))
        rig.drain(log_bytes=1)
    members = Members(Ledger(rig.documents, rig.clock), 20_000, 1)
    event = normalise(first, rig.clock())
    assert isinstance(event, NormalisedEvent)
    keys = members_of(event)
    members.hold(keys)
    assert not members.is_full()
    assert members.recall(event, keys, {}) == keys
    assert members.is_full()
    settlement = Settlement()
    members.write(settlement, keys)
    assert sum(map(len, settlement.log_parts.values())) > 10_000
    assert members.is_full()
    members.settled(settlement)
    assert not members.is_full()


def test_a_batch_ends_when_much_has_left_full_logs(rig: Rig, make_event: Any) -> None:
    """What leaves them is settled with the batch: rewritten parts, names, and which parts are gone."""
    for turn in range(1, LOG_LIMIT, 64):
        rig.receive(*(make_event(number, customer=1) for number in range(turn, turn + 64)))
        rig.drain(log_bytes=1)
    members = Members(Ledger(rig.documents, rig.clock), 32_000, 1)
    event = normalise(make_event(LOG_LIMIT + 1, customer=1), rig.clock())
    assert isinstance(event, NormalisedEvent)
    keys = members_of(event)
    members.hold(keys)
    assert members.recall(event, keys, {}) == keys
    assert members.is_full()
    settlement = Settlement()
    members.write(settlement, keys)
    assert settlement.joined_parts
    assert not members.is_full()
