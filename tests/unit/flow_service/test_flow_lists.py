"""Lists: filters, order, pages and what aepp demands of them. Source: gateway.md 5, 6; flow-service.md 11."""

from typing import Any
from urllib.parse import quote

import pytest
from flow_plane import GENERIC_FLOW, FlowPlane, code_of
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.flow_service.entities import FLOWS
from capstream.aep.flow_service.listing import BadQuery, Listing, Sorted, listing_of, matches, page, projected, search_of
from capstream.aep.flow_service.runs import Delta, add, close_due


def paged_like_aepp(plane: FlowPlane, collection: str, query: str) -> list[dict[str, Any]]:
    """Return all items the way aepp collects them: it takes what follows the first `=` of the link as the token."""
    found: list[dict[str, Any]] = []
    token = ""
    for _ in range(20):
        answer = plane.flow("GET", f"/{collection}?{query}" + (f"&continuationToken={token}" if token else "")).json()
        found += answer["items"]
        href = answer["_links"].get("next", {}).get("href", "")
        if not href:
            return found
        assert href.startswith(f"/{collection}?continuationToken=")
        assert href.count("=") == 1
        token = href.split("=")[1]
    raise AssertionError("the list never ends")


def test_every_page_is_reached_once_in_order(plane: FlowPlane) -> None:
    made = []
    for index in range(7):
        plane.now_ms += 1000
        made.append(plane.connection(name=f"c{index}"))
    listed = paged_like_aepp(plane, "connections", "limit=3&count=False")
    assert [each["id"] for each in listed] == made[::-1]
    names = paged_like_aepp(plane, "connections", "limit=2&orderby=name")
    assert [each["name"] for each in names] == [f"c{index}" for index in range(7)]


def test_the_token_remembers_filter_and_order(plane: FlowPlane) -> None:
    """aepp's getConnections follows the link with nothing but a limit."""
    for index in range(5):
        plane.connection(name=f"c{index}", description="even" if index % 2 == 0 else "odd")
    first = plane.flow("GET", "/connections?limit=2&orderby=-name&property=description==even").json()
    second = plane.flow("GET", first["_links"]["next"]["href"] + "&limit=2").json()
    assert [each["name"] for each in first["items"] + second["items"]] == ["c4", "c2", "c0"]
    assert second["_links"] == {}


@pytest.mark.parametrize("collection", ["connections", "sourceConnections", "targetConnections", "flows", "runs"])
def test_an_empty_list_has_links(plane: FlowPlane, collection: str) -> None:
    assert plane.flow("GET", f"/{collection}?limit=100&count=False").json() == {"items": [], "_links": {}}
    assert plane.flow("GET", f"/{collection}?count=true").json() == {"count": 0}
    assert code_of(plane.flow("GET", f"/{collection}?count=True&limit=5")) == "1401-400"


def test_sandboxes_do_not_see_each_other(plane: FlowPlane) -> None:
    connection_id = plane.connection()
    body = {"name": "dev", "title": "Dev", "type": "development"}
    assert plane.call("POST", "/data/foundation/sandbox-management/sandboxes", json=body).is_success
    plane.now_ms += 600_000
    assert plane.flow("GET", "/connections", x_sandbox_name="dev").json()["items"] == []
    assert code_of(plane.flow("GET", f"/connections/{connection_id}", x_sandbox_name="dev")) == "1439-404"


def test_the_documented_filters_of_flows(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    flow = plane.item(f"/flows/{flow_id}")
    target_spec = flow["inheritedAttributes"]["targetConnections"][0]["connectionSpec"]["id"]
    for wanted in (
        f"flowSpec.id=={GENERIC_FLOW}",
        "state==enabled",
        "state==ENABLED",
        f"sourceConnectionIds[]=={flow['sourceConnectionIds'][0]},other",
        "transformations[].params.mappingId==m0",
        f"inheritedAttributes.targetConnections[].connectionSpec.id=={target_spec}",
        "inheritedAttributes.properties.isSourceFlow==True",
        'name="Capillary dataflow"',
        f"createdAt>={flow['createdAt']}",
        "name!=Other,Another",
    ):
        found = plane.flow("GET", f"/flows?property={quote(wanted)}").json()["items"]
        assert [each["id"] for each in found] == [flow_id], wanted
    for unwanted in ("state==disabled", "nothing==here", "nothing!=here", "createdAt<5", "name!=Capillary dataflow"):
        assert plane.flow("GET", f"/flows?property={quote(unwanted)}").json()["items"] == [], unwanted
    both = plane.flow("GET", "/flows?property=state==enabled&property=name==Other").json()
    assert both["items"] == []
    assert plane.flow("GET", "/flows?property={{unset}}").json()["items"] == [flow]
    only = plane.flow("GET", "/flows?property=name,state").json()["items"]
    assert only == [{"id": flow_id, "name": "Capillary dataflow", "state": "enabled"}]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "1451-400"),
        ("limit=x", "1451-400"),
        ("continuationToken=!!", "1451-400"),
        ("continuationToken=WzFd", "1451-400"),
        ("orderby=na%20me", "1432-400"),
        ("property=name~x", "1440-400"),
        ("property=createdAt>1,2", "1443-400"),
        ("property=%3D%3Dx", "1449-400"),
        ("property=name%3D%3D%3Dx", "1450-400"),
        ("property=createdAt>soon", "1453-400"),
    ],
)
def test_refuses_a_list_request_by_the_catalogue(plane: FlowPlane, query: str, code: str) -> None:
    assert code_of(plane.flow("GET", f"/flows?{query}")) == code


