"""The state machine of flows and drafts, patches of flows, runs. Source: flow-service.md 3.5, 4, 8."""

from typing import Any

import pytest
from flow_plane import PROFILE, FlowPlane, code_of

from capstream.aep.flow_service.model import Flows, State
from capstream.aep.flow_service.runs import Delta, add, close_due
from capstream.storage.sqlite import SqliteDocuments

HOUR_MS = 3_600_000


def state_of(plane: FlowPlane, flow_id: str) -> tuple[str, State | None]:
    route = plane.flows.route(flow_id)
    return plane.item(f"/flows/{flow_id}")["state"], route.state if route else None


def test_disable_and_enable(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    assert code_of(plane.flow("POST", f"/flows/{flow_id}/action?op=ENABLE")) == "1422-400"
    before = plane.item(f"/flows/{flow_id}")
    plane.now_ms += 1000
    answer = plane.flow("POST", f"/flows/{flow_id}/action?op=disable")
    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "etag"}
    assert answer.json()["etag"] != before["etag"]
    assert state_of(plane, flow_id) == ("disabled", State.DISABLED)
    assert plane.item(f"/flows/{flow_id}")["lastOperation"]["operation"] == "disable"
    assert code_of(plane.flow("POST", f"/flows/{flow_id}/action?op=DISABLE")) == "1422-400"
    assert plane.flow("POST", f"/flows/{flow_id}/action?op=ENABLE").status_code == 200
    assert state_of(plane, flow_id) == ("enabled", State.ENABLED)


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("op=FINALIZE", None, "1402-400"),
        ("op=FINALIZE_UPDATE&subOp=APPLY", None, "1402-400"),
        ("op=DANCE", None, "1422-400"),
        ("op=PUBLISH", None, "1422-400"),
        ("op=DISABLE&subOp=UNDO", None, "1406-400"),
        ("op=DISABLE", {"percentCompleted": 101}, "1408-400"),
    ],
)
def test_refuses_an_action_by_the_catalogue(plane: FlowPlane, query: str, body: Any, code: str) -> None:
    _, flow_id = plane.whole_flow()
    assert code_of(plane.flow("POST", f"/flows/{flow_id}/action?{query}", json=body)) == code
    assert state_of(plane, flow_id) == ("enabled", State.ENABLED)


