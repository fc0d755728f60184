"""Specs: what is shipped, and what callers add. Source: flow-service.md 2, 5."""

from typing import Any

import pytest
from flow_plane import CAPILLARY, GENERIC_FLOW, LAKE, FlowPlane, capillary_connection, code_of

from capstream.aep import operations
from capstream.aep.flow_service import api

DOCUMENTED_NAMES = {
    CAPILLARY: "capillary-streaming-events",
    "e77fd9d2-22a8-11ed-861d-0242ac120002": "generic-streaming",
    "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb": "Streaming Connection",
    LAKE: "datalake",
    "8a9c3494-9708-43d7-ae3f-cda01e5030e1": "profile-service",
    "b7bf2577-4520-42c9-bae9-cad01560f7bc": "sftp",
    "26f526f2-58f4-4712-961d-e41bf1ccc0e8": "landing-zone",
    "10440537-2a7b-4583-ac39-ed38d4b848e8": "Data Landing Zone",
}


def test_the_shipped_connection_specs(plane: FlowPlane) -> None:
    answer = plane.flow("GET", "/connectionSpecs").json()
    assert set(answer) == {"items"}
    names = {spec["id"]: spec["name"] for spec in answer["items"]}
    assert names.items() >= DOCUMENTED_NAMES.items()
    assert len(set(names.values())) == len(names)  # aepp makes a map of them
    spec = plane.item(f"/connectionSpecs/{CAPILLARY}")
    assert spec["authSpec"][0]["spec"]["required"] == ["clientId", "clientSecret"]
    assert spec["sourceSpec"]["attributes"]["uiAttributes"]["frequency"]["key"] == "streaming"
    assert isinstance(spec["permissionsInfo"]["view"], list)
    found = plane.flow("GET", "/connectionSpecs?property=name==datalake").json()["items"]
    assert [each["id"] for each in found] == [LAKE]
    assert plane.flow("GET", "/connectionSpecs?count=true").json() == {"count": len(names)}


def test_the_shipped_flow_specs(plane: FlowPlane) -> None:
    items = plane.flow("GET", "/flowSpecs").json()["items"]
    assert {each["name"] for each in items} >= {"RestStorageToAEP", "GenericStreamingAEP", "CloudStorageToAEP"}
    spec = plane.item(f"/flowSpecs/{GENERIC_FLOW}")
    assert CAPILLARY in spec["sourceConnectionSpecIds"]
    assert spec["targetConnectionSpecIds"] == [LAKE]
    assert "scheduleSpec" not in spec
    assert spec["transformationSpecs"][0]["name"] == "Mapping"
    assert code_of(plane.flow("GET", "/flowSpecs/none")) == "1439-404"


def test_a_self_serve_source_becomes_usable(plane: FlowPlane) -> None:
    """The way of the Streaming SDK: a spec of one's own, named in the generic flow spec."""
    template = plane.item("/connectionSpecs/e77fd9d2-22a8-11ed-861d-0242ac120002")
    body = {key: value for key, value in template.items() if key != "id"} | {"name": "my-source"}
    answer = plane.flow("POST", "/connectionSpecs", json=body)
    assert answer.status_code == 201
    spec_id = answer.json()["id"]
    assert answer.json()["items"] == [plane.item(f"/connectionSpecs/{spec_id}")]
    source = plane.source(None, spec=spec_id)
    flow_body = plane.flow_body(source, plane.target())
    assert code_of(plane.flow("POST", "/flows", json=flow_body)) == "1100-400"
    flow_spec: dict[str, Any] = plane.item(f"/flowSpecs/{GENERIC_FLOW}")
    flow_spec["sourceConnectionSpecIds"].append(spec_id)
    flow_spec["transformationSpec"] = flow_spec.pop("transformationSpecs")
    updated = plane.flow("PUT", f"/flowSpecs/{GENERIC_FLOW}", json=flow_spec)
    assert updated.status_code == 200
    assert updated.json() == plane.item(f"/flowSpecs/{GENERIC_FLOW}")
    assert updated.json()["transformationSpecs"][0]["name"] == "Mapping"
    flow_id = plane.made("/flows", flow_body)
    assert "/collection/" in plane.item(f"/flows/{flow_id}")["options"]["inletUrl"]
    names = [each["name"] for each in plane.flow("GET", "/flowSpecs").json()["items"]]
    assert names.count("GenericStreamingAEP") == 1


