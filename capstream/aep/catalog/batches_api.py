"""The batch operations of the Catalog API: the pipeline's batches are read, callers' own ones also written.

Source: catalog.md 1, 6.1.
"""

from collections.abc import Mapping

from capstream.aep.call import Answer, Call
from capstream.aep.catalog.batches import Latest
from capstream.aep.catalog.errors import check_version, is_stored, refused
from capstream.aep.catalog.listing import Condition, Kind, page, projected, wanted_members
from capstream.aep.catalog.model import Author, Datasets
from capstream.aep.catalog.own_batches import AllBatches, writable
from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json

Batch = dict[str, Json]

_LOCATION = "/data/foundation/catalog/batches"

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

    def __init__(self, datasets: Datasets, batches: AllBatches) -> None:
        self._datasets = datasets
        self._batches = batches

    def list(self, call: Call) -> Answer:
        """Return one page of batches by id."""
        return _paged(call, self._batches.all(call.sandbox.id), _BATCHES)

    def get(self, call: Call) -> Answer:
        """Return one batch under its id; `aggregate` lifts status, metrics and errors of the batch that replays it."""
        batch_id = call.params["BATCH_ID"]
        batch = self._existing(call)
        if call.flag("aggregate") and (child := self._batches.successor(call.sandbox.id, batch_id)):
            batch = batch | {name: child[name] for name in ("status", "metrics", "errors")}
        shown = projected(batch, wanted_members(call.arg("properties")))
        return Answer(body={batch_id: shown}, headers={"ETag": str(batch.get("version", "1.0.0"))})

    def create(self, call: Call) -> Answer:
        """Keep a batch for the caller, under an id of its own or the one in the path."""
        wanted = call.params.get("BATCH_ID", "")
        if wanted and self._batches.get(call.sandbox.id, wanted) is not None:
            raise refused(400, f"Batch {wanted} exists already. Change it with PATCH.")
        try:
            batch_id = self._batches.own.create(Author.of(call), writable(call.json()), wanted, store=is_stored(call))
        except Refused as error:
            raise refused(400, str(error)) from error
        return Answer(status=201, body=[f"@/batches/{batch_id}"], headers={"Location": f"{_LOCATION}/{batch_id}"})

    def put(self, call: Call) -> Answer:
        """Replace the writable members of a caller's batch."""
        return self._changed(call, writable_body(call), whole=True)

    def patch(self, call: Call) -> Answer:
        """Change members of a caller's batch."""
        return self._changed(call, writable_body(call), whole=False)

    def delete(self, call: Call) -> Answer:
        """Take a batch out of use (deprecated by the service): it becomes inactive, the pipeline's lose their rows."""
        batch_id = call.params["BATCH_ID"]
        if self._batches.own.get(call.sandbox.id, batch_id) is None:
            batch = self._existing(call)
            if batch["status"] == "processing":
                raise refused(400, f"Batch {batch_id} still takes rows. Delete it when it is closed, within a minute.")
            check_version(call, str(batch["version"]), "batch")
            if is_stored(call):
                self._batches.own.revert(call.sandbox.id, batch_id)
            return Answer(body=[f"@/batches/{batch_id}"])
        return self._changed(call, {"status": "inactive"}, whole=False)

    def _changed(self, call: Call, members: Batch, *, whole: bool) -> Answer:
        batch = self._existing(call)
        batch_id = call.params["BATCH_ID"]
        if self._batches.own.get(call.sandbox.id, batch_id) is None:
            raise refused(400, f"Batch {batch_id} belongs to the streaming pipeline, which alone changes it.")
        check_version(call, str(batch["version"]), "batch")
        if whole and "status" not in members:
            raise refused(400, "status is required: the state of the batch, for example processing.")
        changed = self._batches.own.change(Author.of(call), batch, members, whole=whole, store=is_stored(call))
        return Answer(body=[f"@/batches/{batch_id}"], headers={"ETag": changed["version"]})

    def _existing(self, call: Call) -> Batch:
        batch = self._batches.get(call.sandbox.id, call.params["BATCH_ID"])
        if batch is None:
            raise refused(404, f"Batch {call.params['BATCH_ID']} was not found in this sandbox. List the batches for their ids.")
        return batch

    def uniques(self, call: Call) -> Answer:
        """Return the distinct values of one top-level member as texts."""
        field = call.params["FIELD"]
        values = {str(batch[field]) for batch in self._batches.all(call.sandbox.id).values() if _is_plain(batch.get(field))}
        return Answer(body=sorted(values))

    def last(self, call: Call) -> Answer:
        """Return the newest batches of each dataset that has any."""
        found = self._batches.latest(call.sandbox.id)
        shown = {key: last_batches(each) | _owner(call, each) for key, each in sorted(found.items())}
        return _paged(call, shown, _LAST)

    def tags(self, call: Call) -> Answer:
        """Return the distinct values of a tag over datasets and batches."""
        namespace = call.params["tagNamespace"]
        objects = [*self._datasets.all(call.sandbox.id).values(), *self._batches.all(call.sandbox.id).values()]
        values = {str(value) for one in objects for value in one.get("tags", {}).get(namespace, ())}
        if not values:
            raise refused(404, f"No dataset or batch of this sandbox has the tag {namespace}.")
        return Answer(body={namespace: sorted(values)})


def writable_body(call: Call) -> Batch:
    """Return the members of a batch that a body sets. Errors: 400."""
    try:
        return writable(call.json())
    except Refused as error:
        raise refused(400, str(error)) from error


def last_batches(latest: Latest) -> Batch:
    """Return the newest batches of a dataset as `lastBatches` shows them; what there is none of is left out."""
    named = {
        "lastBatchId": latest.batch_id,
        "lastBatchStatus": latest.status,
        "lastSuccessfulBatchId": latest.success_id,
        "lastFailedBatchId": latest.failed_id,
    }
    return {name: value for name, value in named.items() if value}


def _owner(call: Call, latest: Latest) -> Batch:
    whose = {"imsOrg": call.caller.org_id, "sandboxId": call.sandbox.id}
    return whose | {"created": latest.created_ms, "updated": latest.updated_ms}


def _is_plain(value: Json) -> bool:
    return isinstance(value, (str, int, float))


def _paged(call: Call, objects: Mapping[str, Batch], kind: Kind) -> Answer:
    try:
        return Answer(body=page(objects, call.query, kind))
    except Refused as error:
        raise refused(400, str(error)) from error
