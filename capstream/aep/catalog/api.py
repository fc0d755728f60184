"""Catalog API: the handlers of all its collections, put together. Source: catalog.yaml, catalog.md."""

from collections.abc import Callable
from functools import partial

from capstream.aep.call import Answer, Handler
from capstream.aep.catalog import batched
from capstream.aep.catalog.batches_api import BatchService
from capstream.aep.catalog.datasets_api import DatasetService, OnDelete, Schemas
from capstream.aep.catalog.files_api import FileService
from capstream.aep.catalog.model import Datasets
from capstream.aep.catalog.own_batches import AllBatches, OwnBatches, Streamed
from capstream.storage.ports import Documents


def handlers(
    datasets: Datasets,
    schemas: Schemas,
    *,
    documents: Documents,
    batches: Streamed,
    forget: Callable[[Documents, str, str], None] = lambda *_: None,
) -> dict[str, Handler]:
    """Return the handlers of the Catalog API.

    `documents` is the store of the control plane, `batches` are those of the pipeline, `forget` removes from
    the store what else belongs to (sandbox, dataset) when a dataset is deleted.
    """
    everything = AllBatches(batches, OwnBatches(documents))
    found = _plain(datasets, schemas, everything, partial(forget, documents))

    def staged(inside: Documents) -> dict[str, Handler]:
        return _plain(Datasets(inside), schemas, AllBatches(batches, OwnBatches(inside)), partial(forget, inside))

    return found | {
        "listBatchedRequest": lambda _: Answer(body={"dataSets": "/dataSets", "batches": "/batches"}),
        "createBatchedRequest": lambda call: batched.handle(documents, staged, call),
    }


def _plain(datasets: Datasets, schemas: Schemas, batches: AllBatches, on_delete: OnDelete) -> dict[str, Handler]:
    service = DatasetService(datasets, schemas, batches.latest, on_delete)
    kept = BatchService(datasets, batches)
    files = FileService(datasets, batches)
    return {
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
        "listBatches": kept.list,
        "createBatch": kept.create,
        "createBatchWithId": kept.create,
        "retrieveBatch": kept.get,
        "updateBatch": kept.put,
        "patchBatch": kept.patch,
        "deleteBatch": kept.delete,
        "retrieveUniqueBatchValues": kept.uniques,
        "listLastBatches": kept.last,
        "listTags": kept.tags,
        "listDatasetFiles": files.all,
        "listDatasetViewFiles": files.of_view,
        "retrieveDatasetFile": files.get,
    }
