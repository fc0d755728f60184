"""Mapping sets and mappings as posted, stored and returned. Source: data-prep.md 1.3, 1.4."""

import re
from dataclasses import dataclass

from capstream.aep.call import Call
from capstream.aep.data_prep.errors import BAD_BODY, NO_MAPPINGS, TOO_LONG, refusal
from capstream.aep.data_prep.rows import STORED_FORM, Row, SourceType, row_of
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json
from capstream.lang.expression import CheckError, checked
from capstream.lang.nodes import record_paths
from capstream.lang.paths import path_text
from capstream.lang.scanner import MAX_LENGTH

FULL = "application/vnd.adobe.xed-full+json;version=1"
_XDM_PREFIX = re.compile(r"(^|\.)xdm:")
_KEPT = ("name", "description", "identityGroup", "namespaceCode")
_MEMBERS: dict[str, tuple[type, str]] = {
    "name": (str, "text"),
    "inputSchema": (dict, "an object with id, sampleId or jsonSchema"),
    "tags": (list, "an array of {name, values}"),
    "strictMapping": (bool, "true or false"),
    "allowNullValues": (bool, "true or false"),
    "copyFrom": (str, "the id of a mapping set of this sandbox"),
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changed something, and when."""

    now_ms: int
    user: str

    @classmethod
    def of(cls, call: Call) -> "Stamp":
        """Return the stamp of a call."""
        return cls(call.now_ms, call.caller.user_id)

    def created(self) -> dict[str, Json]:
        """Return the members of a new object."""
        return {"createdDate": self.now_ms, "createdBy": self.user, **self.modified()}

    def modified(self) -> dict[str, Json]:
        """Return the members of a changed object."""
        return {"modifiedDate": self.now_ms, "modifiedBy": self.user}


def object_body(body: Json) -> dict[str, Json]:
    """Return the body when it is an object. Errors: ApiError."""
    if not isinstance(body, dict):
        raise refusal(BAD_BODY, "The body must be a JSON object.")
    return body


def set_body(body: Json, where: str = "") -> dict[str, Json]:
    """Return a posted mapping set when its own members have the right types; null is the same as absent. Errors: ApiError.

    `where` stands before the names of members in errors: `mappingSet.`.
    """
    posted = object_body(body)
    for name, (kind, expected) in _MEMBERS.items():
        if posted.get(name) is not None and not isinstance(posted[name], kind):
            raise refusal(BAD_BODY, f"{where}{name}: {expected} is needed.")
    return posted


def posted_mappings(body: dict[str, Json]) -> list[dict[str, Json]]:
    """Return the mappings of a posted set. Errors: ApiError."""
    mappings = body.get("mappings")
    if not isinstance(mappings, list) or not mappings:
        raise refusal(NO_MAPPINGS, "mappings: an array with at least one mapping is needed.")
    for at, mapping in enumerate(mappings):
        check_mapping(mapping, f"mappings[{at}]")
    return mappings


def check_mapping(mapping: Json, where: str) -> Row:
    """Return the row of a posted mapping. Errors: ApiError."""
    if not isinstance(mapping, dict):
        raise refusal(NO_MAPPINGS, f"{where}: a mapping is an object with sourceType, source and destination.")
    try:
        row = row_of(mapping)
    except ValueError as error:
        raise refusal(NO_MAPPINGS, f"{where}: {error}.") from error
    if row.source_type is SourceType.EXPRESSION and len(row.source) > MAX_LENGTH:
        detail = f"{where}: the calculated field has {len(row.source)} characters, the limit is {MAX_LENGTH}; split it."
        raise refusal(TOO_LONG, detail)
    return row


def stored_mapping(mapping: dict[str, Json], stamp: Stamp, *, identity: str = "") -> dict[str, Json]:
    """Return a mapping as it is stored and returned."""
    row = row_of(mapping)
    destination = _XDM_PREFIX.sub(r"\1", row.destination)
    stored: dict[str, Json] = {
        "id": identity or new_hex32(),
        "version": 0,
        **stamp.created(),
        "sourceType": STORED_FORM[row.source_type],
        "source": row.source,
        "destination": destination,
        **{name: mapping[name] for name in _KEPT if mapping.get(name) is not None},
        "identity": mapping.get("identity") is True,
        "primaryIdentity": mapping.get("primaryIdentity") is True,
        "matchScore": 0.0,
        "functionVersion": version if (version := mapping.get("functionVersion")).__class__ is int else 1,
        "sourceAttribute": row.source,
        "destinationXdmPath": destination,
    }
    if row.source_type is SourceType.EXPRESSION:
        stored["expressionAttributes"] = expression_attributes(row.source)
    return stored


def expression_attributes(source: str) -> list[str]:
    """Return the source paths an expression reads, in order of appearance."""
    try:
        return [path_text(path.steps) for path in record_paths(checked(source))]
    except CheckError:
        return []


def output_schema(body: dict[str, Json]) -> dict[str, Json] | None:
    """Return `{id, contentType}` of the posted output schema, in either form, or None."""
    representation = body.get("outputSchema")
    reference = representation.get("schemaRef") if isinstance(representation, dict) else None
    if not isinstance(reference, dict):
        reference = body.get("schemaRef")
    if isinstance(reference, dict) and isinstance(reference.get("id"), str):
        return {"id": reference["id"], "contentType": reference.get("contentType") or FULL}
    if isinstance(body.get("xdmSchema"), str) and body["xdmSchema"]:
        return {"id": body["xdmSchema"], "contentType": FULL}
    return None


def schema_members(reference: dict[str, Json], stamp: Stamp) -> dict[str, Json]:
    """Return the members of a set that tell its output schema."""
    return {
        "outputSchema": {"id": new_hex32(), "version": 0, "schemaRef": reference, **stamp.created()},
        "xdmVersion": reference["contentType"],
        "schemaRef": reference,
        "xdmSchema": reference["id"],
    }


def new_set(body: dict[str, Json], mappings: list[dict[str, Json]], reference: dict[str, Json], stamp: Stamp) -> dict[str, Json]:
    """Return version 0 of a mapping set."""
    return {
        "id": new_hex32(),
        "version": 0,
        **stamp.created(),
        "supportVersion": "1.1",
        **_optional(body),
        **schema_members(reference, stamp),
        "mappings": [stored_mapping(mapping, stamp) for mapping in mappings],
        "status": "DRAFT",
        "strictMapping": body.get("strictMapping") is True,
        "allowNullValues": body.get("allowNullValues") is True,
    }


def _optional(body: dict[str, Json]) -> dict[str, Json]:
    return {name: body[name] for name in ("name", "inputSchema", "tags") if body.get(name) is not None}


def changed_set(old: dict[str, Json], body: dict[str, Json], stamp: Stamp) -> dict[str, Json]:
    """Return the next version of a set after a PUT: mappings replaced, the schema too when it is sent."""
    reference = output_schema(body)
    flags = {name: body[name] for name in ("strictMapping", "allowNullValues") if isinstance(body.get(name), bool)}
    return {
        **old,
        **_optional(body),
        **(schema_members(reference, stamp) if reference is not None else {}),
        **flags,
        **stamp.modified(),
        "version": old["version"] + 1,
        "mappings": [stored_mapping(mapping, stamp) for mapping in posted_mappings(body)],
    }


def with_mappings(old: dict[str, Json], mappings: list[dict[str, Json]], stamp: Stamp) -> dict[str, Json]:
    """Return the next version of a set with other mappings."""
    return {**old, **stamp.modified(), "version": old["version"] + 1, "mappings": mappings}


def simple(stored: dict[str, Json]) -> dict[str, Json]:
    """Return the SimpleRepresentation of an object."""
    return {name: stored[name] for name in ("id", "version", "createdDate", "modifiedDate", "createdBy", "modifiedBy")}
