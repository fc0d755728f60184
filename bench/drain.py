"""Drains a journal to an endpoint in a process of its own, set up as the real courier's: `python -m bench.drain FOLDER URL`.

Prints one JSON line, see `Figures`. While the file FOLDER/down is there the endpoint takes nothing; it is removed once
everything waits in the outboxes.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from capstream.process import hide_unused, tune_collector

hide_unused()

import httpx  # noqa: E402 - as in the real process, without what is hidden
import uvloop  # noqa: E402

from bench.courier import sources  # noqa: E402
from bench.memory import peak_mb  # noqa: E402
from capstream.kernel.clock import system_clock  # noqa: E402
from capstream.kernel.json import dumps  # noqa: E402
from capstream.relay import lines  # noqa: E402
from capstream.relay.courier import Courier, World  # noqa: E402
from capstream.relay.ledger import read_cursor, read_lanes, read_waiting  # noqa: E402
from capstream.storage.sqlite import SqliteDocuments, SqliteLog  # noqa: E402

_POLL_S = 0.005
_CACHE_KB = 6000
Figures = dict[str, float]
"""`read`, `drained`: seconds; `cpu`: seconds of the process while it drained; `peak`: MB."""


async def _drain(folder: Path, url: str) -> Figures:
    """Drain the journal; when the endpoint is down first, let everything wait in the outboxes and then drain those."""
    journal = SqliteLog(folder / "journal.db", readonly=True)
    documents = SqliteDocuments(folder / "courier.db", shrinks=True, cache_kb=_CACHE_KB)
    found: Figures = {}
    stop = asyncio.Event()
    async with lines.client(httpx.Timeout(60)) as client:
        courier = Courier(journal, documents, sources(folder, url), world=World(client=client, clock=system_clock))
        running = asyncio.create_task(courier.run(stop))
        start = time.perf_counter()
        await _until(lambda: read_cursor(documents) == journal.end())
        found["read"] = time.perf_counter() - start
        (folder / "down").unlink(missing_ok=True)
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


if __name__ == "__main__":
    tune_collector()
    figures = uvloop.run(_drain(Path(sys.argv[1]), sys.argv[2]))
    print(dumps(figures | {"peak": peak_mb(os.getpid())}).decode())
