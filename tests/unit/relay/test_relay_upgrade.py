"""A data folder of an older capstream goes on where it was; one of a newer capstream is refused with the cure."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from relay_rig import Rig

from capstream import upgrades
from capstream.kernel.errors import InputError
from capstream.layout import Layout
from capstream.relay import dead_letters, journal, privacy
from capstream.relay.drift import DriftBook
from capstream.relay.event_index import FACETS, follow
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.storage.ports import Search
from capstream.storage.sqlite import SqliteDocuments
from capstream.storage.sqlite_index import SqliteIndex

OLD = Path(__file__).parent / "data-0.1.0"
"""Stores as 0.1.0 left them: an event delivered, one unreadable, one refused by the platform, one parked, two not yet read."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "data")
    for file in OLD.glob("*.sql"):
        path = found.data / "relay" / f"{file.stem}.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path)
        db.executescript(file.read_text())
        db.execute("PRAGMA journal_mode=WAL")
        db.close()
    return found


def test_an_older_folder_is_brought_up_to_date_and_loses_nothing(layout: Layout, clock: Any, vault: Vault) -> None:
    assert upgrades.bring_up_to_date(layout) == [1, 2, 3, 4, 5, 6]
    assert upgrades.bring_up_to_date(layout) == []
    sources = Sources(SqliteDocuments(layout.sources), vault)
    assert sources.table["nw"].ims.client_secret == "ims-secret"
    rig = Rig(layout.data / "relay", sources, clock)
    assert dead_letters.between(rig.documents, 1, 10) == {
        offset: [letter.id for letter in rig.letters() if letter.journal_offset == offset] for offset in (2, 4)
    }
    clock.advance(3600)
    rig.drain()
    assert {event.rpartition("-")[2] for event in rig.edge.events()} == {"4", "5"}
    assert rig.status()["balanced"]
    assert [letter.journal_offset for letter in rig.letters()] == [2, 4, 7]
    rig.journal.append([journal.command("replay_letters", clock(), filter={"class": "PLATFORM_REJECTED"})])
    rig.drain()
    assert {event.rpartition("-")[2] for event in rig.edge.events()} == {"3", "4", "5"}
    assert dead_letters.between(rig.documents, 1, 10).keys() == {2, 7}
    rig.close()


def test_an_upgrade_that_was_cut_off_is_done_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    step = upgrades.STEPS[1]

    def cut_off(found: Layout) -> None:
        step(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(upgrades, "STEPS", {1: cut_off})
    with pytest.raises(KeyboardInterrupt):
        upgrades.bring_up_to_date(layout)
    monkeypatch.undo()
    assert upgrades.bring_up_to_date(layout) == [1, 2, 3, 4, 5, 6]
    courier = SqliteDocuments(layout.courier, readonly=True)
    assert dead_letters.between(courier, 1, 10).keys() == {2, 4}
    courier.close()


def test_a_folder_of_a_newer_capstream_is_refused(layout: Layout) -> None:
    layout.format.write_text(json.dumps({"format": upgrades.FORMAT + 1}))
    with pytest.raises(InputError, match="install the capstream that wrote it"):
        upgrades.bring_up_to_date(layout)


@pytest.mark.parametrize("text", ["", "{}", '{"format": "x"}', "[]"])
def test_a_format_that_cannot_be_read_is_refused(layout: Layout, text: str) -> None:
    layout.format.write_text(text)
    with pytest.raises(InputError, match="restore it from a backup"):
        upgrades.bring_up_to_date(layout)


def test_a_new_folder_has_the_present_form(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new")
    assert upgrades.bring_up_to_date(layout) == []
    assert json.loads(layout.format.read_text())["format"] == upgrades.FORMAT


def test_identities_asked_for_without_a_sandbox_are_forgotten(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.control.parent.mkdir(parents=True)
    layout.format.write_text(json.dumps({"format": 2}))
    control = SqliteDocuments(layout.control)
    with control.transaction() as change:
        change.put("asked_identities", [(f"{'A' * 24}@AdobeOrg/xid", b"[6,1]"), ("0e0cf7db/xid", b"[6,1]")])
    assert upgrades.bring_up_to_date(layout) == [2, 3, 4, 5, 6]
    assert [key for key, _ in control.scan("asked_identities")] == ["0e0cf7db/xid"]
    control.close()


def test_privacy_requests_are_found_by_time_and_those_that_were_met_lie_apart(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.format.parent.mkdir(parents=True)
    layout.format.write_text(json.dumps({"format": 4}))
    courier = SqliteDocuments(layout.courier)
    asked = {"orgId": "1", "sourceKey": "nw", "identities": {"email": "member-0001@example.com"}}
    requests = {
        "1/7": {**asked, "customerId": "7", "requestedAtMs": 2000},
        "1/8": {**asked, "customerId": "8", "requestedAtMs": 1000},
        "1/9": {**asked, "customerId": "9", "requestedAtMs": 1000, "erasedAtMs": 1500},
    }
    with courier.transaction() as transaction:
        transaction.put("privacy", [(name, json.dumps(body).encode()) for name, body in requests.items()])
    assert upgrades.bring_up_to_date(layout) == [4, 5, 6]
    assert [each["id"] for each in privacy.read_open(courier)] == ["1/7", "1/8"]
    assert privacy.due(courier, 3000, 10) == ["1/8", "1/7"]
    (met,) = privacy.read_met(courier)
    assert (met["customerId"], met["erasedAtMs"], "identities" in met) == ("9", 1500, False)
    courier.close()


def test_the_index_of_events_is_made_anew_with_the_orgs(layout: Layout, sources: Sources, clock: Any) -> None:
    bare = "CREATE TABLE rows (offset INTEGER PRIMARY KEY, at_ms INTEGER, source TEXT, kind TEXT, event_id TEXT, member TEXT)"
    db = sqlite3.connect(layout.event_index, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", bare, "INSERT INTO rows VALUES (1, 1, 'nw', 'old', '1', '7')"):
        db.execute(statement)
    assert layout.event_index.with_name("events.db-wal").exists()
    assert 5 in upgrades.bring_up_to_date(layout)
    db.close()
    rig, index = Rig(layout.data / "relay", sources, clock), SqliteIndex(layout.event_index, FACETS)
    drift = SqliteDocuments(layout.drift)
    follow(rig.journal, index, DriftBook(drift))
    assert [row.facets[0] for row in index.find(Search(facets={"kind": "old"}), 9)] == []
    assert {row.facets[-1] for row in index.find(Search(), 9)} == {None, "700123"}
    for store in (rig, index, drift):
        store.close()
