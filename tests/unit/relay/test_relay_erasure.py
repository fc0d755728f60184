"""A member's data goes out of every store of the relay, on disk too; everybody else's stays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import received
from relay_rig import EVENT, Rig
from typer.testing import CliRunner

from capstream.cli.main import app
from capstream.layout import Layout
from capstream.relay import journal
from capstream.relay.audit import Audit
from capstream.relay.dead_letters import find_discarded
from capstream.relay.drift import DriftBook
from capstream.relay.event_index import FACETS, EventBrowser, EventQuery, follow
from capstream.relay.ledger import read_parked, read_states, read_waiting
from capstream.relay.privacy import read_met, read_open
from capstream.relay.sources import Sources
from capstream.storage.sqlite import SqliteDocuments
from capstream.storage.sqlite_index import SqliteIndex

MAIL = "member-900000901@example.com"
ORG, GONE, OTHER = "700123", 900000901, 900000902


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


@pytest.fixture
def rig(layout: Layout, sources: Sources, clock: Any) -> Iterator[Rig]:
    layout.journal.parent.mkdir(parents=True)
    found = Rig(layout.journal.parent, sources, clock)
    yield found
    found.close()


def merge(victim: int, survivor: int) -> bytes:
    data = {
        "survivorCustomerIdentifiers": {"customerId": survivor},
        "victimCustomerIdentifiers": {"customerId": victim, "instore": {"email": MAIL}},
    }
    body = {"eventName": "loyaltyCustomerMerge", "eventId": "merge-1", "orgId": int(ORG), "createdAt": 1_731_000_900_000}
    return json.dumps({**body, "data": data}).encode()


def _refuses(flow: str, messages: list[dict[str, Any]]) -> httpx.Response | None:
    """Refuse events 2 and 12 for good, 3 and 13 for now."""
    statuses = [{"2": 400, "3": 503}.get(message["_id"][-1]) if "event-" in message["_id"] else None for message in messages]
    if flow != EVENT or not any(statuses):
        return None
    said = [{"status": status, "statusCode": status} if status else {} for status in statuses]
    about = (message["capillary"]["customerId"] for message in messages)
    return received([each and {**each, "message": f"not for {member}"} for each, member in zip(said, about, strict=True)])


def filled(rig: Rig, layout: Layout, make_event: Any) -> None:
    """Events of two members, with a dead letter, a discarded one, a parked one and a mended one of each."""
    rig.edge.script(*[_refuses] * 20)
    for base, customer in ((0, GONE), (10, OTHER)):
        rig.receive(make_event(base + 1, customer=customer))
        rig.receive(make_event(base + 2, customer=customer), make_event(base + 3, customer=customer, note=customer))
    deleted = {"customerStatus": {"currentLabel": "Deleted"}}
    rig.receive(make_event(4, customer=GONE, name="customerUpdated", **deleted), b'{"cut off": "900000901')
    rig.drain()
    letters = rig.letters()
    letter = next(each for each in letters if each.customer_id == str(OTHER))
    discard = {"filter": {"ids": [letter.id]}, "reason": "x", "by": "y"}
    now = rig.clock()
    mend = {"filter": {"ids": ["none"]}, "payload": {"mail": MAIL, "member": GONE}}
    rig.journal.append([journal.command("discard_letters", now, **discard), journal.command("replay_letters", now, **mend)])
    rig.drain()
    index, drift = SqliteIndex(layout.event_index, FACETS), SqliteDocuments(layout.drift)
    follow(rig.journal, index, DriftBook(drift))
    index.close()
    drift.close()


def on_disk(layout: Layout) -> bytes:
    """Every byte of every file of the relay; the profile's snapshot of the other member names nobody else."""
    return b"".join(path.read_bytes() for path in layout.journal.parent.iterdir() if path.name != "drift.db")


