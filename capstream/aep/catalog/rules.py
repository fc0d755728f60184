"""What a dataset is allowed to look like and how writes change it. Pure. Source: catalog.md 2-4."""

import re
from collections.abc import Container, Mapping
from copy import deepcopy
from datetime import UTC, datetime

from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json

Dataset = dict[str, Json]

TABLE_TAG = "adobe/pqs/table"
FORMAT_TAG = "adobe/siphon/table/format"
PROFILE_TAG = "unifiedProfile"
IDENTITY_TAG = "unifiedIdentity"
VALIDATION_TAG = "acp_validationContext"
DEFAULT_CONTENT_TYPE = "application/vnd.adobe.xed+json;version=1"
DEFAULT_FILE: Mapping[str, Json] = {"persisted": True, "containerFormat": "parquet", "format": "parquet"}

_WRITABLE: Mapping[str, type] = {
    "name": str,
    "description": str,
    "schemaRef": dict,
    "schema": str,
    "tags": dict,
    "fileDescription": dict,
    "enableErrorDiagnostics": bool,
    "observableSchema": dict,
    "dataSourceId": int,
    "unifiedTags": list,
    "systemLabels": list,
    "extensions": dict,
}
_SERVER_TAGS = ("adobe/", "aep/")
_FORMATS = frozenset({"", "csv", "text", "parquet", "json", "sequencefile", "avro"})
_TABLE = re.compile(r"[a-z0-9_]+")
_BLANK = re.compile(r"^\s*(\w+)\s*:\s*")
_LEGACY_SCHEMA = re.compile(r"@/xdms/(.+)")


def profile_enabled(dataset: Dataset) -> bool:
    """Return whether records of the dataset go to Profile."""
    return "enabled:true" in _tag(dataset, PROFILE_TAG)


def identity_enabled(dataset: Dataset) -> bool:
    """Return whether records of the dataset go to the identity graph."""
    return "enabled:true" in _tag(dataset, IDENTITY_TAG)


def upsert_enabled(dataset: Dataset) -> bool:
    """Return whether batch-ingested rows of the dataset may be partial."""
    return "isUpsert:true" in _tag(dataset, PROFILE_TAG)


def validation_disabled(dataset: Dataset) -> bool:
    """Return whether records are only coerced to the schema's types, not validated (ASSUMPTION on the effect)."""
    return "disabled" in _tag(dataset, VALIDATION_TAG)


def table_name(dataset: Dataset) -> str:
    """Return the SQL table name of the dataset."""
    return str(next(iter(_tag(dataset, TABLE_TAG)), ""))


def schema_id(dataset: Dataset) -> str:
    """Return the `$id` of the dataset's schema."""
    return str(dataset.get("schemaRef", {}).get("id", ""))


def _tag(dataset: Dataset, name: str) -> list[Json]:
    values = dataset.get("tags", {}).get(name)
    return values if isinstance(values, list) else []


def writable(body: Json) -> Dataset:
    """Return the members of a request body a client may set; the others are read-only or unknown and ignored.

    Errors: Refused names the member of a wrong type.
    """
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    kept = {name: body[name] for name in _WRITABLE if body.get(name) is not None}
    for name, value in kept.items():
        right = isinstance(value, _WRITABLE[name]) and not (isinstance(value, bool) and _WRITABLE[name] is int)
        if not right:
            raise Refused(f"{name} must be of type {_JSON_NAMES[_WRITABLE[name]]}.")
    if not str(kept.get("name", "-")).strip():
        raise Refused("name must not be empty: send a name, or leave the member out.")
    if "tags" in kept:
        kept["tags"] = clean_tags(kept["tags"])
    for name, value in kept.get("extensions", {}).items():
        if not isinstance(value, dict):
            raise Refused(f"extensions.{name} must be of type object.")
    if "fileDescription" in kept:
        kept["fileDescription"] = _file_description(kept["fileDescription"])
    return kept


_JSON_NAMES: Mapping[type, str] = {str: "string", dict: "object", bool: "boolean", int: "integer", list: "array"}


def is_writable(path: str) -> bool:
    """Return whether a JSON pointer leads into a member a client may set."""
    return path.strip("/").split("/", 1)[0] in _WRITABLE


def _file_description(value: Dataset) -> Dataset:
    kind = str(value.get("format", "parquet")).lower()
    if kind not in _FORMATS:
        raise Refused(f"fileDescription.format {kind} is none of {', '.join(sorted(_FORMATS - {''}))}.")
    return value | {"format": kind}


