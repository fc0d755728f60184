"""Dead letters and ranges of the journal are sent again, once mended."""

import json
from typing import Any

from fake_edge import refusing
from relay_rig import EVENT, PROFILE, Rig, points

from capstream.relay.journal import command


def replay(rig: Rig, name: str, **details: Any) -> None:
    rig.journal.append([command(name, rig.clock(), **details)])
    rig.drain()


def test_a_dead_payload_is_replayed_once_mended(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-1")))
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"ids": [letter.id]})
    assert not rig.letters()
    assert len(rig.edge.events()) == 1
    status = rig.status()["sources"]["nw"]
    assert (status["flows"]["event"]["delivered"], status["flows"]["event"]["rejected"]) == (1, 0)


def test_a_replay_that_fails_again_stays_one_letter_and_counts_its_attempts(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    bad = refusing(lambda message: message["_id"].endswith("event-1"))
    rig.edge.script(bad, bad)
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"class": "PLATFORM_REJECTED"})
    (again,) = rig.letters()
    assert (again.id, again.attempts) == (letter.id, 2)
    assert rig.status()["sources"]["nw"]["flows"]["event"]["rejected"] == 1


def test_a_dead_profile_is_replayed_with_the_state_of_now(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.edge.script(refusing(lambda message: "member" in message["_id"]))
    rig.drain()
    (letter,) = rig.letters()
    rig.receive(make_event(2))
    rig.drain()
    replay(rig, "replay_letters", filter={"ids": [letter.id]})
    assert [message["loyalty"]["points"] for message in rig.edge.accepted[PROFILE]] == [20, 20]
    assert not rig.letters()


def test_a_dead_webhook_is_replayed_with_an_edited_body(rig: Rig, make_event: Any) -> None:
    rig.receive(b'{"broken"')
    rig.drain()
    (letter,) = rig.letters()
    replay(rig, "replay_letters", filter={"ids": [letter.id]}, payload=json.loads(make_event(5)))
    assert not rig.letters()
    assert points(rig.edge) == {"900000101": 50}
    status = rig.status()
    assert status["balanced"]
    assert (status["sources"]["nw"]["deadLettered"], status["sources"]["nw"]["processed"]) == (0, 1)


def test_discarded_letters_are_gone(rig: Rig, make_event: Any) -> None:
    rig.receive(*[b"x"] * 250)
    rig.drain()
    replay(rig, "discard_letters", filter={"class": "INVALID_BODY"})
    assert not rig.letters()
    assert rig.status()["sources"]["nw"]["deadLettered"] == 250
    assert rig.status()["balanced"]


def test_a_range_of_the_journal_is_replayed_with_the_same_ids(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 2) for number in range(1, 501)))
    rig.drain()
    before = rig.edge.events()
    replay(rig, "replay_range", range={"fromOffset": 11, "toOffset": 490, "customerId": "901"})
    assert len(rig.edge.accepted[EVENT]) == 500 + 240
    assert rig.edge.events() == before
    assert points(rig.edge) == {"900": 5000, "901": 4990}
    assert rig.status()["sources"]["nw"]["processed"] == 500
