"""Flows: the tutorial, the contradictions of the documents, the order of checks. Source: flow-service.md 3.4, 9, 10."""

from typing import Any

import pytest
from flow_plane import (
    CAPILLARY,
    EVENT,
    GENERIC,
    GENERIC_FLOW,
    LAKE,
    MAPPED_FLOW,
    PASS_FLOW,
    PROFILE,
    REST_FLOW,
    FlowPlane,
    code_of,
    http_connection,
)

from capstream.aep.flow_service.model import State

BODY_G_SCHEDULE = {"startTime": "1625040887", "frequency": "minute", "interval": 15}


def test_the_tutorial_flow_reads_back_as_documented(plane: FlowPlane) -> None:
    base = plane.connection()
    source, target = plane.source(base), plane.target()
    body = {
        "name": "Capillary dataflow",
        "description": "Capillary to Experience Platform",
        "flowSpec": {"id": REST_FLOW, "version": "1.0"},
        "sourceConnectionIds": source,
        "targetConnectionIds": target,
        "transformations": [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "0"}}],
        "scheduleParams": BODY_G_SCHEDULE,
    }
    answer = plane.flow("POST", "/flows", json=body)
    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt | {"id": 0, "etag": 0} == {
        "id": 0,
        "etag": 0,
        "status": "enabled",
        "message": "Dataflow created successfully",
    }
    assert answer.headers["location"].endswith(f"/flows/{receipt['id']}")

    flow = plane.item(f"/flows/{receipt['id']}")
    inlet_id = plane.item(f"/connections/{base}")["auth"]["params"]["inletId"]
    spec = {"id": CAPILLARY, "version": "1.0"}
    expected: dict[str, Any] = {
        "id": receipt["id"],
        "createdAt": plane.now_ms,
        "updatedAt": plane.now_ms,
        "createdBy": plane.client.user_id,
        "createdClient": plane.client.client_id,
        "sandboxId": plane.prod.id,
        "sandboxName": "prod",
        "name": "Capillary dataflow",
        "description": "Capillary to Experience Platform",
        "flowSpec": {"id": REST_FLOW, "version": "1.0"},
        "state": "enabled",
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "inheritedAttributes": {
            "properties": {"isSourceFlow": True},
            "sourceConnections": [{"id": source, "connectionSpec": spec, "baseConnection": {"id": base, "connectionSpec": spec}}],
            "targetConnections": [{"id": target, "connectionSpec": {"id": LAKE, "version": "1.0"}}],
        },
        "options": {"errorDiagnosticsEnabled": False, "inletUrl": f"http://platform.test/collection/{inlet_id}"},
        "scheduleParams": {"startTime": 1625040887, "frequency": "minute", "interval": "15"},
        "transformations": [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "0"}}],
        "runs": f"/runs?property=flowId=={receipt['id']}",
        "lastOperation": {"started": plane.now_ms, "updated": plane.now_ms, "operation": "create"},
    }
    assert {name: flow[name] for name in expected} == expected
    assert flow["version"] == flow["etag"] == receipt["etag"]
    assert flow["etag"].startswith('"')
    assert "message" not in flow


@pytest.mark.parametrize("flow_spec", [REST_FLOW, GENERIC_FLOW])
@pytest.mark.parametrize("version", ["0", 0, None])
@pytest.mark.parametrize("name", ["Mapping", None])
def test_accepts_every_documented_form_of_the_body(plane: FlowPlane, flow_spec: str, version: Any, name: str | None) -> None:
    params = {"mappingId": "m0"} | ({} if version is None else {"mappingVersion": version})
    _, flow_id = plane.whole_flow(
        flowSpec={"id": flow_spec}, transformations=[{"name": name, "params": params}], scheduleParams=None
    )
    flow = plane.item(f"/flows/{flow_id}")
    assert flow["flowSpec"] == {"id": flow_spec, "version": "1.0"}
    assert flow["transformations"] == [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "0"}}]
    assert "scheduleParams" not in flow


def test_a_flow_becomes_a_route_at_once(plane: FlowPlane) -> None:
    base, flow_id = plane.whole_flow(options={"errorDiagnosticsEnabled": True, "partialIngestionPercent": 5})
    route = plane.flows.route(flow_id)
    assert route is not None
    inlet = plane.inlets.get(base)
    assert inlet is not None
    assert plane.flows.routes_of_inlet(inlet.id) == [route]
    assert (route.inlet_id, route.state, route.dataset_id) == (inlet.id, State.ENABLED, plane.profile_dataset)
    assert (route.mapping_id, route.mapping_version, route.schema_id) == ("m0", 0, PROFILE)
    assert (route.diagnostics, route.partial_percent, route.flow_spec_id) == (True, 5, GENERIC_FLOW)
    assert (route.sandbox.id, route.org_id) == (plane.prod.id, inlet.org_id)
    assert route.is_open(plane.now_ms)


