"""File flows: fetched, read, mapped, validated, landed, counted. Source: batch-ingestion.md B4-B6, flow-service.md 3.5, 8."""

import gzip
import io
import os
import shutil

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_world import FileWorld, csv
from pipeline_world import MEMBERS, PROD, identities

from capstream.aep.data_access.rejected import Rejections
from capstream.aep.file_ingestion.collector import RETRY_AFTER_S
from capstream.aep.flow_service import file_runs
from capstream.aep.profile.model import FRAGMENTS, StoredFragment
from capstream.kernel.json import Json, dumps, loads


def parquet(count: int) -> bytes:
    buffer = io.BytesIO()
    rows = [{"_id": f"P-{n}", "loyalty": {"points": n, "tier": None}} for n in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


UPSERTS = [
    (["enabled:true", "isUpsert:true"], {"points": 20, "tier": "gold"}),
    (["isUpsert:true", "enabled:true"], {"points": 20, "tier": "gold"}),
    (["enabled:true"], {"points": 20}),
]


def test_a_run_brings_the_rows_of_a_file_into_dataset_and_profiles(world: FileWorld) -> None:
    world.put("members.csv", csv(3))
    flow = world.flow("/members.csv")
    assert world.runs_of(flow) == []
    world.collect()
    (run,) = world.runs_of(flow)
    assert (run["state"], world.counts(run), world.rows(MEMBERS)) == ("success", (3, 3, 0, 0), 3)
    assert world.state.count(FRAGMENTS) == 3
    metrics = run["metrics"]
    assert metrics["fileSummary"]["inputFileCount"] == 1
    assert [each["id"] for each in run["activities"]] == ["copyActivity", "promotionActivity"]
    copied, promoted = run["activities"]
    assert copied["sizeSummary"]["inputBytes"] == len(csv(3))
    assert copied["statusSummary"]["extensions"]["type"] == "one-time"
    (batch,) = world.batches_of(MEMBERS, "success")
    assert promoted["targetInfo"][0]["reference"]["ids"] == [batch["id"]]
    assert (batch["inputFormat"], batch["recordCount"]) == ({"format": "csv"}, 3)
    assert world.ask("retrieveFlow", id=flow)[1]["items"][0]["lastRunDetails"]["id"] == run["id"]
    assert "inletUrl" not in world.ask("retrieveFlow", id=flow)[1]["items"][0]["options"]
    world.collect()
    world.now_ms += 86_400_000
    world.collect()
    assert len(world.runs_of(flow)) == 1  # frequency once
    assert list((world.folder / "spool").iterdir()) == []


@pytest.mark.parametrize(("tags", "loyalty"), UPSERTS, ids=["upsert", "in any order", "without"])
def test_rows_of_files_change_a_profile_or_replace_it(world: FileWorld, tags: list[str], loyalty: dict[str, Json]) -> None:
    world.save_dataset(MEMBERS, unifiedProfile=tags)
    world.change_dataset(MEMBERS, {"basePath": f"lake://{PROD.name}/{MEMBERS}"})
    world.put("1.csv", b"memberId,points,tier\nM-1,10,gold\n")
    world.put("2.csv", b"memberId,points,tier\nM-1,20,\n")
    for name in ("1.csv", "2.csv"):
        flow = world.flow(f"/{name}")
        world.collect()
        assert world.runs_of(flow)[0]["state"] == "success"
    ((_, body),) = world.state.scan(FRAGMENTS)
    entity = loads(msgspec.msgpack.decode(body, type=StoredFragment).entity)
    assert {name: value for name, value in entity["loyalty"].items() if value is not None} == loyalty
    assert world.rows(MEMBERS) == 2  # the lake has every row


def test_a_column_that_asks_for_changes_is_left_out_with_a_warning(world: FileWorld, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"_id": "1", "loyalty": {"tier": "gold"}, "_change_request_type": kind} for kind in ("u", "d")]
    world.put("1.json", b"\n".join(dumps(row) for row in rows))
    flow = world.flow("/1.json", data={"format": "json"}, transformations=[])
    world.collect()
    (run,) = world.runs_of(flow)
    assert (run["state"], world.counts(run)) == ("success", (2, 2, 0, 0))
    assert "_change_request_type left out: the schema has no change data capture" in caplog.messages


