"""Answers of the Flow Service against the published specification. Known deviations are listed with their reason."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "flow_service"))

from flow_plane import BASE, GENERIC_FLOW, FlowPlane, capillary_connection

from capstream.aep import operations
from capstream.aep.flow_service.runs import Delta, add

SHARED = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[3] / "shared"))
SPECIFICATION = SHARED / "openapi" / "flow-service.yaml"

KNOWN_DEVIATIONS = (
    # (place in the answer, why it is not what the file says)
    (r"items\.\d+\.sourceSpec\.attributes\.uiAttributes\.(category|icon|label|description)", "prose and aepp: objects"),
    (r"sourceSpec\.attributes\.uiAttributes\.(category|icon|label|description)", "prose and aepp: objects"),
    (r"(items\.\d+\.)?transformationSpecs", "prose and samples: an array"),
    (r"items\.\d+\.optionSpec\.spec\.properties\..*", "the file describes a schema document member by member"),
    (r"(items\.\d+\.)?scheduleSpec.*", "the file describes a schema document member by member"),
)

pytestmark = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason=f"{SPECIFICATION} is not there; set CAPSTREAM_SHARED to the folder that holds openapi/"
)


@pytest.fixture(scope="module")
def specification() -> dict[str, Any]:
    return dict(json.loads(json.dumps(yaml.safe_load(SPECIFICATION.read_text()), default=str)))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FlowPlane]:
    made = FlowPlane(tmp_path)
    yield made
    made.close()


def answers(plane: FlowPlane) -> Iterator[tuple[str, httpx.Response]]:
    """Yield (operationId, answer) of calls that succeed, over the life of a flow."""
    connection = plane.flow("POST", "/connections", json=capillary_connection())
    yield "createConnection", connection
    base = connection.json()["id"]
    source, target = plane.source(base), plane.target()
    created = plane.flow(
        "POST", "/flows", json=plane.flow_body(source, target, scheduleParams={"startTime": "1", "interval": 15})
    )
    yield "createFlow", created
    flow_id = created.json()["id"]
    route = plane.flows.route(flow_id)
    assert route is not None
    with plane.run_documents.transaction() as change:
        add(change, route, plane.now_ms // 3_600_000, Delta(received=3, written=2, failed=1), now_ms=plane.now_ms)
    yield "listFlowRuns", plane.flow("GET", "/runs")
    yield "retrieveFlowRun", plane.flow("GET", f"/runs/{plane.flow('GET', '/runs').json()['items'][0]['id']}")
    for operation, path in (
        ("listConnections", "/connections"),
        ("retrieveConnection", f"/connections/{base}"),
        ("testConnection", f"/connections/{base}/test"),
        ("getSourceConnections", "/sourceConnections?limit=1"),
        ("retrieveSourceConnection", f"/sourceConnections/{source}"),
        ("getTargetConnections", "/targetConnections"),
        ("retrieveTargetConnection", f"/targetConnections/{target}"),
        ("listFlows", "/flows"),
        ("listFlows", "/flows?count=true"),
        ("retrieveFlow", f"/flows/{flow_id}"),
        ("listConnectionSpecs", "/connectionSpecs"),
        ("retrieveConnectionSpec", "/connectionSpecs/6360f136-5980-4111-8bdf-15d29eab3b5a"),
        ("listFlowSpecs", "/flowSpecs"),
        ("retrieveFlowSpec", f"/flowSpecs/{GENERIC_FLOW}"),
    ):
        yield operation, plane.flow("GET", path)
    for operation, path in (("getConnectionsByFilters", "/connections/search"), ("getFlowsByFilters", "/flows/search")):
        yield operation, plane.flow("POST", path, json={"queryString": "property=state==enabled", "limit": 5})
    yield "searchFlowSpecs", plane.flow("POST", "/flowSpecs/search", json={"limit": 5})
    change_name = [{"op": "replace", "path": "/name", "value": "renamed"}]
    etag = plane.item(f"/flows/{flow_id}")["etag"]
    yield "patchFlow", plane.flow("PATCH", f"/flows/{flow_id}", json=change_name, if_match=etag)
    yield "postStateTransition", plane.flow("POST", f"/flows/{flow_id}/action?op=DISABLE")
    spec = plane.item("/connectionSpecs/6360f136-5980-4111-8bdf-15d29eab3b5a")
    yield "createConnectionSpec", plane.flow("POST", "/connectionSpecs", json=spec)
    yield "updateConnectionSpec", plane.flow("PUT", f"/connectionSpecs/{spec['id']}", json=spec)
    flow_spec = plane.item(f"/flowSpecs/{GENERIC_FLOW}")
    yield "createFlowSpec", plane.flow("POST", "/flowSpecs", json=flow_spec)
    yield "updateFlowSpec", plane.flow("PUT", f"/flowSpecs/{GENERIC_FLOW}", json=flow_spec)
    yield "deleteByFlow", plane.flow("DELETE", f"/flows/{flow_id}")
    yield "deleteSourceConnection", plane.flow("DELETE", f"/sourceConnections/{source}")
    yield "deleteTargetConnection", plane.flow("DELETE", f"/targetConnections/{target}")
    yield "deleteConnection", plane.flow("DELETE", f"/connections/{base}/")


def operations_of(specification: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return (method, path, operation) by operationId."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in specification["paths"].items()
        for method, operation in methods.items()
        if method in {"get", "put", "post", "patch", "delete"}
    }


def violations(specification: dict[str, Any], operation: dict[str, Any], answer: httpx.Response) -> list[str]:
    """Return what in the answer is not as specified, without the known deviations."""
    response = operation["responses"][str(answer.status_code)]
    schema = response.get("content", {}).get("application/json", {}).get("schema")
    if not schema:
        return []
    root = {"components": specification["components"]} | schema
    found = jsonschema.Draft4Validator(root).iter_errors(answer.json())
    places = [(".".join(map(str, error.absolute_path)), error.message) for error in found]
    return [f"{place}: {text}" for place, text in places if not any(re.fullmatch(known, place) for known, _ in KNOWN_DEVIATIONS)]


def test_answers_are_as_specified(plane: FlowPlane, specification: dict[str, Any]) -> None:
    specified = operations_of(specification)
    found = {}
    for operation_id, answer in answers(plane):
        operation = specified[operation_id][2]
        assert str(answer.status_code) in operation["responses"], (operation_id, answer.status_code, answer.text)
        wrong = violations(specification, operation, answer)
        if wrong:
            found[operation_id] = wrong
    assert found == {}


def test_every_specified_operation_is_in_the_table(specification: dict[str, Any]) -> None:
    listed = {each.id: each for each in operations.load() if each.service == "flow_service"}
    for operation_id, (method, path, _) in operations_of(specification).items():
        expected = BASE + re.sub(r"\{[A-Z_]+\}", "{id}", path).rstrip("/")
        assert (listed[operation_id].method, listed[operation_id].path) == (method, expected)
