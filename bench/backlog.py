"""What a backlog costs: webhooks that nobody read, and an outage: payloads that the endpoint did not take.

The journal is written directly; a courier in a process of its own, set up as the real one, drains it to a stub.
Run: python -m bench.backlog [events]; 10,000,000 is the mark of the issue and needs about 12 GB of disk.
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import uvloop

from bench.courier import GROUP, sources, stub
from bench.rig import peak_mb, webhooks
from capstream.kernel.clock import system_clock
from capstream.process import tune_collector
from capstream.relay.courier import Courier, World
from capstream.relay.journal import Entry, encode
from capstream.relay.ledger import read_cursor, read_lanes, read_waiting
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

EVENTS = 100_000
_SHARES = (4, 1)
_POLL_S = 0.005
_CACHE_KB = 6000
Figures = dict[str, float]


def _write(folder: Path, events: int) -> None:
    journal, now, bodies = SqliteLog(folder / "journal.db"), system_clock(), webhooks()
    for _ in range(0, events, GROUP):
        journal.append([encode(Entry("nw", now, 0, b"", next(bodies))) for _ in range(GROUP)])
    journal.close()


async def _drain(folder: Path, url: str, down: Path) -> Figures:
    """Drain the journal; when the stub is down first, let everything wait in the outboxes and then drain those."""
    journal = SqliteLog(folder / "journal.db", readonly=True)
    documents = SqliteDocuments(folder / "courier.db", shrinks=True, cache_kb=_CACHE_KB)
    found: Figures = {}
    stop = asyncio.Event()
    async with httpx.AsyncClient() as client:
        courier = Courier(journal, documents, sources(folder, url), world=World(client=client, clock=system_clock))
        running = asyncio.create_task(courier.run(stop))
        start = time.perf_counter()
        await _until(lambda: read_cursor(documents) == journal.end())
        found["read"] = time.perf_counter() - start
        down.unlink(missing_ok=True)
        waiting, cpu = read_waiting(documents)["outbox"], time.process_time()
        await _until(lambda: read_waiting(documents)["outbox"] < max(waiting, 1))  # the lanes wait for their next try
        start = time.perf_counter()
        await _until(lambda: not read_lanes(documents))
        found |= {"drained": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        stop.set()
        await running
    return found


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(_POLL_S)


def _work(folder: Path, url: str, down: Path, answer: Connection) -> None:
    tune_collector()
    found = uvloop.run(_drain(folder, url, down))
    answer.send(found | {"peak": peak_mb(multiprocessing.current_process().pid or 0)})


def _measured(events: int, *, is_outage: bool) -> Figures:
    with tempfile.TemporaryDirectory() as name, stub(Path(name) / "down") as url:
        _write(Path(name), events)
        down = Path(name) / "down"
        if is_outage:
            down.touch()
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(Path(name), url, down, there))
        process.start()
        found: Figures = here.recv()
        process.join()
    return found


def measure(events: int = EVENTS) -> dict[str, float]:
    """Return how fast backlogs of two sizes drain, in events/s, and the courier's peak memory, in MB; the same of an outage."""
    found: dict[str, float] = {}
    for size in (events // share for share in _SHARES):
        figures = _measured(size, is_outage=False)
        found[f"backlog of {size:,}: drained, events/s"] = size / (figures["read"] + figures["drained"])
        found[f"backlog of {size:,}: the courier's peak memory, MB"] = figures["peak"]
    figures = _measured(events, is_outage=True)
    found[f"outage of {events:,}: put into the outboxes, events/s"] = events / figures["read"]
    found[f"outage of {events:,}: drained, events/s"] = events / figures["drained"]
    found[f"outage of {events:,}: drained, CPU µs an event"] = figures["cpu"] / events * 1e6
    found[f"outage of {events:,}: the courier's peak memory, MB"] = figures["peak"]
    return found


if __name__ == "__main__":
    for what, figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS).items():
        print(f"{what:<60} {figure:>12,.0f}")