def test_a_source_without_account_gets_its_inlet_with_the_flow(plane: FlowPlane) -> None:
    source = plane.source(None, spec=GENERIC)
    flow_id = plane.made("/flows", plane.flow_body(source, plane.target()))
    flow = plane.item(f"/flows/{flow_id}")
    route = plane.flows.route(flow_id)
    assert route is not None
    inlet = plane.inlets.get(route.inlet_id)
    assert inlet is not None
    assert (inlet.data_type, inlet.authentication_required, inlet.connection_id) == ("raw", False, "")
    assert flow["options"]["inletUrl"] == f"http://platform.test/collection/{inlet.id}"
    assert "baseConnection" not in flow["inheritedAttributes"]["sourceConnections"][0]
    assert "status" not in plane.flow("POST", "/flows", json=plane.flow_body(source, plane.target())).json()
    assert plane.flow("DELETE", f"/flows/{flow_id}").status_code == 204
    assert plane.inlets.get(inlet.id) is None


def test_two_flows_share_the_inlet_of_one_account(plane: FlowPlane) -> None:
    base = plane.connection()
    plane.mapping_sets.put(plane.prod.id, "m1", schema=EVENT, content_type="application/vnd.adobe.xed-full+json;version=1.0")
    mapping = [{"name": "Mapping", "params": {"mappingId": "m1"}}]
    first = plane.made("/flows", plane.flow_body(plane.source(base), plane.target()))
    second = plane.made("/flows", plane.flow_body(plane.source(base), plane.target(plane.event_dataset), transformations=mapping))
    inlet = plane.inlets.get(base)
    assert inlet is not None
    assert {route.flow_id for route in plane.flows.routes_of_inlet(inlet.id)} == {first, second}


def test_an_xdm_pass_through_flow_needs_no_mapping(plane: FlowPlane) -> None:
    base = plane.made("/connections", http_connection(dataType="xdm"))
    source = plane.source(base, spec="bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb")
    for spec in (PASS_FLOW, MAPPED_FLOW):  # aepp names either
        body = plane.flow_body(source, plane.target(), flowSpec={"id": spec}, transformations=[])
        route = plane.flows.route(plane.made("/flows", body))
        assert route is not None
        assert route.mapping_id == ""


def test_raw_records_need_a_mapping(plane: FlowPlane) -> None:
    base = plane.made("/connections", http_connection(dataType="raw"))
    source = plane.source(base, spec="bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb")
    body = plane.flow_body(source, plane.target(), flowSpec={"id": MAPPED_FLOW}, transformations=[])
    answer = plane.flow("POST", "/flows", json=body)
    assert code_of(answer) == "1100-400"
    assert "CONNECTOR-1370-400" in answer.json()["errorMessage"]


