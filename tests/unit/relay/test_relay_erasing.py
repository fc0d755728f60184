"""A deleted member is taken out by a running relay, by itself, whatever dies in between; everybody else's data stays."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from erasing_rig import Erasing
from fake_edge import refusing
from relay_rig import EVENT, PROFILE, Rig

from capstream.layout import Layout
from capstream.relay import journal
from capstream.relay.audit import Audit
from capstream.relay.book_erasure import BookErasure
from capstream.relay.event_index import EventBrowser, EventQuery
from capstream.relay.ledger import (
    is_to_be_cleaned,
    note_clean,
    read_cursor,
    read_lanes,
    read_outbox,
    read_parked,
    read_states,
    read_waiting,
)
from capstream.relay.outbox import unpack
from capstream.relay.privacy import counted, read_met, read_open
from capstream.relay.sources import Sources
from capstream.relay.sweep import read_sweep
from capstream.storage import trimming
from capstream.storage.sqlite import SqliteDocuments

ORG, GONE, OTHER = "700123", 900000901, 900000902
BOTH = ((0, GONE), (10, OTHER))
MAIL = b"member-900000901@example.com"
DAY_S = 86_400
BUSY = httpx.Response(503)


class Crash(BaseException):
    """The process is killed here."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


@pytest.fixture
def rig(layout: Layout, sources: Sources, clock: Any) -> Iterator[Rig]:
    layout.journal.parent.mkdir(parents=True)
    found = Rig(layout.journal.parent, sources, clock)
    yield found
    found.close()


@pytest.fixture
def erasing(rig: Rig, layout: Layout) -> Iterator[Erasing]:
    found = Erasing(rig, layout)
    yield found
    found.close()


def deleted(make_event: Any, number: int = 9, customer: int = GONE) -> bytes:
    found: bytes = make_event(number, customer=customer, name="customerUpdated", customerStatus={"currentLabel": "Deleted"})
    return found


def two_members(rig: Rig, make_event: Any) -> None:
    """Events of two members, one of whom is deleted; of each an event is a dead letter, and one is parked."""
    bad = refusing(lambda message: message["_id"].endswith(("event-2", "event-12")))
    rig.edge.script(bad)
    rig.receive(
        *(make_event(base + number, customer=customer) for base, customer in ((0, GONE), (10, OTHER)) for number in (1, 2))
    )
    rig.drain()
    rig.edge.script(refusing(lambda message: message["_id"].endswith(("event-3", "event-13")), status=503))
    rig.receive(make_event(3, customer=GONE), make_event(13, customer=OTHER), deleted(make_event), b'cut off: "900000901"')
    rig.work(lambda: read_cursor(rig.documents) == 8)


async def _cleaned(documents: SqliteDocuments) -> None:
    """Do what the courier's process does beside its work."""
    stop, wanted = asyncio.Event(), asyncio.Event()
    wanted.set()

    def done() -> None:
        note_clean(documents)
        stop.set()

    await trimming.leave_nothing(documents, stop, wanted, done)


def nothing_is_left(rig: Rig, erasing: Erasing) -> None:
    assert is_to_be_cleaned(rig.documents)
    asyncio.run(_cleaned(rig.documents))
    assert not is_to_be_cleaned(rig.documents)
    assert MAIL not in erasing.on_disk()
    assert {key for key, _ in read_states(rig.documents, after="", limit=10)} == {f"{ORG}/{OTHER}"}
    assert {parked.record.member for _, parked in read_parked(rig.documents)} <= {str(OTHER)}
    browser = EventBrowser(rig.journal, rig.documents, erasing.index)
    assert browser.find(EventQuery(customer_id=str(GONE)))["events"] == []
    assert len(browser.find(EventQuery(customer_id=str(OTHER)))["events"]) == 3
    assert read_open(rig.documents) == []
    (met,) = read_met(rig.documents)
    assert (met["customerId"], "identities" in met) == (str(GONE), False)
    assert read_sweep(erasing.office) is None
    assert rig.status()["balanced"]


