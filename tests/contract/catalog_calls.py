"""Calls of every operation of Catalog, Dataset Service, Data Access and Observability Insights, good and bad."""

from whole_platform import CATALOG, PROFILE, Platform

from capstream.aep.flow_service.runs import Runs

EXPORT = "/data/foundation/export"
LABELS = "/data/foundation/dataset/datasets"
METRICS = "/data/infrastructure/observability/insights/metrics"


def catalog(it: Platform) -> None:
    made = it.flow_to_a_dataset()
    dataset = made["dataset"]
    create = {"name": "Contract", "schemaRef": {"id": PROFILE}, "tags": {"unifiedProfile": ["enabled: true"]}}
    it.says("createDataset", "POST", f"{CATALOG}/dataSets?requestDataSource=true", json=create)
    it.says("createDataset", "POST", f"{CATALOG}/dataSets", json={"name": "x"})
    for query in ("", "?limit=1&start=1", "?properties=name,tags", "?property=lastBatchStatus", "?tags=unifiedProfile:*"):
        it.says("listDatasets", "GET", f"{CATALOG}/dataSets{query}")
    it.says("listDatasets", "GET", f"{CATALOG}/dataSets?limit=101")
    it.says("retrieveDataset", "GET", f"{CATALOG}/dataSets/{dataset}")
    it.says("retrieveDataset", "GET", f"{CATALOG}/dataSets/none")
    it.says("retrieveDatasetCredentials", "GET", f"{CATALOG}/dataSets/{dataset}/credentials")
    it.says("retrieveDatasetCredentials", "GET", f"{CATALOG}/dataSets/none/credentials")
    whole = it.call("GET", f"{CATALOG}/dataSets/{dataset}").json()[dataset]
    it.says("putDataset", "PUT", f"{CATALOG}/dataSets/{dataset}", json=whole)
    it.says("putDataset", "PUT", f"{CATALOG}/dataSets/{dataset}", json=whole, headers={"if-match": "1.0.99"})
    enable = [{"op": "add", "path": "/tags/unifiedProfile", "value": ["enabled:true"]}]
    it.says("patchDataset", "PATCH", f"{CATALOG}/dataSets/{dataset}", json=enable)
    it.says("patchDataset", "PATCH", f"{CATALOG}/dataSets/{dataset}", json={"name": 5})
    it.says("patchDataset", "PATCH", f"{CATALOG}/dataSets/none", json={"name": "x"})
    it.says("patchDataSetV2", "PATCH", f"{CATALOG}/v2/dataSets/{dataset}", json={"extensions": {"adobe_lakeHouse": {}}})
    it.says("patchDataSetV2", "PATCH", f"{CATALOG}/v2/dataSets/{dataset}", json=[])
    batch = it.says("createBatch", "POST", f"{CATALOG}/batches", json={"status": "loading"}).json()[0].rpartition("/")[2]
    it.says("createBatch", "POST", f"{CATALOG}/batches", json={"status": "odd"})
    it.says("createBatchWithId", "POST", f"{CATALOG}/batches/mine", json={"status": "success", "relatedObjects": []})
    it.says("createBatchWithId", "POST", f"{CATALOG}/batches/mine", json={"status": "success"})
    for query in ("", "?status=failed", f"?dataSet={dataset}", "?orderBy=desc:created&limit=1"):
        it.says("listBatches", "GET", f"{CATALOG}/batches{query}")
    it.says("listBatches", "GET", f"{CATALOG}/batches?createdAfter=x")
    streamed = next(iter(it.call("GET", f"{CATALOG}/batches?dataSet={dataset}").json()))
    for which in (streamed, batch, "none"):
        it.says("retrieveBatch", "GET", f"{CATALOG}/batches/{which}?aggregate=true")
    it.says("updateBatch", "PUT", f"{CATALOG}/batches/{batch}", json={"status": "success"})
    it.says("updateBatch", "PUT", f"{CATALOG}/batches/{streamed}", json={"status": "success"})
    it.says("patchBatch", "PATCH", f"{CATALOG}/batches/{batch}", json={"recordCount": 5})
    it.says("patchBatch", "PATCH", f"{CATALOG}/batches/none", json={"recordCount": 5})
    it.says("deleteBatch", "DELETE", f"{CATALOG}/batches/{batch}")
    it.says("deleteBatch", "DELETE", f"{CATALOG}/batches/none")
    it.says("retrieveUniqueBatchValues", "GET", f"{CATALOG}/batches/uniques/status")
    it.says("listLastBatches", "GET", f"{CATALOG}/lastBatches?dataSetId={dataset}")
    it.says("listLastBatches", "GET", f"{CATALOG}/lastBatches?limit=-1")
    it.says("listBatchedRequest", "GET", f"{CATALOG}/")
    request = {"id": "a", "method": "POST", "resource": "/dataSets", "body": create}
    it.says("createBatchedRequest", "POST", f"{CATALOG}/", json=[request])
    it.says("createBatchedRequest", "POST", f"{CATALOG}/", json=[request | {"method": "FETCH"}])
    it.says("listTags", "GET", f"{CATALOG}/tags/adobe/pqs/table")
    it.says("listTags", "GET", f"{CATALOG}/tags/none")
    it.says("deleteDataset", "DELETE", f"{CATALOG}/dataSets/{dataset}")
    it.says("deleteDataset", "DELETE", f"{CATALOG}/dataSets/{dataset}")


