"""Flow Service's form of a run. Source: flow-service.md 8.1, batch-ingestion.md B6."""

from capstream.aep.catalog.batch_form import SUMMARY_CODE, UNDIAGNOSED_CODE, undiagnosed
from capstream.aep.flow_service.run_records import HOUR_MS, FileFacts, RunRecord
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json


def rendered(run: RunRecord, base_url: str = "") -> dict[str, Json]:
    """Return Flow Service's run object. Source: flow-service.md 8.1."""
    start = run.started_ms
    duration: dict[str, Json] = {"startedAtUTC": start}
    if run.completed_ms:
        duration["completedAtUTC"] = run.completed_ms
    listed = shown_errors(run)
    finished = run.received - run.skipped
    latency = {"minMs": max(run.min_ms, 0), "maxMs": run.max_ms, "avgMs": run.total_ms // finished if finished else 0}
    metrics: dict[str, Json] = {
        "durationSummary": duration,
        "latencySummary": latency,
        "sizeSummary": {"inputBytes": run.input_bytes, "outputBytes": run.output_bytes},
        "recordSummary": _records(run),
        "fileSummary": _files(run) | {"activityRefs": _activity_names(run)},
        "statusSummary": {"status": run.status, "errors": listed, "activityRefs": _activity_names(run)},
    }
    return {
        "id": run.id,
        "createdAt": run.created_ms,
        "updatedAt": run.updated_ms,
        **dict.fromkeys(("createdBy", "updatedBy", "createdClient", "updatedClient"), "system" if run.files else "streaming"),
        "sandboxId": run.sandbox_id,
        "sandboxName": run.sandbox_name,
        "imsOrgId": run.org_id,
        "flowId": run.flow_id,
        "flowSpec": {"id": run.flow_spec_id, "version": "1.0"},
        "providerRefId": f"{run.flow_id}-{rfc3339(start)[:16].replace('-', '').replace(':', '')}Z",
        "etag": run.etag,
        "eTag": run.etag,
        "state": run.status,
        "params": _window(run),
        "metrics": metrics,
        "activities": [*_copying(run), _activity(run, metrics, base_url)],
    }


def _window(run: RunRecord) -> dict[str, Json]:
    start_s = run.started_ms // 1000
    if run.files is not None:
        return {"startTime": start_s, "windowStartTime": run.files.window_start_s, "windowEndTime": start_s}
    return {"windowStartTime": start_s, "windowEndTime": start_s + HOUR_MS // 1000}


def _activity_names(run: RunRecord) -> list[str]:
    return ["copyActivity", "promotionActivity"] if run.files is not None else ["promotionActivity"]


def _files(run: RunRecord) -> dict[str, Json]:
    facts = run.files or FileFacts()
    failed = len(facts.problems) if facts.taken else 0
    counts = {"inputFileCount": facts.taken, "outputFileCount": run.output_files}
    return counts | {"skippedFileCount": facts.skipped, "failedFileCount": failed}


def _copying(run: RunRecord) -> list[dict[str, Json]]:
    """Return the activity that fetched the files of a file run. Source: flow-service.md 8.1."""
    facts = run.files
    if facts is None:
        return []
    duration: dict[str, Json] = {"startedAtUTC": run.started_ms}
    if facts.fetched_ms:
        duration["completedAtUTC"] = facts.fetched_ms
    duration["extensions"] = {"windowStart": facts.window_start_s, "windowEnd": run.started_ms // 1000}
    failed = bool(facts.problems) and not facts.fetched_ms
    errors = [{"code": code, "message": message} for code, message in facts.problems]
    status = "failed" if failed else "success" if facts.fetched_ms else run.status
    return [
        {
            "id": "copyActivity",
            "name": "Copy Activity",
            "updatedAtUTC": facts.fetched_ms or run.updated_ms,
            "durationSummary": duration,
            "latencySummary": {},
            "sizeSummary": {"inputBytes": facts.size, "outputBytes": facts.size},
            "recordSummary": {},
            "fileSummary": {"inputFileCount": facts.taken, "outputFileCount": facts.taken, "skippedFileCount": facts.skipped},
            "statusSummary": {"status": status, "errors": errors, "extensions": {"type": "one-time"}},
            "sourceInfo": [{"id": run.source_connection_id, "type": "SourceConnection"}],
            "targetInfo": [{"id": run.target_connection_id, "type": "TargetConnection"}],
        }
    ]


def shown_errors(run: RunRecord) -> list[dict[str, Json]]:
    """Return what failed and how often; without error diagnostics only that something did. Source: monitoring-alerts.md 3."""
    problems = [{"code": code, "message": message, "recordCount": 0} for code, message in (run.files or FileFacts()).problems]
    if run.errors and not run.diagnostics:
        count = run.failed or run.warnings
        return [*problems, {"code": UNDIAGNOSED_CODE, "message": undiagnosed(count), "recordCount": count}]
    found = [{"code": code, "message": message, "recordCount": count} for code, (message, count) in run.errors.items()]
    return problems + found


def _records(run: RunRecord) -> dict[str, Json]:
    return {
        "inputRecordCount": run.received,
        "outputRecordCount": run.written,
        "createdRecordCount": run.created,
        "updatedRecordCount": run.updated,
        "skippedRecordCount": run.skipped,
        "failedRecordCount": run.failed,
        "deletedRecordCount": run.deleted,
        "warningRecordCount": run.warnings,
        "failedInfo": [{"code": each["code"], "message": each["message"], "details": {}} for each in shown_errors(run)],
    }


def _activity(run: RunRecord, metrics: dict[str, Json], base_url: str) -> dict[str, Json]:
    extensions: dict[str, Json] = {}
    if run.failed_batch_id and run.diagnostics:
        location = f"{base_url}/data/foundation/export/batches/{run.failed_batch_id}/meta?path="
        extensions["manifest"] = {"failedRecords": f"{location}row_errors", "sampleErrors": f"{location}row_error_samples.json"}
    if run.errors and not run.diagnostics:
        extensions["errors"] = metrics["statusSummary"]["errors"]
    elif run.errors:
        summary = f"Encountered {run.failed} errors in the data. Successfully ingested {run.written} rows."
        extensions["errors"] = [{"code": SUMMARY_CODE, "message": summary}, *metrics["statusSummary"]["errors"]]
    return {
        "id": "promotionActivity",
        "name": "Promotion Activity",
        "updatedAtUTC": run.updated_ms,
        "durationSummary": metrics["durationSummary"],
        "latencySummary": metrics["latencySummary"],
        "sizeSummary": metrics["sizeSummary"],
        "recordSummary": metrics["recordSummary"],
        "fileSummary": {"outputFileCount": run.output_files},
        "statusSummary": {"status": run.status, "errors": [], "extensions": extensions},
        "sourceInfo": [
            {
                "id": run.source_connection_id,
                "type": "SourceConnection",
                **({"reference": {"type": "Inlet", "ids": [run.inlet_id]}} if run.inlet_id else {}),
            }
        ],
        "targetInfo": [
            {
                "id": run.target_connection_id,
                "type": "TargetConnection",
                "reference": {"type": "Batch", "ids": run.batch_ids},
            }
        ],
    }
