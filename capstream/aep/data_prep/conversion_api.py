"""The operations on batch conversions. Source: data-prep.md 1.2 (shapes are ASSUMPTIONs)."""

from collections.abc import Iterable

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.batches import BatchStatus
from capstream.aep.catalog.model import Datasets
from capstream.aep.catalog.model import schema_id as schema_id_of
from capstream.aep.data_prep import batch_conversions
from capstream.aep.data_prep.batch_conversions import STATUSES, BatchConversion
from capstream.aep.data_prep.errors import BAD_QUERY, FORBIDDEN, INVALID_SET, NOT_FOUND, refusal
from capstream.aep.data_prep.listing import page
from capstream.aep.data_prep.model import MappingSets
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json
from capstream.storage.ports import Documents, Reading

_NEEDED = ("destinationDataSetId", "sourceBatchId", "mappingSetId")
_FILTERS = ("destinationDatasetId", "sourceBatchId", "mappingSetId", "status")
_PROPERTIES = {name: name for name in _FILTERS} | {"dataSetId": "destinationDatasetId", "batchId": "sourceBatchId"}
_WITHOUT_ROWS = frozenset({BatchStatus.FAILED, BatchStatus.INACTIVE})


class ConversionService:
    """Orders conversions and shows how far they are."""

    def __init__(self, mapping_sets: MappingSets, state: Reading) -> None:
        self._documents: Documents = mapping_sets.documents
        self._state = state
        self._sets = mapping_sets
        self._datasets = Datasets(self._documents)
        self._batches = Batches(state)

    def handlers(self) -> dict[str, Handler]:
        """Return operationId -> handler."""
        return {
            "listBatchConversions": self.all,
            "createBatchConversion": self.create,
            "retrieveBatchConversion": lambda call: Answer(body=self._found(call)),
            "listConversionActivities": lambda call: Answer(body=self._found(call)["activities"]),
            "retrieveConversionActivity": self.activity,
            "completeBatchConversion": self.completion,
        }

    def all(self, call: Call) -> Answer:
        """Return one page of conversions; a call that names all it takes starts one, as public clients do it."""
        if all(call.arg(name) for name in _NEEDED):
            if not call.granted("manage-sources"):
                raise refusal(FORBIDDEN, "Starting a conversion needs the permission manage-sources.")
            return self.create(call)
        _known_status(call.args("status"))
        found: Iterable[dict[str, Json]] = map(self._shown, batch_conversions.all_of(self._documents, call.sandbox.id))
        for name in _FILTERS:
            if wanted := call.arg(name):
                found = [one for one in found if one[name] == wanted]
        shown, limit = page(found, call, properties=_PROPERTIES)
        return Answer(body={"data": shown, "_page": {"count": len(shown), "limit": limit}, "_links": {}})

    def create(self, call: Call) -> Answer:
        """Order a conversion: the newest version of the set is what it maps with."""
        dataset_id, batch_id, mapping_id = (call.arg(name) for name in _NEEDED)
        for name in _NEEDED:
            if not call.arg(name):
                raise refusal(BAD_QUERY, f"{name} is needed, as a query parameter.")
        dataset = self._datasets.get(call.sandbox.id, dataset_id)
        if dataset is None:
            raise refusal(NOT_FOUND, f"destinationDataSetId: dataset {dataset_id} was not found.")
        mapping_set = self._sets.get(call.sandbox.id, mapping_id)
        if mapping_set is None:
            raise refusal(NOT_FOUND, f"mappingSetId: mapping set {mapping_id} was not found.")
        if mapping_set["xdmSchema"] != schema_id_of(dataset):
            detail = f"Mapping set {mapping_id} leads to schema {mapping_set['xdmSchema']}, "
            raise refusal(INVALID_SET, f"{detail}dataset {dataset_id} has {schema_id_of(dataset)}.")
        conversion = BatchConversion(
            id=new_hex32(),
            sandbox=call.sandbox,
            org_id=call.caller.org_id,
            dataset_id=dataset_id,
            batch_id=batch_id,
            source_dataset_id=self._source_dataset(call, batch_id),
            mapping_id=mapping_id,
            mapping_version=mapping_set["version"],
            started_ms=call.now_ms,
            changed_ms=call.now_ms,
            user_id=call.caller.user_id,
        )
        with self._documents.transaction() as change:
            batch_conversions.order(change, conversion)
        return Answer(body=self._shown(conversion))

    def activity(self, call: Call) -> Answer:
        """Return one activity."""
        wanted = call.params["ACTIVITY_ID"]
        for activity in self._found(call)["activities"]:
            if activity["id"] == wanted:
                return Answer(body=activity)
        raise refusal(NOT_FOUND, f"Activity {wanted} was not found in conversion {call.params['CONVERSION_ID']}.")

    def completion(self, call: Call) -> Answer:
        """Return a conversion; with `status` only when it has come that far, so that a caller can wait for it."""
        found, wanted = self._found(call), call.arg("status")
        _known_status([wanted] if wanted else [])
        if wanted and found["status"] != wanted:
            raise refusal(NOT_FOUND, f"Conversion {found['id']} is {found['status']}, not {wanted}.")
        return Answer(body=found)

    def is_using(self, sandbox_id: str, mapping_id: str) -> bool:
        """Return whether a conversion that is under way maps with a set."""
        under_way = batch_conversions.unfinished(self._documents)
        return any(one.sandbox.id == sandbox_id and one.mapping_id == mapping_id for one in under_way)

    def _source_dataset(self, call: Call, batch_id: str) -> str:
        batch = self._batches.record(call.sandbox.id, batch_id)
        if batch is None:
            raise refusal(NOT_FOUND, f"sourceBatchId: batch {batch_id} was not found.")
        if batch.status in _WITHOUT_ROWS:
            raise refusal(BAD_QUERY, f"sourceBatchId: batch {batch_id} is {batch.status}, it has no rows to convert.")
        return batch.dataset_id

    def _found(self, call: Call) -> dict[str, Json]:
        wanted = call.params["CONVERSION_ID"]
        found = batch_conversions.get(self._documents, call.sandbox.id, wanted)
        if found is None:
            raise self._missing(wanted)
        return self._shown(found)

    def _missing(self, wanted: str) -> ApiError:
        return refusal(NOT_FOUND, f"Batch conversion {wanted} was not found.")

    def _shown(self, conversion: BatchConversion) -> dict[str, Json]:
        return batch_conversions.rendered(conversion, batch_conversions.outcome_of(self._state, conversion.key))


def _known_status(wanted: Iterable[str]) -> None:
    for one in wanted:
        if one not in STATUSES:
            raise refusal(BAD_QUERY, f"status: {one[:20]!r} is unknown; known are {', '.join(STATUSES)}.")
