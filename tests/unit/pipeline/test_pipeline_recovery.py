"""Neither loss nor twice: crashes between the durable steps, failing stores, duplicates, order, growing schemas."""

from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pipeline_world import (
    MEMBER_FLOW,
    MEMBERS,
    PROD,
    PURCHASE_FLOW,
    PURCHASES,
    Crash,
    World,
    member,
    purchase,
    xid,
)

from capstream.aep.catalog.lake import lake_table
from capstream.aep.data_access.rejected import Rejections
from capstream.aep.flow_service.model import State
from capstream.aep.pipeline.loop import Step
from capstream.aep.profile.model import EVENTS, FRAGMENTS, StoredFragment
from capstream.aep.query_service.engine import serve
from capstream.kernel.json import Json, loads
from capstream.storage.ports import StorageUnavailable


def fragment(world: World, number: int) -> Json:
    """Return the stored entity of a member."""
    body = world.state.get(FRAGMENTS, f"{PROD.id}/{xid(number)}/{MEMBERS}")
    return None if body is None else loads(msgspec.msgpack.decode(body, type=StoredFragment).entity)


def select(world: World, dataset_id: str, sql: str) -> list[list[Json]]:
    """Return the rows of a statement about table `t`."""
    files = world.lake.files(lake_table(PROD.name, dataset_id))
    answer = serve({"sql": sql, "tables": {"t": {"files": files, "columns": []}}})
    return list(answer["rows"])


def books(world: World) -> dict[str, Any]:
    """Return everything countable that the pipeline leaves behind."""
    batches = world.batches.all(PROD.id).values()
    return {
        "rows": (world.rows(MEMBERS), world.rows(PURCHASES)),
        "distinct rows": select(world, PURCHASES, "SELECT count(DISTINCT _id) FROM t"),
        "batches named by rows": sum(
            batch["metrics"]["recordsWritten"] for batch in batches if batch["metrics"]["recordsWritten"]
        ),
        "fragments": world.state.count(FRAGMENTS),
        "events": world.state.count(EVENTS),
        "runs": [run["metrics"]["recordSummary"] for run in world.runs.list(PROD.id)],
        "rejected": sum(len(Rejections(world.state).of_batch(PROD.id, batch["id"])) for batch in batches),
        "cursor": world.state.get("cursors", "inlet"),
    }


def send_mixture(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2, nickname="Jo"), member(3))
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(2, "e-2"), purchase(3, "e-3", total="x"))  # type: ignore[arg-type]
    world.accept(MEMBER_FLOW, member(1, points=300))


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("crashes", [1, 3])
def test_a_crash_at_any_step_leaves_the_books_of_an_undisturbed_run(tmp_path: Path, step: Step, crashes: int) -> None:
    calm = World(tmp_path / "calm")
    send_mixture(calm)
    calm.drain(max_records=3)
    expected = books(calm)
    calm.close()

    world = World(tmp_path / "crashing")
    send_mixture(world)
    for _ in range(crashes):
        with pytest.raises(Crash):
            world.drain_until_crash(step, max_records=3)
        world.restart()
        world.now_ms += 100
    world.drain(max_records=3)

    assert books(world) == expected
    world.close()


def test_a_change_of_the_control_plane_holds_for_records_that_were_shaped_before_it(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(2, "e-2"))
    pipeline = world.pipeline(max_records=1)
    assert pipeline.run_once() == 1  # the second purchase is shaped while the first is committed

    world.save_route(PURCHASE_FLOW, PURCHASES, state=State.DISABLED)

    assert pipeline.run_once() == 1
    assert (world.rows(PURCHASES), world.state.count(EVENTS)) == (1, 1)
    assert world.run_of(PURCHASE_FLOW)["metrics"]["recordSummary"]["failedRecordCount"] == 1
    pipeline.close()


