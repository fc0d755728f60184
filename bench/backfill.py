"""`python -m bench.backfill`: rows a second of processor time and resident memory of a backfill, over files of two sizes.

The relay is a stub that accepts everything, so the figures are the command's own. The rows of a bill lie far apart in the file.
`python -m bench.backfill curve [ROWS]` imports one export of 2 million rows and prints the memory as it goes.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from capstream.capillary.history import Importer
from capstream.relay.backfill.book import Book
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import exports_in
from capstream.relay.backfill.run import Backfill, Options

_SIZES = (10_000, 100_000)  # bills of three lines
_HEADER = (
    b"bill_id,bill_number,bill_amount,line_item_id,item_code,description,quantity,rate,line_item_amount,"
    b"user.user_id,date.date,time.time,zone_till.store,zone_till.timezone\n"
)
_ROW = b"%d,B%d,30,%d,SKU%d,a thing,1,10,10,%d,2024-09-17,15:02:58,str.1,Europe/London\n"
_MARK = 250_000  # rows between two lines of the curve
_STEP = 7919  # a prime: visits every bill once


def generate(folder: Path, bills: int) -> None:
    """Write a zipped export of `bills` bills."""
    folder.mkdir(parents=True)
    archive = zipfile.ZipFile(folder / "Bench_Transactions_2024-01-01-00-00-00.zip", "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("transactions.csv", "w", force_zip64=True) as file:
        file.write(_HEADER)
        for line in range(3):
            for number in range(bills):
                bill = number * _STEP % bills
                file.write(_ROW % (bill, bill, bill * 3 + line, bill % 400, 900_000_000 + bill % 50_000))


def measure(folder: Path, work: Path) -> None:
    """Import a folder and print the figures as one JSON line."""

    def relay(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"events": [{"status": "accepted"}] * request.content.count(b'"eventName"')})

    book = Book(work / "progress.db")
    door = Door("http://relay.test/", {}, client=httpx.Client(transport=httpx.MockTransport(relay)))
    options = Options(importer=Importer("700123", zone=ZoneInfo("UTC")), pace=Pace(None))
    began = time.process_time()
    counts = Backfill(book, door, options).run(exports_in(folder)[0])
    seconds = time.process_time() - began
    megabytes = _peak_mb()
    print(json.dumps({"rows": counts["read"], "rowsPerCpuSecond": round(counts["read"] / seconds), "residentMb": megabytes}))
    door.close()
    book.close()


def resident_mb() -> float:
    """Return the memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024 / 1024


def curve(folder: Path, work: Path) -> None:
    """Import a folder and print the memory at every tenth of the rows read and of the bills sent."""
    sent, marks = 0, set[tuple[str, int]]()

    def relay(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        events = request.content.count(b'"eventName"')
        sent += events
        return httpx.Response(200, json={"events": [{"status": "accepted"}] * events})

    def show(phase: str, counts: Mapping[str, int]) -> None:
        done = counts["delivered"] if phase == "bills" else counts["read"]
        step = ("sent" if phase == "bills" else "read", done // _MARK)
        if step not in marks:
            marks.add(step)
            print(json.dumps({"phase": step[0], "rows": done, "residentMb": round(resident_mb(), 1)}), flush=True)

    book = Book(work / "progress.db")
    door = Door("http://relay.test/", {}, client=httpx.Client(transport=httpx.MockTransport(relay)))
    options = Options(importer=Importer("700123", zone=ZoneInfo("UTC")), pace=Pace(None), progress=show)
    began = time.process_time()
    counts = Backfill(book, door, options).run(exports_in(folder)[0])
    seconds = round(time.process_time() - began)
    print(json.dumps({"counts": counts, "events": sent, "cpuSeconds": seconds, "peakMb": _peak_mb()}))
    door.close()
    book.close()


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure each size in a process of its own."""
    if sys.argv[1:2] == ["curve"]:
        with tempfile.TemporaryDirectory() as place:
            generate(Path(place) / "exports", int(sys.argv[2] if len(sys.argv) > 2 else 2_000_000) // 3)
            curve(Path(place) / "exports", Path(place) / "work")
        return
    if len(sys.argv) == 3:
        measure(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as place:
        for bills in _SIZES:
            folder = Path(place) / str(bills)
            generate(folder, bills)
            work = Path(place) / f"work{bills}"
            subprocess.run([sys.executable, "-m", "bench.backfill", str(folder), str(work)], check=True)


if __name__ == "__main__":
    main()