def clean_tags(tags: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the tags as arrays of strings, `enabled: true` written `enabled:true`. Errors: Refused."""
    cleaned: dict[str, list[str]] = {}
    for name, values in tags.items():
        listed = values if isinstance(values, list) else [values]
        if not all(isinstance(value, (str, int, float, bool)) for value in listed):
            raise Refused(f"tags.{name} must be an array of strings.")
        texts = [value if isinstance(value, str) else str(value).lower() for value in listed]
        blanks = name in {PROFILE_TAG, IDENTITY_TAG}
        cleaned[name] = [_BLANK.sub(r"\1:", text).strip() for text in texts] if blanks else texts
    return cleaned


def schema_reference(body: Dataset) -> dict[str, str]:
    """Return the schema reference of a create body. Errors: Refused when there is none."""
    given = body.get("schemaRef")
    legacy = _LEGACY_SCHEMA.fullmatch(str(body.get("schema", "")))
    identifier = given.get("id") if isinstance(given, dict) else f"https://ns.adobe.com/xdm/{legacy[1]}" if legacy else None
    if not isinstance(identifier, str) or not identifier:
        raise Refused("schemaRef.id is required: the $id of the schema the dataset's records follow.")
    content_type = given.get("contentType") if isinstance(given, dict) else None
    return {"id": identifier, "contentType": content_type if isinstance(content_type, str) else DEFAULT_CONTENT_TYPE}


def free_table_name(name: str, taken: Container[str]) -> str:
    """Return a table name made from a dataset's name that no other dataset has (ASSUMPTION on the rule)."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "dataset"
    candidate, number = plain, 2
    while candidate in taken:
        candidate, number = f"{plain}_{number}", number + 1
    return candidate


def checked_table(tags: Mapping[str, list[str]], taken: Container[str]) -> str:
    """Return the table name a client asks for in its tags, empty when it asks for none. Errors: Refused."""
    asked = tags.get(TABLE_TAG)
    if asked is None:
        return ""
    if len(asked) != 1 or not _TABLE.fullmatch(asked[0]):
        raise Refused(f"tags.{TABLE_TAG} must hold one name of lower-case letters, digits and underscores.")
    if asked[0] in taken:
        raise Refused(f"The table name {asked[0]} belongs to another dataset.")
    return asked[0]


def stamped(tags: dict[str, list[str]], before: Mapping[str, Json], now_ms: int) -> dict[str, list[str]]:
    """Return the tags with the time Profile was enabled, which the server keeps."""
    values = tags.get(PROFILE_TAG)
    if not values or "enabled:true" not in values or any(value.startswith("enabledAt:") for value in values):
        return tags
    earlier = before.get(PROFILE_TAG) or []
    known = [value for value in earlier if value.startswith("enabledAt:")] if "enabled:true" in earlier else []
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return tags | {PROFILE_TAG: [*values, *(known or [f"enabledAt:{moment:%Y-%m-%d %H:%M:%S}"])]}


def kept_tags(tags: dict[str, list[str]], before: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the tags of a write plus those of the server it did not send, or the table name would be lost."""
    return {name: values for name, values in before.items() if name.startswith(_SERVER_TAGS)} | tags


def replaced(dataset: Dataset, body: Dataset) -> Dataset:
    """Return the dataset after PUT: members not sent lose their values, except name and schemaRef (ASSUMPTION)."""
    kept = {name: value for name, value in dataset.items() if name not in _WRITABLE or name in {"name", "schemaRef"}}
    return kept | defaults(str(kept["schemaRef"]["id"]), "") | body


def defaults(identifier: str, title: str) -> Dataset:
    """Return the values of members a client may leave out."""
    observable: Dataset = {"$id": identifier, "type": "object", "meta:xdmType": "object", "properties": {}}
    return {
        "description": "",
        "tags": {},
        "fileDescription": dict(DEFAULT_FILE),
        "enableErrorDiagnostics": False,
        "observableSchema": observable | ({"title": title} if title else {}),
        "unifiedTags": [],
        "extensions": {"adobe_lakeHouse": {"rowExpiration": {}}, "adobe_unifiedProfile": {}},
    }


def merged(target: Json, changes: Json) -> Json:
    """Return `target` with `changes` merged into it at every depth; null deletes a member (ASSUMPTION)."""
    if not isinstance(changes, dict):
        return deepcopy(changes)
    result: Dataset = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def next_version(version: str) -> str:
    """Return the version after `1.0.n`."""
    head, _, number = version.rpartition(".")
    return f"{head}.{int(number) + 1}"


def bare_etag(value: str) -> str:
    """Return an etag without weakness mark, escapes and quotes. Source: gateway.md 7."""
    return value.strip().removeprefix("W/").replace("\\", "").strip('"')