def test_search_takes_the_query_string_of_the_list(plane: FlowPlane) -> None:
    for index in range(3):
        plane.connection(name=f"c{index}")
    body: dict[str, Any] = {"queryString": "property=state==enabled&property=name!=c1", "limit": 1, "orderby": "name"}
    first = plane.flow("POST", "/connections/search", json=body).json()
    token = first["_links"]["next"]["href"].split("=")[1]
    second = plane.flow("POST", f"/connections/search?continuationToken={token}", json=body).json()
    assert [each["name"] for each in first["items"] + second["items"]] == ["c0", "c2"]
    assert plane.flow("POST", "/connections/search", json={"count": True}).json() == {"count": 3}
    assert code_of(plane.flow("POST", "/connections/search", json={"limit": 1, "count": True})) == "1401-400"
    _, flow_id = plane.whole_flow()
    found = plane.flow("POST", "/flows/search", json={"queryString": "", "projectionFields": ["name"]}).json()
    assert found["items"] == [{"id": flow_id, "name": "Capillary dataflow"}]
    specs = plane.flow("POST", "/flowSpecs/search", json={"queryString": "property=name==GenericStreamingAEP"}).json()
    assert [each["id"] for each in specs["items"]] == [GENERIC_FLOW]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-5, 5, allow_nan=False), st.text(max_size=3))


@given(values=st.lists(VALUES, max_size=12), limit=st.integers(1, 5), order=st.sampled_from(["v", "-v", "+v", " v", ""]))
def test_pages_put_together_are_the_whole_list(values: list[Any], limit: int, order: str) -> None:
    documents = [{"id": f"{index:02}", "v": value, "createdAt": index % 3} for index, value in enumerate(values)]
    whole, none = page(Sorted(documents), listing_of([("orderby", order), ("limit", "1000")]), bool)
    assert none == ""
    seen: list[Any] = []
    token = ""
    for _ in range(len(documents) + 1):
        query = [("limit", str(limit))] + ([("continuationToken", token)] if token else [("orderby", order)])
        shown, token = page(Sorted(documents), listing_of(query), bool)
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        seen += shown
        if not token:
            break
    assert seen == whole
    assert sorted(each["id"] for each in seen) == [each["id"] for each in documents]


@pytest.mark.parametrize(
    ("condition", "document", "expected"),
    [
        ("a==1", {"a": 1}, True),
        ("a==1.0", {"a": 1}, True),
        ("a==true", {"a": True}, True),
        ("a==1", {"a": True}, False),
        ('a=="x,y"', {"a": "x,y"}, True),
        ("a==x,y", {"a": "y"}, True),
        ("a==", {"a": ""}, True),
        ("a!=x", {"a": "y"}, True),
        ("a!=x", {}, False),
        ("a>2", {"a": 3}, True),
        ("a>2", {"a": "x"}, False),
        ("a<=2", {"a": 2}, True),
        ("a==null", {"a": None}, True),
        ("a[].b==2", {"a": [{"b": 1}, {"b": 2}]}, True),
        ("a.b==2", {"a": [{"b": 1}, {"b": 2}]}, True),
        ("a[]==2", {"a": 5}, False),
        ("state==Enabled", {"state": "enabled"}, True),
        ("name==Enabled", {"name": "enabled"}, False),
    ],
)
def test_conditions(condition: str, document: dict[str, Any], expected: bool) -> None:
    assert matches(document, listing_of([("property", condition)]).conditions) is expected


def test_projection_keeps_the_id() -> None:
    listing = listing_of([("property", "name, nothing")])
    assert projected({"id": "1", "name": "n", "state": "s"}, listing.members) == {"id": "1", "name": "n"}
    assert projected({"id": "1"}, Listing().members) == {"id": "1"}


def test_limits() -> None:
    assert listing_of([]).limit == 20
    assert listing_of([("limit", "5000")]).limit == 1000
    assert search_of({"limit": 7}, "").limit == 7
    with pytest.raises(BadQuery, match="groupByProperty"):
        search_of({"groupByProperty": "name"}, "")
    with pytest.raises(BadQuery, match="object"):
        search_of([], "")


def test_a_list_follows_every_change(plane: FlowPlane) -> None:
    """Lists are kept in order between commits: what changes, comes or goes must be seen at once, in every order."""

    def names(query: str = "orderby=name") -> list[str]:
        return [each["name"] for each in plane.flow("GET", f"/connections?{query}").json()["items"]]

    first, second = plane.connection(name="b"), plane.connection(name="c")
    assert names() == ["b", "c"]
    etag = plane.item(f"/connections/{first}")["etag"]
    changed = plane.flow("PATCH", f"/connections/{first}", json=[{"op": "replace", "path": "/name", "value": "d"}], if_match=etag)
    assert changed.status_code == 200
    assert names() == ["c", "d"]
    assert names("orderby=-name") == ["d", "c"]
    assert names("property=name==b") == []
    plane.connection(name="a")
    assert names() == ["a", "c", "d"]
    assert plane.flow("DELETE", f"/connections/{second}").status_code == 204
    assert names() == ["a", "d"]
    assert plane.flow("GET", "/connections?count=true").json() == {"count": 2}


