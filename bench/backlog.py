"""What a backlog costs: the journal is written directly, then a courier in a process of its own drains it to a stub.

Run: python -m bench.backlog [events]; 10,000,000 is the mark of the issue and needs about 12 GB of disk.
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from bench.courier import GROUP, sources, stub
from bench.rig import peak_mb, webhooks
from capstream.kernel.clock import system_clock
from capstream.relay.courier import Courier, World
from capstream.relay.journal import Entry, encode
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

EVENTS = 100_000
_SHARES = (4, 1)


def _write(folder: Path, events: int) -> None:
    journal, now, bodies = SqliteLog(folder / "journal.db"), system_clock(), webhooks()
    for _ in range(0, events, GROUP):
        journal.append([encode(Entry("nw", now, 0, b"", next(bodies))) for _ in range(GROUP)])
    journal.close()


async def _drain(folder: Path, url: str) -> float:
    journal, documents = SqliteLog(folder / "journal.db"), SqliteDocuments(folder / "courier.db")
    async with httpx.AsyncClient() as client:
        start = time.perf_counter()
        await Courier(journal, documents, sources(folder, url), world=World(client=client, clock=system_clock)).drain()
        return time.perf_counter() - start


def _work(folder: Path, url: str, answer: Connection) -> None:
    seconds = asyncio.run(_drain(folder, url))
    answer.send((seconds, peak_mb(multiprocessing.current_process().pid or 0)))


def measure(events: int = EVENTS) -> dict[str, float]:
    """Return how fast backlogs of two sizes drain, in events/s, and the courier's peak memory, in MB, for each."""
    found: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    for size in (events // share for share in _SHARES):
        with tempfile.TemporaryDirectory() as name, stub() as url:
            _write(Path(name), size)
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(Path(name), url, there))
            process.start()
            seconds, peak = here.recv()
            process.join()
        found[f"backlog of {size:,}: drained, events/s"] = size / seconds
        found[f"backlog of {size:,}: the courier's peak memory, MB"] = peak
    return found


if __name__ == "__main__":
    for what, figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS).items():
        print(f"{what:<60} {figure:>12,.0f}")
