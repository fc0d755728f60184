"""The audit log of resources: who changed what. Source: schema-registry.md 9."""

from datetime import UTC, datetime
from typing import Any

import jsonpatch

from capstream.aep.call import Call
from capstream.kernel.json import Json

_METADATA = frozenset({"version", "meta:registryMetadata", "refs", "meta:extends"})


def audit_entry(call: Call, document: dict[str, Json], old: dict[str, Json] | None) -> tuple[str, dict[str, Json]]:
    """Return (key, entry) for a write; keys of one resource sort by time."""
    moment = datetime.fromtimestamp(call.now_ms / 1000, UTC)
    before = {key: value for key, value in (old or {}).items() if key not in _METADATA}
    after = {key: value for key, value in document.items() if key not in _METADATA}
    steps: list[dict[str, Any]] = jsonpatch.make_patch(before, after).patch
    entry = {
        "id": document["$id"],
        "updatedUser": call.caller.user_id,
        "imsOrg": call.caller.org_id,
        "updatedTime": f"{moment:%m-%d-%Y %H:%M:%S}",
        "requestId": call.request_id,
        "clientId": call.caller.client_id,
        "sandBoxId": call.sandbox.id,
        "updates": [_update(document, step) for step in steps],
    }
    return f"{call.sandbox.id}/{document['$id']}/{call.now_ms:015d}-{call.request_id}", entry


def _update(document: dict[str, Json], step: dict[str, Any]) -> dict[str, Json]:
    return {
        "id": document["$id"],
        "xdmType": document["meta:resourceType"],
        "action": step["op"] if step["op"] in {"add", "remove"} else "replace",
        "path": step["path"],
        "value": step.get("value"),
    }
