from pathlib import Path
from typing import Any, ClassVar

import pytest
from control_plane import EVENT_SCHEMA, ORG, PROFILE_SCHEMA, START_MS, ControlPlane

from capstream.aep.catalog.model import identity_enabled, profile_enabled, table_name, upsert_enabled, validation_disabled
from capstream.aep.gateway import GatewayOptions

BASE = "/data/foundation/catalog"
PATCH_TYPE = {"content-type": "application/json-patch+json"}


def create(plane: ControlPlane, **body: Any) -> str:
    wanted = {"name": "Capillary Profiles", "schemaRef": {"id": PROFILE_SCHEMA}} | body
    answer = plane.call("POST", f"{BASE}/dataSets", json=wanted)
    assert answer.status_code == 201, answer.text
    (link,) = answer.json()
    assert answer.headers["location"] == f"/data/foundation/catalog/dataSets/{link.removeprefix('@/dataSets/')}"
    return str(link.removeprefix("@/dataSets/"))


def get(plane: ControlPlane, dataset_id: str) -> dict[str, Any]:
    answer = plane.call("GET", f"{BASE}/dataSets/{dataset_id}")
    assert answer.status_code == 200
    assert answer.headers["etag"] == answer.json()[dataset_id]["version"]
    found: dict[str, Any] = answer.json()[dataset_id]
    return found


def patch(plane: ControlPlane, dataset_id: str, body: Any, *, kind: str = "application/json", path: str = "") -> Any:
    headers = plane.headers(content_type=kind)
    return plane.call("PATCH", f"{BASE}{path}/dataSets/{dataset_id}", json=body, headers=headers)


class TestCreate:
    def test_what_clients_rely_on_is_there(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, tags={"unifiedProfile": ["enabled: true"], "unifiedIdentity": ["enabled:true"]})
        dataset = get(plane, dataset_id)
        assert dataset_id[:8] == f"{START_MS // 1000:08x}"
        assert dataset["tags"] == {
            "unifiedProfile": ["enabled:true", "enabledAt:2024-07-18 10:53:20"],
            "unifiedIdentity": ["enabled:true"],
            "adobe/pqs/table": ["capillary_profiles"],
            "adobe/siphon/table/format": ["delta"],
        }
        assert dataset["classification"] == {"dataBehavior": "record", "managedBy": "CUSTOMER"}
        assert dataset["schemaRef"] == {"id": PROFILE_SCHEMA, "contentType": "application/vnd.adobe.xed+json;version=1"}
        assert dataset["observableSchema"]["$id"] == PROFILE_SCHEMA
        assert dataset["fileDescription"] == {"persisted": True, "containerFormat": "parquet", "format": "parquet"}
        assert dataset["basePath"] == f"lake://prod/{dataset_id}"
        assert (dataset["version"], dataset["imsOrg"], dataset["sandboxId"]) == ("1.0.0", ORG, plane.prod.id)
        assert (dataset["created"], dataset["createdClient"]) == (START_MS, plane.client.client_id)
        assert "lastBatchStatus" not in dataset

    def test_a_name_is_made_when_none_is_given(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, name=None)
        assert get(plane, dataset_id)["name"] == f"dataset-{dataset_id}"

    def test_the_schema_gives_the_behaviour(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, schemaRef={"id": EVENT_SCHEMA, "contentType": "application/vnd.adobe.xed-full+json;version=1"})
        dataset = get(plane, dataset_id)
        assert dataset["classification"]["dataBehavior"] == "time-series"
        assert dataset["schemaRef"]["contentType"] == "application/vnd.adobe.xed-full+json;version=1"

    def test_a_union_is_a_schema_too(self, plane: ControlPlane) -> None:
        dataset = get(plane, create(plane, schemaRef={"id": f"{PROFILE_SCHEMA}__union"}))
        assert dataset["classification"]["dataBehavior"] == "record"

    def test_equal_names_get_different_tables(self, plane: ControlPlane) -> None:
        tables = [table_name(get(plane, create(plane, name=name))) for name in ("A b!", "a B", "A-b", "ä")]
        assert tables == ["a_b", "a_b_2", "a_b_3", "dataset"]

    def test_a_client_may_choose_a_free_table(self, plane: ControlPlane) -> None:
        tags = {"adobe/pqs/table": ["mine"]}
        assert table_name(get(plane, create(plane, tags=tags))) == "mine"
        taken = plane.call("POST", f"{BASE}/dataSets", json={"schemaRef": {"id": PROFILE_SCHEMA}, "tags": tags})
        assert (taken.status_code, "mine" in taken.json()["detail"]) == (400, True)

    @pytest.mark.parametrize(
        ("body", "word"),
        [
            ({}, "schemaRef.id"),
            ([], "object"),
            ({"schemaRef": {"id": "https://ns.adobe.com/demo/schemas/none"}}, "not a schema"),
            ({"schemaRef": "x"}, "schemaRef"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "name": 5}, "name must be"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "name": " "}, "name must not be empty"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "tags": []}, "tags must be"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "tags": {"a": [{}]}}, "tags.a"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "tags": {"adobe/pqs/table": ["A b"]}}, "lower-case"),
            ({"schemaRef": {"id": PROFILE_SCHEMA}, "fileDescription": {"format": "xls"}}, "fileDescription.format"),
        ],
    )
    def test_bad_bodies_are_refused(self, plane: ControlPlane, body: Any, word: str) -> None:
        answer = plane.call("POST", f"{BASE}/dataSets?requestDataSource=True", json=body)
        assert answer.status_code == 400
        assert answer.json().items() >= {"type": "/placeholder/type/uri", "status": 400, "title": "BadRequestError"}.items()
        assert word in answer.json()["detail"]
        assert plane.call("GET", f"{BASE}/dataSets").json() == {}

    def test_validate_only_stores_nothing(self, plane: ControlPlane) -> None:
        body = {"schemaRef": {"id": PROFILE_SCHEMA}}
        answer = plane.call("POST", f"{BASE}/dataSets", json=body, headers=plane.headers(pragma="validate-only"))
        assert answer.status_code == 201
        assert plane.call("GET", f"{BASE}/dataSets").json() == {}