def erase(layout: Layout, customer: int = GONE) -> tuple[int, dict[str, Any]]:
    arguments = ["erase", str(customer), "--org", ORG, "--reason", "request 7", "--data", str(layout.data)]
    done = CliRunner().invoke(app, arguments)
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout.splitlines()[0])


def test_nothing_of_the_member_is_left_and_all_of_the_others_is(rig: Rig, layout: Layout, make_event: Any) -> None:
    filled(rig, layout, make_event)
    before = rig.journal.read(0, 1000)
    assert MAIL.encode() in on_disk(layout)
    assert [each["identities"] for each in read_open(rig.documents)] != [{}]
    rig.close()
    code, found = erase(layout)
    assert code == 0
    assert found == {"dead_letters": 2, "parked": 1, "states": 1, "linked": []}
    assert MAIL.encode() not in on_disk(layout)
    assert erase(layout)[1] == {"states": 0, "linked": []}

    again = Rig(layout.journal.parent, rig.sources, rig.clock)
    after = again.journal.read(0, 1000)
    assert [offset for offset, _ in after[:-2]] == [offset for offset, _ in before], "two orders to the courier came to it"
    kept = [record for (_, record), (_, old) in zip(after, before, strict=False) if record == old]
    assert len(kept) == len(before) - 6
    assert {key for key, _ in read_states(again.documents, after="", limit=10)} == {f"{ORG}/{OTHER}"}
    assert [parked.record.member for _, parked in read_parked(again.documents)] == [str(OTHER)]
    assert len(find_discarded(again.documents)) == 1
    assert read_open(again.documents) == []
    (request,) = read_met(again.documents)
    assert "identities" not in request
    assert request["erasedAtMs"] > 0
    office = SqliteDocuments(layout.relay_admin, readonly=True)
    (act, _) = Audit(office, lambda: 0).entries()
    assert (act["act"], act["who"], act["details"]["reason"]) == ("erase_member", "command line", "request 7")
    assert act["details"] | {"reason": ""} == {
        "journal": 6, "index_rows": 4, "states": 1, "dead_letters": 2, "parked": 1, "reason": "",
    }  # fmt: skip
    assert str(GONE) not in str(act)
    index = SqliteIndex(layout.event_index, FACETS)
    browser = EventBrowser(again.journal, again.documents, index)
    assert browser.find(EventQuery(customer_id=str(GONE)))["events"] == []
    assert len(browser.find(EventQuery(customer_id=str(OTHER)))["events"]) == 3
    shown = browser.show(1)
    assert shown
    assert (shown["body"], shown["headers"]) == ("", {})

    posted = len(again.edge.events())
    wanted = {"toOffset": again.journal.end()}
    again.journal.append([journal.command("replay_range", again.clock(), range=wanted)])
    again.drain()
    assert not any(str(GONE) in name for name in again.edge.profiles())
    assert len(again.edge.events()) >= posted
    assert again.status()["balanced"]
    index.close()
    again.close()


def test_what_waits_for_delivery_is_told_and_merges_are_named(rig: Rig, layout: Layout, make_event: Any) -> None:
    rig.receive(make_event(1, customer=GONE), make_event(2, customer=OTHER), merge(GONE, OTHER))
    rig.drain()
    rig.receive(make_event(3, customer=GONE))
    SqliteIndex(layout.event_index, FACETS).close()
    rig.close()
    assert erase(layout) == (1, {"linked": []})
    again = Rig(layout.journal.parent, rig.sources, rig.clock)
    again.drain()
    assert read_waiting(again.documents)["deadLetters"] == 0
    again.close()
    assert erase(layout) == (0, {"states": 1, "linked": [str(OTHER)]})


@pytest.mark.parametrize("arguments", [["x1", "--org", "1"], ["1", "--org", "one"]])
def test_ids_are_checked(tmp_path: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["erase", *arguments, "--reason", "r", "--data", str(tmp_path)])
    assert "is no id" in str(done.exception)
