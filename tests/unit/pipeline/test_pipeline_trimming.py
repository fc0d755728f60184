"""The inlet log forgets what the pipeline has processed, and nothing else."""

import asyncio

import pytest
from pipeline_world import PURCHASE_FLOW, PURCHASES, Crash, World, purchase

from capstream.aep.pipeline.loop import Step
from capstream.aep.profile.model import EVENTS
from capstream.aep.streaming_ingestion.trimming import Trimming


def sweep(world: World) -> int:
    """Return how many messages went."""
    trimming = Trimming(world.inlet, lambda: int(world.state.get("cursors", "inlet") or b"0"))
    return asyncio.run(trimming.sweep(asyncio.Event()))


def test_a_request_goes_when_its_last_message_is_processed(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(1, "e-2"))
    world.accept(PURCHASE_FLOW, purchase(1, "e-3"))
    pipeline = world.pipeline(max_records=1)
    gone = []
    while pipeline.run_once():
        gone.append(sweep(world))
    pipeline.close()

    assert gone == [0, 2, 1]
    assert (world.inlet.read(0, 10), world.inlet.end(), world.state.count(EVENTS)) == ([], 3, 3)


@pytest.mark.parametrize("step", list(Step))
def test_after_a_crash_everything_that_is_not_processed_is_there(world: World, step: Step) -> None:
    for number in range(1, 5):
        world.accept(PURCHASE_FLOW, purchase(1, f"e-{number}"))
    for _ in range(2):
        with pytest.raises(Crash):
            world.drain_until_crash(step, max_records=1)
        sweep(world)
        world.restart()
    world.accept(PURCHASE_FLOW, purchase(1, "e-5"))
    world.drain(max_records=1)

    sweep(world)

    assert (world.state.count(EVENTS), world.rows(PURCHASES), world.inlet.read(0, 10)) == (5, 5, [])


def test_keys_of_forgotten_rows_are_still_known(world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    (record,) = [body for _, body in world.inlet.read(0, 1)]
    world.inlet.append([record], keys=[b"row 1"])
    world.drain()
    assert sweep(world) == 2

    world.restart()

    assert world.inlet.seen([b"row 1", b"row 2"]) == {b"row 1": 2}
