"""Copies artifacts out of one sandbox and makes them in another, through the operations of the services that own them.

So every rule of a service holds for what is imported. Source: sandbox.yaml (`/exim`); which kinds there are: aepp, ASSUMPTION.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from capstream.aep.call import Answer, ApiError, Call, Handler, Sandbox
from capstream.aep.sandbox_tooling.model import Artifact, Piece
from capstream.kernel.json import Json, dumps

SCHEMA, CLASS, GROUP, DATA_TYPE = "REGISTRY_SCHEMA", "REGISTRY_CLASS", "REGISTRY_MIXIN", "REGISTRY_DATATYPE"
DESCRIPTOR, DATASET, MAPPING_SET = "REGISTRY_DESCRIPTOR", "CATALOG_DATASET", "MAPPING_SET"
UNION = "REGISTRY_UNION"
"""A schema's place in the union: taken last, for the registry never gives it back."""
KINDS = (SCHEMA, CLASS, GROUP, DATA_TYPE, DATASET, MAPPING_SET)
"""What may be put into a package; descriptors travel with their schema."""

NEEDED: Mapping[str, tuple[str, str, str]] = {
    **dict.fromkeys((SCHEMA, CLASS, GROUP, DATA_TYPE), ("Schema", "view-schemas", "manage-schemas")),
    **dict.fromkeys((DESCRIPTOR, UNION), ("Schema", "view-schemas", "manage-schemas")),
    DATASET: ("Dataset", "view-datasets", "manage-datasets"),
    MAPPING_SET: ("Source", "view-sources", "manage-sources"),
}
"""By kind: the resource, the permission to copy it, the permission to make it. Source: sandboxes-access.md 4."""