class TestPatch:
    def test_an_object_replaces_top_level_members(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, description="old")
        before = get(plane, dataset_id)
        plane.now_ms += 5
        answer = patch(plane, dataset_id, {"description": "new", "tags": {"mine": ["1"]}, "created": 1, "id": "x"})
        after = get(plane, dataset_id)
        assert answer.json() == [f"@/dataSets/{dataset_id}"]
        assert after == before | {
            "description": "new",
            "version": "1.0.1",
            "updated": START_MS + 5,
            "tags": {"mine": ["1"], "adobe/pqs/table": ["capillary_profiles"], "adobe/siphon/table/format": ["delta"]},
        }

    @pytest.mark.parametrize("kind", ["application/json-patch+json", "application/json"])
    @pytest.mark.parametrize("verb", ["add", "replace", "Add"])
    def test_an_array_is_rfc_6902_whatever_the_type(self, plane: ControlPlane, kind: str, verb: str) -> None:
        dataset_id = create(plane)
        operations = [
            {"op": verb, "path": "/tags/unifiedProfile", "value": ["enabled: true", "isUpsert: true"]},
            {"op": verb, "path": "/tags/unifiedIdentity", "value": ["enabled:true"]},
            {"op": verb, "path": "/tags/acp_validationContext", "value": ["disabled"]},
        ]
        assert patch(plane, dataset_id, operations, kind=kind).status_code == 200
        dataset = get(plane, dataset_id)
        assert profile_enabled(dataset)
        assert upsert_enabled(dataset)
        assert identity_enabled(dataset)
        assert validation_disabled(dataset)
        assert table_name(dataset) == "capillary_profiles"

    def test_the_time_of_enabling_is_kept_until_it_is_disabled(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, tags={"unifiedProfile": ["enabled:true"]})
        plane.now_ms += 1000
        enable = [{"op": "replace", "path": "/tags/unifiedProfile", "value": ["enabled:true", "isUpsert:true"]}]
        patch(plane, dataset_id, enable)
        assert "enabledAt:2024-07-18 10:53:20" in get(plane, dataset_id)["tags"]["unifiedProfile"]
        patch(plane, dataset_id, [{"op": "replace", "path": "/tags/unifiedProfile", "value": ["enabled:false"]}])
        assert get(plane, dataset_id)["tags"]["unifiedProfile"] == ["enabled:false"]
        patch(plane, dataset_id, enable)
        assert "enabledAt:2024-07-18 10:53:21" in get(plane, dataset_id)["tags"]["unifiedProfile"]

    def test_v2_merges_deeply_and_null_deletes(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, tags={"a": ["1"], "b": ["2"]})
        changes = {"tags": {"a": ["3"], "b": None}, "extensions": {"adobe_lakeHouse": {"rowExpiration": {"ttlValue": "P3Y"}}}}
        assert patch(plane, dataset_id, changes, path="/v2").status_code == 200
        dataset = get(plane, dataset_id)
        assert dataset["tags"]["a"] == ["3"]
        assert "b" not in dataset["tags"]
        assert dataset["extensions"]["adobe_lakeHouse"]["rowExpiration"] == {"ttlValue": "P3Y"}
        assert "adobe_unifiedProfile" in dataset["extensions"]

    def test_post_is_patch_with_an_object(self, plane: ControlPlane) -> None:
        dataset_id = create(plane)
        answer = plane.call("POST", f"{BASE}/dataSets/{dataset_id}", json={"tags": {"unifiedIdentity": ["enabled:true"]}})
        assert (answer.status_code, answer.json()) == (200, [f"@/dataSets/{dataset_id}"])
        assert identity_enabled(get(plane, dataset_id))

    @pytest.mark.parametrize(
        "body",
        [
            [{"op": "add", "path": "/version", "value": "9"}],
            {"name": ""},
            [{"op": "replace", "path": "/name", "value": ""}],
            [{"op": "add", "path": "/name"}],
            [{"op": "remove", "path": "/tags/none"}],
            [{"op": "explode", "path": "/name", "value": 1}],
            [{"op": "add", "path": "name", "value": "x"}],
            [{"op": "test", "path": "/name", "value": "other"}],
            [{"op": "replace", "path": "/name", "value": "changed"}, {"op": "test", "path": "/name", "value": "other"}],
            ["text"],
            {"name": []},
            {"schemaRef": {"id": "https://ns.adobe.com/demo/schemas/none"}},
            "text",
        ],
    )
    def test_bad_patches_change_nothing(self, plane: ControlPlane, body: Any) -> None:
        dataset_id = create(plane)
        before = get(plane, dataset_id)
        assert patch(plane, dataset_id, body).status_code == 400
        assert get(plane, dataset_id) == before

    def test_another_schema_gives_another_behaviour(self, plane: ControlPlane) -> None:
        dataset_id = create(plane)
        patch(plane, dataset_id, {"schemaRef": {"id": EVENT_SCHEMA}})
        assert get(plane, dataset_id)["classification"]["dataBehavior"] == "time-series"


