"""The browser of received webhooks finds each by id, kind, member, time and outcome, whatever became of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_edge import refusing
from relay_rig import Rig

from capstream.kernel.errors import InputError
from capstream.relay import event_index
from capstream.relay.drift import DriftBook
from capstream.relay.event_index import EventBrowser, EventQuery, follow, row_of
from capstream.relay.journal import Entry, command, tally
from capstream.relay.sources import Sources
from capstream.storage.ports import Row, Search
from capstream.storage.sqlite import SqliteDocuments
from capstream.storage.sqlite_index import SqliteIndex

Find = Callable[..., list[int]]
CASES = Path(__file__).parents[3] / "cases" / "capillary-events"


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def browser(rig: Rig, index: SqliteIndex) -> EventBrowser:
    return EventBrowser(rig.journal, rig.documents, index)


@pytest.fixture
def drift(tmp_path: Path) -> Iterator[DriftBook]:
    documents = SqliteDocuments(tmp_path / "drift.db")
    yield DriftBook(documents)
    documents.close()


@pytest.fixture
def find(browser: EventBrowser) -> Find:
    return lambda **wanted: [event["offset"] for event in browser.find(EventQuery(**wanted))["events"]]


def merge_body() -> bytes:
    """A merge of member 902 into 907."""
    text = (Path(__file__).parents[3] / "cases" / "capillary-events" / "loyaltyCustomerMerge.json").read_text()
    return text.replace("900000101", "907").replace("900000555", "902").encode()


@pytest.fixture
def filled(rig: Rig, make_event: Any) -> Rig:
    """1-3 delivered, 4 unknown to anybody, 5 refused by the platform, 6 parked, 7 a merge, 8 a kind without translation, 9 not
    JSON; 10 and 11 are no webhooks, 12 waits."""
    rig.edge.script(
        refusing(lambda message: message["_id"].endswith("event-5")),
        refusing(lambda message: message["_id"].endswith("event-6"), status=500),
    )
    for number in (1, 2, 3):
        rig.receive(make_event(number, customer=900 + number))
        rig.clock.advance(60)
    rig.receive(make_event(4, name="pointsIsued"), make_event(5, customer=905))
    rig.drain()
    rig.receive(make_event(6, customer=906))
    rig.drain()
    rig.receive(merge_body(), make_event(8, name="cardUpdated"), b"not json")
    rig.journal.append([tally({"nw": 3}, rig.clock()), command("replay_letters", rig.clock(), filter={"ids": []})])
    rig.drain()
    rig.receive(make_event(12, customer=912))
    return rig


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not yet indexed"])
@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        ({}, [12, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ({"event_id": "event-3"}, [3]),
        ({"event_id": "event-33"}, []),
        ({"event_name": "cardUpdated"}, [8]),
        ({"customer_id": "903"}, [3]),
        ({"customer_id": "902"}, [7, 2]),
        ({"customer_id": "907"}, [7]),
        ({"customer_id": "902", "org_id": "700123"}, [7, 2]),
        ({"customer_id": "902", "org_id": "700124"}, []),
        ({"org_id": "700123"}, [12, 8, 7, 6, 5, 4, 3, 2, 1]),
        ({"source_key": "other"}, []),
        ({"source_key": "nw", "event_name": "pointsIssued", "customer_id": "901"}, [1]),
        ({"outcome": "dead"}, [9, 5, 4]),
        ({"outcome": "parked"}, [6]),
        ({"outcome": "pending"}, [12]),
        ({"outcome": "skipped"}, [8]),
        ({"outcome": "processed"}, [7, 3, 2, 1]),
        ({"outcome": "processed", "customer_id": "902"}, [7, 2]),
        ({"since_ms": 1_732_000_060_000, "until_ms": 1_732_000_120_000}, [2]),
        ({"before": 3}, [2, 1]),
    ],
)
def test_events_are_found(
    filled: Rig, index: SqliteIndex, drift: DriftBook, find: Find, wanted: dict[str, Any], offsets: list[int], indexed: bool
) -> None:
    while indexed and follow(filled.journal, index, drift):
        pass
    assert index.through() == (12 if indexed else 0)
    assert find(**wanted) == offsets


@pytest.mark.parametrize("outcome", [None, "processed"])
def test_pages_join_without_gap(
    rig: Rig, index: SqliteIndex, drift: DriftBook, browser: EventBrowser, make_event: Any, outcome: Any
) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 5) for number in range(1, 41)))
    rig.drain()
    follow(rig.journal, index, drift)
    rig.receive(*(make_event(number) for number in range(41, 46)))
    seen, before = [], None
    while True:
        page = browser.find(EventQuery(limit=7, before=before, outcome=outcome))
        seen += [event["offset"] for event in page["events"]]
        before = page.get("next")
        if before is None:
            break
    assert seen == list(range(40 if outcome else 45, 0, -1))
    assert (page["indexedThrough"], page["journalEnd"]) == (40, 45)


def test_one_event_is_shown_whole(filled: Rig, browser: EventBrowser) -> None:
    shown = browser.show(5)
    assert shown["body"]["eventId"] == "event-5"
    assert (shown["outcome"], shown["customerId"]) == ("dead", "905")
    assert [(letter["class"], letter["lastStatus"]) for letter in shown["deadLetters"]] == [("PLATFORM_REJECTED", 400)]
    assert browser.show(9)["body"] == "not json"
    assert [browser.show(offset) for offset in (10, 11, 13)] == [None] * 3


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"eventId": ""},
        {"eventId": " padded-id "},
        {"eventId": 12},
        {"eventId": "null"},
        {"orgId": 0},
        {"orgId": -7},
        {"orgId": "7"},
    ],
)
def test_the_short_way_into_the_index_finds_what_the_long_one_finds(file: Path, change: dict[str, Any]) -> None:
    body = json.dumps(json.loads(file.read_text()) | change).encode()
    for each in (body, b'{"body":' + body + b"}", body.replace(b'"customerId": 9', b'"customerId": -9')):
        entry = Entry("nw", 1_732_000_000_000, 0, b"", each)
        assert row_of(1, entry) == event_index._any_row(1, entry)


def test_the_short_way_is_taken_for_an_ordinary_event() -> None:
    entry = Entry("nw", 1_732_000_000_000, 0, b"", (CASES / "pointsIssued.json").read_bytes())
    assert event_index._plain_row(1, entry) is not None


def test_an_unknown_outcome_is_refused(browser: EventBrowser) -> None:
    with pytest.raises(InputError, match="known: pending, held"):
        browser.find(EventQuery(outcome="lost"))


def test_old_rows_are_forgotten_and_a_search_without_end_is_given_up(index: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(offset, offset * 1000, ("nw", "pointsIssued", f"e-{offset}", "1", None, "7")) for offset in range(1, 20_001)]
    index.add(rows, 20_000)
    assert index.forget(3_000_000) == 2999
    assert index.forget(3_000_000) == 0
    assert [row.offset for row in index.find(Search(newest_first=False), 2)] == [3000, 3001]
    monkeypatch.setattr("capstream.storage.sqlite_index._MOST_STEPS", 10_000)
    with pytest.raises(TimeoutError):
        index.find(Search(facets={"source": "nw"}, since_ms=10**12), 1)
    with pytest.raises(ValueError, match="no such facet"):
        index.find(Search(facets={"colour": "red"}), 1)
