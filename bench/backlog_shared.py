"""What a backlog costs the real processes: courier and translator drain a journal that was filled while they were not there.

Run: python -m bench.backlog_shared [events]; 10,000,000 need about 13 GB of disk where TMPDIR says.
"""

import sys
import time

from bench import rig
from bench.backlog import fill
from capstream.layout import Layout
from capstream.relay.ledger import read_cursor
from capstream.storage.sqlite import SqliteDocuments

EVENTS = 1_000_000
_WATCH_S = 0.2


def measure(events: int = EVENTS) -> dict[str, float]:
    """Return webhooks drained a second, and the peak memory of courier and translator in MB."""
    with rig.Stub() as stub, rig.Rig(["gateway-relay"]) as running:
        running.register(stub)
        running.stop()
        layout = Layout(running.data)
        fill(layout.journal, events, "bench")
        documents = SqliteDocuments(layout.courier, readonly=True)
        started = time.perf_counter()
        running.start(["courier", "translator-1"])
        while read_cursor(documents) < events:
            running.tick()
            time.sleep(_WATCH_S)
        rate, peaks = events / (time.perf_counter() - started), running.peak_mb()
        documents.close()
    return {"drained, events/s": rate} | {f"peak memory of {role}, MB": peak for role, peak in peaks.items()}


if __name__ == "__main__":
    for what, figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS).items():
        print(f"{what:<40} {figure:>12,.0f}")
