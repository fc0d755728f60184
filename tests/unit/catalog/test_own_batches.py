"""Batches that callers keep in Catalog, batched requests, and files. Source: catalog.md 1, 6."""

from typing import Any

import pytest
from control_plane import ORG, PROFILE_SCHEMA, ControlPlane

from capstream.aep.catalog.batches import BatchRecord, BatchStatus

BASE = "/data/foundation/catalog"


def made(plane: ControlPlane, **body: Any) -> str:
    answer = plane.call("POST", f"{BASE}/batches", json={"status": "processing"} | body)
    assert answer.status_code == 201, answer.text
    (link,) = answer.json()
    assert answer.headers["location"] == f"/data/foundation/catalog/{link.removeprefix('@/')}"
    return str(link.removeprefix("@/batches/"))


def one(plane: ControlPlane, batch_id: str, query: str = "") -> dict[str, Any]:
    return dict(plane.call("GET", f"{BASE}/batches/{batch_id}{query}").json()[batch_id])


def dataset(plane: ControlPlane, name: str = "D") -> str:
    answer = plane.call("POST", f"{BASE}/dataSets", json={"name": name, "schemaRef": {"id": PROFILE_SCHEMA}})
    return str(answer.json()[0].removeprefix("@/dataSets/"))


def streamed(plane: ControlPlane, batch_id: str, dataset_id: str, **more: Any) -> BatchRecord:
    return BatchRecord(batch_id, plane.prod.id, ORG, dataset_id, "flow", BatchStatus.SUCCESS, 10, 20, 20, 1, 7, 700, **more)


