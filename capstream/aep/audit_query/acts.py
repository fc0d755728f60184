"""Which operations an audit event is written for, and as what. Source: audit-query.yaml, monitoring-alerts.md 7."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capstream.aep.call import Answer, Call
from capstream.kernel.json import Json, JsonError

_SANDBOX = "Sandbox"
_UNION = "union"
_PROFILE_TAG = "unifiedProfile"


@dataclass(frozen=True, slots=True)
class Act:
    """What an operation does: `asset` and `action` as the API names them, `resource` whose permission it takes."""

    asset: str
    action: str
    resource: str


_TABLE: Mapping[str, tuple[str, Mapping[str, Mapping[str, str]]]] = {
    "flow_service": (
        "StreamingSource",
        {
            "Source Account": {
                "Create": "createConnection createSourceConnection createTargetConnection",
                "Update": "patchConnection patchSourceConnection patchTargetConnection "
                "performAction performAction_1 performAction_2",
                "Delete": "deleteConnection deleteSourceConnection deleteTargetConnection",
            },
            "Source Data Flow": {
                "Create": "createFlow",
                "Update": "patchFlow postStateTransition",
                "Delete": "deleteByFlow",
            },
        },
    ),
    "catalog": (
        "Dataset",
        {
            "Dataset": {
                "Create": "createDataset",
                "Update": "putDataset patchDataset patchDataSetV2 postDataset",
                "Delete": "deleteDataset",
            }
        },
    ),
    "dataset_service": (
        "Dataset",
        {"Dataset": {"Add": "addDatasetLabels", "Update": "updateDatasetLabels", "Remove": "deleteDatasetLabels"}},
    ),
    "schema_registry": (
        "Schema",
        {
            "Schema": {
                "Create": "createSchema importResource importResourceThroughExport",
                "Update": "updateSchema patchSchema createDescriptor updateDescriptor deleteDescriptor",
                "Delete": "deleteSchema",
            },
            "Class": {"Create": "createClass", "Update": "replaceClass updateClass", "Delete": "removeClass"},
            "Field Group": {
                "Create": "createFieldGroup",
                "Update": "updateFieldGroup patchFieldGroup",
                "Delete": "removeFieldGroup",
            },
            "Mixin": {"Create": "createMixin", "Update": "replaceMixin updateMixin", "Delete": "removeMixin"},
            "Data Types": {"Create": "createDataType", "Update": "replaceDatatype updateDataType", "Delete": "deleteDatatype"},
        },
    ),
    "sandbox": (
        "Sandbox",
        {"Sandbox": {"Create": "createSandbox", "Update": "patchSandbox", "Delete": "deleteSandbox", "Reset": "resetSandbox"}},
    ),
    "profile": (
        "ProfileConfig",
        {
            "Merge Policy": {
                "Create": "createMergePolicy",
                "Update": "updateMergePolicy patchMergePolicy",
                "Delete": "deleteMergePolicy",
            }
        },
    ),
}
"""By service: the resource whose permission is needed, then by asset and action the operations."""

_SWITCHES = {"enable": "Enable", "disable": "Disable"}


def _acts() -> dict[tuple[str, str], Act]:
    return {
        (service, operation): Act(asset, action, resource)
        for service, (resource, assets) in _TABLE.items()
        for asset, actions in assets.items()
        for action, operations in actions.items()
        for operation in operations.split()
    }


_ACTS = _acts()


def act_of(service: str, operation: str) -> Act | None:
    """Return what an operation does to an asset, None for one that changes no asset the audit log knows."""
    return _ACTS.get((service, operation))


def action_of(act: Act, call: Call) -> str:
    """Return the action of a call: switching a flow, or a schema or dataset for Profile, has names of its own."""
    if act.action == "Update" and act.asset in ("Source Account", "Source Data Flow"):
        return _SWITCHES.get(call.arg("op").lower(), act.action)
    if act.action != "Update" or act.asset not in ("Dataset", "Schema"):
        return act.action
    stated = _profile_switch(_body(call))
    return act.action if stated is None else "Enable For Profile" if stated else "Disable For Profile"


def asset_id(act: Act, call: Call, answer: Answer | None) -> str:
    """Return the id of the asset: what the path names, else what the answer says was made. A sandbox is known by its name."""
    if call.params:
        return list(call.params.values())[-1]  # a path names the container of a schema before the schema
    body = answer.body if answer is not None else None
    if isinstance(body, list) and body and isinstance(body[0], str):
        return body[0].rpartition("/")[2]
    if isinstance(body, dict):
        members = ("name",) if act.asset == _SANDBOX else ("id", "$id")
        return next((str(body[name]) for name in members if body.get(name)), "")
    return ""


def asset_name(act: Act, call: Call, answer: Answer | None) -> str:
    """Return the name that the request or the answer gives the asset, empty when neither does."""
    if act.asset == _SANDBOX:
        return asset_id(act, call, answer)
    for body in (_body(call), answer.body if answer is not None else None):
        for found in _names(body):
            return found
    return ""


def failure_code(answer: Answer) -> str:
    """Return the code of a refusal: the last part of its `type`, else its status."""
    kind = answer.body.get("type") if isinstance(answer.body, dict) else None
    code = kind.rpartition("/")[2] if isinstance(kind, str) else ""
    return code if code[-3:].isdecimal() else str(answer.status)


def _body(call: Call) -> Any:
    try:
        return call.json() if call.body else None
    except JsonError:
        return None


def _names(body: Json) -> list[str]:
    if isinstance(body, list):
        return [found for each in body if isinstance(each, dict) for found in _patched_names(each)]
    if not isinstance(body, dict):
        return []
    return [value for name in ("name", "title") if isinstance(value := body.get(name), str) and value]


def _patched_names(operation: dict[str, Json]) -> list[str]:
    value = operation.get("value")
    return [value] if operation.get("path") in ("/name", "/title") and isinstance(value, str) else []


def _profile_switch(body: Json) -> bool | None:
    """Say whether a change switches an asset on or off for Profile; None when it does neither."""
    for found in _switches(body):
        return found
    return None


def _switches(body: Json) -> list[bool]:
    if isinstance(body, list):
        return [found for each in body if isinstance(each, dict) for found in _patched_switch(each)]
    tags = body.get("tags") if isinstance(body, dict) else None
    return _tag_switch(tags.get(_PROFILE_TAG)) if isinstance(tags, dict) else []


def _patched_switch(operation: dict[str, Json]) -> list[bool]:
    path, value = str(operation.get("path", "")), operation.get("value")
    if path.startswith("/meta:immutableTags"):
        return [True] if value == _UNION or (isinstance(value, list) and _UNION in value) else []
    if path == f"/tags/{_PROFILE_TAG}":
        return _tag_switch(value)
    return _tag_switch(value.get(_PROFILE_TAG)) if path == "/tags" and isinstance(value, dict) else []


def _tag_switch(value: Json) -> list[bool]:
    if not isinstance(value, list):
        return []
    return [each == "enabled:true" for each in value if each in ("enabled:true", "enabled:false")]
