"""The dataset operations of the Catalog API. Source: catalog.md 1-5."""

from collections.abc import Callable, Mapping
from typing import Protocol

from capstream.aep.call import Answer, Call
from capstream.aep.catalog import rules
from capstream.aep.catalog.batches import Latest
from capstream.aep.catalog.errors import check_version, is_stored, no_dataset, refused
from capstream.aep.catalog.listing import Kind, page, projected, wanted_members
from capstream.aep.catalog.model import Author, Datasets
from capstream.aep.catalog.patching import Refused, patched
from capstream.aep.catalog.rules import Dataset
from capstream.kernel.json import Json

OnDelete = Callable[[str, str], None]
"""Is told (sandbox, dataset) of a dataset that was deleted."""

_SIMPLE = "name description version state created updated createdClient createdUser updatedUser enableErrorDiagnostics viewId"
_TIMES: Mapping[str, str] = {
    "createdAfter": "created",
    "createdBefore": "created",
    "updatedAfter": "updated",
    "updatedBefore": "updated",
}
_DATASETS = Kind(frozenset(_SIMPLE.split()), _TIMES, {})
_PROFILE_TAGS = ("unifiedProfile", "unifiedIdentity")
_LOCATION = "/data/foundation/catalog/dataSets"


class SchemaShape(Protocol):
    """What Catalog reads of a schema."""

    @property
    def title(self) -> str:
        """Return the display name."""
        ...

    @property
    def behaviour(self) -> str:
        """Return `record`, `time-series` or `adhoc`."""
        ...


class Schemas(Protocol):
    """Knows the schemas of a sandbox, the global ones and the unions included."""

    def exists(self, sandbox_id: str, schema_id: str) -> bool:
        """Return whether the schema exists."""
        ...

    def schema(self, sandbox_id: str, schema_id: str) -> SchemaShape | None:
        """Return the composed schema."""
        ...


class DatasetService:
    """One method per operation."""

    def __init__(
        self, datasets: Datasets, schemas: Schemas, newest: Callable[[str], Mapping[str, Latest]], on_delete: OnDelete
    ) -> None:
        """`newest` returns the newest batches of each dataset of a sandbox."""
        self._datasets = datasets
        self._schemas = schemas
        self._newest = newest
        self._on_delete = on_delete

    def list(self, call: Call) -> Answer:
        """Return one page of datasets by id."""
        try:
            newest = self._newest(call.sandbox.id)
            shown = {key: _with_batches(each, newest.get(key)) for key, each in self._datasets.all(call.sandbox.id).items()}
            return Answer(body=page(shown, call.query, _DATASETS))
        except Refused as error:
            raise refused(400, str(error)) from error

    def get(self, call: Call) -> Answer:
        """Return one dataset under its id."""
        dataset_id, dataset = self._existing(call)
        whole = _with_batches(dataset, self._newest(call.sandbox.id).get(dataset_id))
        shown = projected(whole, wanted_members(call.arg("properties")))
        return Answer(body={dataset_id: shown}, headers={"ETag": dataset["version"]})

    def create(self, call: Call) -> Answer:
        """Make a dataset."""
        author = Author.of(call)
        try:
            body = rules.writable(call.json())
            _check_profile_tags(call, {}, body)
            shape = self._shape(call, rules.schema_reference(body)["id"])
            dataset_id, made = self._datasets.create(
                author, body, behaviour=shape.behaviour, title=shape.title, store=is_stored(call)
            )
        except Refused as error:
            raise refused(400, str(error)) from error
        headers = {"Location": f"{_LOCATION}/{dataset_id}", "ETag": made["version"]}
        return Answer(status=201, body=[f"@/dataSets/{dataset_id}"], headers=headers)

    def put(self, call: Call) -> Answer:
        """Replace the dataset's writable members."""
        return self._write(call, lambda dataset, body: rules.replaced(dataset, rules.writable(body)))

    def patch(self, call: Call) -> Answer:
        """Replace top-level members (object) or apply RFC 6902 (array): the body's type decides, not its content type."""
        return self._write(call, _after_patch)

    def patch_deep(self, call: Call) -> Answer:
        """Merge the body into the dataset at every depth."""
        return self._write(call, _after_merge)

    def delete(self, call: Call) -> Answer:
        """Take the dataset out of the catalog."""
        dataset_id, dataset = self._existing(call)
        if dataset["classification"].get("managedBy") == "SYSTEM":
            raise refused(400, f"Dataset {dataset_id} is a system dataset and cannot be deleted.")
        self._datasets.remove(Author.of(call), dataset_id)
        self._on_delete(call.sandbox.id, dataset_id)
        return Answer(body=[f"@/dataSets/{dataset_id}"])

    def credentials(self, call: Call) -> Answer:
        """Return where the dataset is stored; a local store needs no credentials."""
        dataset_id, dataset = self._existing(call)
        path = dataset["basePath"]
        return Answer(body={"dataSetId": dataset_id, "path": path, "stagePath": f"{path}/stage", "credentials": {}})

    def views(self, call: Call) -> Answer:
        """Return the dataset's views by id; there is one."""
        dataset_id, dataset = self._existing(call)
        return Answer(body={dataset["viewId"]: _view(dataset_id, dataset)})

    def view(self, call: Call) -> Answer:
        """Return one view under its id."""
        dataset_id, dataset = self._existing(call)
        view_id = call.params["VIEW_ID"]
        if view_id != dataset["viewId"]:
            raise refused(404, f"View {view_id} was not found; the dataset's view is {dataset['viewId']}.")
        return Answer(body={view_id: _view(dataset_id, dataset)})

    def _existing(self, call: Call) -> tuple[str, Dataset]:
        dataset_id = call.params["DATASET_ID"]
        dataset = self._datasets.get(call.sandbox.id, dataset_id)
        if dataset is None:
            raise no_dataset(dataset_id)
        return dataset_id, dataset

    def _shape(self, call: Call, schema_id: str) -> SchemaShape:
        """Return the schema. The union of a class may be named before any schema of the class is enabled for Profile."""
        for identifier in (schema_id, schema_id.removesuffix("__union")):
            if self._schemas.exists(call.sandbox.id, identifier):
                shape = self._schemas.schema(call.sandbox.id, identifier)
                if shape is not None:
                    return shape
        raise refused(400, f"schemaRef.id {schema_id} is not a schema of sandbox {call.sandbox.name}. Create it first.")

    def _write(self, call: Call, change: "_Change") -> Answer:
        dataset_id, dataset = self._existing(call)
        check_version(call, dataset["version"], "dataset")
        try:
            wanted = change(dataset, call.json())
            _check_profile_tags(call, dataset, wanted)
            wanted["schemaRef"] = rules.schema_reference(wanted)
            if rules.schema_id(wanted) != rules.schema_id(dataset):
                behaviour = self._shape(call, rules.schema_id(wanted)).behaviour
                wanted["classification"] = dataset["classification"] | {"dataBehavior": behaviour}
            changed = self._datasets.change(Author.of(call), dataset_id, wanted, store=is_stored(call))
        except Refused as error:
            raise refused(400, str(error)) from error
        return Answer(body=[f"@/dataSets/{dataset_id}"], headers={"ETag": changed["version"]})