def test_an_action_takes_the_documented_body_and_checks_an_etag_that_is_sent(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    body = {"percentCompleted": 100.0, "status": {"value": "COMPLETED"}}
    path = f"/flows/{flow_id}/action?op=DISABLE&subOp=APPLY"
    assert code_of(plane.flow("POST", path, json=body, if_match='"other"')) == "1404-412"
    etag = plane.item(f"/flows/{flow_id}")["etag"]
    assert plane.flow("POST", path, json=body, if_match=etag).status_code == 200


def test_a_draft_flow_may_lack_its_mapping_until_it_is_published(plane: FlowPlane) -> None:
    base = plane.connection("?mode=draft")
    source, target = plane.source(base, query="?mode=draft"), plane.target(query="?mode=draft")
    body = plane.flow_body(source, target)
    assert code_of(plane.flow("POST", "/flows", json=body)) == "1100-400"
    flow_id = plane.made("/flows?mode=draft", {key: value for key, value in body.items() if key != "transformations"})
    assert state_of(plane, flow_id) == ("draft", None)
    publish = f"/flows/{flow_id}/action?op=publish"
    assert "draft" in plane.flow("POST", publish).json()["errorMessage"]
    assert "draft" in plane.flow("POST", f"/sourceConnections/{source}/action?op=PUBLISH").json()["errorMessage"]
    for path in (f"/connections/{base}", f"/sourceConnections/{source}", f"/targetConnections/{target}"):
        assert plane.flow("POST", f"{path}/action?op=PUBLISH").status_code == 200
        assert plane.item(path)["state"] == "enabled"
    assert "CONNECTOR-1370" in plane.flow("POST", publish).json()["errorMessage"]
    value = [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": 0}}]
    etag = plane.item(f"/flows/{flow_id}")["etag"]
    change = [{"op": "add", "path": "/transformations", "value": value}]
    assert plane.flow("PATCH", f"/flows/{flow_id}", json=change, if_match=etag).status_code == 200
    assert code_of(plane.flow("POST", f"/flows/{flow_id}/action?op=ENABLE")) == "1422-400"
    assert plane.flow("POST", publish).status_code == 200
    assert state_of(plane, flow_id) == ("enabled", State.ENABLED)


def test_patch_of_the_mapping_reaches_the_route(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    plane.mapping_sets.put(plane.prod.id, "m0", schema=PROFILE, content_type="1.0", version=1)
    flow = plane.item(f"/flows/{flow_id}")
    value = {"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": 1}}
    body = [{"op": "Replace", "path": "/transformations/0", "value": value}]
    answer = plane.flow("PATCH", f"/flows/{flow_id}", json=body, if_match=flow["etag"])
    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "etag"}
    route = plane.flows.route(flow_id)
    assert route is not None
    assert (route.mapping_id, route.mapping_version) == ("m0", 1)
    patched = plane.item(f"/flows/{flow_id}")
    assert patched["transformations"][0]["params"]["mappingVersion"] == "1"
    assert patched["lastOperation"]["operation"] == "update"
    assert patched["lastOperation"]["ops"] == [{"op": "replace", "path": "/transformations/0", "value": value}]
    assert code_of(plane.flow("PATCH", f"/flows/{flow_id}", json=body, if_match=flow["etag"])) == "1404-412"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"op": "replace", "path": "/transformations/0/params/mappingId", "value": "none"}, "1419-400"),
        ({"op": "replace", "path": "/transformations/0/params/mappingVersion", "value": "7"}, "1412-400"),
        ({"op": "remove", "path": "/transformations"}, "1100-400"),
        ({"op": "replace", "path": "/flowSpec/id", "value": "x"}, "1100-400"),
        ({"op": "replace", "path": "/sourceConnectionIds", "value": []}, "1100-400"),
        ({"op": "add", "path": "/options/partialIngestionPercent", "value": -1}, "1100-400"),
        ({"op": "replace", "path": "/inheritedAttributes", "value": {}}, "1455-400"),
    ],
)
def test_refuses_a_flow_patch_by_the_catalogue(plane: FlowPlane, change: dict[str, Any], code: str) -> None:
    _, flow_id = plane.whole_flow()
    before = plane.item(f"/flows/{flow_id}")
    assert code_of(plane.flow("PATCH", f"/flows/{flow_id}", json=[change], if_match=before["etag"])) == code
    assert plane.item(f"/flows/{flow_id}") == before


