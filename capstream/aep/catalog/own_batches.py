"""Batches that callers of the Catalog API keep there; the streaming pipeline's lie elsewhere. Source: catalog.md 6.1."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from capstream.aep.catalog import reverts
from capstream.aep.catalog.batches import Latest
from capstream.aep.catalog.model import Author
from capstream.aep.catalog.patching import Refused
from capstream.aep.catalog.rules import next_version
from capstream.kernel.ids import new_ulid
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents

Batch = dict[str, Json]

OWN_BATCHES = "own_batches"  #: {sandbox}/{batch} -> the object as Catalog shows it

STATUSES = frozenset({
    "processing", "success", "failure", "queued", "retrying", "stalled", "aborted", "abandoned", "inactive", "failed", "loading",
    "loaded", "staged", "active", "staging", "deleted",
})  # fmt: skip
_RELATED = frozenset({"batch", "dataSet", "dataSetFile", "dataSetView", "transform", "connection", "connector"})
_WRITABLE: Mapping[str, type] = {
    "status": str,
    "externalId": str,
    "started": int,
    "completed": int,
    "replay": dict,
    "recordCount": int,
    "failedRecordCount": int,
    "size": int,
    "errors": list,
    "availableDates": dict,
    "relatedObjects": list,
    "metrics": dict,
    "tags": dict,
    "inputFormat": dict,
}
_EMPTY: Mapping[str, Json] = {"relatedObjects": [], "metrics": {}, "tags": {}, "replay": {}, "errors": []}
_REVERTED: Batch = {"status": "inactive"}  # shown as soon as it is ordered
_JSON_NAMES: Mapping[type, str] = {str: "string", dict: "object", int: "integer", list: "array"}


class Streamed(Protocol):
    """The batches of the pipeline."""

    def all(self, sandbox_id: str) -> Mapping[str, Batch]:
        """Return every batch by id."""
        ...

    def get(self, sandbox_id: str, batch_id: str) -> Batch | None:
        """Return one batch, or None."""
        ...

    def latest(self, sandbox_id: str) -> Mapping[str, Latest]:
        """Return the newest batches of each dataset."""
        ...


class OwnBatches:
    """Batches that callers keep."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def all(self, sandbox_id: str) -> dict[str, Batch]:
        """Return every batch of the sandbox by id."""
        prefix = f"{sandbox_id}/"
        return {key.removeprefix(prefix): loads(body) for key, body in self._documents.scan(OWN_BATCHES, prefix=prefix)}

    def get(self, sandbox_id: str, batch_id: str) -> Batch | None:
        """Return a batch, or None."""
        body = self._documents.get(OWN_BATCHES, f"{sandbox_id}/{batch_id}")
        return loads(body) if body else None

    def reverted(self, sandbox_id: str) -> frozenset[str]:
        """Return the pipeline's batches that are to be taken back, or were."""
        return reverts.ordered(self._documents, sandbox_id)

    def revert(self, sandbox_id: str, batch_id: str) -> None:
        """Order one of the pipeline's batches to be taken back."""
        reverts.order(self._documents, sandbox_id, batch_id)

    def create(self, author: Author, body: Batch, batch_id: str = "", *, store: bool = True) -> str:
        """Store a new batch and return its id. Shape: `body` has been through `writable`. Errors: Refused without a status."""
        if "status" not in body:
            raise Refused("status is required: the state of the batch, for example processing.")
        batch_id = batch_id or new_ulid(author.now_ms)
        made = {
            "id": batch_id,
            "imsOrg": author.org_id,
            "sandboxId": author.sandbox.id,
            "version": "1.0.0",
            "created": author.now_ms,
            "updated": author.now_ms,
            "createdClient": author.client_id,
            "createdUser": author.user_id,
            "updatedUser": author.user_id,
            "externalId": batch_id,
            **_EMPTY,
            **body,
        }
        if store:
            self._save(author, batch_id, made)
        return batch_id

    def change(self, author: Author, batch: Batch, members: Batch, *, whole: bool, store: bool = True) -> Batch:
        """Store and return a batch with new members: `whole` empties those that are not among them."""
        kept = {name: value for name, value in batch.items() if not whole or name not in _WRITABLE or name in _EMPTY}
        emptied = dict(_EMPTY) if whole else {}
        stamp = {"version": next_version(str(batch["version"])), "updated": author.now_ms, "updatedUser": author.user_id}
        changed = kept | emptied | {"externalId": batch["externalId"]} | members | stamp
        if store:
            self._save(author, str(batch["id"]), changed)
        return changed

    def _save(self, author: Author, batch_id: str, batch: Batch) -> None:
        """Store a batch; one that succeeds takes the place of those it replays."""
        sandbox_id = author.sandbox.id
        changed = {batch_id: batch}
        if batch["status"] in ("success", "active"):
            for predecessor in _predecessors(batch):
                found = self.get(sandbox_id, predecessor)
                if found is not None and predecessor != batch_id:
                    tags = found["tags"] | {"acp_successor": [batch_id]}
                    changed[predecessor] = found | {"status": "inactive", "tags": tags, "updated": author.now_ms}
        with self._documents.transaction() as change:
            change.put(OWN_BATCHES, [(f"{sandbox_id}/{key}", dumps(body)) for key, body in changed.items()])


