"""Every change is in the audit log: what was made, what failed, what was denied; listed, filtered, paged and exported."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from whole_platform import CATALOG, FLOWS, Platform, platform

EVENTS = "/data/foundation/audit/events"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
REGISTRY = "/data/foundation/schemaregistry/tenant"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("audit")) as made:
        _changes(made)
        yield made


def _changes(whole: Platform) -> None:
    ids = whole.flow_to_a_dataset()
    etag = whole.call("GET", f"{FLOWS}/connections/{ids['base']}").json()["items"][0]["etag"]
    renamed = [{"op": "replace", "path": "/name", "value": "renamed"}]
    assert whole.call("PATCH", f"{FLOWS}/connections/{ids['base']}", json=renamed, headers={"if-match": etag}).status_code == 200
    assert whole.call("POST", f"{FLOWS}/flows/{ids['flow']}/action?op=disable").status_code == 200
    assert whole.call("DELETE", f"{FLOWS}/connections/{ids['base']}").status_code == 400  # a flow uses it
    tags = {"tags": {"unifiedProfile": ["enabled:true"]}}
    whole.call("PATCH", f"{CATALOG}/dataSets/{ids['dataset']}", json=tags)
    body = {"name": "dev2", "title": "Development", "type": "development"}
    assert whole.call("POST", SANDBOXES, json=body).status_code in (201, 202)
    group = {"title": "Extra", "type": "object", "meta:intendedToExtend": [], "allOf": []}
    whole.call("POST", f"{REGISTRY}/fieldgroups", json=group, headers={"accept": "application/vnd.adobe.xed+json"})


def _events(whole: Platform, *conditions: str, **more: Any) -> list[dict[str, Any]]:
    answer = whole.call("GET", EVENTS, params={"property": list(conditions), **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["_embedded"]["events"])


def test_changes_are_told_newest_first_with_asset_action_and_outcome(whole: Platform) -> None:
    told = [(each["assetType"], each["action"], each["status"]) for each in reversed(_events(whole, limit=100))]

    assert told[:5] == [
        ("Dataset", "Create", "Success"),
        ("Source Account", "Create", "Success"),
        ("Source Account", "Create", "Success"),
        ("Source Account", "Create", "Success"),
        ("Source Data Flow", "Create", "Success"),
    ]
    assert told[5:8] == [
        ("Source Account", "Update", "Success"),
        ("Source Data Flow", "Disable", "Success"),
        ("Source Account", "Delete", "Failure"),
    ]
    assert [action for asset, action, _ in told if asset == "Dataset"] == ["Create", "Enable For Profile"]
    assert ("Sandbox", "Create", "Success") in told
    assert any(asset == "Field Group" for asset, _, _ in told)


def test_an_event_names_its_asset_even_when_the_change_does_not(whole: Platform) -> None:
    (failed,) = _events(whole, "status==failure", "assetType==Source Account")

    assert failed["assetName"] == "renamed"
    assert failed["failureCode"] == "FLOW-1418-400"
    assert failed["userEmail"].endswith("@techacct.adobe.com")
    assert failed["sandboxName"] == "prod"


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        (["action==create"], 7),
        (["action==create", "assetType==Sandbox"], 1),
        (["action==CREATE,disable"], 8),
        (["assetName==flow"], 2),
        (["assetName!=flow", "assetType==Source Data Flow"], 0),
        (["timestamp<2020-01-01T00:00:00Z"], 0),
        (["timestamp>2020-01-01T00:00:00Z", "type==core", "assetType==Dataset"], 2),
    ],
)
def test_conditions_are_all_met(whole: Platform, conditions: list[str], count: int) -> None:
    assert len(_events(whole, *conditions)) == count


def test_pages_follow_one_another_and_the_query_can_be_asked_again(whole: Platform) -> None:
    everything = _events(whole, "status==success")
    found: list[dict[str, Any]] = []
    url = f"{EVENTS}?property=status==success&limit=4&orderBy=-timestamp"
    for _ in range(9):
        page = whole.call("GET", url).json()
        found += page["_embedded"]["events"]
        assert page["page"]["totalElements"] == len(everything)
        if "next" not in page["_links"]:
            break
        href = page["_links"]["next"]["href"]
        assert "queryId=" in href
        assert "start=" in href
        url = href[href.index("/data/") :]
    assert sorted(each["id"] for each in found) == sorted(each["id"] for each in everything)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "start=-1", "property=nosuch==1", "property=action", "queryId=zzz", "orderBy=zzz"],
)
def test_a_malformed_query_is_refused(whole: Platform, query: str) -> None:
    answer = whole.call("GET", f"{EVENTS}?{query}")

    assert answer.status_code == 400
    assert answer.json()["title"] == "BadRequestError"


def test_an_export_is_fetched_through_its_link(whole: Platform) -> None:
    answer = whole.call("GET", "/data/foundation/audit/export?property=assetType==Source Account")
    link = httpx.URL(answer.headers["location"])

    file = whole.call("GET", link.path)
    rows = list(csv.DictReader(io.StringIO(file.text)))

    assert answer.status_code == 307
    assert [row["action"] for row in rows] == ["Delete", "Update", "Create", "Create", "Create"]
    assert whole.call("GET", link.path[:-12]).status_code == 404
    assert whole.call("GET", "/data/foundation/audit/export?property=assetType==Segment").status_code == 204


def test_the_list_is_what_the_specification_says(whole: Platform, specification: Any) -> None:
    spec = specification("audit-query.yaml")
    schema = {"components": spec["components"], "$ref": "#/components/schemas/CollectionModel"}

    found = whole.call("GET", f"{EVENTS}?limit=100").json()

    assert [error.message for error in Draft202012Validator(schema).iter_errors(found)] == []


def test_a_body_that_is_no_json_is_told_as_a_failure(whole: Platform) -> None:
    answer = whole.call("POST", f"{CATALOG}/dataSets", content=b"{", headers={"content-type": "application/json"})
    (event,) = _events(whole, "status==failure", "assetType==Dataset")

    assert answer.status_code == 400
    assert (event["action"], event["failureCode"]) == ("Create", "400")


def test_a_call_without_the_permission_is_told_too(whole: Platform) -> None:
    made = whole.call("POST", "/capstream/api/accounts", json={"name": "weak"}).json()
    secret = {"client_id": made["clientId"], "client_secret": made["clientSecret"], "grant_type": "client_credentials"}
    token = whole.call("POST", "/ims/token/v3", data=secret).json()["access_token"]
    headers = {"authorization": f"Bearer {token}", "x-api-key": made["clientId"]}

    refused = whole.call("POST", f"{CATALOG}/dataSets", json={"name": "mine"}, headers=headers)
    (event,) = _events(whole, "status==deny")

    assert refused.status_code == 403
    assert (event["assetType"], event["action"], event["assetName"], event["authId"]) == (
        "Dataset",
        "Create",
        "mine",
        made["clientId"],
    )