def _check_profile_tags(call: Call, before: Dataset, after: Dataset) -> None:
    """Errors: 403 when the tags that feed Profile and Identity change and the caller may not manage profiles (ASSUMPTION).

    Source: sandboxes-access.md 2.3.
    """
    tags, old = after.get("tags"), before.get("tags") or {}
    if not isinstance(tags, dict):  # of no use anyway; the next check says so
        return
    changed = [name for name in _PROFILE_TAGS if tags.get(name) != old.get(name)]
    if changed and not call.granted("manage-profiles"):
        detail = f"The permission manage-profiles is missing: tags {', '.join(changed)} feed profiles and identities."
        raise refused(403, f"{detail} An administrator grants it with a role.")


class _Change(Protocol):
    def __call__(self, dataset: Dataset, body: Json, /) -> Dataset: ...


def _after_patch(dataset: Dataset, body: Json) -> Dataset:
    if not isinstance(body, list):
        return dataset | rules.writable(body)
    for operation in body:
        path = str(operation.get("path")) if isinstance(operation, dict) else ""
        if not rules.is_writable(path):
            raise Refused(f"path {path} is read-only or unknown.")
    return _with_writable(dataset, patched(dataset, body))


def _after_merge(dataset: Dataset, body: Json) -> Dataset:
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    changes = {name: value for name, value in body.items() if rules.is_writable(name)}
    return _with_writable(dataset, rules.merged(dataset, changes))


def _with_writable(dataset: Dataset, result: Dataset) -> Dataset:
    """Return the dataset with exactly the writable members of `result`; name and schemaRef cannot be removed."""
    fixed = {name: value for name, value in dataset.items() if not rules.is_writable(name) or name in {"name", "schemaRef"}}
    return fixed | rules.defaults(rules.schema_id(dataset), "") | rules.writable(result)


def _with_batches(dataset: Dataset, latest: Latest | None) -> Dataset:
    """Return the dataset with its newest batches and its size; without a batch the former are left out (catalog.md 2)."""
    rows, size = (latest.rows, latest.size) if latest else (0, 0)
    extensions = dict(dataset.get("extensions") or {})
    lake = dict(extensions.get("adobe_lakeHouse") or {})
    extensions["adobe_lakeHouse"] = lake | {"metrics": {"rowCount": rows, "storageSize": size}}
    named = (
        {
            "lastBatchId": latest.batch_id,
            "lastBatchStatus": latest.status,
            "lastSuccessfulBatch": latest.success_id,
            "lastFailedBatch": latest.failed_id,
        }
        if latest
        else {}
    )
    return dataset | {"extensions": extensions} | {name: value for name, value in named.items() if value}


def _view(dataset_id: str, dataset: Dataset) -> Dataset:
    """Return the default view. Its members beyond the ids are ASSUMPTION: no document shows a whole view."""
    copied = ("version", "imsOrg", "sandboxId", "created", "updated", "createdClient", "createdUser", "updatedUser", "state")
    return {name: dataset[name] for name in copied} | {"dataSetId": dataset_id, "isDefault": True, "files": dataset["files"]}
