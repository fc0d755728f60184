"""The courier: nothing lost, nothing out of order, one verdict a record: batches, snapshots, content."""

import json
from typing import Any

import pytest
from relay_rig import EVENT, PROFILE, Rig, points

from capstream.relay.journal import NO_KEY, Flag, tally
from capstream.relay.ledger import read_cursor
from capstream.relay.privacy import read_open


def test_events_reach_both_flows_and_the_cursor_follows(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 3) for number in range(1, 31)))
    rig.drain()
    assert set(rig.edge.events()) == {f"capillary:700123:pointsIssued:event-{number}" for number in range(1, 31)}
    assert points(rig.edge) == {"900": 300, "901": 280, "902": 290}
    assert read_cursor(rig.documents) == 30


def test_snapshots_of_a_batch_are_coalesced(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number) for number in range(1, 31)))
    rig.drain()
    assert len(rig.edge.accepted[PROFILE]) == 1
    assert len(rig.edge.accepted[EVENT]) == 30


def test_every_request_carries_at_most_five_hundred_records(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=number) for number in range(1, 1201)))
    rig.drain()
    assert max(len(messages) for _, messages in rig.edge.requests) <= 500
    assert len(rig.edge.events()) == len(rig.edge.profiles()) == 1200


def test_a_backlog_is_settled_in_batches_of_several_portions_with_one_snapshot_each(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number) for number in range(1, 121)))
    rig.drain(portion=10, portions=8)
    sizes = [len(messages) for flow, messages in rig.edge.requests if flow == EVENT]
    assert sizes == [10] * 12
    assert len(rig.edge.accepted[PROFILE]) == 2


def test_a_batch_ends_when_it_touched_enough_members(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number) for number in range(1, 41)))
    rig.drain(portion=10, portions=8, members=20)
    assert [len(messages) for flow, messages in rig.edge.requests if flow == PROFILE] == [20, 20]


def test_small_batches_give_the_same_result_as_large_ones(rig: Rig, make_event: Any) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 7) for number in range(1, 101)))
    rig.drain(portion=9)
    assert points(rig.edge) == {str(900 + rest): 10 * max(n for n in range(1, 101) if n % 7 == rest) for rest in range(7)}
    assert len(rig.edge.events()) == 100


@pytest.mark.parametrize("member_bytes", [0, 20_000, 10**8])
def test_a_state_that_had_to_leave_memory_is_read_again(rig: Rig, make_event: Any, member_bytes: int) -> None:
    rig.receive(*(make_event(number, customer=900 + number % 7) for number in range(1, 99)))
    rig.drain(portion=9, portions=1, member_bytes=member_bytes)
    facts = {body["capillary"]["customerId"]: body["capillary"]["stateVersion"] for body in rig.edge.profiles().values()}
    assert facts == {str(900 + rest): 14 for rest in range(7)}


CONTENT = [
    (b"not json", 0, "INVALID_BODY"),
    (b"", 0, "INVALID_BODY"),
    (b'{"eventName":"pointsIssued","eventId":"x","orgId":1,"data":' + b'{"a":' * 300 + b"1" + b"}" * 301, 0, "INVALID_BODY"),
    (b'{"eventName":"pointsIssued","eventId":"x","orgId":1,"createdAt":1731000000000,"data":{}}', 0, "NO_IDENTITY"),
    (b'{"eventName":"neverHeardOf","eventId":"x","orgId":1,"createdAt":1731000000000,"data":{}}', 0, "UNKNOWN_EVENT"),
    (b'{"a":"' + b"x" * 100, Flag.TOO_LARGE, "TOO_LARGE"),
    (b"{}", Flag.CONFLICT, "CONFLICTING_DUPLICATE"),
]


@pytest.mark.parametrize(("body", "flags", "code"), CONTENT, ids=[code for _, _, code in CONTENT])
def test_content_that_is_no_event_is_a_dead_letter_and_stops_nothing(
    rig: Rig, make_event: Any, body: bytes, flags: int, code: str
) -> None:
    rig.receive(make_event(1))
    rig.receive(body, flags=flags)
    rig.receive(make_event(2))
    rig.drain()
    (letter,) = rig.letters()
    assert (letter.class_, letter.payload, letter.journal_offset, letter.flow) == (code, body, 2, None)
    assert letter.reason
    assert len(rig.edge.events()) == 2
    assert rig.status()["balanced"]


@pytest.mark.parametrize(
    ("encoding", "fault"), [(b"br", "it is not supported"), (b"GZIP", "the body is not what it says"), (b"\xff", "not supported")]
)
def test_the_dead_letter_of_a_packed_body_names_its_encoding(rig: Rig, encoding: bytes, fault: str) -> None:
    rig.receive(b"\x1b\x00", flags=Flag.PACKED, headers=b"x-trace: 1\ncontent-encoding: " + encoding)
    rig.drain()
    (letter,) = rig.letters()
    assert (letter.class_, letter.payload) == ("INVALID_BODY", b"\x1b\x00")
    name = encoding.decode("ascii", "replace")
    assert letter.reason.startswith(f"Content-Encoding is {name!r}: ")
    assert fault in letter.reason
    assert letter.reason.endswith("; send it plain, or packed with gzip or deflate")
    assert rig.status()["balanced"]