class TestPut:
    def test_the_object_as_read_changes_the_version_only(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, tags={"unifiedProfile": ["enabled:true"]}, description="d", unifiedTags=["x"])
        before = get(plane, dataset_id)
        answer = plane.call("PUT", f"{BASE}/dataSets/{dataset_id}", json=before | {"id": dataset_id})
        assert answer.json() == [f"@/dataSets/{dataset_id}"]
        assert get(plane, dataset_id) == before | {"version": "1.0.1"}

    def test_what_is_not_sent_is_removed(self, plane: ControlPlane) -> None:
        dataset_id = create(plane, tags={"unifiedProfile": ["enabled:true"]}, description="d", unifiedTags=["x"])
        plane.call("PUT", f"{BASE}/dataSets/{dataset_id}", json={"name": "other"})
        dataset = get(plane, dataset_id)
        assert (dataset["name"], dataset["description"], dataset["unifiedTags"]) == ("other", "", [])
        assert dataset["schemaRef"]["id"] == PROFILE_SCHEMA
        assert not profile_enabled(dataset)
        assert table_name(dataset) == "capillary_profiles"


@pytest.mark.parametrize("extensions", [[1], {"adobe_lakeHouse": [1]}, {"adobe_lakeHouse": "x"}])
def test_extensions_are_objects(plane: ControlPlane, extensions: Any) -> None:
    dataset_id = create(plane)
    for path in ("", "/v2"):
        answer = patch(plane, dataset_id, {"extensions": extensions}, path=path)
        assert answer.status_code == 400
        assert "extensions" in answer.json()["detail"]
    assert get(plane, dataset_id)["extensions"]["adobe_lakeHouse"]["metrics"] == {"rowCount": 0, "storageSize": 0}


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("if_match", "1.0.0", 200),
        ("if_match", '"1.0.0"', 200),
        ("if_match", 'W/"1.0.0"', 200),
        ("if_match", "*", 200),
        ("if_match", "1.0.1", 412),
        ("if_none_match", "1.0.0", 412),
        ("if_none_match", "*", 412),
        ("if_none_match", "1.0.7", 200),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_preconditions(plane: ControlPlane, method: str, header: str, value: str, status: int) -> None:
    dataset_id = create(plane)
    headers = plane.headers(**{header: value})
    answer = plane.call(method, f"{BASE}/dataSets/{dataset_id}", json={"description": "x"}, headers=headers)
    assert answer.status_code == status
    assert get(plane, dataset_id)["version"] == ("1.0.1" if status == 200 else "1.0.0")