def test_a_pattern_takes_packed_files_in_the_order_of_their_time(world: FileWorld) -> None:
    for number in range(3):
        world.put(f"in/part-{number}.csv.gz", gzip.compress(csv(2, points=str(number))))
        os.utime(world.remote / f"in/part-{number}.csv.gz", (1000 - number, 1000 - number))
    world.put("in/other.txt", b"no part of it")
    flow = world.flow("/in/part-*.csv.gz", data={"format": "delimited", "properties": {"compressionType": "GZIP"}})
    world.collect()
    (run,) = world.runs_of(flow)
    assert world.counts(run) == (6, 6, 0, 0)
    assert run["metrics"]["fileSummary"]["inputFileCount"] == 3
    fragments = world.state.scan(FRAGMENTS)
    assert len(fragments) == 2
    assert all(b'"points":0' in body for _, body in fragments)  # the newest file came last


def test_json_lines_and_parquet_may_hold_xdm(world: FileWorld) -> None:
    records = [{"_id": f"J-{n}", "identityMap": identities(n), "loyalty": {"points": n}} for n in range(4)]
    lines = b"\n".join([dumps(records[0]), b"", dumps(records[1:3]), dumps(records[3])])
    world.put("xdm/members.json", lines)
    flow = world.flow("/xdm/members.json", data={"format": "json"}, transformations=[])
    world.collect()
    assert world.counts(world.runs_of(flow)[0]) == (4, 4, 0, 0)
    world.put("xdm/members.parquet", parquet(1500))
    flow = world.flow("/xdm/members.parquet", data={"format": "parquet"}, transformations=[])
    world.collect()
    assert world.counts(world.runs_of(flow)[0]) == (1500, 1500, 0, 0)
    with pytest.raises(AssertionError, match="CONNECTOR-1370-400"):
        world.flow("/members.csv", transformations=[])


