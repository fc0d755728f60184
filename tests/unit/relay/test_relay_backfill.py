"""Backfill: exports of a simulated programme, read, joined and sent into a real relay."""

import csv
import json
import os
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from relay_rig import Rig
from webhook_door import WebhookDoor

from capstream.capillary.history import Importer
from capstream.capillary.programme.config import Programme
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.synthetic import SyntheticShop, synthetic_bills
from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.json import dumps
from capstream.relay.backfill.book import Book
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import Template, exports_in, rows_of, template_of
from capstream.relay.backfill.run import Backfill, Options, write_rejects
from capstream.relay.exports import Exports
from capstream.relay.sources import Sources

BEARER = {"authorization": "Bearer webhook-secret"}
START = int(datetime(2024, 1, 2, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
PROGRAMME = Programme()
ORG = str(PROGRAMME.org.id)


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], list[dict[str, Any]]]:
    """A programme of 120 days: its exports, its events and its truth."""
    folder = tmp_path_factory.mktemp("exports")
    engine = Engine(PROGRAMME, seed=3)
    exports = Exports(engine, folder)
    shop = SyntheticShop(start_ms=START, end_ms=START + 120 * DAY, customers=40, bills_per_day=3, zone=ZoneInfo("Europe/London"))
    events = []
    for step in engine.run(synthetic_bills(shop, seed=3)):
        for event in step:
            exports.event(event)
            events.append(dumps(event.body))
    exports.finish()
    return folder, events, list(engine.truth())


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def door(tmp_path: Path, rig: Rig, vault: Any, clock: Any) -> Iterator[WebhookDoor]:
    with WebhookDoor(tmp_path, vault, clock) as found:
        yield found


def options(**changed: Any) -> Options:
    importer = Importer(ORG, zone=ZoneInfo("Europe/London"), program_id=str(PROGRAMME.program.id))
    return Options(**{"importer": importer, "pace": Pace(None), **changed})


def backfill(url: str, work: Path, folder: Path, **changed: Any) -> dict[str, int]:
    book, gate = Book(work / "progress.db"), Door(url, BEARER)
    try:
        counts = Backfill(book, gate, options(**changed)).run(exports_in(folder)[0])
        write_rejects(book, work / "rejects")
    finally:
        gate.close()
        book.close()
    counts.setdefault("read", 0)
    assert counts["read"] == sum(count for name, count in counts.items() if name != "read")
    return counts


def facts(rig: Rig) -> dict[str, Any]:
    """What a profile says, without when it was said."""
    left_out = ("stateVersion", "asOf", "lastEvent", "quality")
    found = json.loads(json.dumps(rig.edge.profiles()))
    for body in found.values():
        for name in left_out:
            body["capillary"].pop(name, None)
    return found


def test_stream_and_backfill_meet_and_nothing_counts_twice(rig: Rig, door: WebhookDoor, programme: Any, tmp_path: Path) -> None:
    folder, events, truth = programme
    for start in range(0, len(events), 500):
        body = b"[" + b",".join(events[start : start + 500]) + b"]"
        assert httpx.post(door.url, content=body, headers=BEARER).status_code == 200
    rig.drain()
    streamed, profiles = set(rig.edge.events()), facts(rig)
    backfill(door.url, tmp_path / "work", folder)
    rig.drain()
    assert rig.letters() == []
    assert set(rig.edge.events()) == streamed
    after = facts(rig)
    assert after.keys() == profiles.keys()
    for row in truth:
        body = after[f"capillary:{ORG}:member:{row['customerId']}"]
        if "merged_into" in row or "deleted" in row:
            continue
        before = profiles[f"capillary:{ORG}:member:{row['customerId']}"]
        assert body["loyalty"] == {**before["loyalty"], "lifetimePurchases": row["lifetimePurchases"]}, row["customerId"]
        assert body["identityMap"] == before["identityMap"]


