"""Catalog's form of the batches that `batches` keeps. Source: catalog.md 6.1, monitoring-alerts.md 3."""

from collections.abc import Mapping

from capstream.aep.catalog.batches import BATCHES, LATEST, BatchRecord, BatchStatus, Latest, Stage, read_batch, read_latest
from capstream.kernel.json import Json
from capstream.storage.ports import Reading

SUMMARY_CODE = "INGEST-1212-400"
UNDIAGNOSED_CODE = "INGEST-1211-400"


class Batches:
    """Reads batches in Catalog's form."""

    def __init__(self, documents: Reading, *, base_url: str = "") -> None:
        self._documents = documents
        self._base_url = base_url

    def all(self, sandbox_id: str) -> dict[str, dict[str, Json]]:
        """Return every batch of the sandbox by id, oldest first."""
        stored = self._documents.scan(BATCHES, prefix=f"{sandbox_id}/")
        batches = (read_batch(body) for _, body in stored)
        return {batch.id: rendered(batch, self._base_url) for batch in batches}

    def get(self, sandbox_id: str, batch_id: str) -> dict[str, Json] | None:
        """Return a batch, or None."""
        batch = self.record(sandbox_id, batch_id)
        return None if batch is None else rendered(batch, self._base_url)

    def latest(self, sandbox_id: str) -> dict[str, Latest]:
        """Return the newest batches of each dataset that has any, by its id."""
        found = self._documents.scan(LATEST, prefix=f"{sandbox_id}/")
        return {key.partition("/")[2]: read_latest(body) for key, body in found}

    def record(self, sandbox_id: str, batch_id: str) -> BatchRecord | None:
        """Return a batch as it is stored, or None."""
        body = self._documents.get(BATCHES, f"{sandbox_id}/{batch_id}")
        return None if body is None else read_batch(body)


def rendered(batch: BatchRecord, base_url: str = "") -> dict[str, Json]:
    """Return Catalog's batch object. Source: catalog.md 6.1."""
    is_failed = batch.status == BatchStatus.FAILED or (batch.status == BatchStatus.INACTIVE and bool(batch.errors))
    failed = batch.records if is_failed else 0
    written = 0 if is_failed else batch.records
    return {
        "id": batch.id,
        "imsOrg": batch.org_id,
        "sandboxId": batch.sandbox_id,
        "status": batch.status,
        "version": f"1.0.{batch.revision}",
        "created": batch.created_ms,
        "updated": batch.updated_ms,
        "started": batch.created_ms,
        **({"completed": batch.completed_ms} if batch.completed_ms else {}),
        "createdClient": "streaming",
        "createdUser": "streaming",
        "updatedUser": "streaming",
        "externalId": batch.id,
        "inputFormat": {"format": batch.format},
        "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}, {"type": "batch", "id": batch.id}],
        "recordCount": batch.records,
        "failedRecordCount": failed,
        "size": batch.size,
        "metrics": _metrics(batch, written, failed),
        "tags": _tags(batch),
        "replay": {},
        "errors": _errors(batch),
        **({"failedBatchLocation": f"{base_url}/data/foundation/export/batches/{batch.id}/failed"} if is_failed else {}),
    }


def _tags(batch: BatchRecord) -> dict[str, list[str]]:
    tags = {"flowId": [batch.flow_id]} if batch.flow_id else {}
    if batch.diagnostics:
        tags["acp_enableErrorDiagnostics"] = ["true"]
    if batch.partial_percent is not None:
        tags["acp_partialIngestionPercent"] = [f"{batch.partial_percent:g}"]
    return tags


def _metrics(batch: BatchRecord, written: int, failed: int) -> dict[str, Json]:
    invalid: Mapping[str, int] = batch.invalid
    return {
        "inputRecordCount": batch.records,
        "outputRecordCount": written,
        "failedRecordCount": failed,
        "inputByteSize": batch.size,
        "inputFileCount": 0,
        "recordsRead": batch.records,
        "recordsWritten": written,
        "recordsFailed": failed,
        "recordsSize": batch.size,
        "startTime": batch.created_ms,
        "endTime": batch.completed_ms or batch.updated_ms,
        "invalidRecordCount": failed,
        "invalidRecordsMapper": invalid.get(Stage.MAPPER, 0),
        "invalidRecordsStreamingValidation": invalid.get(Stage.VALIDATION, 0),
        "invalidRecordsIdentity": invalid.get("identity", 0),
        "invalidRecordsProfile": invalid.get("profile", 0),
        "invalidRecordsUnknown": invalid.get(Stage.ENVELOPE, 0) + invalid.get(Stage.LAKE, 0),
    }


def _errors(batch: BatchRecord) -> list[dict[str, Json]]:
    """Return what failed and how often; without error diagnostics only that something did. Source: monitoring-alerts.md 3."""
    if not batch.errors:
        return []
    if not batch.diagnostics:
        return [{"code": UNDIAGNOSED_CODE, "description": undiagnosed(batch.records)}]
    summary = (
        f"Encountered {batch.records} errors in the data. Successfully ingested 0 rows. "
        "Please review the associated diagnostic files for more details."
    )
    found = batch.errors.items()
    listed = [{"code": code, "description": text, "recordCount": count} for code, (text, count) in found]
    return [{"code": SUMMARY_CODE, "description": summary}, *listed]


def undiagnosed(failed: int) -> str:
    """Return what is said of failed records whose dataflow and dataset have error diagnostics switched off."""
    return f"Encountered {failed} errors in the data. Error diagnostics are not enabled: switch them on to see their details."
