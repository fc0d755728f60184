"""What a backlog costs: webhooks that nobody read, and an outage: payloads that the endpoint did not take.

The journal is written directly; a courier in a process of its own, set up as the real one, drains it to a stub.
Run: python -m bench.backlog [events]; 10,000,000 is the mark of the issue and needs about 12 GB of disk.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.courier import GROUP, stub
from bench.drain import Figures
from bench.rig import webhooks
from capstream.kernel.clock import system_clock
from capstream.kernel.json import loads
from capstream.relay.journal import Entry, encode
from capstream.storage.sqlite import SqliteLog

EVENTS = 100_000
_SHARES = (4, 1)


def fill(file: Path, events: int, source_key: str) -> None:
    """Write webhooks of a source into a journal."""
    journal, now, bodies = SqliteLog(file), system_clock(), webhooks()
    for _ in range(0, events, GROUP):
        journal.append([encode(Entry(source_key, now, 0, b"", next(bodies))) for _ in range(GROUP)])
    journal.close()


def _measured(events: int, *, is_outage: bool) -> Figures:
    with tempfile.TemporaryDirectory() as name, stub(Path(name) / "down") as url:
        fill(Path(name) / "journal.db", events, "nw")
        if is_outage:
            (Path(name) / "down").touch()
        command = [sys.executable, "-m", "bench.drain", name, url]
        found: Figures = loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
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