def test_specs_need_a_name_and_a_known_id(plane: FlowPlane) -> None:
    assert code_of(plane.flow("POST", "/connectionSpecs", json={"type": "x"})) == "1100-400"
    assert code_of(plane.flow("PUT", "/connectionSpecs/none", json={"name": "x"})) == "1439-404"
    created = plane.flow("POST", "/flowSpecs", json={"name": "Mine"})
    assert created.status_code == 201
    assert created.json()["name"] == "Mine"


def test_exploring_a_spec(plane: FlowPlane) -> None:
    answer = plane.flow("GET", f"/connectionSpecs/{CAPILLARY}/explore")
    assert "CONNECTOR-1336-400" in answer.json()["errorMessage"]
    assert plane.flow("GET", "/connectionSpecs/26f526f2-58f4-4712-961d-e41bf1ccc0e8/explore?objectType=root").json() == []
    query = "outputType=activationDatasets&outputField=datasets&limit=100&start=0"
    configs = plane.flow("GET", f"/connectionSpecs/{CAPILLARY}/configs?{query}").json()
    assert configs == {"items": [], "pageInfo": {"hasNext": False}}


def test_every_operation_has_a_handler_and_every_handler_an_operation(plane: FlowPlane) -> None:
    listed = {each.id for each in operations.load() if each.service == "flow_service"}
    assert listed == set(api.handlers(plane.service))
    assert len(listed) == 49  # the 45 of the specification, the older path of runs, three of the landing zone


def test_a_shipped_spec_can_be_overridden_but_stays_shipped(plane: FlowPlane) -> None:
    spec = plane.item(f"/connectionSpecs/{CAPILLARY}")
    plane.flow("PUT", f"/connectionSpecs/{CAPILLARY}", json=spec | {"authSpec": []})
    without_auth = {key: value for key, value in capillary_connection().items() if key != "auth"}
    assert plane.flow("POST", "/connections", json=without_auth).status_code == 201


BROKEN = [
    ({"targetConnectionSpecIds": [[1]]}, "targetConnectionSpecIds must be"),
    ({"attributes": []}, "attributes must be an object"),
    ({"attributes": {"uiAttributes": 1}}, "attributes.uiAttributes"),
    ({"type": 5}, "type must be a string"),
    ({"authSpec": {"name": "x"}}, "authSpec must be"),
    ({"authSpec": [{"name": 5}]}, "authSpec must be"),
    ({"authSpec": [{"name": "x", "spec": {"required": "y"}}]}, "authSpec x: spec must be"),
    ({"authSpec": [{"name": "x", "spec": {"properties": {"y": 1}}}]}, "authSpec x: every property"),
    ({"sourceSpec": {"attributes": "x"}}, "sourceSpec.attributes must be"),
    ({"sourceSpec": {"attributes": {"uiAttributes": {"frequency": {"key": []}}}}}, "frequency must be"),
    ({"exploreSpec": {"columns": ["x"]}}, "exploreSpec.columns"),
    ({"scheduleSpec": "daily"}, "scheduleSpec must be"),
]


@pytest.mark.parametrize(("members", "words"), BROKEN, ids=[row[1] for row in BROKEN])
def test_a_spec_nobody_could_work_with_is_refused(plane: FlowPlane, members: dict[str, Any], words: str) -> None:
    for collection in ("connectionSpecs", "flowSpecs"):
        answer = plane.flow("POST", f"/{collection}", json={"name": "broken"} | members)
        assert code_of(answer) == "1100-400"
        assert words in answer.json()["errorMessage"]
