"""Fetching the files of runs: side by side, cut off, and while flow or files change. Source: batch-ingestion.md B4-B6."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from file_world import FileWorld, csv

from capstream.aep.file_ingestion.collector import RETRY_AFTER_S
from capstream.aep.file_ingestion.fetching import LANES, PER_ACCOUNT, Fetch, Fetched, Fetches
from capstream.aep.flow_service import file_runs, sftp
from capstream.aep.flow_service.file_runs import FileRun
from capstream.aep.flow_service.file_store import Entry, Unreachable


def test_files_listed_after_a_broken_attempt_are_not_taken_for_others(world: FileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        world.put(f"in/{number}.csv", csv(number, points=str(number)))
        os.utime(world.remote / f"in/{number}.csv", (1000 + number, 1000 + number))
    flow = world.flow("/in/*.csv")
    fetch = sftp._Session.fetch

    def breaks(self: sftp._Session, entry: Entry, into: Path, progress: Callable[[int], None]) -> None:
        if entry.name == "2.csv":
            raise Unreachable("the line broke")
        fetch(self, entry, into, progress)

    with monkeypatch.context() as broken:
        broken.setattr(sftp._Session, "fetch", breaks)
        world.collect()
    world.put("in/0.csv", csv(4, points="4"))
    os.utime(world.remote / "in/0.csv", (1000, 1000))  # it comes before the one that is there already
    world.now_ms += RETRY_AFTER_S[0] * 1000
    world.collect()
    (run,) = world.runs_of(flow)
    assert world.counts(run) == (7, 7, 0, 0)


class Held:
    """Keeps what is fetched of files of one name until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.go, self.held = threading.Event(), threading.Semaphore(0)
        fetch = sftp._Session.fetch

        def slow(session: sftp._Session, entry: Entry, into: Path, progress: Callable[[int], None]) -> None:
            if entry.name == name:
                self.held.release()
                self.go.wait(30)
                progress(0)
            fetch(session, entry, into, progress)

        monkeypatch.setattr(sftp._Session, "fetch", slow)


def test_a_slow_server_holds_up_its_own_runs_only(world: FileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("slow.csv", csv(2))
    world.put("quick.csv", csv(3, first=10))
    held = Held(monkeypatch, "slow.csv")
    slow = world.flow("/slow.csv")
    collector = world.collector()
    try:
        collector.run_once()
        assert held.held.acquire(timeout=30)
        quick = world.flow("/quick.csv")
        while world.runs_of(quick) == [] or world.runs_of(quick)[0]["state"] == "inProgress":
            collector.run_once()
            world.drain()
        assert (world.runs_of(quick)[0]["state"], world.runs_of(slow)[0]["state"]) == ("success", "inProgress")
        held.go.set()
        collector.fetches.wait()
        collector.run_once()
        world.drain()
    finally:
        held.go.set()
        collector.fetches.close()
    (run,) = world.runs_of(slow)
    assert (run["state"], world.counts(run)) == ("success", (2, 2, 0, 0))


def test_a_flow_deleted_while_its_files_come_leaves_nothing_behind(world: FileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("slow.csv", csv(2))
    held = Held(monkeypatch, "slow.csv")
    flow = world.flow("/slow.csv")
    collector = world.collector()
    collector.run_once()
    assert held.held.acquire(timeout=30)
    assert world.ask("deleteByFlow", id=flow)[0] == 204
    world.drain()
    held.go.set()
    collector.fetches.wait()
    collector.run_once()
    collector.fetches.close()
    assert (file_runs.unfinished(world.control), list((world.folder / "spool").iterdir())) == ([], [])


def test_a_collector_that_is_stopped_ends_its_fetches_and_goes_on_later(
    world: FileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("slow.csv", csv(2))
    held = Held(monkeypatch, "slow.csv")
    flow = world.flow("/slow.csv")
    stop = threading.Event()
    collector = world.collector()
    collector._stop = stop
    collector.run_once()
    assert held.held.acquire(timeout=30)
    stop.set()
    held.go.set()
    collector.fetches.close()
    ((_, result),) = collector.fetches.finished()
    assert result.exception() is not None
    world.drain()
    assert world.runs_of(flow)[0]["state"] == "inProgress"
    world.collect()
    assert world.counts(world.runs_of(flow)[0]) == (2, 2, 0, 0)


def test_one_account_does_not_take_every_lane() -> None:
    fetches, go = Fetches(), threading.Event()

    class Waiting:
        def __init__(self, number: int) -> None:
            self.run = FileRun(sandbox_id="s", flow_id=str(number), started_ms=1)

        def bring(self) -> Fetched:
            go.wait(30)
            return Fetched([], 0)

    for number in range(PER_ACCOUNT):
        assert fetches.has_room("a")
        fetches.begin("a", cast(Fetch, Waiting(number)))
    assert (fetches.has_room("a"), fetches.has_room("b")) == (False, True)
    for number in range(PER_ACCOUNT, LANES):
        fetches.begin(f"b{number}", cast(Fetch, Waiting(number)))
    assert not fetches.has_room("c")
    go.set()
    fetches.wait()
    assert len(list(fetches.finished())) == LANES
    assert fetches.has_room("a")
    fetches.close()
