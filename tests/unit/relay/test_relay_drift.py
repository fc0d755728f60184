"""Schema drift: each new kind, member and type is told once, counted, and told without values."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capstream.capillary.drift import forms
from capstream.relay import drift as drift_module
from capstream.relay.drift import DriftBook, Notice, read_notices, with_drift
from capstream.relay.journal import Entry
from capstream.storage.sqlite import SqliteDocuments

ROOT = Path(__file__).parents[3]
MakeEvent = Callable[..., bytes]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDocuments]:
    found = SqliteDocuments(tmp_path / "drift.db")
    yield found
    found.close()


def looked(store: SqliteDocuments, *bodies: bytes, source: str = "nw", is_behind: bool = False, first: int = 1) -> list[Notice]:
    entries = [(first + index, Entry(source, 1000 + index, 0, b"", body)) for index, body in enumerate(bodies)]
    DriftBook(store).look(entries, is_behind=is_behind)
    return read_notices(store)


def told(notices: list[Notice]) -> list[tuple[str, str, str, int]]:
    return sorted((n.event_name, n.what, f"{n.path} {n.expected}>{n.found}", n.count) for n in notices)


def wrapped(body: bytes, envelope: str) -> bytes:
    event = json.loads(body)
    names = {"B": {"eventId": "e", "attributes": event}, "C": {"data": event, "errors": None}, "D": {"body": event}}
    return json.dumps(names[envelope]).encode()


def test_documented_events_bring_no_notice_in_any_envelope(store: SqliteDocuments) -> None:
    bodies = [path.read_bytes() for path in sorted((ROOT / "cases" / "capillary-events").glob("*.json"))]
    assert len(bodies) > 20
    assert looked(store, *bodies, *(wrapped(body, envelope) for body in bodies for envelope in "BCD")) == []


def test_each_change_is_told_once_and_counted(store: SqliteDocuments, make_event: MakeEvent) -> None:
    odd = {"loyaltyScore": 5, "regularPointsBreakup": [{"points": 1, "bucket": "a"}]}
    bodies = [make_event(1), make_event(2, **odd), make_event(3, **odd), make_event(4, programCurrentPoints="40")]
    bodies += [make_event(5, name="pointsBlessed"), make_event(6, name="pointsBlessed"), b"not json", make_event(7, note=None)]
    wanted = [
        ("pointsBlessed", "unknown_kind", " >", 2),
        ("pointsIssued", "type", "/data/programCurrentPoints number>text", 1),
        ("pointsIssued", "unknown_field", "/data/loyaltyScore >number", 2),
        ("pointsIssued", "unknown_field", "/data/regularPointsBreakup/-/bucket >text", 2),
    ]
    assert told(looked(store, *bodies)) == wanted
    assert told(looked(store, *bodies)) == wanted  # looked at already
    assert told(looked(store, make_event(9, **odd), first=100))[2][3] == 3
    first = next(notice for notice in read_notices(store) if notice.path == "/data/loyaltyScore")
    assert (first.first_offset, first.first_ms, first.last_ms) == (2, 1001, 1002)
    assert len(looked(store, make_event(9, **odd), first=200, source="eu")) == 6


def test_names_that_may_be_data_are_not_told(store: SqliteDocuments, make_event: MakeEvent) -> None:
    strange = {"member-0001@example.com": 1, "447700900101": 2, "x" * 80: 3, **{f"k{n}": n for n in range(300)}}
    notices = looked(store, make_event(1, **strange), make_event(2, name="member-0001@example.com"))
    paths = {notice.path for notice in notices if notice.what == "unknown_field"}
    assert paths == {"/data/*", *(f"/data/k{n}" for n in range(17))}
    assert {notice.event_name for notice in notices if notice.what == "unknown_kind"} == {"*"}
    assert not [path for path, _, _ in forms({"data": {"behavioralEventAttributes": {"mail": "x"}}}) if path.endswith("mail")]


def test_notices_of_a_source_are_bounded(store: SqliteDocuments, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_module, "_MOST", 5)
    notices = looked(store, *(make_event(number, **{f"field{number % 9}": 1}) for number in range(18)))
    assert len(notices) == 6
    assert sum(notice.count for notice in notices) == 18
    assert [notice.count for notice in notices if notice.event_name == "(more)"] == [8]


def test_a_clerk_that_is_behind_looks_at_a_sample(store: SqliteDocuments, make_event: MakeEvent) -> None:
    (notice,) = looked(store, *(make_event(number, newcomer=1) for number in range(1, 33)), is_behind=True)
    assert notice.count == 2


def test_imported_history_is_no_drift(store: SqliteDocuments, make_event: MakeEvent) -> None:
    assert looked(store, make_event(1, history={"answers": {}})) == []


def test_what_nobody_has_seen_raises_an_alert(store: SqliteDocuments, make_event: MakeEvent) -> None:
    notices = looked(store, make_event(1, newcomer=1), make_event(2, name="pointsBlessed"))
    status = {"alerts": [], "health": "ok"}
    (alert,) = with_drift(status, notices, {})["alerts"]
    assert (alert["name"], alert["about"], alert["reason"]) == ("schema_drift", "nw", "2 changes in the form of webhooks")
    assert with_drift(status, notices, {"nw": 1001}) | {"drift": 0} == {**status, "drift": 0}
    (alert,) = with_drift(status, notices, {"nw": 1000})["alerts"]
    assert alert["reason"].startswith("1 ")