class TestOwnBatches:
    def test_one_is_kept_changed_and_taken_out_of_use(self, plane: ControlPlane) -> None:
        batch_id = made(plane, externalId="mine", relatedObjects=[{"type": "dataSet", "id": "d1"}], tags={"a": ["b"]})
        batch = one(plane, batch_id)
        assert (batch["status"], batch["version"], batch["externalId"], batch["errors"]) == ("processing", "1.0.0", "mine", [])
        assert (batch["imsOrg"], batch["created"], batch["createdClient"]) == (ORG, plane.now_ms, plane.client.client_id)
        plane.now_ms += 5
        answer = plane.call("PATCH", f"{BASE}/batches/{batch_id}", json={"status": "failure", "recordCount": 3})
        assert answer.json() == [f"@/batches/{batch_id}"]
        batch = one(plane, batch_id)
        assert (batch["status"], batch["recordCount"], batch["version"], batch["updated"]) == ("failed", 3, "1.0.1", plane.now_ms)
        assert plane.call("PUT", f"{BASE}/batches/{batch_id}", json={"status": "success"}).status_code == 200
        batch = one(plane, batch_id)
        assert (batch["tags"], batch["externalId"], "recordCount" in batch) == ({}, "mine", False)
        assert plane.call("DELETE", f"{BASE}/batches/{batch_id}").json() == [f"@/batches/{batch_id}"]
        assert one(plane, batch_id)["status"] == "inactive"

    def test_it_is_listed_beside_the_pipeline_s(self, plane: ControlPlane) -> None:
        dataset_id = dataset(plane)
        plane.add_batches(streamed(plane, "B1", dataset_id))
        batch_id = made(plane, relatedObjects=[{"type": "dataSet", "id": dataset_id}], status="failed")
        listed = plane.call("GET", f"{BASE}/batches?dataSet={dataset_id}").json()
        assert set(listed) == {"B1", batch_id}
        last = plane.call("GET", f"{BASE}/lastBatches").json()[dataset_id]
        assert (last["lastBatchId"], last["lastFailedBatchId"], last["lastSuccessfulBatchId"]) == (batch_id, batch_id, "B1")
        shown = plane.call("GET", f"{BASE}/dataSets/{dataset_id}").json()[dataset_id]
        assert (shown["lastBatchId"], shown["lastFailedBatch"], shown["lastSuccessfulBatch"]) == (batch_id, batch_id, "B1")
        assert list(plane.call("GET", f"{BASE}/dataSets?property=lastBatchStatus==failed").json()) == [dataset_id]

    def test_one_with_an_id_of_the_caller(self, plane: ControlPlane) -> None:
        answer = plane.call("POST", f"{BASE}/batches/my-id", json={"status": "loading"})
        assert (answer.status_code, answer.json()) == (201, ["@/batches/my-id"])
        again = plane.call("POST", f"{BASE}/batches/my-id", json={"status": "loading"})
        assert (again.status_code, again.json()["status"]) == (400, 400)

    def test_a_replay_takes_the_place_of_what_it_replays(self, plane: ControlPlane) -> None:
        old = made(plane, status="success")
        new = made(plane, replay={"predecessors": [f"${{{old}}}"], "reason": "replace"})
        assert one(plane, old)["status"] == "success"
        plane.call("PATCH", f"{BASE}/batches/{new}", json={"status": "success", "metrics": {"recordsWritten": 2}})
        before = one(plane, old)
        assert (before["status"], before["tags"]) == ("inactive", {"acp_successor": [new]})
        lifted = one(plane, old, "?aggregate=true")
        assert (lifted["status"], lifted["metrics"]) == ("success", {"recordsWritten": 2})

    def test_versions_are_compared(self, plane: ControlPlane) -> None:
        batch_id = made(plane)
        wrong = plane.headers(if_match="1.0.7")
        assert plane.call("PATCH", f"{BASE}/batches/{batch_id}", json={"status": "success"}, headers=wrong).status_code == 412
        right = plane.headers(if_match='"1.0.0"')
        assert plane.call("PATCH", f"{BASE}/batches/{batch_id}", json={"status": "success"}, headers=right).status_code == 200

    def test_a_validated_one_is_not_stored(self, plane: ControlPlane) -> None:
        answer = plane.call("POST", f"{BASE}/batches", json={"status": "loading"}, headers=plane.headers(pragma="validate-only"))
        assert answer.status_code == 201
        assert plane.call("GET", f"{BASE}/batches").json() == {}

    def test_the_pipeline_s_are_its_own(self, plane: ControlPlane) -> None:
        plane.add_batches(streamed(plane, "B1", "d1"))
        for method in ("PATCH", "PUT"):
            answer = plane.call(method, f"{BASE}/batches/B1", json={"status": "failed"})
            assert answer.status_code == 400
            assert "streaming pipeline" in answer.json()["detail"]
        stale = plane.headers(if_match="1.0.9")
        assert plane.call("DELETE", f"{BASE}/batches/B1", headers=stale).status_code == 412
        assert one(plane, "B1")["status"] == "success"
        assert plane.call("DELETE", f"{BASE}/batches/B1").json() == ["@/batches/B1"]
        assert one(plane, "B1")["status"] == "inactive"
        assert list(plane.call("GET", f"{BASE}/batches?status=inactive").json()) == ["B1"]
        plane.add_batches(BatchRecord("B2", plane.prod.id, ORG, "d1", "flow", BatchStatus.PROCESSING, 10, 20))
        still = plane.call("DELETE", f"{BASE}/batches/B2")
        assert (still.status_code, "still takes rows" in still.json()["detail"]) == (400, True)
        assert plane.call("PATCH", f"{BASE}/batches/none", json={"status": "failed"}).status_code == 404

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "status is required"),
            ([], "must be a JSON object"),
            ({"status": "done"}, "status done is none of"),
            ({"status": "success", "recordCount": "3"}, "recordCount must be of type integer"),
            ({"status": "success", "recordCount": True}, "recordCount must be of type integer"),
            ({"status": "success", "tags": {"a": "b"}}, "tags.a must be"),
            ({"status": "success", "relatedObjects": [{"type": "cat", "id": "x"}]}, "relatedObjects must hold"),
            ({"status": "success", "errors": ["x"]}, "errors must be"),
        ],
    )
    def test_what_is_no_batch_is_refused(self, plane: ControlPlane, body: Any, words: str) -> None:
        answer = plane.call("POST", f"{BASE}/batches", json=body)
        assert answer.status_code == 400
        assert words in answer.json()["detail"]


