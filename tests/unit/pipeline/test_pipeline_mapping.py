"""Records of a flow with a mapping set: mapped, warned about, refused, and a changed set taking effect at once."""

import msgspec
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, PURCHASE_FLOW, PURCHASES, World, identities, xid

from capstream.aep.catalog.lake import lake_table
from capstream.aep.data_access.rejected import Rejections, failed_lines
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service.model import State
from capstream.aep.flow_service.processing import Plans
from capstream.aep.pipeline import Pipeline
from capstream.aep.profile.model import FRAGMENTS, StoredFragment
from capstream.kernel.json import Json, loads

SET = "6f2c" * 8


def map_members(world: World, version: int, *rows: tuple[str, str, str]) -> None:
    """Store a version of the flow's mapping set and let the flow use it."""
    listed = [{"sourceType": kind, "source": source, "destination": destination} for kind, source, destination in rows]
    identity_row = {"sourceType": "ATTRIBUTE", "source": "who", "destination": "identityMap"}
    MappingSets(world.control).save(PROD.id, {"id": SET, "version": version, "mappings": [identity_row, *listed]})
    world.save_route(MEMBER_FLOW, MEMBERS, mapping_id=SET, mapping_version=version)


def raw(number: int, pts: Json) -> Json:
    return {"who": identities(number), "pts": pts, "level": "Gold"}


def stored(world: World, number: int) -> Json:
    body = world.state.get(FRAGMENTS, f"{PROD.id}/{xid(number)}/{MEMBERS}")
    assert body is not None
    return loads(msgspec.msgpack.decode(body, type=StoredFragment).entity)


def test_a_raw_record_is_mapped_and_a_new_version_applies_to_the_next_batch(world: World) -> None:
    map_members(world, 0, ("ATTRIBUTE", "pts", "loyalty.points"), ("EXPRESSION", "lower(level)", "loyalty.tier"))
    pipeline: Pipeline = world.pipeline()
    world.accept(MEMBER_FLOW, raw(1, 5))
    pipeline.run_once()
    assert stored(world, 1)["loyalty"] == {"points": 5, "tier": "gold"}

    map_members(world, 1, ("ATTRIBUTE", "pts", "loyalty.lifetimePoints"))
    world.accept(MEMBER_FLOW, raw(1, 6))
    pipeline.run_once()
    pipeline.close()

    assert stored(world, 1)["loyalty"] == {"lifetimePoints": 6}
    assert world.rows(MEMBERS) == 2


def test_a_field_that_cannot_be_mapped_is_a_warning_and_the_record_lands(world: World) -> None:
    map_members(world, 0, ("EXPRESSION", "to_integer(pts)", "loyalty.points"), ("ATTRIBUTE", "level", "loyalty.tier"))
    world.accept(MEMBER_FLOW, raw(1, "many"), raw(2, "12"))

    world.drain()

    assert (stored(world, 1)["loyalty"], stored(world, 2)["loyalty"]) == ({"tier": "Gold"}, {"points": 12, "tier": "Gold"})
    metrics = world.run_of(MEMBER_FLOW)["metrics"]
    summary = metrics["recordSummary"]
    assert (summary["outputRecordCount"], summary["warningRecordCount"], summary["failedRecordCount"]) == (2, 1, 0)
    (error,) = metrics["statusSummary"]["errors"]
    assert (error["code"], error["recordCount"]) == ("MAPPER-3700-400", 1)


def test_a_record_nothing_is_left_of_is_refused_in_the_form_clients_take_apart(world: World) -> None:
    map_members(world, 0, ("EXPRESSION", "to_integer(pts)", "loyalty.points"))
    world.accept(MEMBER_FLOW, {"pts": "many"})

    world.drain()

    assert world.lake.files(lake_table(PROD.name, MEMBERS)) == []
    (failed,) = world.batches_of(MEMBERS, "failed")
    assert [error["code"] for error in failed["errors"]] == ["INGEST-1212-400", "DPMAP-1000-400", "MAPPER-3700-400"]
    assert failed["errors"][2]["description"].startswith("Mapping error at destination path loyalty.points. ")
    assert failed["metrics"]["invalidRecordsMapper"] == 1
    line = loads(failed_lines(Rejections(world.state).of_batch(PROD.id, failed["id"])))
    assert line["_errors"]["_mapper"][0]["destinationXdmPath"] == "loyalty.points"


def test_a_mapping_that_does_not_compile_keeps_the_records(world: World) -> None:
    map_members(world, 0, ("EXPRESSION", "lower(", "loyalty.tier"))
    world.accept(MEMBER_FLOW, raw(1, 5))

    world.drain()

    (failed,) = world.batches_of(MEMBERS, "failed")
    assert "cannot be compiled" in failed["errors"][1]["description"]


def test_an_update_says_whether_an_array_is_appended_or_replaces(world: World) -> None:
    map_members(world, 0, ("EXPRESSION", "upsert_array_append(pts)", "loyalty.loyaltyID"))
    world.accept(MEMBER_FLOW, raw(1, ["a", "b"]))
    world.accept(MEMBER_FLOW, raw(1, ["c"]), data_operation="merge")
    world.drain()
    assert stored(world, 1)["loyalty"]["loyaltyID"] == ["a", "b", "c"]

    map_members(world, 1, ("EXPRESSION", "upsert_array_replace(pts)", "loyalty.loyaltyID"))
    world.accept(MEMBER_FLOW, raw(1, ["d"]), data_operation="merge")
    world.drain()
    assert stored(world, 1)["loyalty"]["loyaltyID"] == ["d"]

    map_members(world, 2, ("ATTRIBUTE", "pts", "loyalty.loyaltyID"))
    world.accept(MEMBER_FLOW, raw(1, ["e"]), data_operation="merge")
    world.drain()
    assert stored(world, 1)["loyalty"]["loyaltyID"] == ["d"]
    (failed,) = world.batches_of(MEMBERS, "failed")
    (kept,) = Rejections(world.state).of_batch(PROD.id, failed["id"])
    assert "upsert_array_append or upsert_array_replace" in kept.violations[0].message
    assert world.rows(MEMBERS) == 1  # updates go to Profile only


def test_enabled_flows_are_prepared_before_their_first_record_and_again_after_a_change(world: World) -> None:
    plans = Plans(world.control, world.registry)
    assert [plans.prepare() for _ in range(3)] == [True, True, False]

    map_members(world, 0, ("ATTRIBUTE", "pts", "loyalty.points"))
    world.save_route(PURCHASE_FLOW, PURCHASES, state=State.DISABLED)
    assert [plans.prepare() for _ in range(2)] == [True, False]

    for number in range(20):
        world.save_route(f"{MEMBER_FLOW}{number}", MEMBERS)
    assert not plans.prepare()
