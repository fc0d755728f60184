"""Answers of the built operations against the response schemas of the published specifications."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane import PROFILE_SCHEMA, ControlPlane
from jsonschema import Draft202012Validator

from capstream.aep.catalog.batches import BatchRecord, BatchStatus

Spec = dict[str, Any]
Specification = Callable[[str], Spec]

CATALOG = "/data/foundation/catalog"
SANDBOX = "/data/foundation/sandbox-management"
ACCESS = "/data/foundation/access-control"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path)
    made.call("POST", f"{CATALOG}/dataSets", json={"name": "Contract", "schemaRef": {"id": PROFILE_SCHEMA}})
    made.call("POST", f"{SANDBOX}/sandboxes", json={"name": "dev", "title": "Dev", "type": "development"})
    dataset_id = next(iter(made.datasets.all(made.prod.id)))
    made.add_batches(BatchRecord("B1", made.prod.id, "o", dataset_id, "flow", BatchStatus.FAILED, 1, 2, 3, 1, 5, 100))
    yield made
    made.close()


def resolved(node: Any, spec: Spec) -> Any:
    """Return a schema with references followed and what JSON Schema does not know (nullable, formats) put in its words."""
    if isinstance(node, list):
        return [resolved(one, spec) for one in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str) and "/components/" in node["$ref"]:
        target: Any = spec
        for part in node["$ref"].replace("/#", "#").removeprefix("#/").split("/"):
            target = target[part]
        return resolved(target, spec)
    return {key: resolved(value, spec) for key, value in node.items() if key not in {"example", "examples", "description"}}


def answer_schema(spec: Spec, path: str, method: str, status: int) -> Any:
    answers = {str(code): answer for code, answer in spec["paths"][path][method]["responses"].items()}
    answer = resolved(answers[str(status)], spec)
    return answer["content"]["application/json"]["schema"]


def problems(schema: Any, body: Any) -> list[str]:
    """Return what is wrong with a body; null is let pass, since the specifications' own examples print it for strings."""
    errors = Draft202012Validator(schema).iter_errors(body)
    return [f"{error.json_path}: {error.message}" for error in errors if error.instance is not None]


READS = [
    ("catalog.yaml", "/dataSets", f"{CATALOG}/dataSets"),
    ("catalog.yaml", "/dataSets/{DATASET_ID}", f"{CATALOG}/dataSets/{{dataset}}"),
    ("catalog.yaml", "/dataSets/{id}/credentials", f"{CATALOG}/dataSets/{{dataset}}/credentials"),
    ("catalog.yaml", "/batches", f"{CATALOG}/batches"),
    ("catalog.yaml", "/batches/{BATCH_ID}", f"{CATALOG}/batches/B1"),
    ("catalog.yaml", "/batches/uniques/{FIELD}", f"{CATALOG}/batches/uniques/status"),
    ("catalog.yaml", "/lastBatches", f"{CATALOG}/lastBatches"),
    ("catalog.yaml", "/", f"{CATALOG}/"),
    ("sandbox.yaml", "/sandbox-management/", f"{SANDBOX}/"),
    ("sandbox.yaml", "/sandbox-management/sandboxTypes", f"{SANDBOX}/sandboxTypes"),
    ("sandbox.yaml", "/sandbox-management/sandboxes", f"{SANDBOX}/sandboxes"),
    ("sandbox.yaml", "/sandbox-management/sandboxes/{sandboxName}", f"{SANDBOX}/sandboxes/dev"),
    ("access-control.yaml", "/acl/reference", f"{ACCESS}/acl/reference"),
    # No /administration/roles: its specification types `subjectAttributes.labels` as a string, its examples as an array.
    ("access-control.yaml", "/administration/products", f"{ACCESS}/administration/products"),
]


@pytest.mark.parametrize(("file", "path", "url"), READS, ids=[f"{row[0]} {row[1]}" for row in READS])
def test_what_is_read_has_the_specified_shape(
    plane: ControlPlane, specification: Specification, file: str, path: str, url: str
) -> None:
    schema = answer_schema(specification(file), path, "get", 200)
    answer = plane.call("GET", url.replace("{dataset}", next(iter(plane.datasets.all(plane.prod.id)))))
    assert answer.status_code == 200
    assert answer.json()
    assert problems(schema, answer.json()) == []


WRITES = [
    ("POST", "/sandbox-management/sandboxes", f"{SANDBOX}/sandboxes", {"name": "x1", "title": "X", "type": "development"}, 202),
    ("PATCH", "/sandbox-management/sandboxes/{sandboxName}", f"{SANDBOX}/sandboxes/dev", {"title": "D"}, 200),
    ("PUT", "/sandbox-management/sandboxes/{sandboxName}", f"{SANDBOX}/sandboxes/dev", {"action": "reset"}, 202),
    ("DELETE", "/sandbox-management/sandboxes/{sandboxName}", f"{SANDBOX}/sandboxes/dev", None, 202),
]


@pytest.mark.parametrize(("method", "path", "url", "body", "status"), WRITES, ids=[row[0] for row in WRITES])
def test_sandbox_writes_answer_in_the_specified_shape(
    plane: ControlPlane, specification: Specification, method: str, path: str, url: str, body: Any, status: int
) -> None:
    schema = answer_schema(specification("sandbox.yaml"), path, method.lower(), status)
    answer = plane.call(method, url, **({} if body is None else {"json": body}))
    assert answer.status_code == status
    assert problems(schema, answer.json()) == []


@pytest.mark.parametrize(("method", "status"), [("PUT", 200), ("PATCH", 200), ("DELETE", 200)])
def test_dataset_writes_answer_in_the_specified_shape(
    plane: ControlPlane, specification: Specification, method: str, status: int
) -> None:
    schema = answer_schema(specification("catalog.yaml"), "/dataSets/{DATASET_ID}", method.lower(), status)
    url = f"{CATALOG}/dataSets/{next(iter(plane.datasets.all(plane.prod.id)))}"
    answer = plane.call(method, url, **({} if method == "DELETE" else {"json": {"description": "d"}}))
    assert answer.status_code == status
    assert problems(schema, answer.json()) == []
