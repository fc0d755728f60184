"""Samples and mapper schemas: what is known about the source of a mapping set. Source: data-prep.md 1.8."""

import csv
import io
from email.parser import BytesParser
from email.policy import HTTP

from capstream.aep.call import Call
from capstream.aep.data_prep.errors import BAD_BODY, refusal
from capstream.kernel.json import Json, JsonError, loads

_DELIMITERS = ",\t|;"
_MOST_DEPTH = 40


class BadSample(Exception):
    """The text is no sample of its kind."""


def records(text: str, kind: str) -> list[dict[str, Json]]:
    """Return the records of a sample. Errors: BadSample."""
    if kind == "JSON":
        try:
            value = loads(text)
        except (JsonError, RecursionError) as error:
            raise BadSample(f"sampleData is not JSON: {error}") from error
        found = value if isinstance(value, list) else [value]
        if not found or not all(isinstance(record, dict) for record in found):
            raise BadSample("sampleData must be a JSON object or an array of them")
        return found
    if kind == "CSV":
        return _csv_records(text)
    raise BadSample(f"sampleType {kind!r} is unknown; known are JSON and CSV")


def json_records(text: str) -> list[dict[str, Json]]:
    """Return the records of JSON text, or of JSON Lines. Errors: BadSample, with the line."""
    try:
        return records(text, "JSON")
    except BadSample as whole:
        lines = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2:
            raise
        found = []
        for at, line in lines:
            try:
                found += records(line, "JSON")
            except BadSample as error:
                raise BadSample(f"line {at}: {error}") from whole
        return found


def _csv_records(text: str) -> list[dict[str, Json]]:
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines:
        raise BadSample("sampleData is empty")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    reader = csv.DictReader(io.StringIO("\n".join(lines)), delimiter=delimiter)
    return [{name: value for name, value in row.items() if isinstance(name, str)} for row in reader]


def without_nulls(value: Json) -> Json:
    """Return a value without the members that are null: rows of the lake have every column."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def schema_of(found: list[dict[str, Json]], sample_id: str) -> dict[str, Json]:
    """Return the JsonSchema of a sample's records."""
    return {**_describe(list(found), f"SampleSchema:{sample_id}"), "title": f"SampleSchema:{sample_id}"}


def json_schema(kind: str, stored: dict[str, Json] | None) -> Json:
    """Return the JsonSchema of a stored mapper schema (`schemas`) or sample (`samples`); None when there is none."""
    if stored is None or kind == "schemas":
        return None if stored is None else stored.get("jsonSchema")
    return schema_of(records(stored["sampleData"], stored["sampleType"]), stored["id"])


def _describe(values: list[Json], title: str, depth: int = 0) -> dict[str, Json]:
    present = [value for value in values if value is not None]
    objects = [value for value in present if isinstance(value, dict)]
    if objects and depth < _MOST_DEPTH:
        names = dict.fromkeys(name for value in objects for name in value)
        properties = {name: _describe([value[name] for value in objects if name in value], name, depth + 1) for name in names}
        return {"title": title, "type": "object", "properties": properties}
    lists = [value for value in present if isinstance(value, list)]
    if lists and depth < _MOST_DEPTH:
        items = [item for value in lists for item in value]
        described = _describe(items, title, depth + 1) if items else {"type": "string"}
        return {"title": title, "type": "array", "items": {key: one for key, one in described.items() if key != "title"}}
    return {"title": title, "type": _scalar(present)}


def _scalar(values: list[Json]) -> str:
    kinds = {value.__class__ for value in values}
    if kinds and kinds <= {bool}:
        return "boolean"
    if kinds and kinds <= {int}:
        return "integer"
    return "number" if kinds and kinds <= {int, float} else "string"


def field_paths(schema: dict[str, Json]) -> frozenset[str]:
    """Return the dotted paths of a JsonSchema, objects and arrays included."""
    found: set[str] = set()

    def visit(node: Json, prefix: str) -> None:
        while isinstance(node, dict) and node.get("type") == "array":
            node = node.get("items")
        properties = node.get("properties") if isinstance(node, dict) else None
        for name, child in properties.items() if isinstance(properties, dict) else ():
            path = f"{prefix}.{name}" if prefix else name
            found.add(path)
            visit(child, path)

    visit(schema, "")
    return frozenset(found)


def leaf_types(schema: dict[str, Json]) -> dict[str, str]:
    """Return the type of each leaf of a JsonSchema by its path, `[*]` after arrays."""
    found: dict[str, str] = {}

    def visit(node: Json, path: str) -> None:
        while isinstance(node, dict) and node.get("type") == "array":
            inner = node.get("items")
            if not isinstance(inner, dict) or inner.get("type") not in {"array", "object"}:
                break
            node, path = inner, f"{path}[*]"
        properties = node.get("properties") if isinstance(node, dict) else None
        if isinstance(properties, dict):
            for name, child in properties.items():
                visit(child, f"{path}.{name}" if path else name)
        elif path and isinstance(node, dict):
            found[path] = str(node.get("type", "string"))

    visit(schema, "")
    return found


def uploaded(call: Call) -> tuple[str, str]:
    """Return (text, file name) of the multipart part `file`. Errors: ApiError."""
    content_type = call.headers.get("content-type", "")
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + call.body)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            try:
                text = content.decode("utf-8-sig") if isinstance(content, bytes) else ""
            except UnicodeDecodeError as error:
                raise refusal(BAD_BODY, "file: the text must be UTF-8.") from error
            return text, part.get_filename() or ""
    raise refusal(BAD_BODY, "A multipart/form-data body with a part named file is needed.")