def test_a_schedule_takes_what_is_new_and_nothing_twice(world: FileWorld) -> None:
    world.put("in/a.csv", csv(2))
    schedule = {"startTime": str(world.now_ms // 1000), "frequency": "hour", "interval": 1}
    flow = world.flow("/in", schedule=schedule, params={"type": "folder", "recursive": "true"})
    world.collect()
    assert [world.counts(run)[0] for run in world.runs_of(flow)] == [2]
    world.put("in/deep/b.csv", csv(3, first=2))
    world.now_ms += 59 * 60_000
    world.collect()
    assert len(world.runs_of(flow)) == 1
    world.now_ms += 60_000
    world.collect()
    world.now_ms += 5 * 3_600_000  # missed slots are one run, and an empty folder is a success
    world.collect()
    assert [(run["state"], world.counts(run)[0]) for run in world.runs_of(flow)] == [("success", n) for n in (2, 3, 0)]
    world.put("in/a.csv", csv(4))  # another size: another file
    world.now_ms += 3_600_000
    world.collect()
    assert world.counts(world.runs_of(flow)[-1]) == (4, 4, 0, 0)


def test_without_backfill_older_files_stay_out(world: FileWorld) -> None:
    world.put("in/old.csv", csv(2))
    os.utime(world.remote / "in/old.csv", (1000, 1000))
    world.put("in/new.csv", csv(1))
    os.utime(world.remote / "in/new.csv", (world.now_ms // 1000 + 5, world.now_ms // 1000 + 5))
    schedule = {"startTime": world.now_ms // 1000, "frequency": "day", "interval": 1, "backfill": False}
    flow = world.flow("/in", schedule=schedule)
    world.collect()
    assert world.counts(world.runs_of(flow)[0]) == (1, 1, 0, 0)


BAD = csv(95) + b"only-one-column\r\n" + b"".join(b"X-%d,1\r\n" % n for n in range(4))


@pytest.mark.parametrize(("percent", "state"), [(5, "success"), (4, "failed"), (None, "failed")])
def test_the_threshold_decides_about_the_whole_run(world: FileWorld, percent: int | None, state: str) -> None:
    world.put("members.csv", BAD)
    options = {"errorDiagnosticsEnabled": True} | ({} if percent is None else {"partialIngestionPercent": percent})
    flow = world.flow("/members.csv", options=options)
    world.collect()
    world.now_ms += 2000  # what is to be taken back is taken back with the next round of housekeeping
    world.collect()
    (run,) = world.runs_of(flow)
    kept = 95 if state == "success" else 0
    assert (run["state"], world.counts(run), world.rows(MEMBERS)) == (state, (100, kept, 5, 95 - kept), kept)
    assert world.state.count(FRAGMENTS) == kept
    errors = {each["code"]: each["recordCount"] for each in run["metrics"]["statusSummary"]["errors"]}
    assert errors == {"INGEST-1401-400": 5}
    manifest = run["activities"][1]["statusSummary"]["extensions"]["manifest"]["failedRecords"]
    failed = {batch["id"]: batch for batch in world.batches_of(MEMBERS, "failed")}
    batch_id = next(one for one in failed if one in manifest)
    assert failed[batch_id]["failedRecordCount"] == 5
    assert [each.violations[0].code for each in Rejections(world.state).of_batch(PROD.id, batch_id)] == ["INGEST-1401-400"] * 5
    if state == "failed":
        (whole,) = (batch for one, batch in failed.items() if one != batch_id)
        assert (whole["status"], whole["errors"][1]["code"]) == ("failed", "CONNECTOR-2001-500")


def test_a_server_that_is_away_is_asked_again_then_the_run_fails(world: FileWorld) -> None:
    world.put("members.csv", csv(2))
    flow = world.flow("/members.csv")
    world.server.close()
    for wait_s in RETRY_AFTER_S:
        world.collect()
        (run,) = world.runs_of(flow)
        assert run["state"] == "inProgress"
        world.now_ms += wait_s * 1000
    world.collect()
    (run,) = world.runs_of(flow)
    assert (run["state"], world.counts(run)) == ("failed", (0, 0, 0, 0))
    (error,) = run["metrics"]["statusSummary"]["errors"]
    assert error["code"] == "CONNECTOR-1001-500"
    assert "tried 4 times" in error["message"]
    assert run["activities"][0]["statusSummary"]["status"] == "failed"
    assert "127.0.0.1" in error["message"]


def test_a_failed_run_is_triggered_again_and_a_good_one_is_not(world: FileWorld) -> None:
    world.put("members.csv", BAD)
    flow = world.flow("/members.csv")
    world.collect()
    (failed,) = world.runs_of(flow)
    assert failed["state"] == "failed"
    world.put("members.csv", csv(7))
    world.now_ms += 60_000
    status, again = world.ask("postAction", id=failed["id"], query={"op": "re_trigger"})
    assert (status, again["state"], again["flowId"]) == (200, "scheduled", flow)
    assert world.ask("retrieveFlowRun", id=again["id"])[1]["items"][0]["state"] == "scheduled"
    assert len(world.runs_of(flow)) == 2
    world.collect()
    done = world.ask("retrieveFlowRun", id=again["id"])[1]["items"][0]
    assert (done["state"], world.counts(done)) == ("success", (7, 7, 0, 0))
    status, refused = world.ask("postAction", id=again["id"], query={"op": "RE_TRIGGER"})
    assert (status, "CONNECTOR-1388-400" in refused["errorMessage"]) == (400, True)


def test_a_run_can_be_ordered_for_a_flow_with_frequency_once(world: FileWorld) -> None:
    world.put("members.csv", csv(1))
    flow = world.flow("/members.csv", schedule={"startTime": world.now_ms // 1000 + 1000, "frequency": "once"})
    world.collect()
    assert world.runs_of(flow) == []  # not due
    window = {"windowStartTime": "0", "windowEndTime": str(world.now_ms // 1000)}
    status, run = world.ask("createFlowRun", {"flowId": flow, "params": window})
    assert (status, run["state"], run["flowId"]) == (201, "scheduled", flow)
    world.collect()
    assert world.ask("retrieveFlowRun", id=run["id"])[1]["items"][0]["state"] == "success"
    bad = world.ask("createFlowRun", {"flowId": flow, "params": {"windowStartTime": "soon"}})
    assert (bad[0], "windowStartTime" in bad[1]["errorMessage"]) == (400, True)
    world.ask("postStateTransition", id=flow, query={"op": "DISABLE"})
    assert world.ask("createFlowRun", {"flowId": flow})[1]["type"].endswith("FLOW-1422-400")
    hourly = world.flow("/x", schedule={"startTime": 1, "frequency": "hour", "interval": "1"})
    assert "CONNECTOR-1386-400" in world.ask("createFlowRun", {"flowId": hourly})[1]["errorMessage"]


@pytest.mark.parametrize("pieces", range(4))
def test_a_crash_between_two_pieces_doubles_and_loses_nothing(world: FileWorld, pieces: int) -> None:
    world.put("a.csv", csv(700))
    world.put("b.csv", csv(600, first=700))
    flow = world.flow("/*.csv")
    world.rows_of_log.left = pieces
    with pytest.raises(KeyboardInterrupt):
        world.collect()
    world.drain()
    world.restart()
    world.rows_of_log.left = 1000
    world.collect()
    (run,) = world.runs_of(flow)
    assert (run["state"], world.counts(run), world.rows(MEMBERS)) == ("success", (1300, 1300, 0, 0), 1300)


@pytest.mark.parametrize(
    ("name", "content", "data", "words"),
    [
        ("empty.gz", b"no gzip", {"format": "delimited", "properties": {"compressionType": "gzip"}}, "Not a gzipped file"),
        ("none.csv", b"\r\n\r\n", {"format": "delimited"}, "no header row"),
        ("no.parquet", b"PAR1", {"format": "parquet"}, "cannot be read"),
        ("missing", b"", {"format": "json"}, "/missing"),
    ],
)
def test_what_cannot_be_read_fails_the_run_by_name(world: FileWorld, name: str, content: bytes, data: object, words: str) -> None:
    if content:
        world.put(name, content)
    flow = world.flow(f"/{name}", data=data)
    world.collect()
    (run,) = world.runs_of(flow)
    assert run["state"] == "failed"
    (error,) = run["metrics"]["statusSummary"]["errors"]
    assert words in error["message"]
    assert error["code"] == ("CONNECTOR-1001-500" if name == "missing" else "CONNECTOR-2001-500")


def test_a_deleted_flow_takes_its_runs_with_it(world: FileWorld) -> None:
    world.put("members.csv", csv(2))
    flow = world.flow("/members.csv")
    world.server.close()
    world.collect()
    assert world.runs_of(flow)[0]["state"] == "inProgress"
    assert world.ask("deleteByFlow", id=flow)[0] == 204
    world.collect()
    assert file_runs.unfinished(world.control) == []
    (run,) = world.runs_of(flow)
    assert run["state"] == "failed"
    assert "deleted" in run["metrics"]["statusSummary"]["errors"][0]["message"]


def test_files_dropped_into_the_landing_zone_are_taken_and_swept(world: FileWorld) -> None:
    zone = world.service.zones.folder(PROD.id)
    (zone / "in").mkdir()
    (zone / "in" / "members.csv").write_bytes(csv(2))
    flow = world.flow("dlz-user-container/in/*.csv", zone=True)
    world.collect()
    assert world.counts(world.runs_of(flow)[0]) == (2, 2, 0, 0)
    spec = "26f526f2-58f4-4712-961d-e41bf1ccc0e8"
    status, root = world.ask("exploreByConnectionSpecId", id=spec, query={"objectType": "root"})
    assert (status, [(each["type"], each["path"]) for each in root]) == (200, [("folder", "dlz-user-container/in")])
    shown = world.ask(
        "exploreByConnectionSpecId",
        id=spec,
        query={"objectType": "file", "object": "dlz-user-container/in/members.csv", "FILE_TYPE": "delimited", "preview": "true"},
    )
    assert shown[1]["data"][0] == {"memberId": "M-0", "points": "10", "tier": "gold"}
    out = world.ask("exploreByConnectionSpecId", id=spec, query={"objectType": "folder", "object": "../other"})
    assert (out[0], "no path inside" in out[1]["errorMessage"] or "cannot be read" in out[1]["errorMessage"]) == (400, True)
    now_ms = int((zone / "in" / "members.csv").stat().st_mtime * 1000)
    assert world.service.zones.sweep(now_ms + 6 * 86_400_000) == 0
    assert world.service.zones.sweep(now_ms + 8 * 86_400_000) == 1
    shutil.rmtree(zone)