class TestBatchedRequests:
    def test_later_requests_may_name_what_earlier_ones_made(self, plane: ControlPlane) -> None:
        requests = [
            {
                "id": "first",
                "method": "POST",
                "resource": "/dataSets",
                "body": {"name": "A", "schemaRef": {"id": PROFILE_SCHEMA}},
            },
            {"id": "second", "method": "PATCH", "resource": "/dataSets/<<first.id>>", "body": {"description": "of <<first.id>>"}},
            {
                "id": "third",
                "method": "POST",
                "resource": "/batches",
                "body": {"status": "loading", "relatedObjects": [{"type": "dataSet", "id": "<<first.id>>"}]},
            },
            {"id": "fourth", "method": "GET", "resource": "/dataSets/<<first.id>>?properties=description"},
        ]
        answer = plane.call("POST", f"{BASE}/", json=requests)
        assert answer.status_code == 200
        first, second, third, fourth = answer.json()
        dataset_id = first["body"][0].removeprefix("@/dataSets/")
        assert [each["code"] for each in (first, second, third, fourth)] == [201, 200, 201, 200]
        assert fourth["body"] == {dataset_id: {"description": f"of {dataset_id}"}}
        batch_id = third["body"][0].removeprefix("@/batches/")
        assert one(plane, batch_id)["relatedObjects"] == [{"type": "dataSet", "id": dataset_id}]

    def test_one_refused_request_undoes_all(self, plane: ControlPlane) -> None:
        dataset_id = dataset(plane)
        plane.call("PUT", f"/data/foundation/dataset/datasets/{dataset_id}/labels", json={"labels": ["C1"]})
        before = plane.call("GET", f"{BASE}/dataSets").json()
        requests = [
            {"id": "a", "method": "DELETE", "resource": f"/dataSets/{dataset_id}"},
            {"id": "b", "method": "POST", "resource": "/dataSets", "body": {"schemaRef": {"id": PROFILE_SCHEMA}}},
            {"id": "c", "method": "PATCH", "resource": f"/dataSets/{dataset_id}", "body": {"name": "x"}},
        ]
        answer = plane.call("POST", f"{BASE}", json=requests)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"Request c: Dataset {dataset_id} was not found")
        assert plane.call("GET", f"{BASE}/dataSets").json() == before
        assert plane.call("GET", f"/data/foundation/dataset/datasets/{dataset_id}/labels").json()["labels"] == ["C1"]

    def test_a_precondition_of_one_request(self, plane: ControlPlane) -> None:
        dataset_id = dataset(plane)
        request = {"id": "a", "method": "PATCH", "resource": f"/dataSets/{dataset_id}", "body": {"name": "x"}}
        refused = plane.call("POST", f"{BASE}/", json=[request | {"headers": {"If-Match": "1.0.9"}}])
        assert "1.0.9" in refused.json()["detail"]
        assert plane.call("POST", f"{BASE}/", json=[request | {"headers": {"If-Match": "1.0.0"}}]).status_code == 200

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "must be an array"),
            ([], "1 to 100 requests"),
            ([{"method": "GET"}], "id of its own"),
            ([{"id": "a", "method": "GET", "resource": "/dataSets"}] * 2, "id of its own"),
            ([{"id": "a", "method": "GET", "resource": "/colours"}], "GET /colours is not an operation"),
            ([{"id": "a", "method": "GET", "resource": "/dataSets/<<b.id>>"}], "<<b.id>> names no earlier request"),
            ([{"id": "a", "method": "GET", "resource": "/dataSets", "headers": 5}], "headers must be"),
        ],
    )
    def test_what_is_no_batched_request_is_refused(self, plane: ControlPlane, body: Any, words: str) -> None:
        answer = plane.call("POST", f"{BASE}/", json=body)
        assert answer.status_code == 400
        assert words in answer.json()["detail"]


class TestFiles:
    def test_rows_of_a_batch_are_a_file_of_its_dataset(self, plane: ControlPlane) -> None:
        dataset_id, other = dataset(plane), dataset(plane, "E")
        plane.add_batches(streamed(plane, "B1", dataset_id), streamed(plane, "B2", other), streamed(plane, "B3", "gone"))
        view_id = plane.datasets.all(plane.prod.id)[dataset_id]["viewId"]
        assert list(plane.call("GET", f"{BASE}/dataSetFiles").json()) == ["B1-1", "B2-1"]
        assert list(plane.call("GET", f"{BASE}/dataSetFiles?dataSetId={dataset_id}").json()) == ["B1-1"]
        assert list(plane.call("GET", f"{BASE}/dataSetFiles?batchId=B2").json()) == ["B2-1"]
        files = plane.call("GET", f"{BASE}/dataSets/{dataset_id}/views/{view_id}/files").json()
        file = files["B1-1"]
        assert (file["batchId"], file["dataSetId"], file["dataSetViewId"], file["records"]) == ("B1", dataset_id, view_id, 7)
        assert plane.call("GET", f"{BASE}/dataSetFiles/B1-1").json() == {"B1-1": file}
        for path in ("dataSetFiles/none", f"dataSets/{dataset_id}/views/none/files", "dataSets/none/views/none/files"):
            assert plane.call("GET", f"{BASE}/{path}").status_code == 404
        assert plane.call("GET", f"{BASE}/dataSetFiles?limit=0").status_code == 400


def test_a_deleted_dataset_takes_its_labels_with_it(plane: ControlPlane) -> None:
    dataset_id = dataset(plane)
    labels = f"/data/foundation/dataset/datasets/{dataset_id}/labels"
    assert plane.call("PUT", labels, json={"labels": ["C1"]}).status_code == 200
    assert plane.call("DELETE", f"{BASE}/dataSets/{dataset_id}").status_code == 200
    assert plane.documents.count("dataset_labels") == 0