def _predecessors(batch: Batch) -> list[str]:
    listed = (batch.get("replay") or {}).get("predecessors") or []
    return [str(each).lstrip("$").strip("{}") for each in listed] if isinstance(listed, list) else []


def writable(body: Json) -> Batch:
    """Return the members of a request body a caller may set; `failure` is stored as `failed`. Errors: Refused."""
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    kept = {name: body[name] for name in _WRITABLE if body.get(name) is not None}
    for name, value in kept.items():
        right = isinstance(value, _WRITABLE[name]) and not isinstance(value, bool)
        if not right:
            raise Refused(f"{name} must be of type {_JSON_NAMES[_WRITABLE[name]]}.")
    if "status" in kept and kept["status"] not in STATUSES:
        raise Refused(f"status {kept['status']} is none of {', '.join(sorted(STATUSES))}.")
    if kept.get("status") == "failure":
        kept["status"] = "failed"
    for problem in _problems(kept):
        raise Refused(problem)
    return kept


def _problems(kept: Batch) -> Iterator[str]:
    for each in kept.get("relatedObjects", []):
        if not isinstance(each, dict) or each.get("type") not in _RELATED or not isinstance(each.get("id"), str):
            yield f"relatedObjects must hold objects with id and type, one of {', '.join(sorted(_RELATED))}."
    for name, values in kept.get("tags", {}).items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            yield f"tags.{name} must be an array of strings."
    if not all(isinstance(each, dict) for each in kept.get("errors", [])):
        yield "errors must be an array of objects with code and description."


class AllBatches:
    """The batches of the pipeline and those of callers."""

    def __init__(self, streamed: Streamed, own: OwnBatches) -> None:
        self.own = own
        self._streamed = streamed

    def all(self, sandbox_id: str) -> dict[str, Batch]:
        """Return every batch by id, in the order of ids."""
        streamed = dict(self._streamed.all(sandbox_id))
        for batch_id in self.own.reverted(sandbox_id) & streamed.keys():
            streamed[batch_id] = streamed[batch_id] | _REVERTED
        return dict(sorted({**self.own.all(sandbox_id), **streamed}.items()))

    def get(self, sandbox_id: str, batch_id: str) -> Batch | None:
        """Return one batch, or None."""
        found = self._streamed.get(sandbox_id, batch_id)
        if found is not None:
            return found | _REVERTED if batch_id in self.own.reverted(sandbox_id) else found
        return self.own.get(sandbox_id, batch_id)

    def successor(self, sandbox_id: str, batch_id: str) -> Batch | None:
        """Return the newest batch that replays this one, or None."""
        found = [batch for batch in self.own.all(sandbox_id).values() if batch_id in _predecessors(batch)]
        return max(found, key=lambda batch: batch["created"], default=None)

    def latest(self, sandbox_id: str) -> dict[str, Latest]:
        """Return the newest batches of each dataset, callers' batches included."""
        found = dict(self._streamed.latest(sandbox_id))
        for batch in sorted(self.own.all(sandbox_id).values(), key=lambda each: each["created"]):
            for related in batch["relatedObjects"]:
                if related["type"] == "dataSet":
                    found[related["id"]] = _after(found.get(related["id"], Latest()), batch)
        return found


def _after(latest: Latest, batch: Batch) -> Latest:
    newer = batch["created"] >= latest.created_ms
    good, bad = batch["status"] in ("success", "active"), batch["status"] == "failed"
    return Latest(
        batch_id=batch["id"] if newer else latest.batch_id,
        status=batch["status"] if newer else latest.status,
        success_id=batch["id"] if good and newer else latest.success_id,
        failed_id=batch["id"] if bad and newer else latest.failed_id,
        created_ms=max(latest.created_ms, batch["created"]),
        updated_ms=max(latest.updated_ms, batch["updated"]),
        rows=latest.rows,
        size=latest.size,
    )
