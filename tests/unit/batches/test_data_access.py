"""Batches, their files and their rejected records through the Data Access API. Source: catalog.md 6.3, monitoring-alerts.md 3."""

import io
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, World, ask, body_of, member

from capstream.aep.call import Answer, Handler
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_access.api import handlers
from capstream.aep.query_service.model import QueryService
from capstream.kernel.json import Json, loads


@pytest.fixture
def api(world: World, tmp_path: Path) -> Mapping[str, Handler]:
    rows = QueryService(world.lake, Datasets(world.control), world.registry)
    return handlers(world.control, world.state, rows, tmp_path / "exports")


@pytest.fixture
def failed(world: World) -> str:
    world.accept(MEMBER_FLOW, member(1), member(2, nickname="Jo"), member(3, points="x"))  # type: ignore[arg-type]
    world.drain()
    (batch,) = world.batches_of(MEMBERS, "failed")
    return str(batch["id"])


def get(api: Mapping[str, Handler], operation: str, batch_id: str, **query: str) -> Answer:
    return ask(api, operation, params={"batchId": batch_id}, query=list(query.items()))


def lines(answer: Answer) -> list[Json]:
    assert answer.media_type == "application/octet-stream"
    return [loads(line) for line in answer.content().splitlines()]


def path_of(entry: Json) -> str:
    return parse_qs(urlsplit(entry["_links"]["self"]["href"]).query)["path"][0]


def test_failed_records_are_listed_and_read_line_by_line(api: Mapping[str, Handler], failed: str) -> None:
    listed = body_of(get(api, "retrieveFailedBatch", failed))
    success, part = listed["data"]
    assert (success["name"], success["length"], listed["_page"]) == ("_SUCCESS", "0", {"limit": 100, "count": 2})
    assert part["_links"]["self"]["href"].startswith(f"http://localhost/data/foundation/export/batches/{failed}/failed?path=")
    content = get(api, "retrieveFailedBatch", failed, path=path_of(part))
    assert str(len(content.content())) == part["length"]
    extraneous, mistyped = lines(content)
    assert extraneous["_validationErrors"][0]["keyword"] == "additionalProperties"
    assert mistyped["_validationErrors"][0]["pointerToViolation"] == "#/loyalty/points"
    assert mistyped["loyalty"] == {"points": "x"}


def test_the_batch_object_holds_what_clients_index(world: World, failed: str) -> None:
    batch = world.batches.get(PROD.id, failed)
    assert batch is not None
    assert batch["relatedObjects"][0] == {"type": "dataSet", "id": MEMBERS}
    assert batch["tags"] == {"flowId": [MEMBER_FLOW], "acp_enableErrorDiagnostics": ["true"]}
    assert batch["failedBatchLocation"].endswith(f"/export/batches/{failed}/failed")
    assert {"code", "description", "recordCount"} <= batch["errors"][1].keys()
    metrics = batch["metrics"]
    assert (metrics["invalidRecordCount"], metrics["invalidRecordsStreamingValidation"], metrics["invalidRecordsMapper"]) == (
        2,
        2,
        0,
    )
    assert batch["version"].startswith("1.0.")


def test_diagnostic_files(api: Mapping[str, Handler], failed: str) -> None:
    entries = body_of(get(api, "retrieveBatchMeta", failed))["data"]
    assert [entry["name"] for entry in entries] == ["row_errors", "input_files", "row_error_samples.json"]
    (errors,) = body_of(get(api, "retrieveBatchMeta", failed, path="row_errors"))["data"]
    assert path_of(errors) == "row_errors/conversion_errors_0.json"
    first = lines(get(api, "retrieveBatchMeta", failed, path=path_of(errors)))[0]
    assert first["_errors"][0]["code"] == "DCVS-1111-400"
    assert all(error["hint"] and error["column"].startswith("#") for error in first["_errors"])
    assert first["_filename"] == "conversion_errors_0.json"
    for alias in ("row_error_samples.json", "row_errors_sample.json"):
        assert len(lines(get(api, "retrieveBatchMeta", failed, path=alias))) == 2
    assert get(api, "retrieveBatchMeta", failed, path="row_errors/none.json").status == 404