def dataset_service(it: Platform) -> None:
    dataset = it.made(f"{CATALOG}/dataSets", {"name": "Labelled", "schemaRef": {"id": PROFILE}})
    place = f"{LABELS}/{dataset}/labels"
    option = {"id": PROFILE, "contentType": "application/vnd.adobe.xed-full+json;version=1", "schemaPath": "/properties/person"}
    payload = {"labels": ["C1"], "optionalLabels": [{"option": option, "labels": ["S1"]}]}
    it.says("retrieveDatasetLabels", "GET", place)
    it.says("addDatasetLabels", "POST", place, json=payload)
    it.says("addDatasetLabels", "POST", place, json=payload)
    etag = {"if-match": it.says("retrieveDatasetLabels", "GET", place).headers["etag"]}
    it.says("updateDatasetLabels", "PUT", place, json=payload, headers=etag)
    it.says("updateDatasetLabels", "PUT", place, json=payload, headers=etag)
    it.says("updateDatasetLabels", "PUT", place, json={"labels": "C1"})
    it.says("updateDatasetLabels", "PUT", f"{LABELS}/none/labels", json=payload)


def data_access(it: Platform) -> None:
    made = it.flow_to_a_dataset()
    batches = it.call("GET", f"{CATALOG}/batches?dataSet={made['dataset']}").json()
    good = next(key for key, each in batches.items() if each["status"] != "failed")
    failed = next(key for key, each in batches.items() if each["status"] == "failed")
    it.says("listDatasetFiles", "GET", f"{EXPORT}/batches/{good}/files")
    it.says("listDatasetFiles", "GET", f"{EXPORT}/batches/none/files")
    listed = it.says("retrieveFailedBatch", "GET", f"{EXPORT}/batches/{failed}/failed").json()
    it.says("retrieveFailedBatch", "GET", listed["data"][1]["_links"]["self"]["href"])
    it.says("retrieveFailedBatch", "GET", f"{EXPORT}/batches/{failed}/failed?limit=x")
    for path in (
        "",
        "?path=row_errors",
        "?path=row_errors%2Fconversion_errors_0.json",
        "?path=row_error_samples.json",
        "?path=x",
    ):
        it.says("retrieveBatchMeta", "GET", f"{EXPORT}/batches/{failed}/meta{path}")
    (part,) = it.says("retrieveDatasetFile", "GET", f"{EXPORT}/files/{good}-1").json()["data"]
    place = f"{EXPORT}/files/{good}-1?path={part['name']}"
    it.says("retrieveDatasetFile", "GET", place)
    it.says("retrieveDatasetFile", "GET", place, headers={"range": "bytes=0-3"})
    it.says("retrieveDatasetFile", "GET", f"{EXPORT}/files/none")
    it.says("retrieveDatasetFileHeaders", "HEAD", place)
    it.says("retrieveDatasetFileHeaders", "HEAD", f"{EXPORT}/files/none?path=x")
    it.says("retrieveDatasetPreview", "GET", f"{EXPORT}/datasets/{made['dataset']}/preview")
    it.says("retrieveDatasetPreview", "GET", f"{EXPORT}/datasets/none/preview")


def observability(it: Platform) -> None:
    made = it.flow_to_a_dataset()
    name = "timeseries.ingestion.dataset.recordsuccess.count"
    filters = [{"name": "dataSetId", "value": made["dataset"], "groupBy": True}]
    report = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z", "granularity": "MONTH"}
    answer = it.says("retrieveMetricsV2", "POST", METRICS, json=report | {"metrics": [{"name": name, "filters": filters}]})
    ((points,),) = [each["datapoints"] for each in answer.json()["metricResponses"]]
    (run,) = Runs(it.state).list(it.state.scan("runs")[0][0].partition("/")[0], made["flow"])
    assert sum(points["dps"].values()) == run["metrics"]["recordSummary"]["outputRecordCount"] == 1
    it.says("retrieveMetricsV2", "POST", METRICS, json=report | {"metrics": [{"name": "none"}]})
    it.says("retrieveMetricsV2", "POST", METRICS, json=report | {"end": "2019-01-01T00:00:00Z", "metrics": [{"name": name}]})
    it.says("retrieveMetricsV1", "GET", f"{METRICS}?metric={name}")
    it.says("retrieveMetricsV1", "GET", f"{METRICS}?metric=none")
