"""Two brands have a member of the same number: taking out one leaves everything of the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from erasing_rig import Erasing
from fake_edge import refusing
from relay_rig import EVENT, Rig

from capstream.layout import Layout
from capstream.relay.event_index import EventBrowser, EventQuery
from capstream.relay.journal import Flag, decode
from capstream.relay.ledger import read_cursor, read_outbox, read_parked, read_states
from capstream.relay.outbox import unpack
from capstream.relay.sources import Sources

ORGS = ("700123", "700124")
NUMBER = 900000901
MAIL = "member-900000901@of-{}.example.com"


@pytest.fixture
def erasing(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Erasing]:
    layout = Layout(tmp_path / "data")
    layout.journal.parent.mkdir(parents=True)
    rig = Rig(layout.journal.parent, sources, clock)
    found = Erasing(rig, layout)
    yield found
    found.close()
    rig.close()


def of_org(body: bytes, org: str) -> bytes:
    event = json.loads(body)
    event["data"]["customerIdentifiers"]["instore"] = {"email": MAIL.format(org)}
    return json.dumps({**event, "orgId": int(org)}).encode()


def merge(org: str) -> bytes:
    text = (Path(__file__).parents[3] / "cases" / "capillary-events" / "loyaltyCustomerMerge.json").read_text()
    return text.replace("900000101", "907").replace("900000555", str(NUMBER)).replace("700123", org).encode()


def everywhere(rig: Rig, make_event: Any) -> None:
    """Events of both members: one is a dead letter, one is parked, one waits in an outbox, one merges it."""

    def both(*numbers: int) -> list[bytes]:
        return [
            of_org(make_event(base + number, customer=NUMBER), org)
            for base, org in zip((0, 10), ORGS, strict=True)
            for number in numbers
        ]

    rig.edge.script(refusing(lambda message: message["_id"].endswith(("event-2", "event-12"))))
    rig.receive(*both(1, 2))
    rig.drain()
    rig.edge.script(refusing(lambda message: message["_id"].endswith(("event-3", "event-13")), status=503))
    rig.receive(*both(3))
    rig.work(lambda: read_cursor(rig.documents) == 6)
    rig.edge.down[EVENT] = httpx.Response(503)
    rig.receive(*both(4), *(merge(org) for org in ORGS))
    rig.work(lambda: read_cursor(rig.documents) == 10)


def what_there_is(erasing: Erasing, org: str) -> Any:
    """Return what the relay has of an org's member."""
    rig = erasing.rig
    browser = EventBrowser(rig.journal, rig.documents, erasing.index)
    segments = [unpack(stored) for _, stored in read_outbox(rig.documents, limit=100)]
    bodies = [(offset, decode(record).body) for offset, record in rig.journal.read(0, 100)]
    return {
        "journal": [(offset, body) for offset, body in bodies if f'"orgId": {org}'.encode() in body],
        "states": [item for item in read_states(rig.documents, after="", limit=10) if item[0] == f"{org}/{NUMBER}"],
        "letters": [letter.payload for letter in rig.letters() if f":{org}:" in (letter.payload_id or "")],
        "parked": [each.record.body for _, each in read_parked(rig.documents) if f":{org}:" in each.record.id],
        "outbox": [record.body for segment in segments for record in segment.records if f":{org}:" in record.id],
        "index": [each["offset"] for each in browser.find(EventQuery(customer_id=str(NUMBER), org_id=org))["events"]],
    }


def test_the_member_of_the_same_number_keeps_everything(erasing: Erasing, make_event: Any) -> None:
    everywhere(erasing.rig, make_event)
    erasing.clerk()
    gone, kept = (what_there_is(erasing, org) for org in ORGS)
    assert [name for name, found in {**kept, **gone}.items() if not found] == []
    assert [len(found) for found in kept.values()] == [len(found) for found in gone.values()]
    erasing.ask(ORGS[0], NUMBER)
    erasing.run(lambda: erasing.rig.work(lambda: erasing.rig.journal.end() == read_cursor(erasing.rig.documents)))
    assert what_there_is(erasing, ORGS[1]) == kept
    assert [name for name, found in what_there_is(erasing, ORGS[0]).items() if found] == []
    erased = [offset for offset, record in erasing.rig.journal.read(0, 100) if decode(record).flags & Flag.ERASED]
    assert erased == [1, 2, 5, 7, 9]
