"""Bodies that are payloads already are checked, given an `_id` and forwarded as they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_edge import refusing
from relay_rig import Rig

from capstream.capillary.envelope import Unreadable
from capstream.relay.journal import command
from capstream.relay.ready_made import ready_made
from capstream.relay.sources import Sources

IDENTITIES = {"email": [{"id": "member-0001@example.com", "authenticatedState": "ambiguous", "primary": True}]}
EVENT = {"_id": "bill-1", "timestamp": "2024-09-17T15:02:58.000+00:00", "identityMap": IDENTITIES, "commerce": {"order": {}}}
PROFILE = {"identityMap": IDENTITIES, "loyalty": {"tier": "Gold", "points": 12}}


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    held = sources.table["nw"]
    ims = {"url": held.ims.url, "clientId": held.ims.client_id}
    flows = {"inletUrl": held.inlet_url, "profileFlowId": held.profile_flow_id, "eventFlowId": held.event_flow_id}
    sources.put("nw", {"orgId": held.org_id, "preset": "adobe-ready", "ims": ims, **flows})
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


def body(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def test_payloads_go_to_the_dataflow_they_belong_to(rig: Rig) -> None:
    unnamed = {name: value for name, value in EVENT.items() if name != "_id"}
    rig.receive(body(EVENT), body(PROFILE), body(unnamed), body(unnamed))
    rig.drain()
    first, *stamped = rig.edge.accepted["flow-event"]
    assert first == EVENT
    assert len({event["_id"] for event in stamped}) == 1
    assert [{**event, "_id": None} for event in stamped] == [{**unnamed, "_id": None}] * 2
    (profile,) = rig.edge.accepted["flow-profile"]
    assert profile.pop("_id").startswith("capillary:ready:member:")
    assert profile == PROFILE
    assert rig.status()["sources"]["nw"]["processed"] == 4
    assert rig.status()["balanced"]


BAD = [
    (b"x", "INVALID_BODY"),
    (b"[]", "INVALID_BODY"),
    (body({"loyalty": {}}), "NO_IDENTITY"),
    (body({**PROFILE, "identityMap": {"email": [{"id": ""}]}}), "NO_IDENTITY"),
    (body({**PROFILE, "identityMap": []}), "NO_IDENTITY"),
    (body({**EVENT, "timestamp": "yesterday"}), "INVALID_FIELD"),
    (body({**EVENT, "timestamp": "2024-09-17T15:02:58"}), "INVALID_FIELD"),
    (body({"identityMap": IDENTITIES}), "INVALID_BODY"),
]


@pytest.mark.parametrize(("given", "code"), BAD)
def test_bodies_that_are_no_payloads(given: bytes, code: str) -> None:
    found = ready_made(given, 1)
    assert isinstance(found, Unreadable)
    assert found.code == code


def test_what_is_dead_can_be_mended_and_replayed(rig: Rig) -> None:
    rig.edge.script(refusing(lambda message: message["_id"] == "bill-1"))
    rig.receive(body(EVENT), body({**EVENT, "_id": "bill-2", "timestamp": "soon"}))
    rig.drain()
    assert sorted(letter.class_ for letter in rig.letters()) == ["INVALID_FIELD", "PLATFORM_REJECTED"]
    for letter in rig.letters():
        mended = {"payload": {**EVENT, "_id": "bill-2"}} if letter.class_ == "INVALID_FIELD" else {}
        rig.journal.append([command("replay_letters", rig.clock(), filter={"ids": [letter.id]}, **mended)])
    rig.drain()
    assert rig.letters() == []
    assert sorted(rig.edge.events()) == ["bill-1", "bill-2"]