def test_a_batch_is_exported_as_parquet_whole_and_in_ranges(world: World, api: Mapping[str, Handler], failed: str) -> None:
    (batch,) = world.batches_of(MEMBERS, "processing")
    (file,) = body_of(get(api, "listDatasetFiles", batch["id"]))["data"]
    assert (file["records"], file["isValid"], file["dataSetFileId"]) == ("1", True, f"{batch['id']}-1")
    params = {"dataSetFileId": file["dataSetFileId"]}
    (part,) = body_of(ask(api, "retrieveDatasetFile", params=params))["data"]
    content = ask(api, "retrieveDatasetFile", params=params, query=[("path", part["name"])]).content()
    assert str(len(content)) == part["length"]
    assert pq.read_table(io.BytesIO(content)).to_pylist()[0]["_id"] == "member-1"
    head = ask(api, "retrieveDatasetFileHeaders", params=params, query=[("path", part["name"])])
    assert head.headers["Content-Length"] == part["length"]
    for asked, wanted in (("bytes=0-3", content[:4]), ("bytes=-4", content[-4:]), ("bytes=4-", content[4:])):
        answer = ask(api, "retrieveDatasetFile", params=params, query=[("path", part["name"])], headers={"range": asked})
        assert (answer.status, answer.content()) == (206, wanted)
    beyond = ask(api, "retrieveDatasetFile", params=params, query=[("path", part["name"]), ("range", "bytes=999999-")])
    assert beyond.status == 416


def test_the_first_rows_of_a_dataset(api: Mapping[str, Handler], failed: str) -> None:
    (row,) = body_of(ask(api, "retrieveDatasetPreview", params={"id": MEMBERS}))["data"]
    assert (row["_id"], row["loyalty"]["points"]) == ("member-1", 100.0)
    assert "_ACP_BATCHID" not in row
    assert ask(api, "retrieveDatasetPreview", params={"id": "0" * 24}).status == 404


def test_unknown_batches_and_files_are_not_found(api: Mapping[str, Handler], failed: str) -> None:
    for operation in ("retrieveFailedBatch", "retrieveBatchMeta", "listDatasetFiles"):
        assert get(api, operation, "01J33XAQ7N0R2V5W8Y1Z3B4C5D").status == 404
    assert get(api, "retrieveFailedBatch", failed, path="other.json").status == 404
    assert ask(api, "retrieveDatasetFile", params={"dataSetFileId": f"{failed}-1"}).status == 404
    assert get(api, "retrieveFailedBatch", failed, limit="many").status == 400


def errors_of(world: World) -> tuple[list[str], list[str], dict[str, Json]]:
    """Return the codes of the failed batch, those of the run, and the extensions of the run's activity."""
    (batch,) = world.batches_of(MEMBERS, "failed")
    run = world.run_of(MEMBER_FLOW)
    codes = [each["code"] for each in run["metrics"]["statusSummary"]["errors"]]
    return [each["code"] for each in batch["errors"]], codes, run["activities"][0]["statusSummary"]["extensions"]


def test_without_error_diagnostics_only_that_something_failed_is_told(world: World, api: Mapping[str, Handler]) -> None:
    world.save_route(MEMBER_FLOW, MEMBERS, diagnostics=False)
    world.accept(MEMBER_FLOW, member(1, points="x"))  # type: ignore[arg-type]
    world.drain()
    in_batch, in_run, extensions = errors_of(world)
    assert in_batch == in_run == ["INGEST-1211-400"]
    assert "manifest" not in extensions
    (batch,) = world.batches_of(MEMBERS, "failed")
    assert (batch["tags"], batch["metrics"]["invalidRecordsStreamingValidation"]) == ({"flowId": [MEMBER_FLOW]}, 1)
    assert body_of(get(api, "retrieveBatchMeta", batch["id"]))["data"] == []
    assert get(api, "retrieveBatchMeta", batch["id"], path="row_errors").status == 404
    (_, part) = body_of(get(api, "retrieveFailedBatch", batch["id"]))["data"]  # always: streaming-ingestion.md 11
    assert lines(get(api, "retrieveFailedBatch", batch["id"], path=path_of(part)))[0]["_validationErrors"]


def test_dataflow_or_dataset_may_ask_for_error_diagnostics(world: World) -> None:
    world.save_route(MEMBER_FLOW, MEMBERS, diagnostics=False, partial_percent=5.0)
    world.change_dataset(MEMBERS, {"enableErrorDiagnostics": True})
    world.accept(MEMBER_FLOW, *(member(number) for number in range(9)), member(9, points="x"))  # type: ignore[arg-type]
    world.drain()
    in_batch, in_run, extensions = errors_of(world)
    assert in_batch == ["INGEST-1212-400", *in_run]
    assert extensions["manifest"]["failedRecords"].endswith("/meta?path=row_errors")
    (batch,) = world.batches_of(MEMBERS, "failed")
    assert batch["tags"] == {
        "flowId": [MEMBER_FLOW],
        "acp_enableErrorDiagnostics": ["true"],
        "acp_partialIngestionPercent": ["5"],
    }
    world.now_ms += 2 * 3_600_000
    world.drain()
    assert world.run_of(MEMBER_FLOW)["state"] == "failed"  # 10 % is more than 5 %
