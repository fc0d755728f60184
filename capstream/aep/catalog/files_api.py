"""The files of datasets: one for the rows of each batch of the pipeline. Source: catalog.md 1, 6.3.

The lake's own files mix batches once they are compacted; callers see a batch's rows as one Parquet file, which Data Access
makes when it is first asked for.
"""

from collections.abc import Iterator

from capstream.aep.call import Answer, Call
from capstream.aep.catalog.errors import no_dataset, refused
from capstream.aep.catalog.listing import Kind, page
from capstream.aep.catalog.model import Datasets
from capstream.aep.catalog.own_batches import AllBatches, Batch
from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json

File = dict[str, Json]

_FILES = Kind(
    frozenset({"dataSetViewId", "version", "isValid"}),
    {"createdAfter": "created", "createdBefore": "created"},
    {
        "batchId": lambda value: lambda _, file: file["batchId"] in value.split(","),
        "dataSetId": lambda value: lambda _, file: file["dataSetId"] in value.split(","),
    },
)


def file_id(batch_id: str) -> str:
    """Return the id of the file that holds a batch's rows: `<batch>-<n>`."""
    return f"{batch_id}-1"


class FileService:
    """One method per operation."""

    def __init__(self, datasets: Datasets, batches: AllBatches) -> None:
        self._datasets = datasets
        self._batches = batches

    def all(self, call: Call) -> Answer:
        """Return one page of files by id, of every dataset unless one is named."""
        return self._paged(call, call.arg("dataSetId"))

    def of_view(self, call: Call) -> Answer:
        """Return one page of the files of a dataset's view."""
        dataset_id = call.params["DATASET_ID"]
        dataset = self._datasets.get(call.sandbox.id, dataset_id)
        if dataset is None:
            raise no_dataset(dataset_id)
        if dataset["viewId"] != call.params["VIEW_ID"]:
            raise refused(404, f"View {call.params['VIEW_ID']} was not found; the dataset's view is {dataset['viewId']}.")
        return self._paged(call, dataset_id)

    def get(self, call: Call) -> Answer:
        """Return one file under its id."""
        wanted = call.params["FILE_ID"]
        batch = self._batches.get(call.sandbox.id, wanted.removesuffix("-1"))
        found = dict(self._files(call.sandbox.id, {str(batch["id"]): batch})) if batch else {}
        if wanted not in found:
            raise refused(404, f"File {wanted} was not found in this sandbox. List the dataset's files for their ids.")
        return Answer(body={wanted: found[wanted]}, headers={"ETag": str(found[wanted]["version"])})

    def _paged(self, call: Call, dataset_id: str) -> Answer:
        files = dict(self._files(call.sandbox.id, self._batches.all(call.sandbox.id)))
        mine = {key: each for key, each in files.items() if not dataset_id or each["dataSetId"] in dataset_id.split(",")}
        try:
            return Answer(body=page(mine, call.query, _FILES))
        except Refused as error:
            raise refused(400, str(error)) from error

    def _files(self, sandbox_id: str, batches: dict[str, Batch]) -> Iterator[tuple[str, File]]:
        datasets = self._datasets.all(sandbox_id)
        for batch_id, batch in batches.items():
            related = next((each["id"] for each in batch.get("relatedObjects", []) if each.get("type") == "dataSet"), "")
            rows = (batch.get("metrics") or {}).get("recordsWritten", 0)
            if related in datasets and rows and batch["status"] != "inactive":
                yield file_id(batch_id), _file(batch_id, batch, related, datasets[related])


def _file(batch_id: str, batch: Batch, dataset_id: str, dataset: Batch) -> File:
    members = ("imsOrg", "sandboxId", "version", "created", "updated", "createdClient", "createdUser", "updatedUser")
    return {name: batch[name] for name in members} | {
        "id": file_id(batch_id),
        "batchId": batch_id,
        "dataSetId": dataset_id,
        "dataSetViewId": dataset["viewId"],
        "records": batch["metrics"]["recordsWritten"],
        "size": batch.get("size", 0),
        "isValid": True,
        "availableDates": {},
        "_links": {"self": {"href": f"/data/foundation/export/files/{file_id(batch_id)}"}},
    }
