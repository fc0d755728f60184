"""What a replay would change is shown before it is done; what is given up stays to be seen."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_edge import refusing
from relay_rig import Rig

from capstream.relay import dead_letters
from capstream.relay.jobs import Range
from capstream.relay.journal import command
from capstream.relay.preview import Preview
from capstream.relay.sources import Sources, masked
from capstream.storage.sqlite import SqliteDocuments

WITH_ORG = {"identity": {"customer_id_template": "{orgId}-{customerId}"}}


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def preview(rig: Rig) -> Preview:
    return Preview(rig.journal, rig.documents, rig.sources)


def change(sources: Sources, **members: Any) -> None:
    held = masked(sources.table["nw"])
    del held["key"]
    sources.put("nw", {**held, **members})


def test_the_same_translation_changes_nothing(rig: Rig, preview: Preview, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number) for number in range(1, 6)), b"not json")
    rig.drain()
    found = preview.compare(Range(), None, 10)
    assert (found["events"], found["changed"], found["samples"], found["complete"]) == (5, 0, [], True)


class Meanwhile:
    """A store in which something happens between the first read of a state and that of the parts of its log."""

    def __init__(self, store: SqliteDocuments, happens: Callable[[], None]) -> None:
        self._store = store
        self._happens: list[Callable[[], None]] = [happens]

    def get_many(self, collection: str, keys: Any) -> Any:
        if collection == "logs" and self._happens:
            self._happens.pop()()
        return self._store.get_many(collection, keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_log_whose_parts_go_while_they_are_read_is_read_again(rig: Rig, make_event: Any) -> None:
    for number in range(2, 7):
        rig.receive(make_event(number))
        rig.drain(log_bytes=1)

    def late() -> None:
        rig.receive(make_event(1))
        rig.drain(log_bytes=1)

    store: Any = Meanwhile(rig.documents, late)
    found = Preview(rig.journal, store, rig.sources).compare(Range(to_offset=1), None, 10)
    assert (found["events"], found["changed"], found["refusedNow"]) == (1, 0, 0)
    assert rig.documents.count("logs") == 1


def test_proposed_settings_are_compared_with_the_present_ones(rig: Rig, preview: Preview, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number) for number in range(1, 4)))
    rig.drain()
    found = preview.compare(Range(customer_id="902"), WITH_ORG, 10)
    assert (found["events"], found["changed"]) == (1, 1)
    (sample,) = found["samples"]
    assert (sample["offset"], sample["eventId"]) == (2, "event-2")
    identity = "/identityMap/capillaryUserId"
    event, profile = sorted(sample["differences"], key=lambda each: "pointsIssued" not in each["path"])
    assert event["path"] == f"/payloads/capillary:700123:pointsIssued:event-2{identity}"
    assert profile["path"] == f"/payloads/capillary:700123:member:902{identity}"
    assert [event[side][0]["id"] for side in ("old", "new")] == ["902", "700123-902"]


def test_the_settings_that_held_when_an_event_came_are_the_old_ones(
    rig: Rig, preview: Preview, make_event: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.sources, "_clock", clock)
    rig.receive(make_event(1))
    clock.advance(60)
    change(rig.sources, translation=WITH_ORG)
    clock.advance(60)
    rig.receive(make_event(2))
    rig.drain()
    found = preview.compare(Range(), None, 10)
    assert [(found["events"], found["changed"])] == [(2, 1)]
    assert [sample["offset"] for sample in found["samples"]] == [1]


def test_what_was_refused_shows_what_it_would_become(rig: Rig, preview: Preview, make_event: Any) -> None:
    group = make_event(1, entityInformation={"entityType": "FLEET", "entityId": 7})
    rig.receive(group)
    rig.drain()
    found = preview.compare(Range(), {"groups": {"enabled": True}}, 10)
    assert (found["refusedBefore"], found["refusedNow"], found["changed"]) == (1, 0, 1)
    (sample,) = found["samples"]
    assert [letter["class"] for letter in sample["deadLetters"]] == ["GROUP_ENTITY"]
    assert {difference["path"] for difference in sample["differences"]} == {"/refused", "/payloads"}


def test_a_preview_sends_and_changes_nothing(rig: Rig, preview: Preview, make_event: Any) -> None:
    rig.receive(*(make_event(number) for number in range(1, 6)))
    rig.drain()
    requests, version, end = len(rig.edge.requests), rig.documents.version(), rig.journal.end()
    preview.compare(Range(), WITH_ORG, 10)
    assert (len(rig.edge.requests), rig.documents.version(), rig.journal.end()) == (requests, version, end)


def test_a_long_range_is_looked_at_in_part_and_says_so(
    rig: Rig, preview: Preview, make_event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capstream.relay.preview._MOST_EVENTS", 3)
    rig.receive(*(make_event(number) for number in range(1, 6)))
    found = preview.compare(Range(), None, 10)
    assert (found["events"], found["complete"], found["lastOffset"]) == (3, False, 3)


def test_what_is_given_up_is_kept_with_who_and_why(rig: Rig, make_event: Any, clock: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-2")))
    rig.receive(make_event(1), make_event(2), b"not json")
    rig.drain()
    rig.journal.append([command("discard_letters", clock(), filter={"sinceMs": 0}, reason="told twice", by="client-1")])
    rig.drain()
    assert rig.letters() == []
    found = [each for _, each in dead_letters.find_discarded(rig.documents)]
    assert [(each.letter.journal_offset, each.letter.class_, each.reason, each.who) for each in found] == [
        (3, "INVALID_BODY", "told twice", "client-1"),
        (2, "PLATFORM_REJECTED", "told twice", "client-1"),
    ]
    assert dead_letters.between(rig.documents, 1, 9, discarded=True).keys() == {2, 3}
    assert rig.status()["balanced"]