_REGISTRY: Mapping[str, str] = {"schemas": SCHEMA, "classes": CLASS, "mixins": GROUP, "datatypes": DATA_TYPE}
_REMOVALS: Mapping[str, tuple[str, str, str]] = {
    SCHEMA: ("schema_registry", "deleteSchema", "id"),
    CLASS: ("schema_registry", "removeClass", "id"),
    GROUP: ("schema_registry", "removeFieldGroup", "id"),
    DATA_TYPE: ("schema_registry", "deleteDatatype", "id"),
    DESCRIPTOR: ("schema_registry", "deleteDescriptor", "id"),
    DATASET: ("catalog", "deleteDataset", "DATASET_ID"),
    MAPPING_SET: ("data_prep", "deleteMappingSet", "MAPPING_SET_ID"),
}
_PLACEHOLDER = "<XDM_TENANTID_PLACEHOLDER>"  # what the registry's export writes for the tenant
_FULL = "application/vnd.adobe.xdm+json"
_OF_A_MAPPING = ("sourceType", "source", "destination", "name", "description", "sourceAttribute", "destinationXdmPath")
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Workbench:
    """The services' operations, called in a sandbox in the name of whoever called."""

    handlers: Mapping[str, Mapping[str, Handler]]
    tenant_id: str

    def everything(self, call: Call, sandbox: Sandbox) -> list[Artifact]:
        """Return all artifacts of the sandbox that are its own."""
        found: list[Artifact] = []
        for operation, kind in (
            ("listSchemas", SCHEMA),
            ("listFieldGroups", GROUP),
            ("listClasses", CLASS),
            ("listDataTypes", DATA_TYPE),
        ):
            found += [Artifact(each["$id"], kind, each["title"]) for each in self._registry_list(call, sandbox, operation)]
        found += [Artifact(key, DATASET, str(each["name"])) for key, each in self._datasets(call, sandbox).items()]
        start = 0
        while page := self._ask(call, sandbox, "data_prep", "listMappingSets", query=_window(start))["data"]:
            found += [Artifact(each["id"], MAPPING_SET, str(each.get("name") or each["id"])) for each in page]
            start += len(page)
        return found

    def copied(self, call: Call, sandbox: Sandbox, artifact: Artifact) -> list[Piece]:
        """Return the copy of an artifact after those of all it needs. Errors: ApiError of the service that owns it."""
        if artifact.type == DATASET:
            return self._dataset(call, sandbox, artifact.id)
        if artifact.type == MAPPING_SET:
            return self._mapping_set(call, sandbox, artifact.id)
        return self._components(call, sandbox, artifact.id)

    def present(self, call: Call, sandbox: Sandbox, piece: Piece) -> list[Artifact]:
        """Return what the sandbox has already that is this piece or stands for it."""
        if piece.type == DATASET:
            named = self._datasets(call, sandbox, name=piece.title)
            return [Artifact(key, DATASET, piece.title) for key in named]
        if piece.type == DESCRIPTOR:
            same = [
                each for each in self._descriptors(call, sandbox, piece.body["xdm:sourceSchema"]) if _likeness(each) == piece.body
            ]
            return [Artifact(each["@id"], DESCRIPTOR, piece.title) for each in same]
        if piece.type == MAPPING_SET:
            return []
        if piece.type == UNION:
            (document,) = self._ask(call, sandbox, "schema_registry", "retrieveExportPayload", params={"id": piece.body})[-1:]
            return [Artifact(piece.id, UNION, piece.title)] if _in_union(document) else []
        try:
            self._ask(call, sandbox, "schema_registry", "retrieveExportPayload", params={"id": piece.id})
        except ApiError:
            return []
        return [Artifact(piece.id, piece.type, piece.title)]

    def make(self, call: Call, sandbox: Sandbox, piece: Piece, ids: Mapping[str, str]) -> str:
        """Make the piece in the sandbox and return its id there; `ids` replaces ids it refers to. Errors: ApiError."""
        body = _replaced(piece.body, ids)
        if piece.type == DATASET:
            made = self._ask(call, sandbox, "catalog", "createDataset", body=body)
            return str(made[0].rpartition("/")[2])
        if piece.type == MAPPING_SET:
            return str(self._ask(call, sandbox, "data_prep", "createMappingSet", body=body)["id"])
        if piece.type == DESCRIPTOR:
            return str(self._ask(call, sandbox, "schema_registry", "createDescriptor", params=_TENANT, body=body)["@id"])
        if piece.type == UNION:
            tag = [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}]
            self._ask(call, sandbox, "schema_registry", "patchSchema", params={**_TENANT, "id": str(body)}, body=tag)
            return piece.id
        self._ask(call, sandbox, "schema_registry", "importResource", body=[body])
        return piece.id

    def remove(self, call: Call, sandbox: Sandbox, kind: str, made_id: str) -> None:
        """Take back what an import that failed has made. Errors: ApiError."""
        service, operation, member = _REMOVALS[kind]
        self._ask(call, sandbox, service, operation, params={**_TENANT, member: made_id})

    def _components(self, call: Call, sandbox: Sandbox, uri: str) -> list[Piece]:
        exported = self._ask(call, sandbox, "schema_registry", "retrieveExportPayload", params={"id": uri})
        pieces = [self._component(each) for each in exported]
        for piece in tuple(pieces):
            if piece.type == SCHEMA:
                if _in_union(piece.body):
                    pieces.append(Piece(id=f"{piece.id}#union", type=UNION, title=piece.title, body=piece.id))
                pieces += [
                    Piece(id=each["@id"], type=DESCRIPTOR, title=each["@type"], body=_likeness(each))
                    for each in self._descriptors(call, sandbox, piece.id)
                ]
        return pieces

    def _component(self, document: dict[str, Json]) -> Piece:
        uri = document["$id"].replace(_PLACEHOLDER, self.tenant_id)
        return Piece(id=uri, type=_REGISTRY[document["meta:resourceType"]], title=document["title"], body=document)

    def _dataset(self, call: Call, sandbox: Sandbox, dataset_id: str) -> list[Piece]:
        found = self._ask(call, sandbox, "catalog", "retrieveDataset", params={"DATASET_ID": dataset_id})[dataset_id]
        kept = {name: found[name] for name in ("name", "description", "schemaRef") if name in found}
        tags = {name: values for name, values in (found.get("tags") or {}).items() if not name.startswith("adobe/")}
        tags = {name: [each for each in values if not each.startswith("enabledAt:")] for name, values in tags.items()}
        piece = Piece(id=dataset_id, type=DATASET, title=found["name"], body=kept | {"tags": tags})
        return [*self._of_schema(call, sandbox, kept.get("schemaRef")), piece]

    def _mapping_set(self, call: Call, sandbox: Sandbox, set_id: str) -> list[Piece]:
        found = self._ask(call, sandbox, "data_prep", "retrieveMappingSet", params={"MAPPING_SET_ID": set_id})
        mappings = [{name: each[name] for name in _OF_A_MAPPING if each.get(name) is not None} for each in found["mappings"]]
        body = {"outputSchema": {"schemaRef": found["schemaRef"]}, "mappings": mappings}
        body |= {name: found[name] for name in ("name", "description") if found.get(name)}
        piece = Piece(id=set_id, type=MAPPING_SET, title=str(found.get("name") or set_id), body=body)
        return [*self._of_schema(call, sandbox, found["schemaRef"]), piece]

    def _of_schema(self, call: Call, sandbox: Sandbox, reference: Json) -> list[Piece]:
        uri = str(reference.get("id", "")) if isinstance(reference, dict) else ""
        own = uri.startswith(f"https://ns.adobe.com/{self.tenant_id}/")  # the library is in every sandbox
        return self._components(call, sandbox, uri) if own else []

    def _descriptors(self, call: Call, sandbox: Sandbox, schema_id: str) -> list[dict[str, Json]]:
        listed = self._ask(call, sandbox, "schema_registry", "listDescriptors", params=_TENANT, headers={"accept": _FULL})
        every = (each for found in listed.values() if isinstance(found, list) for each in found)
        return [each for each in every if isinstance(each, dict) and each.get("xdm:sourceSchema") == schema_id]

    def _registry_list(self, call: Call, sandbox: Sandbox, operation: str) -> list[dict[str, Json]]:
        headers = {"accept": "application/vnd.adobe.xed-id+json"}  # without a limit all are one page
        listed = self._ask(call, sandbox, "schema_registry", operation, params=_TENANT, headers=headers)
        return list(listed["results"])

    def _datasets(self, call: Call, sandbox: Sandbox, name: str = "") -> dict[str, dict[str, Json]]:
        """Return the datasets, of that name; those the system made are in every sandbox."""
        found: dict[str, dict[str, Json]] = {}
        while True:
            query = [*_window(len(found)), *([("name", name)] if name else [])]
            page = self._ask(call, sandbox, "catalog", "listDatasets", query=query)
            found |= page
            if len(page) < _PAGE:
                return {
                    key: each for key, each in found.items() if (each.get("classification") or {}).get("managedBy") != "SYSTEM"
                }

    def _ask(
        self,
        call: Call,
        sandbox: Sandbox,
        service: str,
        operation: str,
        *,
        params: Mapping[str, str] | None = None,
        query: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> Json:
        inner = replace(
            call,
            sandbox=sandbox,
            params=params or {},
            query=query or [],
            headers={"accept": "application/json", **(headers or {})},
            body=b"" if body is None else dumps(body),
        )
        answer: Answer = self.handlers[service][operation](inner)
        if answer.status >= 400:
            raise ApiError.of(answer)
        return answer.body


_TENANT: Mapping[str, str] = {"container": "tenant"}


def _in_union(document: dict[str, Json]) -> bool:
    return "union" in (document.get("meta:immutableTags") or [])


def _window(start: int) -> list[tuple[str, str]]:
    return [("start", str(start)), ("limit", str(_PAGE))]


def _likeness(descriptor: dict[str, Json]) -> dict[str, Json]:
    """Return what makes two descriptors say the same."""
    return {name: value for name, value in descriptor.items() if name.startswith("xdm:") or name == "@type"}


def _replaced(value: Json, ids: Mapping[str, str]) -> Json:
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list):
        return [_replaced(each, ids) for each in value]
    if isinstance(value, dict):
        return {key: _replaced(each, ids) for key, each in value.items()}
    return value
