"""What becomes of accepted records, good and bad."""

from typing import Any

import pytest
from pipeline_world import (
    INLET,
    MEMBER_FLOW,
    MEMBERS,
    PROD,
    PURCHASE_FLOW,
    PURCHASES,
    START_MS,
    World,
    member,
    purchase,
    xid,
)

from capstream.aep.data_access.rejected import Rejection, Rejections, failed_lines
from capstream.aep.flow_service.model import State
from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.profile.model import EVENTS, FRAGMENTS
from capstream.kernel.json import Json, loads


def rejections(world: World, dataset_id: str) -> list[Rejection]:
    (failed,) = world.batches_of(dataset_id, "failed")
    return Rejections(world.state).of_batch(PROD.id, failed["id"])


def records_of(run: dict[str, Json]) -> dict[str, int]:
    summary = run["metrics"]["recordSummary"]
    return {name: summary[f"{name}RecordCount"] for name in ("input", "output", "failed", "updated", "deleted")}


def test_records_and_events_reach_lake_profile_graph_and_books(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2))
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(1, "e-2"), purchase(3, "e-3"))

    assert world.drain() == 5

    assert (world.rows(MEMBERS), world.rows(PURCHASES)) == (2, 3)
    assert world.state.count(FRAGMENTS) == 2
    assert world.state.count(EVENTS, prefix=f"{PROD.id}/{xid(1)}/") == 2
    assert [m.value for m in Graphs(world.state).members(PROD.id, xid(3))] == ["3", "member-0003@example.com"]
    assert records_of(world.run_of(PURCHASE_FLOW)) == {"input": 3, "output": 3, "failed": 0, "updated": 0, "deleted": 0}
    (batch,) = world.batches_of(PURCHASES, "processing")
    assert batch["metrics"]["recordsWritten"] == 3
    assert batch["tags"] == {"flowId": [PURCHASE_FLOW], "acp_enableErrorDiagnostics": ["true"]}
    assert world.batches_of(PURCHASES, "failed") == []


BAD: list[tuple[str, Json, str, str]] = [
    ("wrong type", member(1, points="many"), "DCVS-1104-400", "expected type: Double, found: String"),  # type: ignore[arg-type]
    ("null", member(1, loyalty=None), "DCVS-1101-400", "expected type: JSONObject, found: Null"),
    ("extraneous", member(1, nickname="Jo"), "DCVS-1111-400", "extraneous key [nickname] is not permitted"),
    ("bad time", member(1, updated="yesterday"), "DCVS-1105-400", "[yesterday] is not a valid date-time"),
    ("not json", b"{", "INGEST-1401-400", "the message is not JSON"),
    ("no object", [1], "INGEST-1401-400", "Payload body is missing the record"),
]


@pytest.mark.parametrize(("message", "code", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_record_is_kept_with_its_reason_and_its_neighbours_land(world: World, message: Json, code: str, text: str) -> None:
    world.accept(MEMBER_FLOW, member(7), message, member(8))

    world.drain()

    assert world.rows(MEMBERS) == 2
    (kept,) = rejections(world, MEMBERS)
    assert (kept.violations[0].code, kept.violations[0].message[: len(text)]) == (code, text)
    (failed,) = world.batches_of(MEMBERS, "failed")
    assert [error["code"] for error in failed["errors"]] == ["INGEST-1212-400", code]
    assert failed["metrics"]["recordsFailed"] == 1
    assert records_of(world.run_of(MEMBER_FLOW)) == {"input": 3, "output": 2, "failed": 1, "updated": 0, "deleted": 0}


def test_a_failed_line_is_the_message_with_its_violations(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1, nickname="Jo"))
    world.drain()

    line = loads(failed_lines(rejections(world, MEMBERS)))

    assert line["nickname"] == "Jo"
    assert line["_validationErrors"] == [
        {
            "keyword": "additionalProperties",
            "message": "extraneous key [nickname] is not permitted",
            "pointerToViolation": "#",
            "schemaLocation": "#",
            "causingExceptions": [],
            "hint": "leave the member out, map it to a field, or add the field with a field group",
        }
    ]


def test_what_the_endpoint_refused_counts_as_received_and_failed(world: World) -> None:
    world.accept(MEMBER_FLOW, {"any": 1}, refusal="Message has an absent or wrong ims org in the header")

    world.drain()

    assert records_of(world.run_of(MEMBER_FLOW)) == {"input": 1, "output": 0, "failed": 1, "updated": 0, "deleted": 0}
    assert rejections(world, MEMBERS)[0].violations[0].message == "Message has an absent or wrong ims org in the header"


def disable_flow(world: World) -> None:
    world.save_route(MEMBER_FLOW, MEMBERS, state=State.DISABLED)


def delete_dataset(world: World) -> None:
    world.delete_dataset(MEMBERS)


def lose_mapping(world: World) -> None:
    world.save_route(MEMBER_FLOW, MEMBERS, mapping_id="0" * 32, mapping_version=3)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (disable_flow, "CONNECTOR-2001-500", "is disabled"),
        (delete_dataset, "CONNECTOR-2001-500", f"dataset {MEMBERS} does not exist"),
        (lose_mapping, "MAPPER-3700-400", f"mapping set {'0' * 32} version 3 does not exist"),
    ],
)
def test_a_flow_that_cannot_be_processed_keeps_its_records(world: World, change: Any, code: str, text: str) -> None:
    change(world)
    world.accept(MEMBER_FLOW, member(1))
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))

    world.drain()

    assert (world.rows(MEMBERS), world.rows(PURCHASES)) == (0, 1)
    (kept,) = rejections(world, MEMBERS)
    assert kept.violations[0].code == code
    assert text in kept.violations[0].message