def test_delete_answers_the_link_and_then_404(plane: ControlPlane) -> None:
    dataset_id = create(plane)
    answer = plane.call("DELETE", f"{BASE}/dataSets/{dataset_id}")
    assert (answer.status_code, answer.json()) == (200, [f"@/dataSets/{dataset_id}"])
    for method in ("GET", "DELETE", "PATCH", "PUT"):
        gone = plane.call(method, f"{BASE}/dataSets/{dataset_id}", **({} if method in {"GET", "DELETE"} else {"json": {}}))
        assert (gone.status_code, gone.json()["status"]) == (404, 404)
    assert plane.datasets.get(plane.prod.id, dataset_id) is None
    assert plane.datasets.deleted().keys() == {(plane.prod.id, dataset_id)}


def test_views_and_credentials(plane: ControlPlane) -> None:
    dataset_id = create(plane)
    view_id = get(plane, dataset_id)["viewId"]
    views = plane.call("GET", f"{BASE}/dataSets/{dataset_id}/views").json()
    one = plane.call("GET", f"{BASE}/dataSets/{dataset_id}/views/{view_id}").json()
    assert views == one
    assert one[view_id]["dataSetId"] == dataset_id
    assert plane.call("GET", f"{BASE}/dataSets/{dataset_id}/views/{dataset_id}").status_code == 404
    credentials = plane.call("GET", f"{BASE}/dataSets/{dataset_id}/credentials").json()
    assert (credentials["dataSetId"], credentials["credentials"]) == (dataset_id, {})


def test_datasets_of_other_sandboxes_are_invisible(plane: ControlPlane) -> None:
    dataset_id = create(plane)
    plane.sandboxes.create(ORG, "dev", title="Dev", kind="development", user_id="u", now_ms=START_MS)
    answer = plane.call("GET", f"{BASE}/dataSets/{dataset_id}", headers=plane.headers(x_sandbox_name="dev"))
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/dataSets", "/datasets", "/DATASETS/", "//dataSets"])
def test_the_collection_has_any_case(plane: ControlPlane, path: str) -> None:
    create(plane)
    assert len(plane.call("GET", f"{BASE}{path}").json()) == 1


def test_the_root_lists_collections(plane: ControlPlane) -> None:
    assert plane.call("GET", f"{BASE}/").json() == {"dataSets": "/dataSets", "batches": "/batches"}


