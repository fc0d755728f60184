"""The batch operations of the Catalog API that read; batches are written by the pipeline. Source: catalog.md 1, 6.1."""

from collections.abc import Mapping
from typing import Protocol

from capstream.aep.call import Answer, Call
from capstream.aep.catalog.errors import refused
from capstream.aep.catalog.listing import Condition, Kind, page, projected, wanted_members
from capstream.aep.catalog.model import Datasets
from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json

Batch = dict[str, Json]

_SIMPLE = "created updated createdClient createdUser version recordCount failedRecordCount size started completed externalId"
_TIMES: Mapping[str, str] = {
    "createdAfter": "created",
    "createdBefore": "created",
    "startAfter": "started",
    "startBefore": "started",
    "endAfter": "completed",
    "endBefore": "completed",
}
_FAILED = frozenset({"failed", "failure"})  # two words for one state


class BatchDirectory(Protocol):
    """Knows the batches of a sandbox."""

    def all(self, sandbox_id: str) -> Mapping[str, Batch]:
        """Return every batch by id."""
        ...

    def get(self, sandbox_id: str, batch_id: str) -> Batch | None:
        """Return one batch."""
        ...


def _status(value: str) -> Condition:
    negated = value.startswith("!")
    wanted = {part.strip().lower() for part in value.removeprefix("!").split(",")}
    if wanted & _FAILED:
        wanted |= _FAILED
    return lambda _, batch: (batch.get("status") in wanted) is not negated


def _related(kind: str, value: str) -> Condition:
    wanted = {part.strip() for part in value.split(",")}

    def holds(key: str, batch: Batch) -> bool:
        if kind == "batch" and key in wanted:
            return True
        return any(one.get("type") == kind and one.get("id") in wanted for one in batch.get("relatedObjects", ()))

    return holds


_BATCHES = Kind(
    frozenset(_SIMPLE.split()),
    _TIMES,
    {
        "status": _status,
        "batch": lambda value: _related("batch", value),
        "dataSet": lambda value: _related("dataSet", value),
        "dataSetId": lambda value: _related("dataSet", value),
        "transform": lambda value: _related("transform", value),
    },
)
_LAST = Kind(
    frozenset(["lastBatchId", "lastBatchStatus", "lastSuccessfulBatchId", "lastFailedBatchId", "created", "updated"]),
    {},
    {"dataSetId": lambda value: lambda key, _: key in value.split(",")},
)


class BatchService:
    """One method per operation."""

    def __init__(self, datasets: Datasets, batches: BatchDirectory) -> None:
        self._datasets = datasets
        self._batches = batches

    def list(self, call: Call) -> Answer:
        """Return one page of batches by id."""
        return _paged(call, self._batches.all(call.sandbox.id), _BATCHES)

    def get(self, call: Call) -> Answer:
        """Return one batch under its id. There are no replays here, so `aggregate` has nothing to lift."""
        batch_id = call.params["BATCH_ID"]
        batch = self._batches.get(call.sandbox.id, batch_id)
        if batch is None:
            raise refused(404, f"Batch {batch_id} was not found in this sandbox. List the batches for their ids.")
        shown = projected(batch, wanted_members(call.arg("properties")))
        return Answer(body={batch_id: shown}, headers={"ETag": str(batch.get("version", "1.0.0"))})

    def uniques(self, call: Call) -> Answer:
        """Return the distinct values of one top-level member as texts."""
        field = call.params["FIELD"]
        values = {str(batch[field]) for batch in self._batches.all(call.sandbox.id).values() if _is_plain(batch.get(field))}
        return Answer(body=sorted(values))

    def last(self, call: Call) -> Answer:
        """Return the newest batches of each dataset that has any."""
        return _paged(call, self._last(call.sandbox.id), _LAST)

    def tags(self, call: Call) -> Answer:
        """Return the distinct values of a tag over datasets and batches."""
        namespace = call.params["tagNamespace"]
        objects = [*self._datasets.all(call.sandbox.id).values(), *self._batches.all(call.sandbox.id).values()]
        values = {str(value) for one in objects for value in one.get("tags", {}).get(namespace, ())}
        if not values:
            raise refused(404, f"No dataset or batch of this sandbox has the tag {namespace}.")
        return Answer(body={namespace: sorted(values)})

    def _last(self, sandbox_id: str) -> dict[str, Batch]:
        found: dict[str, Batch] = {}
        batches = sorted(self._batches.all(sandbox_id).items(), key=lambda item: (item[1].get("created", 0), item[0]))
        for batch_id, batch in batches:
            for related in batch.get("relatedObjects", ()):
                if related.get("type") == "dataSet":
                    entry = found.setdefault(related["id"], {"created": batch.get("created"), "sandboxId": sandbox_id})
                    entry |= _as_last(batch_id, batch)
        return found


def _as_last(batch_id: str, batch: Batch) -> Batch:
    status = batch.get("status")
    entry: Batch = {
        "lastBatchId": batch_id,
        "lastBatchStatus": status,
        "imsOrg": batch.get("imsOrg"),
        "updated": batch.get("updated"),
    }
    if status == "success":
        entry["lastSuccessfulBatchId"] = batch_id
    elif status in _FAILED:
        entry["lastFailedBatchId"] = batch_id
    return entry


def _is_plain(value: Json) -> bool:
    return isinstance(value, (str, int, float))


def _paged(call: Call, objects: Mapping[str, Batch], kind: Kind) -> Answer:
    try:
        return Answer(body=page(objects, call.query, kind))
    except Refused as error:
        raise refused(400, str(error)) from error
