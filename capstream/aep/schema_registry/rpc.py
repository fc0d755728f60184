"""Export, import, sample data and audit log. Source: schema-registry.md 9."""

from dataclasses import dataclass

from capstream.aep.call import Call
from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.model import AUDIT, RESOURCES, SchemaRegistry
from capstream.aep.schema_registry.writing import Writer, not_found
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json, dumps, loads
from capstream.xdm.sample import Sampler

PLACEHOLDER = "<XDM_TENANTID_PLACEHOLDER>"
TAGS = "meta:immutableTags"
_PRIVATE = frozenset({"imsOrg", "meta:registryMetadata", "refs"})
_ORDER = ("datatypes", "classes", "mixins", "schemas")


@dataclass(frozen=True, slots=True)
class Rpc:
    """The operations of `/rpc`."""

    registry: SchemaRegistry
    writer: Writer

    def export(self, sandbox_id: str, reference: str) -> list[Json]:
        """Return the resource after every tenant component it needs, the tenant's id replaced by a placeholder."""
        document = self.registry.document(sandbox_id, reference)
        if document is None or "meta:sandboxId" not in document or document["meta:resourceType"] == "unions":
            raise not_found("", reference)
        parts = [*self.registry.dependencies(sandbox_id, document["$id"]), document]
        return [self._portable(part) for part in parts]

    def load(self, call: Call, body: Json) -> list[dict[str, Json]]:
        """Store the resources of an export; all or none. Errors: Refusal 3005 names what is wrong."""
        items = [body] if isinstance(body, dict) else body
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _failed("the body must be an array of exported resources")
        mine = loads(dumps(items).replace(PLACEHOLDER.encode(), self.registry.tenant_id.encode()))
        taken: list[str] = []
        try:
            return [self._load_one(call, item, taken) for item in sorted(mine, key=_position)]
        except Refusal as refusal:
            self._undo(call, taken)
            raise _failed(refusal.detail) from None

    def sample(self, call: Call, reference: str, *, standard_names: bool) -> dict[str, Json]:
        """Return one record that fills every field of the schema."""
        schema = self.registry.schema(call.sandbox.id, reference)
        if schema is None:
            raise not_found("", reference)
        return Sampler(rfc3339(call.now_ms), standard_names).record(schema.root)

    def audit_log(self, sandbox_id: str, reference: str) -> list[Json]:
        """Return the changes of a resource and of the components it is made of, newest first."""
        uri = self.registry.resolve(reference)
        if self.registry.document(sandbox_id, uri) is None:
            raise not_found("", reference)
        parts = [uri, *(part["$id"] for part in self.registry.dependencies(sandbox_id, uri))]
        rows = [row for part in parts for row in self.registry.documents.scan(AUDIT, prefix=f"{sandbox_id}/{part}/")]
        rows.sort(key=lambda row: row[0].rsplit("/", 1)[-1], reverse=True)
        return [loads(body) for _, body in rows]

    def _portable(self, document: dict[str, Json]) -> Json:
        kept = {key: value for key, value in document.items() if key not in _PRIVATE}
        tenant = self.registry.tenant_id
        text = dumps(kept).replace(f"ns.adobe.com/{tenant}/".encode(), f"ns.adobe.com/{PLACEHOLDER}/".encode())
        return loads(
            text.replace(f'"_{tenant}"'.encode(), f'"_{PLACEHOLDER}"'.encode()).replace(
                f'"_{tenant}.'.encode(), f'"_{PLACEHOLDER}.'.encode()
            )
        )

    def _load_one(self, call: Call, item: dict[str, Json], taken: list[str]) -> dict[str, Json]:
        uri, kind = item.get("$id"), item.get("meta:resourceType")
        if not isinstance(uri, str) or kind not in _ORDER:
            raise Refusal(Faults.IMPORT_FAILED, "every resource needs $id and meta:resourceType")
        if self.registry.document(call.sandbox.id, uri) is not None:
            raise Refusal(Faults.IMPORT_FAILED, f"A resource with the $id {uri} already exists")
        document = self._created(call, kind, item, uri)
        taken.append(uri)
        return document

    def _created(self, call: Call, kind: str, item: dict[str, Json], uri: str) -> dict[str, Json]:
        """Store one resource.

        ASSUMPTION: an export has no descriptors, so a schema whose primary identity is one arrives without the tag `union`;
        it is enabled for Profile once it has its descriptor here.
        """
        try:
            return self.writer.create(call, kind, item, uri=uri)
        except Refusal as refusal:
            if refusal.fault is not Faults.NO_IDENTITY:
                raise
        return self.writer.create(call, kind, {key: value for key, value in item.items() if key != TAGS}, uri=uri)

    def _undo(self, call: Call, taken: list[str]) -> None:
        with self.registry.documents.transaction() as change:
            change.delete(RESOURCES, [f"{call.sandbox.id}/{uri}" for uri in taken])
            for uri in taken:
                keys = [key for key, _ in change.scan(AUDIT, prefix=f"{call.sandbox.id}/{uri}/")]
                change.delete(AUDIT, keys)


def _position(item: dict[str, Json]) -> int:
    kind = item.get("meta:resourceType")
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _failed(reason: str) -> Refusal:
    return Refusal(Faults.IMPORT_FAILED, f"Failed to import resources. Error: {reason}")
