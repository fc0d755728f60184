"""The journal is trimmed to what anybody may still need, and not beyond."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import refusing
from relay_rig import Rig

from capstream.relay import dead_letters, journal
from capstream.relay.ledger import read_cursor
from capstream.relay.retention import Kept, Retention, expired_through
from capstream.relay.sources import Sources
from capstream.storage import trimming
from capstream.storage.sqlite import SqliteDocuments

DAY_S = 86_400
EVENT = "flow-event"


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def sweep(rig: Rig, tmp_path: Path) -> Iterator[Any]:
    calendar = SqliteDocuments(tmp_path / "calendar.db")

    def run(**kept: Any) -> list[int]:
        """Sweep once; return the offsets that are left."""
        limits = Kept(**{"journal_days": 3.5, "dedupe_days": 8, **kept})
        asyncio.run(Retention(rig.journal, rig.documents, calendar, clock=rig.clock, kept=lambda: limits).sweep(asyncio.Event()))
        return [offset for offset, _ in rig.journal.read(0, 1000)]

    yield run
    calendar.close()


def ten_days(rig: Rig, make_event: Any, *, drained: bool = True) -> None:
    """One event a day; the clock then stands at the end of the tenth day."""
    for number in range(1, 11):
        rig.receive(make_event(number))
        rig.clock.advance(DAY_S)
    if drained:
        rig.drain()


def test_what_was_dealt_with_goes_when_it_is_old(rig: Rig, sweep: Any, make_event: Any) -> None:
    ten_days(rig, make_event)
    assert expired_through(rig.journal, read_cursor(rig.documents), rig.clock() - 3.5 * DAY_S * 1000) == 7
    assert expired_through(rig.journal, 5, rig.clock() - 3.5 * DAY_S * 1000) == 5
    assert sweep() == [8, 9, 10]
    assert sweep() == [8, 9, 10]
    rig.clock.advance(30 * DAY_S)
    assert sweep() == []
    rig.receive(make_event(11))
    rig.drain()
    assert read_cursor(rig.documents) == 11


def test_what_is_not_settled_stays_whatever_its_age(rig: Rig, sweep: Any, make_event: Any) -> None:
    ten_days(rig, make_event, drained=False)
    rig.clock.advance(60 * DAY_S)
    assert sweep() == list(range(1, 11))
    assert sweep(journal_bytes=1) == list(range(1, 11))
    rig.drain()
    assert len(rig.edge.events()) == 10


def test_the_webhooks_of_dead_letters_stay_and_can_be_translated_again(rig: Rig, sweep: Any, make_event: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-4")))
    rig.receive(*(make_event(number) for number in range(1, 8)), b"not json", make_event(9))
    rig.drain()
    assert sorted(letter.journal_offset for letter in rig.letters()) == [4, 8]
    rig.clock.advance(60 * DAY_S)
    assert sweep() == [4, 8]
    rig.journal.append([journal.command("replay_letters", rig.clock(), filter={"sinceMs": 0})])
    rig.drain()
    assert [letter.journal_offset for letter in rig.letters()] == [8]
    assert len(rig.edge.events()) == 8
    rig.clock.advance(60 * DAY_S)
    assert sweep() == [8]


def test_what_a_replay_has_yet_to_read_stays(rig: Rig, sweep: Any, make_event: Any) -> None:
    for first in range(1, 501, 50):
        rig.receive(*(make_event(number, customer=number) for number in range(first, first + 50)))
    rig.drain()
    sent = len(rig.edge.accepted[EVENT])
    rig.journal.append([journal.command("replay_range", rig.clock(), range={"fromOffset": 1, "toOffset": 500})])
    rig.clock.advance(60 * DAY_S)

    class Stopped(BaseException):
        pass

    batches = []

    def stop(name: str) -> None:
        batches.append(name)
        if batches.count("settled") == 2:
            raise Stopped

    with pytest.raises(Stopped):
        rig.drain(checkpoint=stop)
    left = sweep()
    assert left[0] > 1
    assert left[-1] >= 500
    rig.drain()
    assert len({message["_id"] for message in rig.edge.accepted[EVENT][sent:]}) == 500
    assert sweep() == []


def test_a_bound_on_bytes_takes_the_oldest_first(rig: Rig, sweep: Any, make_event: Any) -> None:
    for number in range(1, 301):
        rig.receive(make_event(number, note="x" * 20_000))
    rig.drain()
    full = rig.journal.size_bytes()
    assert sweep(journal_bytes=full) == list(range(1, 301))
    left = sweep(journal_bytes=full // 3)
    assert left == [] or left == list(range(left[0], 301))
    assert rig.journal.size_bytes() - rig.journal.free_bytes() <= full // 3


def test_repeats_are_told_for_as_long_as_the_settings_say(rig: Rig, sweep: Any) -> None:
    rig.journal.append([journal.encode(journal.Entry("nw", rig.clock(), 0, b"", b"{}"))], keys=[b"a"])
    sweep()
    rig.clock.advance(DAY_S)
    rig.journal.append([journal.encode(journal.Entry("nw", rig.clock(), 0, b"", b"{}"))], keys=[b"b"])
    sweep()
    for days, known in ((6, {b"a": 1, b"b": 2}), (1, {b"b": 2}), (1, {})):
        rig.clock.advance(days * DAY_S)
        sweep()
        assert rig.journal.seen([b"a", b"b"]) == known


def test_a_parked_payload_survives_its_webhook(rig: Rig, sweep: Any, make_event: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-2"), status=500))
    rig.receive(make_event(1), make_event(2))
    rig.drain()
    rig.clock.advance(60 * DAY_S)
    assert sweep() == []
    rig.drain()
    assert len(rig.edge.events()) == 2


def test_what_was_trimmed_is_given_back_to_the_disk_but_for_a_reserve(
    rig: Rig, sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "_RESERVE_BYTES", 64 * 1024)
    for number in range(40):
        rig.receive(b"%d" % number * 20_000)
    rig.drain()
    for letter in rig.letters():  # they would keep their webhooks
        with rig.documents.transaction() as change:
            dead_letters.drop(change, [letter.id])
    before = rig.journal.size_bytes()
    rig.clock.advance(30 * DAY_S)
    assert sweep() == []
    assert rig.journal.size_bytes() < before / 4
    assert 32 * 1024 < rig.journal.free_bytes() <= 64 * 1024


def test_what_a_dataflow_that_is_behind_has_not_delivered_stays(rig: Rig, sweep: Any, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.drain()
    rig.edge.down[EVENT] = httpx.Response(503, json={})
    rig.receive(make_event(2), make_event(3))
    rig.work(lambda: read_cursor(rig.documents) == 3)
    rig.clock.advance(30 * DAY_S)
    assert sweep() == [2, 3]
    rig.edge.down.clear()
    rig.drain()
    assert sweep() == []