def _without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize(
    ("changed", "code", "hint"),
    [
        ({"state": "enabled"}, "1410-400", "state"),
        ({"name": ""}, "1100-400", "name"),
        ({"flowSpec": None}, "1413-400", "flowSpec.id"),
        ({"flowSpec": {"id": "00000000-0000-4000-8000-000000000000"}}, "1413-400", "flow spec"),
        ({"sourceConnectionIds": []}, "1100-400", "CONNECTOR-1321-400"),
        ({"targetConnectionIds": ["a", "b"]}, "1100-400", "CONNECTOR-1321-400"),
        ({"sourceConnectionIds": ["no-such"]}, "1439-404", "sourceConnections"),
        ({"targetConnectionIds": "no-such"}, "1439-404", "targetConnections"),
        ({"flowSpec": {"id": PASS_FLOW}}, "1100-400", "sourceConnectionSpecIds"),
        ({"transformations": [{"name": "Filter", "params": {}}]}, "1100-400", "Filter"),
        ({"transformations": [{"name": "Mapping", "params": {}}]}, "1419-400", "mappingId"),
        ({"transformations": [{"name": "Mapping", "params": {"mappingId": "none"}}]}, "1419-400", "none"),
        ({"transformations": [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "9"}}]}, "1412-400", "9"),
        ({"transformations": [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "x"}}]}, "1412-400", "x"),
        ({"transformations": []}, "1100-400", "CONNECTOR-1370-400"),
        ({"options": {"partialIngestionPercent": 0}}, "1100-400", "partialIngestionPercent"),
        ({"options": {"errorDiagnosticsEnabled": "yes"}}, "1100-400", "errorDiagnosticsEnabled"),
        ({"options": 5}, "1100-400", "options"),
    ],
)
def test_refuses_a_flow_by_the_catalogue(plane: FlowPlane, changed: dict[str, Any], code: str, hint: str) -> None:
    base = plane.connection()
    answer = plane.flow("POST", "/flows", json=plane.flow_body(plane.source(base), plane.target(), **changed))
    assert code_of(answer) == code
    assert hint in answer.json()["errorMessage"]


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", "{"])
def test_refuses_a_body_that_is_no_object(plane: FlowPlane, body: str) -> None:
    answer = plane.call(
        "POST", "/data/foundation/flowservice/flows", content=body, headers=plane.headers(content_type="application/json")
    )
    assert code_of(answer) in {"1405-400", "1100-400"}


@pytest.mark.parametrize(
    ("schema", "content_type", "fits"),
    [
        (PROFILE, "application/vnd.adobe.xed-full+json; version=1.0", True),
        (PROFILE, "application/vnd.adobe.xed-full+json;version=1.7", True),
        (PROFILE, "1.0", True),
        (PROFILE, "application/vnd.adobe.xed-full+json;version=2", False),
        (EVENT, "application/vnd.adobe.xed-full+json;version=1", False),
    ],
)
def test_compares_mapping_and_dataset_by_schema_and_major_version(
    plane: FlowPlane, schema: str, content_type: str, fits: bool
) -> None:
    plane.mapping_sets.put(plane.prod.id, "m2", schema=schema, content_type=content_type)
    body = plane.flow_body(
        plane.source(plane.connection()),
        plane.target(),
        transformations=[{"name": "Mapping", "params": {"mappingId": "m2"}}],
    )
    answer = plane.flow("POST", "/flows", json=body)
    assert answer.status_code == (201 if fits else 400)
    if not fits:
        assert code_of(answer) == "1425-400"


def test_checks_come_in_the_documented_order(plane: FlowPlane) -> None:
    """Every step is wrong at once; mending them one by one shows the next error."""
    draft_base = plane.connection("?mode=draft")
    source, target = plane.source(draft_base), plane.target()
    wrong = {"mappingId": "none", "mappingVersion": "9"}
    body = plane.flow_body(
        "no-such", "no-such", flowSpec={"id": "no-such"}, transformations=[{"name": "Mapping", "params": wrong}]
    )
    body["state"] = "enabled"
    seen: list[str] = []

    def refused(**mended: Any) -> None:
        body.update(mended)
        seen.append(code_of(plane.flow("POST", "/flows", json=body)))

    refused()
    del body["state"]
    refused()
    refused(flowSpec={"id": PASS_FLOW})
    refused(sourceConnectionIds=[source], targetConnectionIds=[target])
    refused(flowSpec={"id": GENERIC_FLOW})
    assert plane.flow("POST", f"/connections/{draft_base}/action?op=publish").status_code == 200
    refused()
    refused(transformations=[{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": "9"}}])
    assert seen == ["1410-400", "1413-400", "1439-404", "1100-400", "1100-400", "1419-400", "1412-400"]


def test_the_public_url_is_resolved_when_a_flow_is_read(plane: FlowPlane, tmp_path: Any) -> None:
    _, flow_id = plane.whole_flow(options={"inletUrl": "https://elsewhere.example.com/collection/0"})
    assert plane.item(f"/flows/{flow_id}")["options"]["inletUrl"].startswith("http://platform.test/collection/")
    moved = FlowPlane(tmp_path / "other", public_url="https://dcs.example.com")
    _, flow_id = moved.whole_flow()
    assert moved.item(f"/flows/{flow_id}")["options"]["inletUrl"].startswith("https://dcs.example.com/collection/")
    moved.close()


def test_a_new_flow_can_rehearse_the_activation_time(tmp_path: Any) -> None:
    plane = FlowPlane(tmp_path, activation_delay_ms=300_000)
    _, flow_id = plane.whole_flow()
    route = plane.flows.route(flow_id)
    assert route is not None
    assert route.state is State.ENABLED
    assert not route.is_open(plane.now_ms + 299_999)
    assert route.is_open(plane.now_ms + 300_000)
    plane.close()