def test_after_a_crash_records_that_arrived_meanwhile_are_not_lost(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    with pytest.raises(Crash):
        world.drain_until_crash(Step.LAKE_COMMITTED)
    world.restart()
    world.accept(PURCHASE_FLOW, purchase(1, "e-2"))

    world.drain()

    assert select(world, PURCHASES, "SELECT _id FROM t ORDER BY 1") == [["e-1"], ["e-2"]]
    assert world.state.count(EVENTS) == 2


def test_rows_committed_before_a_crash_carry_a_batch_that_counts_them(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    with pytest.raises(Crash):
        world.drain_until_crash(Step.LAKE_COMMITTED)
    world.restart()
    world.now_ms += 600_000  # the window of the crashed attempt is long over

    world.drain()

    ((batch_id,),) = select(world, PURCHASES, "SELECT DISTINCT _ACP_BATCHID FROM t")
    batch = world.batches.get(PROD.id, batch_id)
    assert batch is not None
    assert batch["metrics"]["recordsWritten"] == 1


def test_a_lake_that_cannot_be_written_stops_the_batch_and_nothing_is_lost(world: World) -> None:
    table = world.folder / "lake" / lake_table(PROD.name, MEMBERS)
    table.parent.mkdir(parents=True)
    table.write_text("in the way")
    world.accept(MEMBER_FLOW, member(1))
    pipeline = world.pipeline()
    with pytest.raises(StorageUnavailable):
        pipeline.run_once()
    assert (pipeline.cursor(), world.state.count(FRAGMENTS)) == (0, 0)

    table.unlink()

    assert pipeline.run_once() == 1
    assert (world.rows(MEMBERS), world.state.count(FRAGMENTS)) == (1, 1)
    pipeline.close()


def test_a_repeated_event_is_one_event_in_profile_and_two_rows_in_the_lake(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(1, "e-1", total=99))
    world.drain()
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    world.drain()

    assert (world.rows(PURCHASES), world.state.count(EVENTS)) == (3, 1)


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
@pytest.mark.parametrize("together", [True, False])
def test_the_newest_snapshot_wins_in_any_order_of_arrival(world: World, order: tuple[int, ...], together: bool) -> None:
    snapshots = [member(1, points=day, updated=f"2024-09-{day:02}T00:00:00Z") for day in order]
    if together:
        world.accept(MEMBER_FLOW, *snapshots)
        world.drain()
    else:
        for snapshot in snapshots:
            world.accept(MEMBER_FLOW, snapshot)
            world.drain()

    assert fragment(world, 1)["loyalty"] == {"points": 3}
    assert world.rows(MEMBERS) == 3


def test_without_a_source_time_the_last_record_accepted_wins_across_flows(world: World) -> None:
    world.save_route("other-flow", MEMBERS)
    world.accept(MEMBER_FLOW, member(1, points=1))
    world.accept("other-flow", member(1, points=2), dataset_id=MEMBERS)
    world.accept(MEMBER_FLOW, member(1, points=3))
    world.accept("other-flow", member(1, points=4), dataset_id=MEMBERS)

    world.drain()

    assert fragment(world, 1)["loyalty"] == {"points": 4}


def test_a_schema_that_grows_adds_columns_and_old_rows_stay_readable(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    world.grow_schema(MEMBERS, "context/profile-person-details")
    world.accept(MEMBER_FLOW, member(2, person={"name": {"firstName": "Jo"}}))

    world.drain()

    rows = select(world, MEMBERS, "SELECT _id, person.name.firstName FROM t ORDER BY 1")
    assert rows == [["member-1", None], ["member-2", "Jo"]]


def test_a_dataset_whose_table_cannot_take_rows_does_not_hold_up_the_others(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    world.drain()
    table = lake_table(PROD.name, PURCHASES)
    world.lake.drop(table)  # and a table of the same name whose columns have other types stands in its place
    world.lake.append(table, pa.table({"_id": [[1, 2]], "commerce": [1]}), app_id="other", version=1)
    world.accept(PURCHASE_FLOW, purchase(1, "e-2"))
    world.accept(MEMBER_FLOW, member(1))

    assert world.drain() == 2

    assert (world.rows(MEMBERS), world.state.count(EVENTS)) == (1, 1)
    (failed,) = world.batches_of(PURCHASES, "failed")
    assert "do not fit the table" in failed["errors"][1]["description"]


def test_small_files_are_merged_without_losing_a_row(world: World) -> None:
    pipeline = world.pipeline(compact_after=4)
    for number in range(9):
        world.accept(PURCHASE_FLOW, purchase(number, f"e-{number}"))
        pipeline.run_once()
    pipeline.close()

    assert world.rows(PURCHASES) == 9
    assert len(world.lake.files(lake_table(PROD.name, PURCHASES))) < 9
    assert select(world, PURCHASES, "SELECT count(DISTINCT _id) FROM t") == [[9]]


def test_merge_changes_only_what_it_names_and_delete_takes_the_fragment(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1, points=5, personID="p-1"))
    world.accept(MEMBER_FLOW, {"identityMap": member(1)["identityMap"], "loyalty": {"tier": "gold"}}, data_operation="merge")
    world.drain()
    assert fragment(world, 1)["loyalty"] == {"points": 5, "tier": "gold"}
    assert fragment(world, 1)["personID"] == "p-1"

    world.accept(MEMBER_FLOW, {"identityMap": member(1)["identityMap"]}, data_operation="delete")
    world.drain()

    assert fragment(world, 1) is None
    assert world.rows(MEMBERS) == 1
    summary = world.run_of(MEMBER_FLOW)["metrics"]["recordSummary"]
    assert (summary["outputRecordCount"], summary["updatedRecordCount"], summary["deletedRecordCount"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("flow", "message", "text"),
    [
        (PURCHASE_FLOW, purchase(1, "e-1"), "is for profile records"),
        (MEMBER_FLOW, {"loyalty": {"points": 1}}, "required key [identityMap] not found"),
        (
            MEMBER_FLOW,
            member(1, loyalty={"loyaltyID": ["1"]}),
            "loyalty.loyaltyID: an update must say what becomes of the stored array",
        ),
    ],
)
def test_an_upsert_that_cannot_be_done_is_kept_with_the_reason(world: World, flow: str, message: Json, text: str) -> None:
    world.accept(flow, message, data_operation="merge")

    world.drain()

    (failed,) = world.batches_of(MEMBERS if flow == MEMBER_FLOW else PURCHASES, "failed")
    (kept,) = Rejections(world.state).of_batch(PROD.id, failed["id"])
    assert text in kept.violations[0].message
    assert (world.state.count(FRAGMENTS), world.state.count(EVENTS)) == (0, 0)
