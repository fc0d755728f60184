"""Schemas of 6,000 fields, and the same validation by other engines."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from capstream.aep.call import Call, Caller, Handler, Operation, Sandbox
from capstream.aep.schema_registry.api import handlers
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.kernel.json import Json, dumps
from capstream.storage.sqlite import SqliteDocuments
from capstream.xdm.compose import compose
from capstream.xdm.library import standard_library
from capstream.xdm.names import XDM
from capstream.xdm.render import full
from capstream.xdm.schema import Schema

_FIELDS = 6000
_ROUNDS = 7
_BASE = "/data/foundation/schemaregistry"
_FULL = "application/vnd.adobe.xed-full+json; version=1"


def measure() -> dict[str, float]:
    """Return what a large schema costs. Units: milliseconds to compose, microseconds from the cache; medians."""
    body = _group()
    uri = "https://ns.adobe.com/bench/mixins/large"
    documents = {**standard_library(), uri: body}
    references = [XDM + "context/profile", uri]
    composed = _median_s(lambda: compose(references, documents.get, schema_id="bench"))
    with TemporaryDirectory() as folder:
        served = _served(Path(folder), body)
    return {
        f"schema of {_FIELDS:,} fields composed, ms": composed * 1e3,
        f"schema of {_FIELDS:,} fields served in full from the cache, µs": served * 1e6,
    }


def others(schema: Schema, record: Json) -> dict[str, Callable[[], object]]:
    """Return engine -> one validation of the record, for the engines that are installed.

    All get the same plain JSON Schema, closed as ingestion closes it. jsonschema-rs only says yes or no here; the
    records arrive as Python objects, as ours do.
    """
    plain = closed(full(schema.root))
    found: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("jsonschema_rs"):
        engine = importlib.import_module("jsonschema_rs").Draft7Validator(plain, validate_formats=True)
        found["jsonschema-rs, yes or no"] = lambda: engine.is_valid(record)
    if importlib.util.find_spec("fastjsonschema"):
        check = importlib.import_module("fastjsonschema").compile(plain)
        found["fastjsonschema"] = lambda: check(record)
    return found


def closed(node: dict[str, Json]) -> dict[str, Json]:
    """Return the definition with closed objects, non-empty texts and no annotations."""
    found = {key: value for key, value in node.items() if not key.startswith("meta:") and key not in {"title", "description"}}
    if "properties" in found:
        found["properties"] = {name: closed(child) for name, child in found["properties"].items()}
        found["additionalProperties"] = False
    elif isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = closed(found["additionalProperties"])
    if isinstance(found.get("items"), dict):
        found["items"] = closed(found["items"])
    if found.get("type") == "string":
        found.setdefault("minLength", 1)
    return found


def _group() -> dict[str, Any]:
    """Return a field group of 60 objects with 100 fields each, counting the objects."""
    leaf = {"type": "string", "title": "A field", "description": "One of many."}
    members = {f"field{number}": leaf for number in range(_FIELDS // 60 - 1)}
    objects = {f"object{number}": {"type": "object", "title": "An object", "properties": members} for number in range(60)}
    return {
        "title": "Large",
        "type": "object",
        "meta:intendedToExtend": [],
        "definitions": {"customFields": {"properties": {"_bench": {"type": "object", "properties": objects}}}},
        "allOf": [{"$ref": "#/definitions/customFields"}],
    }


def _served(folder: Path, body: dict[str, Any]) -> float:
    documents = SqliteDocuments(folder / "control.db")
    try:
        api = handlers(
            SchemaRegistry(documents, "bench"), in_use=lambda _sandbox, _uri: False, namespace_code=lambda _sandbox, code: code
        )
        group = _send(api["createFieldGroup"], "POST", "fieldgroups", body=body)
        entries = [{"$ref": reference} for reference in (XDM + "context/profile", group["$id"])]
        made = _send(api["createSchema"], "POST", "schemas", body={"title": "Large schema", "allOf": entries})
        return _median_s(lambda: _send(api["retrieveSchema"], "GET", "schemas", reference=made["$id"]))
    finally:
        documents.close()


def _send(handler: Handler, method: str, kind: str, *, body: Json = None, reference: str = "") -> Json:
    path = f"{_BASE}/tenant/{kind}"
    call = Call(
        operation=Operation(id="bench", service="schema_registry", method=method, path=path),
        method=method,
        path=path,
        params={"container": "tenant", "id": reference},
        query=(),
        headers={"accept": _FULL},
        body=b"" if body is None else dumps(body),
        caller=Caller(org_id="0" * 24 + "@AdobeOrg", client_id="bench", user_id="bench"),
        sandbox=Sandbox(id="bench", name="prod"),
        base_url="http://localhost",
        request_id="0",
        now_ms=1_721_300_000_000,
    )
    answer = handler(call)
    return answer.content() if reference else answer.body


def _median_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times)