def test_filters_and_orders_see_what_is_resolved_when_it_is_read(plane: FlowPlane) -> None:
    base, flow_id = plane.whole_flow()
    inlet = plane.item(f"/flows/{flow_id}")["options"]["inletUrl"]
    for query in (
        "property=options.errorDiagnosticsEnabled==false",
        f"property=options.inletUrl=={quote(inlet, safe='')}",
        "orderby=options.inletUrl",
    ):
        assert [each["id"] for each in plane.flow("GET", f"/flows?{query}").json()["items"]] == [flow_id]
    assert plane.flow("GET", "/flows?property=options.errorDiagnosticsEnabled==true").json()["items"] == []
    secret = plane.flow("GET", "/connections?property=auth.params.clientSecret==xxxx").json()["items"]
    assert [each["id"] for each in secret] == [base]


def test_runs_are_paged_and_filtered_like_anything_else(plane: FlowPlane) -> None:
    _, flow_id = plane.whole_flow()
    _, other = plane.whole_flow()
    hour = plane.now_ms // 3_600_000
    for which in (flow_id, other):
        route = plane.flows.route(which)
        assert route is not None
        for step in range(5):
            with plane.run_documents.transaction() as change:
                delta = Delta(received=2, written=step % 2, failed=2 - step % 2)
                add(change, route, hour - 5 + step, delta, now_ms=plane.now_ms + step)
    with plane.run_documents.transaction() as change:
        close_due(change, (hour - 1) * 3_600_000, 0)
    mine = paged_like_aepp(plane, "runs", f"limit=2&count=False&property=flowId=={flow_id}")
    assert [each["createdAt"] - plane.now_ms for each in mine] == [4, 3, 2, 1, 0]
    assert {each["flowId"] for each in mine} == {flow_id}
    assert [each["state"] for each in mine] == ["inProgress", "success", "failed", "success", "failed"]
    failed = f"property=flowId=={flow_id}&property=metrics.statusSummary.status==Failed"
    assert [each["id"] for each in paged_like_aepp(plane, "runs", f"limit=1&{failed}")] == [mine[2]["id"], mine[4]["id"]]
    assert plane.flow("GET", f"/runs?count=true&{failed}").json() == {"count": 2}
    assert plane.flow("GET", "/runs?count=true").json() == {"count": 10}
    both = f"property=flowId=={flow_id}&property=flowId=={other}"
    assert plane.flow("GET", f"/runs?{both}").json()["items"] == []
    assert plane.flow("GET", f"/runs?property=flowId=={flow_id}&property=flowId!={flow_id}").json()["items"] == []
    assert len(plane.flow("GET", f"/runs?property=flowId=={flow_id},{other}").json()["items"]) == 10
    received = paged_like_aepp(
        plane, "runs", f"limit=3&orderby=metrics.recordSummary.failedRecordCount&property=flowId=={flow_id}"
    )
    assert [each["metrics"]["recordSummary"]["failedRecordCount"] for each in received] == [1, 1, 2, 2, 2]
    assert plane.item(f"/flows/{flow_id}")["lastRunDetails"]["id"] == mine[1]["id"]


def test_what_was_read_at_the_start_is_brought_up_to_date(plane: FlowPlane) -> None:
    _, first = plane.whole_flow(name="first")
    plane.service.shelf(FLOWS).warm("createdAt")
    _, second = plane.whole_flow(name="second")
    etag = plane.item(f"/flows/{first}")["etag"]
    rename = [{"op": "replace", "path": "/name", "value": "renamed"}]
    assert plane.flow("PATCH", f"/flows/{first}", json=rename, if_match=etag).status_code == 200
    tags = [{"op": "add", "path": "/tags/unifiedProfile", "value": ["enabled:true"]}]
    plane.call("PATCH", f"/data/foundation/catalog/dataSets/{plane.profile_dataset}", json=tags)
    listed = {each["id"]: each["name"] for each in plane.flow("GET", "/flows?orderby=name").json()["items"]}
    assert (listed.pop(first), listed.pop(second)) == ("renamed", "second")
    assert list(listed.values()) == ["Profile flow of Capillary Profiles"]


def test_what_was_deleted_after_the_reading_at_the_start_is_not_listed(plane: FlowPlane) -> None:
    plane.whole_flow(name="first")
    _, second = plane.whole_flow(name="second")
    shelf = plane.service.shelf(FLOWS)
    shelf.warm("createdAt")
    assert plane.flow("DELETE", f"/flows/{second}").status_code == 204
    shelf.warm("createdAt")
    assert [each["name"] for each in plane.flow("GET", "/flows").json()["items"]] == ["first"]