def test_records_without_flow_dataset_or_inlet_are_kept_by_inlet(world: World) -> None:
    world.accept("", member(1), inlet_id="0" * 64, dataset_id="", form="A")

    assert world.drain() == 1

    (kept,) = Rejections(world.state).unrouted("0" * 64)
    assert "does not exist any more" in kept.violations[0].message
    assert world.batches.all(PROD.id) == {}


def test_an_envelope_is_routed_by_its_dataset_without_a_run(world: World) -> None:
    envelope = {"header": {"datasetId": MEMBERS}, "body": {"xdmEntity": member(1)}}
    nameless = {"header": {"datasetId": MEMBERS, "source": {}}, "body": {"xdmEntity": member(2)}}
    empty: Json = {"header": {"datasetId": MEMBERS}, "body": {}}
    world.accept("", envelope, nameless, empty, form="A", dataset_id=MEMBERS)

    world.drain()

    assert world.rows(MEMBERS) == 1
    assert world.runs.list(PROD.id) == []
    texts = [kept.violations[0].message for kept in rejections(world, MEMBERS)]
    assert texts == ["Payload header is missing Source Name", "Payload body is missing xdmEntity"]


def test_a_record_that_fits_no_column_is_found_and_rejected_alone(world: World) -> None:
    world.save_dataset(MEMBERS, acp_validationContext=["disabled"])
    odd = member(9, loyalty={"points": {"balance": "many"}})
    world.accept(MEMBER_FLOW, *(member(n) for n in range(5)), odd, *(member(n) for n in range(10, 15)))

    world.drain()

    assert world.rows(MEMBERS) == 10
    (kept,) = rejections(world, MEMBERS)
    assert loads(kept.message)["_id"] == "member-9"
    assert world.state.count(FRAGMENTS) == 10


