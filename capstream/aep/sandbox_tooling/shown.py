"""Packages, jobs and pages of them as the API shows them. Source: sandbox.yaml, gateway.md 5."""

from hashlib import sha256

from capstream.aep.call import Call
from capstream.aep.sandbox.api import refused
from capstream.aep.sandbox_tooling.model import Artifact, Job, Package, Task
from capstream.kernel.json import Json

_PAGE = 20
_MOST = 1000
_VISIBILITY = "TENANT"


def package(record: Package) -> dict[str, Json]:
    """Return a package."""
    return {
        "id": record.id,
        "version": record.version,
        "createdDate": record.created_ms,
        "modifiedDate": record.modified_ms,
        "createdBy": record.created_by,
        "modifiedBy": record.modified_by,
        "name": record.name,
        "description": record.description,
        "imsOrgId": record.org_id,
        "packageType": _kind(full=record.full),
        "expiry": record.expiry_ms,
        "publishDate": record.published_ms,
        "status": record.status.value,
        "packageVisibility": "public" if record.public else "private",
        "sourceSandbox": {"name": record.sandbox, "imsOrgId": record.org_id},
        "artifactsList": [
            _artifact(each) | {"found": bool(record.pieces), "count": int(bool(record.pieces))} for each in record.artifacts
        ],
    }


def accepted(record: Package, job: Job) -> dict[str, Json]:
    """Return the answer to an export or import."""
    body: dict[str, Json] = {
        "name": job.name,
        "description": job.description,
        "visibility": _VISIBILITY,
        "sourceSandbox": {"name": record.sandbox, "imsOrgId": record.org_id},
        "type": _kind(full=record.full),
        "correlationId": job.id,
        "jobId": job.id,
    }
    if job.request == "IMPORT":
        body["destinationSandbox"] = {"name": job.target, "imsOrgId": record.org_id}
    return body


def job_row(record: Job) -> dict[str, Json]:
    """Return a job as lists show it."""
    return {
        "id": record.id,
        "name": record.name,
        "description": record.description,
        "created": record.at_ms,
        "updated": record.at_ms,
        "jobType": "NEW",
        "requestType": record.request,
        "packageType": _kind(full=record.full),
        "jobStatus": record.status,
        "visibility": _VISIBILITY,
        "sourceSandBox": record.source,
        "targetSandbox": record.target,
        "createdBy": record.by,
    }


def job(record: Job) -> dict[str, Json]:
    """Return a job with what it did."""
    done = {
        "id": record.id,
        "name": record.name,
        "description": record.description,
        "visibility": _VISIBILITY,
        "requestType": record.request,
        "expiry": 0,
        "snapshotId": record.package_id,
        "createdTimestamp": record.at_ms,
        "modifiedTimestamp": record.at_ms,
        "type": _kind(full=record.full),
        "jobStatus": record.status,
        "jobType": "NEW",
        "counter": len(record.tasks),
        "imsOrgId": record.org_id,
        "jobHash": sha256(record.id.encode()).hexdigest(),
        "sourceSandbox": {"name": record.source, "imsOrgId": record.org_id, "empty": False},
        "destinationSandbox": {"name": record.target, "imsOrgId": record.org_id, "empty": False},
        "completedTasks": [_task(each, record.request) for each in record.tasks],
        "importReplacementMap": {each.artifact.id: each.new_id for each in record.tasks if each.new_id},
    }
    return {"status": "OK", "type": "SUCCESS", "message": f"Job with ID: {record.id} found", "object": done}


def page(call: Call, found: list[dict[str, Json]]) -> dict[str, Json]:
    """Return one page: filtered by `property`, ordered, cut by `start` and `limit`. Errors: ApiError 400."""
    for condition in call.args("property"):
        for part in condition.split("&property="):  # aepp glues several into one
            name, equal, value = part.partition("==")
            found = [each for each in found if (str(each.get(name)).lower() == value.lower() if equal else name in each)]
    order = call.arg("orderBy", "-createdDate").strip() or "-createdDate"
    member = order.lstrip("+- ").strip()
    member = "created" if found and member == "createdDate" and member not in found[0] else member
    if found and member not in found[0]:
        raise refused(400, 1000, f"orderBy: {member} is unknown; known are {', '.join(found[0])}.")
    found = sorted(found, key=lambda each: (str(each[member]), str(each["id"])), reverse=order.startswith("-"))
    start, limit = _number(call, "start", 0, 0), _number(call, "limit", _PAGE, 1)
    more = start + limit < len(found)
    return {
        "totalElements": len(found),
        "currentPage": start // limit,
        "totalPages": -(-len(found) // limit),
        "hasPreviousPage": start > 0,
        "hasNextPage": more,
        "hasNext": more,
        "data": found[start : start + limit],
    }


def _number(call: Call, name: str, default: int, least: int) -> int:
    text = call.arg(name)
    if text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise refused(400, 1000, f"{name}: {text} must be a number, {least} or more.")
    return min(int(text), _MOST) if name == "limit" else int(text)


def _kind(*, full: bool) -> str:
    return "FULL" if full else "PARTIAL"


def _artifact(record: Artifact) -> dict[str, Json]:
    return {"id": record.id, "type": record.type, "title": record.title}


def _task(record: Task, request: str) -> dict[str, Json]:
    success = record.status != "FAILED"
    artifact = _artifact(record.artifact) | {"found": record.status == "SKIPPED", "count": int(success), "newId": record.new_id}
    messages = [{"status": record.status, "attempt": 1, "message": record.message}]
    return {
        "taskType": "GET" if request == "EXPORT" else "POST",
        "taskStatus": "SUCCESS" if success else "FAILED",
        "artifact": artifact | {"messages": messages},
    }
