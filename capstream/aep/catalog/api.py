"""Catalog API: the handlers of all its collections, put together. Source: catalog.yaml, catalog.md.

Not built: writing batches (the pipeline makes them) and batched requests (`POST /`, deprecated).
"""

from typing import Protocol

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.catalog.batches_api import BatchDirectory, BatchService
from capstream.aep.catalog.datasets_api import DatasetService, Schemas
from capstream.aep.catalog.errors import no_dataset, refused
from capstream.aep.catalog.listing import Kind, page
from capstream.aep.catalog.model import Datasets
from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json


class DatasetFiles(Protocol):
    """Knows the files of datasets."""

    def all(self, sandbox_id: str, dataset_id: str) -> dict[str, dict[str, Json]]:
        """Return the files of a dataset by id, as Catalog shows them; of every dataset when the id is empty."""
        ...


_FILES = Kind(
    frozenset({"dataSetViewId", "version", "isValid"}),
    {},
    {
        "batchId": lambda value: lambda _, file: file.get("batchId") == value,
        "dataSetId": lambda value: lambda _, file: file.get("dataSetId", value) == value,
    },
)


def handlers(
    datasets: Datasets, schemas: Schemas, *, batches: BatchDirectory | None = None, files: DatasetFiles | None = None
) -> dict[str, Handler]:
    """Return the handlers of the Catalog API; without `batches` or `files` theirs are left out."""
    service = DatasetService(datasets, schemas)
    found: dict[str, Handler] = {
        "listDatasets": service.list,
        "createDataset": service.create,
        "retrieveDataset": service.get,
        "putDataset": service.put,
        "patchDataset": service.patch,
        "postDataset": service.patch,
        "patchDataSetV2": service.patch_deep,
        "deleteDataset": service.delete,
        "retrieveDatasetCredentials": service.credentials,
        "listDatasetViews": service.views,
        "retrieveDatasetView": service.view,
        "listBatchedRequest": lambda _: Answer(body={"dataSets": "/dataSets", "batches": "/batches"}),
    }
    if batches is not None:
        found |= _batch_handlers(datasets, batches)
    if files is not None:
        found |= _file_handlers(datasets, files)
    return found


def _batch_handlers(datasets: Datasets, batches: BatchDirectory) -> dict[str, Handler]:
    service = BatchService(datasets, batches)
    return {
        "listBatches": service.list,
        "retrieveBatch": service.get,
        "retrieveUniqueBatchValues": service.uniques,
        "listLastBatches": service.last,
        "listTags": service.tags,
    }


def _file_handlers(datasets: Datasets, files: DatasetFiles) -> dict[str, Handler]:
    def every(call: Call) -> Answer:
        return _page(call, files.all(call.sandbox.id, call.arg("dataSetId")))

    def of_view(call: Call) -> Answer:
        dataset_id = call.params["DATASET_ID"]
        dataset = datasets.get(call.sandbox.id, dataset_id)
        if dataset is None:
            raise no_dataset(dataset_id)
        if dataset["viewId"] != call.params["VIEW_ID"]:
            raise refused(404, f"View {call.params['VIEW_ID']} was not found; the dataset's view is {dataset['viewId']}.")
        return _page(call, files.all(call.sandbox.id, dataset_id))

    return {"listDatasetFiles": every, "listDatasetViewFiles": of_view}


def _page(call: Call, objects: dict[str, dict[str, Json]]) -> Answer:
    try:
        return Answer(body=page(objects, call.query, _FILES))
    except Refused as error:
        raise refused(400, str(error)) from error
