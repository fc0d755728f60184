"""Every operation of the published specification is in the table, and every one has a handler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from capstream.aep.operations import load
from capstream.aep.schema_registry.api import handlers
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.storage.sqlite import SqliteDocuments

BASE = "/data/foundation/schemaregistry"
OURS = {"importResourceThroughExport", "csvToSchema"}  # a client's defect and a procedure of the guide


def _shape(path: str) -> str:
    """Return a path with its parameters alike: ids are a rest of the path here, containers a parameter everywhere."""
    parts = ["*" if part.startswith("{") or part in {"tenant", "global"} else part for part in path.split("/")]
    return "/".join(parts)


def test_the_table_has_the_published_operations(specification: Callable[[str], dict[str, Any]]) -> None:
    published = {
        (operation["operationId"], method.upper(), _shape(BASE + path))
        for path, methods in specification("schema-registry.yaml")["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "operationId" in operation
    }
    ours = {
        (operation.id, operation.method, _shape(operation.path))
        for operation in load()
        if operation.service == "schema_registry" and operation.id not in OURS
    }
    assert ours == published


def test_every_operation_has_a_handler(tmp_path: Path) -> None:
    documents = SqliteDocuments(tmp_path / "control.db")
    built = handlers(SchemaRegistry(documents, "capstream"), in_use=lambda *_: False, namespace_code=lambda _, code: code)
    listed = {operation.id for operation in load() if operation.service == "schema_registry"}
    assert set(built) == listed
    documents.close()
