"""The datasets of a sandbox: what a stream or batch writes to. Source: catalog.md 1-5."""

from collections.abc import Iterable
from dataclasses import dataclass

from capstream.aep.call import Call, Sandbox
from capstream.aep.catalog.rules import (
    FORMAT_TAG,
    TABLE_TAG,
    Dataset,
    checked_table,
    defaults,
    free_table_name,
    identity_enabled,
    kept_tags,
    next_version,
    profile_enabled,
    schema_id,
    schema_reference,
    stamped,
    table_name,
    upsert_enabled,
    validation_disabled,
)
from capstream.kernel.ids import new_object_id
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents

_DATASETS = "datasets"
_DELETED = "deleted_datasets"
COLLECTIONS = (_DATASETS, _DELETED)
"""{sandbox}/{dataset} -> the dataset: those in the catalog, and those whose rows may still exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes, where and when."""

    org_id: str
    sandbox: Sandbox
    user_id: str
    client_id: str
    now_ms: int

    @classmethod
    def of(cls, call: Call) -> "Author":
        """Return the author of a call."""
        caller = call.caller
        return cls(
            org_id=caller.org_id,
            sandbox=call.sandbox,
            user_id=caller.user_id,
            client_id=caller.client_id,
            now_ms=call.now_ms,
        )


class Datasets:
    """The datasets of all sandboxes. Decoded objects are kept: every batch looks one up, and a sandbox may have thousands.

    After a commit only those are decoded again whose bodies changed. What `get` and `all` return is shared: read it, never
    change it.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._version = -1
        self._whole: dict[str, dict[str, Dataset]] = {}
        self._decoded: dict[str, tuple[bytes, Dataset]] = {}  # by key in the store
        self._checked: set[str] = set()  # keys that were looked up since the store changed

    def get(self, sandbox_id: str, dataset_id: str) -> Dataset | None:
        """Return the dataset as Catalog shows it, or None."""
        self._catch_up()
        key = f"{sandbox_id}/{dataset_id}"
        if key not in self._checked:
            body = self._documents.get(_DATASETS, key)
            if body is None:
                self._decoded.pop(key, None)
            else:
                self._decode(key, body)
            self._checked.add(key)
        found = self._decoded.get(key)
        return found[1] if found else None

    def all(self, sandbox_id: str) -> dict[str, Dataset]:
        """Return every dataset of the sandbox by id, oldest first."""
        self._catch_up()
        if sandbox_id not in self._whole:
            prefix = f"{sandbox_id}/"
            items = self._documents.scan(_DATASETS, prefix=prefix)
            self._whole[sandbox_id] = {key.removeprefix(prefix): self._decode(key, body) for key, body in items}
        return self._whole[sandbox_id]

    def _catch_up(self) -> None:
        version = self._documents.version()
        if version != self._version:
            self._version = version
            self._whole.clear()
            self._checked.clear()

    def _decode(self, key: str, body: bytes) -> Dataset:
        known = self._decoded.get(key)
        if known is None or known[0] != body:
            known = self._decoded[key] = (body, loads(body))
        return known[1]

    def sandboxes(self) -> list[str]:
        """Return the ids of the sandboxes that have datasets."""
        return sorted({key.partition("/")[0] for key, _ in self._documents.scan(_DATASETS)})

    def create(
        self, author: Author, body: Dataset, *, behaviour: str, title: str = "", store: bool = True
    ) -> tuple[str, Dataset]:
        """Store a new dataset; return its id and the dataset. `store=False` only makes it.

        Shape: `body` has been through `rules.writable`; `behaviour` is that of its schema.
        Errors: Refused when the schema reference or the table name cannot be used.
        """
        dataset_id = new_object_id(author.now_ms)
        reference = schema_reference(body)
        name = str(body.get("name") or f"dataset-{dataset_id}")
        tags: dict[str, list[str]] = body.get("tags", {})
        taken = self._tables(author.sandbox.id)
        table = checked_table(tags, taken) or free_table_name(name, taken)
        made = _new(dataset_id, author) | defaults(reference["id"], title) | body
        made |= {"name": name, "schemaRef": reference}
        made["tags"] = stamped(tags, {}, author.now_ms) | {TABLE_TAG: [table], FORMAT_TAG: ["delta"]}
        made["classification"] = {"dataBehavior": behaviour, "managedBy": "CUSTOMER"}
        if store:
            self._save(author.sandbox.id, dataset_id, made)
        return dataset_id, made

    def change(self, author: Author, dataset_id: str, wanted: Dataset, *, store: bool = True) -> Dataset:
        """Store and return a dataset with new contents, one version on; server-owned tags stay unless `wanted` has them.

        Errors: Refused when the table name cannot be used.
        """
        before = self.all(author.sandbox.id)[dataset_id]
        tags = kept_tags(wanted.get("tags", {}), before["tags"])
        checked_table(tags, self._tables(author.sandbox.id, without=dataset_id))
        changed = wanted | {
            "tags": stamped(tags, before["tags"], author.now_ms),
            "version": next_version(before["version"]),
            "updated": author.now_ms,
            "updatedUser": author.user_id,
        }
        if store:
            self._save(author.sandbox.id, dataset_id, changed)
        return changed

    def remove(self, author: Author, dataset_id: str) -> None:
        """Take the dataset out of the catalog; its body moves to where the worker finds what to clean up."""
        key = f"{author.sandbox.id}/{dataset_id}"
        body = self.all(author.sandbox.id)[dataset_id] | {"deletedAt": author.now_ms}
        with self._documents.transaction() as change:
            change.delete(_DATASETS, [key])
            change.put(_DELETED, [(key, dumps(body))])

    def deleted(self) -> dict[tuple[str, str], Dataset]:
        """Return the deleted datasets by (sandbox, id); their rows may still exist."""
        found = ((key.partition("/"), body) for key, body in self._documents.scan(_DELETED))
        return {(sandbox_id, dataset_id): loads(body) for (sandbox_id, _, dataset_id), body in found}

    def _tables(self, sandbox_id: str, *, without: str = "") -> frozenset[str]:
        others: Iterable[tuple[str, Dataset]] = self.all(sandbox_id).items()
        return frozenset(table_name(dataset) for key, dataset in others if key != without)

    def _save(self, sandbox_id: str, dataset_id: str, dataset: Dataset) -> None:
        with self._documents.transaction() as change:
            change.put(_DATASETS, [(f"{sandbox_id}/{dataset_id}", dumps(dataset))])


def _new(dataset_id: str, author: Author) -> Dataset:
    view_id = new_object_id(author.now_ms)
    location = f"lake://{author.sandbox.name}/{dataset_id}"
    made: dict[str, Json] = {
        "imsOrg": author.org_id,
        "sandboxId": author.sandbox.id,
        "namespace": "ACP",
        "version": "1.0.0",
        "state": "DRAFT",
        "created": author.now_ms,
        "updated": author.now_ms,
        "createdClient": author.client_id,
        "createdUser": author.user_id,
        "updatedUser": author.user_id,
        "viewId": view_id,
        "files": f"@/dataSets/{dataset_id}/views/{view_id}/files",
        "basePath": location,
        "persistence": {"adls": {"location": location, "credentials": f"@/dataSets/{dataset_id}/credentials"}},
        "dule": {"labels": []},
        "statsCache": {},
    }
    return made


__all__ = [
    "Author",
    "Dataset",
    "Datasets",
    "identity_enabled",
    "profile_enabled",
    "schema_id",
    "table_name",
    "upsert_enabled",
    "validation_disabled",
]