@pytest.mark.parametrize("value", [10**300, -(10**400), "1e300", "-1e9999", True])
def test_a_number_no_double_holds_is_a_wrong_field(rig: Rig, make_event: Any, value: Any) -> None:
    rig.receive(make_event(1, programCurrentPoints=value), make_event(2))
    rig.drain()
    (letter,) = rig.letters()
    assert (letter.class_, letter.pointer) == ("INVALID_FIELD", "/data/programCurrentPoints")
    assert len(rig.edge.events()) == 1


def test_an_unmapped_event_is_skipped(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1, name="cardUpdated"))
    rig.drain()
    assert not rig.letters()
    assert rig.status()["sources"]["nw"]["skippedByReason"] == {"UNMAPPED_EVENT": 1}


def test_events_of_a_removed_source_are_kept(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1), source="gone")
    rig.receive(make_event(2))
    rig.drain()
    assert [(letter.class_, letter.source_key) for letter in rig.letters()] == [("UNKNOWN_SOURCE", "gone")]
    assert len(rig.edge.events()) == 1


def test_oversized_records_are_dead_letters(rig: Rig, make_event: Any) -> None:
    notes = [{"key": f"field_{number}", "value": "x" * 200} for number in range(60)]
    rig.receive(make_event(1, name="customerAdded", loyaltyType="loyalty", source="INSTORE", customFields=notes))
    rig.drain()
    (letter,) = rig.letters()
    assert letter.class_ == "OVERSIZED_RECORD"
    assert letter.flow == "event"
    assert len(rig.edge.profiles()) == 1


def test_tallies_and_lags_are_counted(rig: Rig, make_event: Any) -> None:
    rig.receive(make_event(1), make_event(2))
    rig.journal.append([tally({"nw": 3}, rig.clock())], keys=[NO_KEY])
    rig.drain()
    status = rig.status()
    source = status["sources"]["nw"]
    assert (source["received"], source["duplicates"], source["processed"]) == (5, 3, 2)
    assert source["events"] == {"pointsIssued": 2}
    assert source["lagMs"]["p50"] >= rig.clock() - 1_731_000_002_000 - 60_000
    assert status["journal"]["pending"] == 0


def test_a_merge_sends_the_victim_before_the_survivor_through_one_lane(rig: Rig, make_event: Any) -> None:
    merge = json.loads(make_event(50, name="loyaltyCustomerMerge"))
    merge["data"] = {
        "survivorCustomerIdentifiers": {"customerId": 901},
        "victimCustomerIdentifiers": {"customerId": 902},
        "survivorCustomerLoyaltySummary": [
            {"loyaltyProgramId": 4101, "lifetimePoints": 77, "currentPoints": 77, "promisedPoints": 0}
        ],
    }
    others = [make_event(number, customer=1000 + number) for number in range(3, 40)]
    rig.receive(
        make_event(1, customer=901),
        make_event(2, customer=902),
        *others,
        json.dumps(merge).encode(),
        make_event(60, customer=902),
    )
    whole = rig.sources.table["nw"]
    limits = {"records": 10, "lanes": 4}
    flows = {"inletUrl": whole.inlet_url, "profileFlowId": PROFILE, "eventFlowId": EVENT, "limits": limits}
    rig.sources.put("nw", {"orgId": whole.org_id, "ims": {"url": whole.ims.url, "clientId": "client-1"}, **flows})
    rig.drain()
    order = [message["_id"].rsplit(":", 1)[1] for message in rig.edge.accepted[PROFILE]]
    assert order.index("902") < order.index("901")
    assert rig.edge.profiles()["capillary:700123:member:902"]["loyalty"]["status"] == "merged"
    assert not rig.letters()


def test_members_that_wait_for_a_tier_list_are_sent_again_when_it_comes(rig: Rig, make_event: Any) -> None:
    added = make_event(
        1, customer=901, name="customerAdded", loyaltyType="loyalty", source="INSTORE", enteredAt=1_731_000_001_000
    )
    rig.receive(added)
    rig.drain()
    assert "tier" not in rig.edge.profiles()["capillary:700123:member:901"]["loyalty"]
    rig.receive(make_event(2, customer=902))
    rig.drain()
    assert rig.edge.profiles()["capillary:700123:member:901"]["loyalty"]["tier"] == "Bronze"
    sent = len(rig.edge.accepted[PROFILE])
    rig.receive(make_event(3, customer=902))
    rig.drain()
    assert len(rig.edge.accepted[PROFILE]) == sent + 1


def test_a_deleted_member_enters_the_privacy_queue(rig: Rig, make_event: Any) -> None:
    rig.receive(
        make_event(1), make_event(2, name="customerUpdated", customerStatus={"currentLabel": "Deleted"}, updatedFields=[])
    )
    rig.drain()
    (request,) = read_open(rig.documents)
    assert (request["customerId"], request["sourceKey"]) == ("900000101", "nw")
    assert request["identities"]