def test_oversized_records_stay_in_the_lake_and_out_of_profile(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1", eventMergeId="x" * 11_000), purchase(1, "e-2"))
    world.accept(MEMBER_FLOW, member(1, personID="x" * 103_000))

    world.drain()

    assert (world.rows(PURCHASES), world.state.count(EVENTS)) == (2, 1)
    assert (world.rows(MEMBERS), world.state.count(FRAGMENTS)) == (1, 0)
    (batch,) = world.batches_of(PURCHASES, "processing")
    assert batch["metrics"]["invalidRecordsProfile"] == 1


NOBODY: list[tuple[str, Json]] = [
    ("no primary", {"email": [{"id": "member-0001@example.com"}]}),
    ("two primaries", {"email": [{"id": "a@example.com", "primary": True}, {"id": "b@example.com", "primary": True}]}),
    ("unknown namespace", {"card": [{"id": "1", "primary": True}]}),
    ("blocked value", {"memberId": [{"id": "anonymous", "primary": True}]}),
]


@pytest.mark.parametrize("identity_map", [case[1] for case in NOBODY], ids=[case[0] for case in NOBODY])
def test_a_record_without_usable_primary_identity_is_in_the_lake_only(world: World, identity_map: Json) -> None:
    world.accept(MEMBER_FLOW, member(1, identityMap=identity_map))

    world.drain()

    assert (world.rows(MEMBERS), world.state.count(FRAGMENTS)) == (1, 0)
    (batch,) = world.batches_of(MEMBERS, "processing")
    assert batch["metrics"]["invalidRecordsProfile"] == 1


def test_a_primary_descriptor_decides_over_the_identity_map(world: World) -> None:
    world.save_descriptor(MEMBERS, "/personalEmail/address", "Email", primary=True)
    world.accept(MEMBER_FLOW, member(1, personalEmail={"address": "Member-0001@example.com"}))

    world.drain()

    ((key, _),) = world.state.scan(FRAGMENTS)
    graph = Graphs(world.state)
    owner = graph.identity(PROD.id, key.split("/")[1])
    assert owner is not None
    assert owner.value == "member-0001@example.com"


def test_windows_and_runs_close_when_their_time_is_over(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2, nickname="Jo"))
    pipeline = world.pipeline()
    pipeline.run_once()
    assert world.run_of(MEMBER_FLOW)["state"] == "inProgress"

    world.now_ms += 61_000
    pipeline.run_once()
    assert len(world.batches_of(MEMBERS, "success")) == 1

    world.now_ms = START_MS + 3_600_000 + 299_000
    pipeline.run_once()
    assert world.run_of(MEMBER_FLOW)["state"] == "inProgress"
    world.now_ms += 2_000
    pipeline.run_once()
    assert world.run_of(MEMBER_FLOW)["state"] == "success"
    pipeline.close()


def test_a_run_closes_when_its_flow_is_disabled_and_fails_above_its_threshold(world: World) -> None:
    world.save_route(MEMBER_FLOW, MEMBERS, partial_percent=5.0)
    world.accept(MEMBER_FLOW, member(1), member(2, nickname="Jo"))
    pipeline = world.pipeline()
    pipeline.run_once()

    world.save_route(MEMBER_FLOW, MEMBERS, state=State.DISABLED)
    pipeline.run_once()
    pipeline.close()

    run = world.run_of(MEMBER_FLOW)
    assert (run["state"], run["metrics"]["statusSummary"]["status"]) == ("failed", "failed")
    assert world.runs.get(PROD.id, run["id"]) == run
    assert run["activities"][0]["sourceInfo"][0]["reference"]["ids"] == [INLET]


def test_rejected_records_are_forgotten_after_thirty_days(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1, nickname="Jo"))
    world.drain()
    assert len(rejections(world, MEMBERS)) == 1

    world.now_ms += 30 * 86_400_000 + 1
    world.drain()

    assert rejections(world, MEMBERS) == []
    assert len(world.batches_of(MEMBERS, "failed")) == 1


ODD: list[tuple[str, Json, int]] = [
    ("invalid", purchase(7, "odd", total="many"), 0),  # type: ignore[arg-type]
    ("a new member", purchase(7, "odd", eventMergeId="merged"), 1),
    ("digits that Arrow does not read", purchase(7, "odd", timestamp="2024-07-18T12:00:00.123456789Z"), 1),
]


@pytest.mark.parametrize("place", [0, 49, 120, 201])
@pytest.mark.parametrize(("odd", "landed"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_an_odd_record_among_many_changes_nothing_for_the_others(world: World, odd: Json, landed: int, place: int) -> None:
    usual = [purchase(number, f"e-{number}") for number in range(201)]
    world.accept(PURCHASE_FLOW, *usual)
    world.drain()
    world.accept(PURCHASE_FLOW, *[{**each, "_id": f"again-{each['_id']}"} for each in usual[:place]], odd, *usual[place:])

    world.drain()

    assert world.rows(PURCHASES) == 402 + landed
    assert world.state.count(EVENTS) == 201 + place + landed
    assert sum(len(rejections(world, PURCHASES)) for _ in world.batches_of(PURCHASES, "failed")) == 1 - landed
