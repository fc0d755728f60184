"""A batch of the pipeline is taken back: rows, fragments and events that only it brought. Source: batch-ingestion.md A4."""

import pytest
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, PURCHASE_FLOW, PURCHASES, World, member, purchase

from capstream.aep.catalog import reverts
from capstream.aep.catalog.own_batches import AllBatches, OwnBatches
from capstream.aep.data_access.rejected import Rejections
from capstream.aep.pipeline import reverting
from capstream.aep.profile.model import EVENTS, FRAGMENTS, PROFILES


@pytest.fixture(autouse=True)
def places(world: World) -> None:
    for dataset_id in (MEMBERS, PURCHASES):
        world.change_dataset(dataset_id, {"basePath": f"lake://{PROD.name}/{dataset_id}"})


def settle(world: World, *, seconds: int = 70) -> None:
    pipeline = world.pipeline()
    for _ in range(seconds):
        world.now_ms += 1000
        pipeline.run_once()
    pipeline.close()


def success(world: World, dataset_id: str) -> list[str]:
    return [each["id"] for each in world.batches_of(dataset_id, "success")]


def two_batches(world: World) -> list[str]:
    """Two batches of members: 0 to 2, then 2 and 3."""
    for numbers in ((0, 1, 2), (2, 3)):
        world.accept(MEMBER_FLOW, *(member(number) for number in numbers))
        settle(world)
    return success(world, MEMBERS)


@pytest.mark.parametrize("at_once", [2, 5000])
def test_what_only_the_batch_brought_goes(world: World, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverting, "_AT_ONCE", at_once)
    world.accept(PURCHASE_FLOW, purchase(0, "T-0"))
    first, second = two_batches(world)
    shown = AllBatches(world.batches, OwnBatches(world.control))
    reverts.order(world.control, PROD.id, first)
    batch = shown.get(PROD.id, first)
    assert batch is not None
    assert batch["status"] == "inactive"  # at once, before anything is done
    settle(world, seconds=10)
    assert world.rows(MEMBERS) == 2
    assert (world.state.count(FRAGMENTS), world.state.count(PROFILES), world.state.count(EVENTS)) == (2, 2, 1)
    assert success(world, MEMBERS) == [second]
    (inactive,) = world.batches_of(MEMBERS, "inactive")
    assert (inactive["id"], inactive["metrics"]["recordsWritten"]) == (first, 3)
    assert shown.latest(PROD.id)[MEMBERS].rows == 2
    world.accept(MEMBER_FLOW, member(1))
    settle(world, seconds=5)
    assert world.rows(MEMBERS) == 3  # the table takes rows as before


def test_an_order_outlives_the_process_and_is_done_once(world: World) -> None:
    first, _ = two_batches(world)
    reverts.order(world.control, PROD.id, first)
    world.restart()
    settle(world, seconds=10)
    assert world.rows(MEMBERS) == 2
    world.accept(MEMBER_FLOW, member(0))
    world.restart()
    settle(world, seconds=10)
    assert world.rows(MEMBERS) == 3
    assert reverts.pending(world.control, world.state) == []


def test_events_of_a_batch_go(world: World) -> None:
    for number in (1, 2):
        world.accept(PURCHASE_FLOW, purchase(number, f"T-{number}"))
        settle(world)
    reverts.order(world.control, PROD.id, success(world, PURCHASES)[0])
    settle(world, seconds=10)
    assert (world.rows(PURCHASES), world.state.count(EVENTS)) == (1, 1)


def test_a_failed_batch_waits_for_the_end_of_its_window_and_takes_its_records_along(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1, points="x"))  # type: ignore[arg-type]
    world.drain()
    (failed,) = world.batches_of(MEMBERS, "failed")
    reverts.order(world.control, PROD.id, failed["id"])
    settle(world, seconds=10)
    assert len(Rejections(world.state).of_batch(PROD.id, failed["id"])) == 1
    settle(world)
    (gone,) = world.batches_of(MEMBERS, "inactive")
    assert (gone["id"], gone["failedRecordCount"]) == (failed["id"], 1)
    assert Rejections(world.state).of_batch(PROD.id, failed["id"]) == []
