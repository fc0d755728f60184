"""Records refused for now wait by themselves, and later events of their member behind them."""

from typing import Any

import pytest
from fake_edge import FakeEdge, refusing
from relay_rig import EVENT, PROFILE, Rig, points

from capstream.relay import journal
from capstream.relay.dead_letters import find_discarded
from capstream.relay.ledger import read_cursor, read_jobs, read_parked, read_waiting
from capstream.relay.parking import Parking


def order(edge: FakeEdge) -> list[int]:
    return [int(message["_id"].rpartition("-")[2]) for message in edge.accepted.get(EVENT, [])]


def test_records_refused_for_now_wait_alone_and_come_later(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 6)))
    busy = refusing(lambda message: message["_id"].endswith("event-2"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.drain()
    assert read_cursor(rig.documents) == 5
    assert read_waiting(rig.documents)["parked"] == 1
    rig.clock.advance(1)
    rig.drain()
    rig.clock.advance(1)
    rig.drain()
    assert read_waiting(rig.documents)["parked"] == 1, "the second wait is longer"
    rig.clock.advance(1)
    rig.drain()
    assert read_waiting(rig.documents)["parked"] == 0
    assert len(rig.edge.accepted[EVENT]) == 5
    assert rig.status()["balanced"]


def test_later_events_of_a_member_do_not_overtake_a_parked_one(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(*[busy] * 6)
    rig.receive(make_event(1, customer=1))
    rig.drain()
    for number in range(2, 8):
        rig.receive(make_event(number, customer=1), make_event(number + 100, customer=2))
        rig.drain()
    assert order(rig.edge) == [102, 103, 104, 105, 106, 107]
    assert read_waiting(rig.documents)["parked"] == 7
    assert points(rig.edge)["1"] == 70, "snapshots do not wait for events"
    for _ in range(6):
        rig.clock.advance(600)
        rig.drain()
    assert order(rig.edge)[6:] == [1, 2, 3, 4, 5, 6, 7]
    assert read_waiting(rig.documents)["parked"] == 0
    assert not rig.letters()
    assert rig.status()["balanced"]


@pytest.mark.parametrize("portions", [1, 16])
def test_later_portions_do_not_overtake_a_parked_event(rig: Rig, make_event: Any, portions: int) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.receive(*(make_event(number, customer=1) for number in range(1, 31)))
    rig.drain(portion=1, portions=portions)
    for _ in range(2):
        rig.clock.advance(600)
        rig.drain(portion=1, portions=portions)
    assert order(rig.edge) == list(range(1, 31))


def test_later_requests_of_a_portion_do_not_overtake_a_parked_event(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(busy, busy)
    rig.receive(*(make_event(number, customer=1) for number in range(1, 1201)))
    rig.drain(portion=1200)
    first = next(len(messages) for flow, messages in rig.edge.requests if flow == EVENT)
    for _ in range(2):
        rig.clock.advance(600)
        rig.drain(portion=1200)
    sent = order(rig.edge)
    assert sent[: first - 1] == list(range(2, first + 1)), "what went in one request with it was taken at once"
    assert sent[first - 1 :] == [1, *range(first + 1, 1201)]


def test_what_waits_behind_a_refused_event_goes_when_that_is_a_dead_letter(rig: Rig, make_event: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy"))
    rig.receive(make_event(1, customer=1))
    rig.drain()
    rig.receive(make_event(2, customer=1))
    rig.drain()
    rig.edge.script(*[refusing(lambda message: message["_id"].endswith("event-1"), 400, "bad")] * 4)
    rig.clock.advance(600)
    rig.drain()
    assert order(rig.edge) == [2]
    assert [letter.event_id for letter in rig.letters()] == ["event-1"]
    assert read_waiting(rig.documents)["parked"] == 0


def test_the_outbox_takes_over_while_too_many_are_parked(rig: Rig, make_event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parking.__init__, "__defaults__", (5,))
    busy = refusing(lambda message: "event" in message["_id"], 503, "busy")
    rig.edge.script(*[busy] * 4)
    for number in range(1, 21):
        rig.receive(make_event(number, customer=number))
    rig.drain(portion=5, portions=1)
    assert read_cursor(rig.documents) == 20
    assert read_waiting(rig.documents)["outbox"] == 0
    assert sorted(order(rig.edge)) == list(range(1, 21))


def test_a_newer_snapshot_takes_the_place_of_a_parked_one(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: "member" in message["_id"], 503))
    rig.drain()
    rig.receive(make_event(2))
    rig.drain()
    rig.clock.advance(3600)
    rig.drain()
    assert [message["loyalty"]["points"] for message in rig.edge.accepted[PROFILE]] == [20]
    assert read_waiting(rig.documents)["parked"] == 0


def give_up(rig: Rig, **wanted: Any) -> None:
    details = {"filter": wanted, "reason": "nobody needs it", "by": "client-1"}
    rig.journal.append([journal.command("discard_parked", rig.clock(), **details)])
    rig.drain()


def test_a_parked_event_that_is_given_up_lets_the_later_ones_go(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(*[busy] * 20)
    rig.receive(make_event(1, customer=1), make_event(9, customer=2))
    rig.drain()
    rig.receive(*(make_event(number, customer=1) for number in range(2, 5)))
    rig.drain()
    give_up(rig, sourceKey="nw", customerId="2")
    give_up(rig, flow="profile")
    assert read_waiting(rig.documents)["parked"] == 4
    give_up(rig, sourceKey="nw", customerId="1")
    rig.drain()
    assert order(rig.edge) == [9, 2, 3, 4]
    assert read_waiting(rig.documents)["parked"] == 0
    assert not rig.letters()
    ((_, given_up),) = find_discarded(rig.documents)
    assert (given_up.letter.class_, given_up.letter.payload_id) == ("GIVEN_UP", "capillary:700123:pointsIssued:event-1")
    assert (given_up.who, given_up.reason) == ("client-1", "nobody needs it")
    assert "503" in given_up.letter.reason
    status = rig.status()
    assert status["sources"]["nw"]["flows"]["event"]["discarded"] == 1
    assert status["balanced"]
    rig.clock.advance(86_400)
    rig.drain()
    assert order(rig.edge) == [9, 2, 3, 4]
    assert not read_jobs(rig.documents)


def test_one_that_waits_behind_is_given_up_by_its_id(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(busy)
    rig.receive(make_event(1, customer=1))
    rig.drain()
    rig.receive(make_event(2, customer=1), make_event(3, customer=1))
    rig.drain()
    (behind,) = [key for key, _ in read_parked(rig.documents) if key.endswith("event-2")]
    give_up(rig, ids=[behind])
    rig.clock.advance(600)
    rig.drain()
    assert order(rig.edge) == [1, 3]


def test_what_was_given_up_stays_so_after_a_crash(rig: Rig, make_event: Any) -> None:
    busy = refusing(lambda message: message["_id"].endswith("event-1"), 503, "busy")
    rig.edge.script(*[busy] * 20)
    rig.receive(make_event(1, customer=1), make_event(2, customer=1))
    rig.drain()

    def crash(name: str) -> None:
        raise RuntimeError(name)

    details = {"filter": {"sourceKey": "nw"}, "reason": "", "by": ""}
    rig.journal.append([journal.command("discard_parked", rig.clock(), **details)])
    with pytest.raises(RuntimeError):
        rig.drain(checkpoint=crash)
    rig.drain()
    rig.drain()
    assert order(rig.edge) == [2]
    assert len(find_discarded(rig.documents)) == 1
