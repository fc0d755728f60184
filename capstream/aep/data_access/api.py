"""The operations of the Data Access API. Source: catalog.md 6.3, data-lake-and-query.md B, monitoring-alerts.md 3."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from capstream.aep.call import Answer, ApiError, Call, Handler, Sandbox
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.batches import BatchRecord, BatchStatus
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_access.rejected import SAMPLES, Rejections, failed_lines, row_error_lines
from capstream.kernel.json import Json, dumps
from capstream.storage.ports import Documents

_BASE = "/data/foundation/export"
_MOST = 100
_WITHOUT_ROWS = frozenset({BatchStatus.FAILED, BatchStatus.INACTIVE})
_BYTES = "application/octet-stream"
_ERRORS_FILE = "row_errors/conversion_errors_0.json"
_SAMPLE_FILES = ("row_error_samples.json", "row_errors_sample.json")


class RowSource(Protocol):
    """Reads rows of a dataset out of the lake."""

    def preview(self, sandbox: Sandbox, dataset_id: str) -> list[dict[str, Json]]: ...
    def export_batch(self, sandbox: Sandbox, dataset_id: str, batch_id: str, target: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class _Service:
    batches: Batches
    datasets: Datasets
    rejections: Rejections
    rows: RowSource
    exports: Path


def handlers(control: Documents, state: Documents, rows: RowSource, exports: Path) -> Mapping[str, Handler]:
    """Return the handlers by operation. `exports` is a folder for the Parquet files made for callers."""
    service = _Service(Batches(state), Datasets(control), Rejections(state), rows, exports)
    return {
        "listDatasetFiles": lambda call: _batch_files(service, call),
        "retrieveFailedBatch": lambda call: _failed(service, call),
        "retrieveBatchMeta": lambda call: _meta(service, call),
        "retrieveDatasetFile": lambda call: _file(service, call),
        "retrieveDatasetFileHeaders": lambda call: _file_headers(service, call),
        "retrieveDatasetPreview": lambda call: _preview(service, call),
    }


def _batch_files(service: _Service, call: Call) -> Answer:
    batch = _batch(service, call, call.params["batchId"])
    files: list[Json] = []
    if batch.status not in _WITHOUT_ROWS and batch.records:
        file_id = f"{batch.id}-1"
        files.append(
            {
                "dataSetFileId": file_id,
                "dataSetViewId": batch.dataset_id,
                "version": "1.0.0",
                "created": str(batch.created_ms),
                "updated": str(batch.updated_ms),
                "records": str(batch.records),
                "size": str(batch.size),
                "isValid": True,
                "_links": {"self": {"href": f"{call.base_url}{_BASE}/files/{file_id}"}},
            }
        )
    return _listed(call, files)


def _failed(service: _Service, call: Call) -> Answer:
    batch = _batch(service, call, call.params["batchId"])
    rejected = service.rejections.of_batch(batch.sandbox_id, batch.id) if batch.status == BatchStatus.FAILED else []
    content = failed_lines(rejected)
    files = [("_SUCCESS", b""), (f"part-00000-{batch.id}-c000.json", content)] if rejected else []
    return _content_or_list(call, f"{_BASE}/batches/{batch.id}/failed", files)


def _meta(service: _Service, call: Call) -> Answer:
    batch = _batch(service, call, call.params["batchId"])
    path = call.arg("path").strip("/")
    rejected = service.rejections.of_batch(batch.sandbox_id, batch.id) if batch.status == BatchStatus.FAILED else []
    base = f"{_BASE}/batches/{batch.id}/meta"
    errors = row_error_lines(rejected)
    inputs = dumps({"path": f"{batch.id}.json"}) + b"\n"
    if not batch.diagnostics:
        if path:
            raise _not_found(f"batch {batch.id} has no diagnostic file '{path}': error diagnostics are not enabled")
        return _listed(call, [])
    if not path:
        entries = [("row_errors", errors), ("input_files", inputs), (_SAMPLE_FILES[0], row_error_lines(rejected[:SAMPLES]))]
        return _listed(call, [_entry(call, base, name, content) for name, content in entries])
    if path in _SAMPLE_FILES:
        return _bytes(row_error_lines(rejected[:SAMPLES]))
    files = {_ERRORS_FILE: errors, "input_files/fileMetaData1.json": inputs}
    if path in files:
        return _bytes(files[path])
    below = [(name, content) for name, content in files.items() if name.startswith(f"{path}/")]
    if not below:
        raise _not_found(f"batch {batch.id} has no diagnostic file '{path}'")
    entries = [(name.rpartition("/")[2], content) for name, content in below]
    links = [_entry(call, base, name, content, path=f"{path}/{name}") for name, content in entries]
    return _listed(call, links)


def _file(service: _Service, call: Call) -> Answer:
    path = call.arg("path")
    name, made = _exported(service, call)
    if not path:
        return _listed(call, [_entry(call, f"{_BASE}/files/{call.params['dataSetFileId']}", name, made)])
    if path != name:
        raise _not_found(f"file {call.params['dataSetFileId']} has no part '{path}'")
    wanted = call.headers.get("range") or call.arg("range")
    content = made.read_bytes()
    if not wanted:
        return Answer(body=content, media_type=_BYTES, headers={"Accept-Ranges": "bytes"})
    start, end = _range(wanted, len(content))
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}", "Accept-Ranges": "bytes"}
    return Answer(status=206, body=content[start:end], media_type=_BYTES, headers=headers)


def _file_headers(service: _Service, call: Call) -> Answer:
    name, made = _exported(service, call)
    if call.arg("path") != name:
        raise _not_found(f"path is required: file {call.params['dataSetFileId']} has the part '{name}'")
    headers = {"Content-Length": str(made.stat().st_size), "Accept-Ranges": "bytes"}
    return Answer(headers=headers, media_type=_BYTES)


def _preview(service: _Service, call: Call) -> Answer:
    dataset_id = call.params["id"]
    if service.datasets.get(call.sandbox.id, dataset_id) is None:
        raise _not_found(f"dataset {dataset_id} does not exist")
    return Answer(body={"data": service.rows.preview(call.sandbox, dataset_id)})


def _exported(service: _Service, call: Call) -> tuple[str, Path]:
    """Return (name, file) of a batch's rows as Parquet.

    The lake's own files mix batches once they are compacted, so the file is made when it is first asked for. A batch
    that still takes rows is exported anew when it grew: the number of rows is part of the kept file's name.
    """
    batch_id = call.params["dataSetFileId"].removesuffix("-1")
    batch = _batch(service, call, batch_id)
    if batch.status in _WITHOUT_ROWS or service.datasets.get(call.sandbox.id, batch.dataset_id) is None:
        raise _not_found(f"file {call.params['dataSetFileId']} does not exist")
    kept = service.exports / f"{batch.id}.{batch.records}.parquet"
    if not kept.exists():
        service.exports.mkdir(parents=True, exist_ok=True)
        service.rows.export_batch(call.sandbox, batch.dataset_id, batch.id, kept)
        for older in service.exports.glob(f"{batch.id}.*.parquet"):
            if older != kept:
                older.unlink(missing_ok=True)
    return f"part-00000-{batch.id}.c000.snappy.parquet", kept


def _batch(service: _Service, call: Call, batch_id: str) -> BatchRecord:
    found = service.batches.record(call.sandbox.id, batch_id)
    if found is None:
        raise _not_found(f"batch {batch_id} does not exist")
    return found


def _content_or_list(call: Call, base: str, files: Sequence[tuple[str, bytes]]) -> Answer:
    path = call.arg("path")
    if not path:
        return _listed(call, [_entry(call, base, name, content) for name, content in files])
    for name, content in files:
        if name == path:
            return _bytes(content)
    raise _not_found(f"there is no file '{path}'")


def _entry(call: Call, base: str, name: str, content: bytes | Path, *, path: str = "") -> dict[str, Json]:
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    href = f"{call.base_url}{base}?path={quote(path or name, safe='')}"
    return {"name": name, "length": str(size), "_links": {"self": {"href": href}}}


def _listed(call: Call, entries: Sequence[Json]) -> Answer:
    limit = _number(call.arg("limit"), _MOST)
    start = _number(call.arg("start").removeprefix("page="), 0)
    page = list(entries[start : start + min(limit, _MOST)])
    return Answer(body={"data": page, "_page": {"limit": min(limit, _MOST), "count": len(page)}, "_links": {}})


def _bytes(content: bytes) -> Answer:
    return Answer(body=content, media_type=_BYTES)


def _range(text: str, size: int) -> tuple[int, int]:
    """Return [start, end) of `bytes=a-b`. Errors: 416 when it lies outside the file."""
    first, dash, last = text.removeprefix("bytes=").partition("-")
    try:
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
    except ValueError:
        dash = ""
        start = end = 0
    if not dash or start >= end:
        body = {"type": "/placeholder/type/uri", "status": 416, "title": "RangeNotSatisfiableError"}
        raise ApiError(416, body | {"detail": f"Range '{text}' does not lie in a file of {size} bytes."})
    return start, end


def _number(text: str, default: int) -> int:
    if not text:
        return default
    if text.isascii() and text.isdigit():
        return int(text)
    body = {"type": "/placeholder/type/uri", "status": 400, "title": "BadRequestError"}
    raise ApiError(400, body | {"detail": f"'{text}' is not a number: start and limit must be."})


def _not_found(detail: str) -> ApiError:
    return ApiError(404, {"type": "/placeholder/type/uri", "status": 404, "title": "NotFoundError", "detail": detail})
