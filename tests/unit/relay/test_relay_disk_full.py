"""A disk that is really full, a small file system in memory: what was acknowledged is delivered once there is room again."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_edge import FakeEdge
from relay_rig import Rig

from capstream.relay.ledger import read_cursor
from capstream.relay.sources import Sources
from capstream.storage.ports import StorageUnavailable

FLOW = "flow-event"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def rig(disk: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(disk, sources, clock)
    yield found
    found.close()


def fill(disk: Path) -> None:
    """Leave no byte on the disk."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def numbers(edge: FakeEdge) -> list[int]:
    """Return the events that were taken, in the order of their first arrival."""
    firsts = dict.fromkeys(int(message["_id"].rpartition("-")[2]) for message in edge.accepted.get(FLOW, []))
    return list(firsts)


def acknowledge_until_full(rig: Rig, make_event: Any) -> int:
    """Receive webhooks by the hundred until the disk refuses; return how many were acknowledged."""
    for acknowledged in range(0, 100_000, 100):
        try:
            rig.receive(*(make_event(acknowledged + more, customer=900) for more in range(1, 101)))
        except StorageUnavailable:
            return acknowledged
    raise AssertionError("the disk was never full")


def drain_on_a_full_disk(rig: Rig, checkpoint: Callable[[str], None] = lambda _: None) -> None:
    """Let a courier try. SQLite cannot even open a file for reading when there is no room for its shared memory."""
    try:
        rig.drain(checkpoint=checkpoint, portion=10)
    except* (StorageUnavailable, sqlite3.OperationalError):
        pass


def test_what_was_acknowledged_before_the_disk_was_full_is_delivered(rig: Rig, disk: Path, make_event: Any) -> None:
    acknowledged = acknowledge_until_full(rig, make_event)
    assert acknowledged > 0
    drain_on_a_full_disk(rig)
    fill(disk)
    drain_on_a_full_disk(rig)
    make_room(disk)
    assert rig.journal.end() == acknowledged, "what was refused is not kept"
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    rig.drain()
    assert numbers(rig.edge) == list(range(1, acknowledged + 1))
    assert read_cursor(rig.documents) == acknowledged
    assert rig.status()["balanced"]


@pytest.mark.parametrize("step", ["translated", "posted"])
def test_a_disk_that_fills_before_the_batch_is_settled_repeats_it_without_effect(
    rig: Rig, disk: Path, make_event: Any, step: str
) -> None:
    assert os.statvfs(disk).f_bavail > 0
    rig.receive(*(make_event(number, customer=900 + number % 3) for number in range(1, 101)))

    def full(name: str) -> None:
        if name == step and not (disk / "filler").exists():
            fill(disk)

    drain_on_a_full_disk(rig, full)
    cursor = read_cursor(rig.documents)
    make_room(disk)
    rig.drain(portion=10)
    assert cursor < 100, "the full disk struck"
    assert numbers(rig.edge) == list(range(1, 101))
    for message in rig.edge.accepted[FLOW]:
        assert message == rig.edge.events()[message["_id"]]
    assert {profile["capillary"]["customerId"]: profile["loyalty"]["points"] for profile in rig.edge.profiles().values()} == {
        "900": 990,
        "901": 1000,
        "902": 980,
    }
    assert rig.status()["balanced"]