def test_a_deleted_member_goes_by_itself_when_the_time_is_over(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    erasing.run()
    assert [each["state"] for each in _listed(erasing)] == ["waiting"]
    rig.clock.advance(7 * DAY_S - 60)
    erasing.run()
    assert MAIL in erasing.on_disk()
    rig.clock.advance(120)
    assert [each["state"] for each in _listed(erasing)] == ["due"]
    found = counted(rig.documents, now_ms=rig.clock(), grace_days=7)
    assert (found["open"], found["due"], found["erased"]) == (1, 1, 0)
    assert 0 < found["overdueS"] < 120
    erasing.run()
    nothing_is_left(rig, erasing)
    (act,) = Audit(erasing.office, rig.clock).entries()
    assert (act["act"], act["who"]) == ("erase_member", "capstream")
    assert act["details"] | {"parked": 0} == {
        "journal": 5, "index_rows": 4, "states": 1, "dead_letters": 2, "parked": 0,
        "reason": "its time after the deletion is over",
    }  # fmt: skip
    assert str(GONE) not in str(act)
    assert erasing.desk().found(ORG, str(GONE))["state"] == "erased"
    assert len(rig.letters()) == 1


def _listed(erasing: Erasing) -> list[Any]:
    return [erasing.desk()._shown(each) for each in read_open(erasing.rig.documents)]


def test_what_dies_on_the_way_is_done_at_the_next_start(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    rig.clock.advance(8 * DAY_S)
    left = {"about_to_erase": 2, "erased": 1, "settled": 2}

    def die(name: str) -> None:
        if left.get(name):
            left[name] -= 1
            raise Crash(name)

    def courier() -> None:
        with contextlib.suppress(Crash):
            rig.drain(checkpoint=die)

    erasing.run(courier)
    assert set(left.values()) == {0}
    rig.drain()
    nothing_is_left(rig, erasing)


def test_the_gateway_may_die_between_its_order_and_the_note_of_it(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    erasing.ask(ORG, GONE)
    while (sweep := read_sweep(erasing.office)) is None or sweep.step != "redact":
        erasing.clerk()
        erasing.gateway()
    erasing.eraser().order(sweep)
    rig.drain()
    erasing.run()
    nothing_is_left(rig, erasing)
    (act,) = Audit(erasing.office, rig.clock).entries()
    assert (act["details"]["states"], act["details"]["journal"]) == (1, 5), "what went by the first order counts"


def test_what_waits_for_delivery_is_waited_for(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    rig.receive(make_event(1, customer=GONE))
    erasing.ask(ORG, GONE)
    erasing.run(lambda: None)
    sweep = read_sweep(erasing.office)
    assert sweep
    assert sweep.step == "redact"
    assert MAIL in erasing.on_disk()
    assert erasing.desk().found(ORG, str(GONE))["state"] == "erasing"
    erasing.run()
    assert erasing.desk().found(ORG, str(GONE))["state"] == "erased"
    assert len(rig.edge.events()) == 1


def test_what_comes_while_it_goes_on_goes_too(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    erasing.ask(ORG, GONE)
    while (sweep := read_sweep(erasing.office)) is None or sweep.step != "books":
        erasing.clerk()
        erasing.gateway()
    rig.receive(make_event(4, customer=GONE))
    erasing.run()
    nothing_is_left(rig, erasing)
    later = {**json.loads(make_event(5, customer=GONE)), "createdAt": rig.clock()}
    rig.receive(json.dumps(later).encode(), make_event(15, customer=OTHER))
    rig.drain()
    assert f"capillary:{ORG}:member:{OTHER}" in rig.edge.profiles()
    assert len(read_states(rig.documents, after="", limit=9)) == 2, "what comes later is new"


@pytest.mark.parametrize("flow", [EVENT, PROFILE])
def test_what_waits_in_an_outbox_goes_and_the_others_are_delivered_in_order(
    rig: Rig, erasing: Erasing, make_event: Any, flow: str
) -> None:
    rig.edge.down[flow] = BUSY
    for number in range(1, 31):
        rig.receive(make_event(number, customer=GONE if number % 3 == 0 else OTHER), make_event(100 + number, customer=903))
    rig.receive(deleted(make_event, 99))
    rig.work(lambda: read_cursor(rig.documents) == 61, portion=10, portions=1)
    before = {name: lane["waiting"] for name, lane in read_lanes(rig.documents).items()}
    assert sum(before.values()) > 3
    erasing.ask(ORG, GONE)
    sweeping = lambda: rig.work(_turns(3), portion=10, portions=1)  # noqa: E731 - one expression
    erasing.run(sweeping)
    assert erasing.desk().found(ORG, str(GONE))["state"] == "erased"
    waits = [record.member for _, stored in read_outbox(rig.documents) for record in unpack(stored).records]
    dues = [due[1] for _, stored in read_outbox(rig.documents) for due in unpack(stored).due]
    assert str(GONE) not in waits + dues
    assert sum(lane["waiting"] for lane in read_lanes(rig.documents).values()) == len(waits) + len(dues)
    rig.edge.down.clear()
    rig.drain(portion=10, portions=1)
    assert read_waiting(rig.documents)["outbox"] == 0
    delivered = [int(message["_id"].rpartition("-")[2]) for message in rig.edge.accepted[EVENT]]
    others = [number for number in delivered if number < 100 and number % 3]
    assert others == sorted(others)
    assert len(set(others)) == 20
    newest = {customer: rig.edge.profiles()[f"capillary:{ORG}:member:{customer}"] for customer in (OTHER, 903)}
    assert [profile["loyalty"]["points"] for profile in newest.values()] == [290, 1300]
    books = rig.status()
    counts = books["sources"]["nw"]["flows"]["event"]
    assert counts["payloads"] == counts["delivered"] + counts["erased"]
    assert counts["erased"] == (10 if flow == EVENT else 0)
    assert books["balanced"]


def _turns(count: int) -> Callable[[], bool]:
    left = [count * 200]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    return over


def test_an_outbox_is_looked_through_in_slices(rig: Rig, make_event: Any) -> None:
    rig.edge.down[EVENT] = BUSY
    for number in range(1, 61):
        rig.receive(make_event(number, customer=GONE if number == 50 else OTHER))
    rig.work(lambda: read_cursor(rig.documents) == 60, portion=1, portions=1)
    erasure = BookErasure(rig.documents, [(ORG, str(GONE))])
    slices = 0
    while not erasure.is_surveyed:
        erasure.survey()
        slices += 1
    assert slices == 4
    rig.receive(make_event(61, customer=GONE))
    rig.work(lambda: read_cursor(rig.documents) == 61, portion=1, portions=1)
    erasure.erase(99, rig.clock())
    (met,) = read_met(rig.documents)
    assert met["erased"] == {"outbox": 2, "states": 1}
    assert met["through"] == 61


def test_a_replay_finds_nothing_of_the_member(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    erasing.ask(ORG, GONE)
    erasing.run()
    rig.edge.accepted.clear()
    rig.journal.append([journal.command("replay_range", rig.clock(), range={"toOffset": rig.journal.end()})])
    rig.drain()
    assert {message["capillary"]["customerId"] for message in rig.edge.accepted[EVENT]} == {str(OTHER)}


def test_sweeps_keep_their_distance_but_not_from_what_a_person_asked_for(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    erasing.pace = type(erasing.pace)(grace_days=0, every_hours=6)
    rig.receive(make_event(1, customer=GONE), deleted(make_event))
    rig.drain()
    erasing.run()
    assert len(read_met(rig.documents)) == 1
    rig.receive(make_event(2, customer=OTHER), deleted(make_event, 10, OTHER))
    rig.drain()
    erasing.run()
    assert len(read_open(rig.documents)) == 1
    erasing.ask(ORG, 903)
    erasing.run()
    assert {each["customerId"] for each in read_met(rig.documents)} == {str(GONE), str(OTHER), "903"}


def test_a_second_deletion_does_not_postpone_the_first(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1, customer=GONE), deleted(make_event))
    rig.drain()
    first = read_open(rig.documents)
    rig.clock.advance(DAY_S)
    rig.receive(deleted(make_event, 20))
    rig.drain()
    assert read_open(rig.documents) == first


def test_members_of_other_organisations_with_the_same_number_stay(rig: Rig, erasing: Erasing, make_event: Any) -> None:
    rig.receive(make_event(1, customer=GONE))
    rig.drain()
    erasing.ask("700999", GONE)
    erasing.run()
    assert [key for key, _ in read_states(rig.documents, after="", limit=9)] == [f"{ORG}/{GONE}"]
    assert MAIL in erasing.on_disk()


def test_a_reader_of_the_stores_finds_them_whole(layout: Layout, rig: Rig, erasing: Erasing, make_event: Any) -> None:
    two_members(rig, make_event)
    reader = SqliteDocuments(layout.courier, readonly=True)
    erasing.ask(ORG, GONE)
    erasing.run()
    assert reader.count("states") == 1
    assert read_cursor(reader) == read_cursor(rig.documents)
    reader.close()