def test_backfill_alone_gives_bills_with_lines_and_the_members_balances(
    rig: Rig, door: WebhookDoor, programme: Any, tmp_path: Path
) -> None:
    folder, events, truth = programme
    counts = backfill(door.url, tmp_path / "work", folder)
    rig.drain()
    assert counts.get("rejected", 0) == 0
    assert rig.letters() == []
    bills = [json.loads(body) for body in events if b'"transactionAdded"' in body]
    assert len(rig.edge.events()) == len(bills)
    for event in rig.edge.events().values():
        assert {"productLineItems", "commerce"} <= event.keys(), event
        assert event["commerce"]["order"]["payments"]
    found = rig.edge.profiles()
    for row in truth:
        if "merged_into" in row or "deleted" in row:
            continue
        loyalty = found[f"capillary:{ORG}:member:{row['customerId']}"]["loyalty"]
        assert loyalty["points"] == row["points"]
        assert loyalty["lifetimePoints"] == row["lifetimePoints"]
        assert loyalty["pointsRedeemed"] == row["pointsRedeemed"]
        assert loyalty["tier"] == row["tier"]


def test_a_second_run_sends_nothing(rig: Rig, door: WebhookDoor, programme: Any, tmp_path: Path) -> None:
    folder, _, _ = programme
    first = backfill(door.url, tmp_path / "work", folder)
    end = len(rig.journal.read(0, 100_000))
    assert backfill(door.url, tmp_path / "work", folder) == {"read": 0}
    assert len(rig.journal.read(0, 100_000)) == end
    again = backfill(door.url, tmp_path / "other", folder)  # another book knows nothing: the relay tells repeats
    assert again["duplicates"] == first["delivered"]
    assert len([1 for _, record in rig.journal.read(0, 100_000) if b"history-" in record]) == end