def test_a_patch_creates_the_objects_on_its_way(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    change = [{"op": "add", "path": "/options/errorDiagnosticsEnabled", "value": True}]
    etag = plane.item(f"/flows/{flow_id}")["etag"]
    assert plane.flow("PATCH", f"/flows/{flow_id}", json=change, if_match=etag).status_code == 200
    assert plane.item(f"/flows/{flow_id}")["options"]["errorDiagnosticsEnabled"] is True
    route = plane.flows.route(flow_id)
    assert route is not None
    assert route.diagnostics


def test_delete_ends_routing_and_leaves_the_ends(plane: FlowPlane) -> None:
    base, flow_id = plane.whole_flow()
    flow = plane.item(f"/flows/{flow_id}")
    inlet = plane.inlets.get(base)
    assert inlet is not None
    answer = plane.flow("DELETE", f"/flows/{flow_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert code_of(plane.flow("GET", f"/flows/{flow_id}")) == "1439-404"
    assert code_of(plane.flow("DELETE", f"/flows/{flow_id}")) == "1439-404"
    assert plane.flows.route(flow_id) is None
    assert plane.flows.routes_of_inlet(inlet.id) == []
    assert plane.item(f"/sourceConnections/{flow['sourceConnectionIds'][0]}")["state"] == "enabled"
    assert plane.inlets.get(base) == inlet


def test_another_process_sees_each_change_of_a_route(plane: FlowPlane) -> None:
    documents = SqliteDocuments(plane.folder / "control.db", readonly=True)
    reader = Flows(documents)
    _, flow_id = plane.whole_flow()
    first = reader.route(flow_id)
    assert first is not None
    assert reader.route(flow_id) is first  # kept while nothing changes
    plane.flow("POST", f"/flows/{flow_id}/action?op=DISABLE")
    second = reader.route(flow_id)
    assert second is not None
    assert second.state is State.DISABLED
    assert reader.routes_of_inlet(first.inlet_id) == [second]
    plane.flow("DELETE", f"/flows/{flow_id}")
    assert reader.route(flow_id) is None
    assert reader.routes_of_inlet(first.inlet_id) == []
    documents.close()


def record(plane: FlowPlane, flow_id: str, hour: int, *, failed: int = 0) -> None:
    route = plane.flows.route(flow_id)
    assert route is not None
    with plane.run_documents.transaction() as change:
        add(change, route, hour, Delta(received=2, written=2 - failed, failed=failed), now_ms=hour * HOUR_MS + 1)


def test_runs_are_listed_filtered_and_read(plane: FlowPlane) -> None:
    _, first = plane.whole_flow()
    _, second = plane.whole_flow()
    hour = plane.now_ms // HOUR_MS
    for flow_id in (first, second):
        record(plane, flow_id, hour)
        record(plane, flow_id, hour + 1, failed=2)
    with plane.run_documents.transaction() as change:
        close_due(change, (hour + 1) * HOUR_MS + 300_000, 300_000)
    listed = plane.flow("GET", f"/runs?limit=10&count=False&property=flowId%3D%3D{first}").json()
    assert set(listed) == {"items", "_links"}
    assert {run["flowId"] for run in listed["items"]} == {first}
    assert [run["metrics"]["statusSummary"]["status"] for run in listed["items"]] == ["inProgress", "success"]
    some = plane.flow("GET", f"/runs?property=flowId=={first}&property=metrics.statusSummary.status==SUCCESS").json()["items"]
    assert len(some) == 1
    run = plane.item(f"/runs/{some[0]['id']}")
    assert run["etag"] == run["eTag"]
    assert plane.flow("GET", f"/flows/{first}/runs").json()["items"] == listed["items"]
    assert plane.flow("GET", "/runs?count=true").json() == {"count": 4}
    assert plane.item(f"/flows/{first}")["lastRunDetails"]["id"] == run["id"]
    asked = plane.flow("GET", "/flows?property=lastRunDetails.startedAtUTC>0&orderby=-lastRunDetails.startedAtUTC").json()
    assert {flow["lastRunDetails"]["state"] for flow in asked["items"]} == {"success"}
    assert len(asked["items"]) == 2
    assert code_of(plane.flow("GET", "/runs/none")) == "1439-404"
    assert code_of(plane.flow("GET", "/flows/none/runs")) == "1439-404"


def test_callers_cannot_make_or_change_runs_of_streaming_flows(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    refused = plane.flow("POST", "/runs/", json={"flowId": flow_id, "status": "active"})
    assert code_of(refused) == "1100-400"
    assert "CONNECTOR-1385-400" in refused.json()["errorMessage"]
    assert code_of(plane.flow("POST", "/runs", json={"flowId": "none"})) == "1430-400"
    record(plane, flow_id, plane.now_ms // HOUR_MS)
    run_id = plane.flow("GET", "/runs").json()["items"][0]["id"]
    assert code_of(plane.flow("PUT", f"/runs/{run_id}", json={})) == "1403-400"
    assert code_of(plane.flow("PUT", f"/runs/{run_id}", json={}, if_match='"x"')) == "1427-400"
    answer = plane.flow("POST", f"/runs/{run_id}/action?op=RE_TRIGGER")
    assert "CONNECTOR-1387-400" in answer.json()["errorMessage"]