class TestLabels:
    labels: ClassVar = {
        "labels": ["C1"],
        "optionalLabels": [{"option": {"id": PROFILE_SCHEMA, "schemaPath": "/properties/x"}, "labels": ["S1"]}],
    }

    def test_through_their_life(self, plane: ControlPlane) -> None:
        path = f"/data/foundation/dataset/datasets/{create(plane)}/labels"
        assert plane.call("GET", path).json()["code"] == "PES-404"
        first = plane.call("PUT", path, json=self.labels)
        assert (first.status_code, first.json()) == (200, self.labels)
        read = plane.call("GET", path)
        assert (read.json(), read.headers["etag"]) == (self.labels, first.headers["etag"])
        assert plane.call("HEAD", path).headers["etag"] == first.headers["etag"]
        assert plane.call("PUT", path, json=self.labels).status_code == 400
        assert plane.call("PUT", path, json=self.labels, headers=plane.headers(if_match="old")).status_code == 412
        again = plane.call("PUT", path, json={"labels": []}, headers=plane.headers(if_match=read.headers["etag"]))
        assert again.status_code == 200
        assert plane.call("POST", path, json=self.labels).json()["status"] == "FORBIDDEN"
        gone = plane.call("DELETE", path, headers=plane.headers(if_match=again.headers["etag"]))
        assert gone.status_code == 204
        assert plane.call("POST", path, json=self.labels).status_code == 201

    def test_those_of_a_deleted_dataset_are_gone(self, plane: ControlPlane) -> None:
        dataset_id = create(plane)
        path = f"/data/foundation/dataset/datasets/{dataset_id}/labels"
        plane.call("PUT", path, json=self.labels)
        plane.call("DELETE", f"{BASE}/dataSets/{dataset_id}")
        assert plane.call("GET", path).status_code == 404

    @pytest.mark.parametrize("body", [[], {"labels": "C1"}, {"labels": [1]}, {"labels": [], "optionalLabels": [{"labels": []}]}])
    def test_bad_bodies(self, plane: ControlPlane, body: Any) -> None:
        path = f"/data/foundation/dataset/datasets/{create(plane)}/labels"
        assert plane.call("PUT", path, json=body).json()["code"] == "PES-400"

    def test_an_unknown_dataset(self, plane: ControlPlane) -> None:
        answer = plane.call("PUT", "/data/foundation/dataset/datasets/66f0/labels", json=self.labels)
        assert (answer.status_code, answer.json()["path"]) == (404, "/entities/AEP:dataset:66f0")


def test_tags_that_feed_profiles_ask_for_their_permission(tmp_path: Path) -> None:
    held = {"manage-datasets"}
    options = GatewayOptions(permits=lambda _caller, _sandbox, wanted: bool(held & set(wanted.split())))
    plane = ControlPlane(tmp_path, options=options)
    tags = {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}
    body = {"name": "n", "schemaRef": {"id": PROFILE_SCHEMA}}
    refused = plane.call("POST", f"{BASE}/dataSets", json=body | {"tags": tags})
    assert (refused.status_code, refused.json()["title"]) == (403, "ForbiddenError")
    assert "manage-profiles" in refused.json()["detail"]
    dataset_id = create(plane, tags={"team": ["loyalty"]})
    enable = [{"op": "add", "path": "/tags/unifiedProfile", "value": ["enabled:true"]}]
    for wanted, path in ((enable, ""), ({"tags": tags}, ""), ({"tags": {"unifiedIdentity": ["enabled:true"]}}, "/v2")):
        assert patch(plane, dataset_id, wanted, path=path).status_code == 403
    assert patch(plane, dataset_id, {"description": "d"}).status_code == 200
    held.add("manage-profiles")
    assert patch(plane, dataset_id, enable).status_code == 200
    held.discard("manage-profiles")
    assert patch(plane, dataset_id, {"description": "e"}).status_code == 200
    assert patch(plane, dataset_id, [{"op": "remove", "path": "/tags/unifiedProfile"}]).status_code == 403
    plane.close()
