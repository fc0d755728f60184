"""`POST /rpc/csv2schema`: a schema from a CSV file, as an export for `/rpc/import`. Source: schema-registry.md 9.

Nothing is stored. Identity columns are read and checked, but an export has no place for descriptors (ASSUMPTION).
"""

from collections.abc import Sequence
from email.parser import BytesParser
from email.policy import HTTP
from secrets import token_hex

from capstream.aep.call import Call
from capstream.aep.schema_registry.csv_fields import Row, custom_fields, rows
from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.aep.schema_registry.rpc import PLACEHOLDER
from capstream.kernel.json import Json

_PARTS = ("csv-file", "schema-class-id", "schema-name")
_NAMESPACE = f"_{PLACEHOLDER}"


def schema_from_csv(registry: SchemaRegistry, call: Call) -> list[Json]:
    """Return the export: custom field groups, then the schema. Errors: Refusal 1600, 1601."""
    parts = _parts(call)
    for name in _PARTS:
        if not parts.get(name, "").strip():
            raise Refusal(Faults.BAD_REQUEST, f"{name}: this part of the form is required.")
    class_id = _component(registry, call, parts["schema-class-id"].strip(), "classes")
    found = rows(parts["csv-file"])
    if not found:
        raise Refusal(Faults.BAD_REQUEST, "csv-file: no line defines a field.")
    standard = [_standard_group(registry, call, row) for row in found if not row.flag("isCustom")]
    title = parts["schema-name"].strip()
    custom: dict[str, list[Row]] = {}
    for row in found:
        if row.flag("isCustom"):
            for column in ("isIdentity", "isPrimaryIdentity"):
                row.flag(column)
            custom.setdefault(row.cells["fieldGroupName"] or f"{title} fields", []).append(row)
    made = [_group(name, members, class_id, registry.namespace) for name, members in custom.items()]
    references = dict.fromkeys([class_id, *standard, *(group["$id"] for group in made)])
    entries = [{"$ref": reference, "type": "object", "meta:xdmType": "object"} for reference in references]
    schema = _resource("schemas", title, parts.get("schema-description", "").strip())
    return [*made, {**schema, "allOf": entries, "meta:class": class_id, "meta:abstract": False, "meta:extensible": False}]


def _parts(call: Call) -> dict[str, str]:
    kind = call.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refusal(Faults.BAD_REQUEST, "A multipart/form-data body is needed.")
    message = BytesParser(policy=HTTP).parsebytes(f"content-type: {kind}\r\n\r\n".encode("latin-1", "replace") + call.body)
    found: dict[str, str] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            try:
                found[name] = content.decode()
            except UnicodeDecodeError:
                raise Refusal(Faults.BAD_REQUEST, f"{name}: it is not UTF-8.") from None
    return found


def _component(registry: SchemaRegistry, call: Call, reference: str, kind: str) -> str:
    document = registry.document(call.sandbox.id, reference)
    if document is None or document["meta:resourceType"] != kind:
        raise Refusal(Faults.BAD_REFERENCE, f"{reference} is none of the {kind} of this sandbox or the global library.")
    return str(document["$id"])


def _standard_group(registry: SchemaRegistry, call: Call, row: Row) -> str:
    """Return the group a row names by id or, without one, by title."""
    if row.cells["fieldGroupId"]:
        return _component(registry, call, row.cells["fieldGroupId"], "mixins")
    title = row.cells["fieldGroupName"]
    found = next((one for one in registry.standard("mixins") if title and one["title"] == title), None)
    if found is None:
        raise row.refused("fieldGroupName", f"{title!r} is no standard field group")
    return str(found["$id"])


def _group(title: str, members: Sequence[Row], class_id: str, namespace: str) -> dict[str, Json]:
    fields = custom_fields(members, namespace)
    return {
        **_resource("mixins", title, ""),
        "definitions": {"customFields": {"type": "object", "properties": {_NAMESPACE: fields[namespace]}}},
        "allOf": [{"$ref": "#/definitions/customFields", "type": "object", "meta:xdmType": "object"}],
        "meta:intendedToExtend": [class_id],
        "meta:abstract": True,
        "meta:extensible": True,
    }


def _resource(kind: str, title: str, description: str) -> dict[str, Json]:
    name = token_hex(24)
    return {
        "$id": f"https://ns.adobe.com/{PLACEHOLDER}/{kind}/{name}",
        "meta:altId": f"{_NAMESPACE}.{kind}.{name}",
        "meta:resourceType": kind,
        "version": "1.0",
        "title": title,
        "type": "object",
        "description": description,
        "meta:xdmType": "object",
    }
