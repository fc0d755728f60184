"""What is left of a deleted dataset goes. Source: catalog.md 5."""

import pytest
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, PURCHASE_FLOW, PURCHASES, START_MS, World, member, purchase

from capstream.aep.catalog.model import Author, Datasets
from capstream.aep.observability_insights.series import SERIES
from capstream.aep.pipeline import cleaning
from capstream.aep.profile.model import COUNTS, EVENTS, FRAGMENTS, PROFILES


def delete(world: World, dataset_id: str) -> None:
    world.change_dataset(dataset_id, {"basePath": f"lake://{PROD.name}/{dataset_id}"})
    author = Author(org_id="o", sandbox=PROD, user_id="u", client_id="c", now_ms=START_MS)
    Datasets(world.control).remove(author, dataset_id)


def settle(world: World) -> None:
    pipeline = world.pipeline()
    for _ in range(20):
        world.now_ms += 1000
        pipeline.run_once()
    pipeline.close()


@pytest.mark.parametrize("at_once", [2, 5000])
def test_a_deleted_dataset_leaves_nothing_and_takes_nothing_of_others(
    world: World, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_AT_ONCE", at_once)
    world.accept(MEMBER_FLOW, *(member(number) for number in range(5)))
    world.accept(PURCHASE_FLOW, *(purchase(number, f"T-{number}") for number in range(3)))
    world.drain()
    assert (world.rows(MEMBERS), world.rows(PURCHASES)) == (5, 3)
    delete(world, MEMBERS)
    settle(world)
    assert (world.rows(MEMBERS), world.rows(PURCHASES)) == (0, 3)
    assert world.state.count(FRAGMENTS) == world.state.count(PROFILES) == 0
    assert world.state.count(EVENTS) == 3
    assert world.state.get(COUNTS, f"{PROD.id}/dataset/{MEMBERS}") == b"0"
    assert world.state.count(SERIES, prefix=f"{PROD.id}/dataset/{MEMBERS}/") == 0
    assert world.state.count(SERIES, prefix=f"{PROD.id}/dataset/{PURCHASES}/") > 0
    assert not (world.folder / "lake" / PROD.name / "xdm" / MEMBERS).exists()
    world.accept(MEMBER_FLOW, member(7))
    settle(world)
    assert not (world.folder / "lake" / PROD.name / "xdm" / MEMBERS).exists()
    assert world.run_of(MEMBER_FLOW)["metrics"]["recordSummary"]["failedRecordCount"] == 1


def test_cleaning_goes_on_after_a_restart_and_is_done_once(world: World) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    delete(world, MEMBERS)
    world.restart()
    settle(world)
    assert world.state.count(cleaning.CLEANED) == 1
    assert world.rows(MEMBERS) == 0