def test_newer_streamed_values_stay(rig: Rig, door: WebhookDoor, make_event: Any, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    columns = "user_id,loyalty_points,lifetime_points,redeemed_points,email,auto_update_time_cps,date.date\n"
    as_of = 1_731_000_002  # seconds; the event below came a second later
    (folder / "Daily_Members_2024-11-08-00-00-00.csv").write_text(
        columns + f"900000101,7,500,40,member-0001@example.com,{as_of},12-09-2024\n"
    )
    assert httpx.post(door.url, content=make_event(3), headers=BEARER).status_code == 200
    rig.drain()
    counts = backfill(door.url, tmp_path / "work", folder, importer=Importer("700123", zone=ZoneInfo("UTC"), program_id="4101"))
    rig.drain()
    assert counts == {"read": 1, "delivered": 1, "duplicates": 0, "merged": 0, "rejected": 0}
    [body] = rig.edge.profiles().values()
    assert body["loyalty"]["points"] == 30
    assert body["loyalty"]["lifetimePoints"] == 30
    assert body["loyalty"]["pointsRedeemed"] == 40
    assert body["loyalty"]["joinDate"] == "2024-09-12T00:00:00.000Z"
    assert body["identityMap"]["email"][0]["id"] == "member-900000101@example.com"


BAD = [
    ("bill_id", "", "is missing"),
    ("date.date", "2024-13-40", "calendar"),
    ("quantity", "1,5", "no number"),
    ("zone_till.timezone", "Mars/Base", "IANA"),
    ("time.time", "25:00:00", "no time"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD, ids=[column for column, _, _ in BAD])
def test_a_bad_row_is_refused_with_its_whole_bill_and_can_be_mended(
    rig: Rig, door: WebhookDoor, tmp_path: Path, column: str, value: str, reason: str
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    good = {
        "bill_id": "880100001", "bill_amount": "20", "line_item_id": "1", "item_code": "A", "quantity": "1", "rate": "10",
        "line_item_amount": "10", "user.user_id": "900000101", "date.date": "2024-09-17", "time.time": "15:02:58",
        "zone_till.timezone": "Europe/London",
    }  # fmt: skip
    rows = [good | {column: value}, good | {"line_item_id": "2"}]
    with (folder / "Daily_Transactions_2024-09-18-00-00-00.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(good))
        writer.writeheader()
        writer.writerows(rows if column != "bill_id" else rows[:1])
    backfill(door.url, tmp_path / "work", folder)
    path = tmp_path / "work" / "rejects" / "Transactions.csv"
    refused = list(csv.DictReader(path.read_text().splitlines()))
    assert len(refused) == (1 if column == "bill_id" else 2)
    assert reason in refused[0]["reject_reason"]
    assert refused[0]["reject_cure"]
    assert (refused[0]["reject_line"], refused[0]["reject_field"]) == ("2", column.rpartition(".")[2])
    name = column.rpartition(".")[2]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(refused[0]))
        writer.writeheader()
        writer.writerows({**row, name: good[column]} for row in refused)
    counts = backfill(door.url, tmp_path / "work", path.parent)
    assert counts["delivered"] == len(refused)
    assert not path.exists()


def test_a_process_killed_at_any_moment_goes_on_where_it_was(rig: Rig, door: WebhookDoor, programme: Any, tmp_path: Path) -> None:
    folder, _, _ = programme
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nsys.path[:0] = [sys.argv[4], sys.argv[5]]\n"
        "import test_relay_backfill as t\nfrom capstream.relay.backfill.door import Pace\n"
        "def show(phase, counts):\n    print(phase, flush=True)\n"
        "t.backfill(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), pace=Pace(400.0), progress=show)\n"
    )
    here = Path(__file__).parent
    arguments = [door.url, str(tmp_path / "work"), str(folder), str(here), str(here.parent.parent)]
    for seen in (1, 2, 1):
        process = subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(seen):
            process.stdout.readline()
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    counts = backfill(door.url, tmp_path / "work", folder)
    fresh = backfill(door.url, tmp_path / "fresh", folder)
    assert counts["read"] == fresh["read"]
    assert counts["delivered"] + counts["duplicates"] == fresh["duplicates"]
    rig.drain()
    records = [record for _, record in rig.journal.read(0, 100_000) if b"history-" in record]
    assert len({record[record.index(b"history-") :][:40] for record in records}) == len(records)


NAMES = [
    ("DailyMembers_Members_2019-10-29-12-30-02_1572356331802.zip", Template.MEMBERS),
    ("Daily__Return Transactions__2019-10-29-12-30-02.zip", Template.RETURNS),
    ("customer_summary.csv", Template.MEMBERS),
    ("Payment Mode.csv", Template.PAYMENTS),
    ("DailySlabChange_SlabChangeLog_2019-10-29-12-30-02_1572356331802.zip", Template.SLABS),
    ("Daily_Points_2019-10-29-12-30-02.zip.pgp", Template.POINTS),
    ("Daily_CustomerMergeEventLog_2019-10-29-12-30-02.zip", Template.MERGES),
    ("Daily_CardDetails_2019-10-29-12-30-02.zip", None),
]


@pytest.mark.parametrize(("name", "template"), NAMES)
def test_names_tell_templates(name: str, template: Template | None) -> None:
    assert template_of(name) is template


def test_damaged_archives_missing_columns_and_wrong_secrets_are_told(door: WebhookDoor, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    file = folder / "Members.zip"
    file.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="damaged"):
        backfill(door.url, tmp_path / "w", folder)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("Members.csv", "email\nmember-0001@example.com\n")
    with pytest.raises(InputError, match="no column user_id"):
        backfill(door.url, tmp_path / "w", folder)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("Members.csv", "who,auto_update_time_cps\n1,1731000002\n")
    book, gate = Book(tmp_path / "w" / "progress.db"), Door(door.url, {"authorization": "Bearer wrong"})
    with pytest.raises(CapstreamError, match="401"):
        Backfill(book, gate, options(aliases={"who": "user_id"})).run(exports_in(folder)[0])
    gate.close()
    book.close()


def test_a_packed_line_without_end_does_not_get_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "Members.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("Members.csv", "w") as packed:
        packed.write(b"user_id,auto_update_time_cps\n")
        for _ in range(40):
            packed.write(b"0" * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a line is longer than"):
            list(rows_of(exports_in(tmp_path)[0][0], aliases={}))
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_the_rate_is_kept() -> None:
    waits: list[float] = []
    pace = Pace(100.0, now=lambda: 5.0, sleep=waits.append)
    for _ in range(3):
        pace.take(50)
    assert waits == [0.5, 1.0]
