"""The internal flow of each Profile-enabled dataset, as aepp looks for it. Source: flow-service.md 9.1, 11."""

from flow_plane import LAKE, FlowPlane, code_of

from capstream.aep.catalog.model import Author
from capstream.aep.flow_service.erasure import erase

PROFILE_SERVICE = "8a9c3494-9708-43d7-ae3f-cda01e5030e1"


def enable(plane: FlowPlane, dataset_id: str, value: str) -> None:
    """Set the Profile tag of a dataset as the store keeps it."""
    author = Author(org_id="o", sandbox=plane.prod, user_id="u", client_id="c", now_ms=plane.now_ms)
    dataset = plane.datasets.get(plane.prod.id, dataset_id)
    assert dataset is not None
    plane.datasets.change(author, dataset_id, dataset | {"tags": dataset["tags"] | {"unifiedProfile": [value]}})


def test_a_profile_dataset_has_an_internal_flow_while_it_is_enabled(plane: FlowPlane) -> None:
    assert plane.flow("GET", "/flows").json()["items"] == []
    enable(plane, plane.profile_dataset, "enabled:true")
    (flow,) = plane.flow("GET", "/flows?limit=100&count=False").json()["items"]
    assert flow["inheritedAttributes"]["targetConnections"][0]["connectionSpec"]["id"] == PROFILE_SERVICE
    assert plane.flow("GET", "/flows?property=inheritedAttributes.properties.isSourceFlow==true").json()["items"] == []
    assert plane.item(f"/flows/{flow['id']}") == flow
    assert plane.item(f"/flowSpecs/{flow['flowSpec']['id']}")["name"]
    source = plane.item(f"/sourceConnections/{flow['sourceConnectionIds'][0]}")
    assert source["name"] == "Datalake Source Connection"
    assert source["params"] == {"dataSetId": plane.profile_dataset}
    assert source["connectionSpec"]["id"] == LAKE
    assert plane.item(f"/targetConnections/{flow['targetConnectionIds'][0]}")["params"] == {}
    assert plane.flow("GET", f"/runs?property=flowId=={flow['id']}").json() == {"items": [], "_links": {}}
    enable(plane, plane.profile_dataset, "enabled:false")
    assert code_of(plane.flow("GET", f"/flows/{flow['id']}")) == "1439-404"


def test_nobody_changes_an_internal_flow(plane: FlowPlane) -> None:
    enable(plane, plane.profile_dataset, "enabled:true")
    (flow,) = plane.flow("GET", "/flows").json()["items"]
    change = [{"op": "replace", "path": "/name", "value": "x"}]
    for path in (f"/flows/{flow['id']}", f"/sourceConnections/{flow['sourceConnectionIds'][0]}"):
        assert code_of(plane.flow("PATCH", path, json=change, if_match=flow["etag"])) == "1100-400"
        assert code_of(plane.flow("DELETE", path)) == "1100-400"
    assert code_of(plane.flow("POST", f"/flows/{flow['id']}/action?op=DISABLE")) == "1100-400"


def test_erasing_a_sandbox_takes_inlets_and_routes_along(plane: FlowPlane) -> None:
    base, flow_id = plane.whole_flow()
    assert plane.inlets.get(base) is not None
    erase(plane.documents, "another sandbox")
    assert plane.item(f"/flows/{flow_id}")["state"] == "enabled"
    erase(plane.documents, plane.prod.id)
    for collection in ("connections", "sourceConnections", "targetConnections", "flows"):
        assert plane.flow("GET", f"/{collection}?count=true").json() == {"count": 0}
    assert plane.inlets.get(base) is None
    assert plane.flows.route(flow_id) is None
