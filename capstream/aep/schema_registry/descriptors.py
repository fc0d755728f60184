"""Descriptors: metadata attached to a schema from outside. Source: schema-registry.md 7."""

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from types import MappingProxyType

from capstream.aep.call import Call
from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.model import DESCRIPTORS, IDENTITY, SchemaRegistry
from capstream.aep.schema_registry.relationships import REFERENCE_IDENTITY, RELATIONS, Relationships
from capstream.aep.schema_registry.stamp import descriptor_metadata
from capstream.kernel.json import Json, dumps
from capstream.xdm.schema import Field

_REQUIRED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        IDENTITY: ("xdm:sourceProperty", "xdm:namespace"),
        "xdm:alternateDisplayInfo": ("xdm:sourceProperty",),
        "xdm:descriptorOneToOne": ("xdm:sourceProperty", "xdm:destinationSchema", "xdm:destinationVersion"),
        "xdm:descriptorOneToMany": ("xdm:sourceProperty", "xdm:destinationSchema", "xdm:destinationVersion"),
        "xdm:descriptorManyToMany": ("xdm:sourceProperty", "xdm:destinationSchema", "xdm:destinationVersion"),
        "xdm:descriptorReferenceIdentity": ("xdm:sourceProperty", "xdm:identityNamespace"),
        "xdm:descriptorRelationship": ("xdm:sourceProperty", "xdm:destinationSchema", "xdm:cardinality"),
        "xdm:descriptorDeprecated": ("xdm:sourceProperty",),
        "xdm:descriptorTimeSeriesGranularity": ("xdm:granularity",),
        "xdm:descriptorPrimaryKey": ("xdm:sourceProperty",),
        "xdm:descriptorVersion": ("xdm:sourceProperty",),
        "xdm:descriptorTimestamp": ("xdm:sourceProperty",),
        "xdm:descriptorLabel": ("xdm:sourceProperty",),
    }
)
_GRANULARITIES = frozenset({"hour", "day", "week", "month", "quarter", "year"})
_DISPLAY = ("xdm:title", "xdm:description", "xdm:note", "meta:enum", "xdm:excludeMetaEnum")
_COMPUTED = frozenset(
    {"@id", "imsOrg", "version", "meta:containerId", "meta:sandboxId", "meta:sandboxType", "meta:registryMetadata"}
    | {"createdUser", "createdClient", "updatedUser", "created", "updated"}
)


@dataclass(frozen=True, slots=True)
class DescriptorWriter:
    """Writes of descriptors."""

    registry: SchemaRegistry
    relationships: Relationships

    def create(self, call: Call, body: Json) -> dict[str, Json]:
        """Store a new descriptor and return it. Errors: Refusal 1604, 1527."""
        wanted = self._checked(call.sandbox.id, body, "")
        _check_permission(call, wanted["@type"])
        return self._save(call, wanted, token_hex(20), None)

    def replace(self, call: Call, old: dict[str, Json], body: Json) -> dict[str, Json]:
        """Store the new content of a descriptor and return it."""
        wanted = self._checked(call.sandbox.id, body, old["@id"])
        for kind in (old["@type"], wanted["@type"]):
            _check_permission(call, kind)
        return self._save(call, wanted, old["@id"], old)

    def remove(self, call: Call, descriptor: dict[str, Json]) -> None:
        """Delete a descriptor. Errors: Refusal 1606 for the primary identity of a schema that Profile reads."""
        _check_permission(call, descriptor["@type"])
        enabled = self.registry.has_union_tag(call.sandbox.id, descriptor["xdm:sourceSchema"])
        if enabled and descriptor["@type"] == IDENTITY and descriptor.get("xdm:isPrimary"):
            raise Refusal(Faults.FORBIDDEN, "The primary identity of a schema that is enabled for Profile cannot be deleted.")
        with self.registry.documents.transaction() as change:
            change.delete(DESCRIPTORS, [f"{call.sandbox.id}/{descriptor['@id']}"])

    def _checked(self, sandbox_id: str, body: Json, own_id: str) -> dict[str, Json]:
        if not isinstance(body, dict):
            raise Refusal(Faults.BAD_DESCRIPTOR, "The body must be a JSON object.")
        wanted = {key: value for key, value in body.items() if key not in _COMPUTED and value != ""}
        kind = str(wanted.get("@type"))
        if kind not in _REQUIRED:
            raise Refusal(Faults.BAD_DESCRIPTOR, f"@type: {kind!r} is none of {', '.join(_REQUIRED)}.")
        for name in ("xdm:sourceSchema", *_REQUIRED[kind]):
            if not wanted.get(name):
                raise Refusal(Faults.BAD_DESCRIPTOR, f"{name}: required for {kind}.")
        _check_values(wanted)
        document = self.registry.document(sandbox_id, wanted["xdm:sourceSchema"])
        if document is None:
            raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:sourceSchema: {wanted['xdm:sourceSchema']} does not exist.")
        wanted["xdm:sourceSchema"] = document["$id"]
        self._check_paths(sandbox_id, wanted)
        self._check_kind(sandbox_id, wanted, own_id)
        return wanted

    def _check_paths(self, sandbox_id: str, wanted: dict[str, Json]) -> None:
        """Bring the paths into normal form and make sure that the schema has them."""
        if "xdm:sourceProperty" not in wanted:
            return
        stated = wanted["xdm:sourceProperty"]
        paths = [normal_path(path) for path in (stated if isinstance(stated, list) else [stated])]
        wanted["xdm:sourceProperty"] = paths if isinstance(stated, list) else paths[0]
        schema = self.registry.schema(sandbox_id, wanted["xdm:sourceSchema"])
        for path in paths:
            if schema is None or not steps(schema.root, path):
                raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:sourceProperty: {path} is no field of {wanted['xdm:sourceSchema']}.")

    def _check_kind(self, sandbox_id: str, wanted: dict[str, Json], own_id: str) -> None:
        kind = wanted["@type"]
        if kind == IDENTITY:
            self._check_identity(sandbox_id, wanted, own_id)
        elif kind == "xdm:alternateDisplayInfo" and not any(wanted.get(name) for name in _DISPLAY):
            raise Refusal(Faults.BAD_DESCRIPTOR, f"{kind}: one of {', '.join(_DISPLAY)} is required.")
        elif kind == "xdm:descriptorLabel" and not (wanted.get("xdm:labels") or wanted.get("xdm:label")):
            raise Refusal(Faults.BAD_DESCRIPTOR, f'{kind}: xdm:labels is required, a list such as ["C2"].')
        elif kind == "xdm:descriptorDeprecated":
            self._check_standard(wanted["xdm:sourceProperty"])
        elif kind == REFERENCE_IDENTITY:
            self._check_namespace(sandbox_id, "xdm:identityNamespace", wanted["xdm:identityNamespace"])
        elif kind in RELATIONS:
            self._check_relation(sandbox_id, wanted)

    def _check_namespace(self, sandbox_id: str, name: str, namespace: Json) -> None:
        if not self.relationships.namespace_code(sandbox_id, str(namespace)):
            raise Refusal(Faults.BAD_DESCRIPTOR, f"{name}: {namespace} does not exist. Create it in the Identity Service first.")

    def _check_relation(self, sandbox_id: str, wanted: dict[str, Json]) -> None:
        """Check the far end; both ends together when Profile already reads the near one."""
        stated = wanted["xdm:destinationSchema"]
        target = self.registry.document(sandbox_id, stated)
        if target is None:
            raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:destinationSchema: {stated} does not exist.")
        wanted["xdm:destinationSchema"] = target["$id"]
        if wanted.get("xdm:destinationProperty"):
            path = normal_path(wanted["xdm:destinationProperty"], "xdm:destinationProperty")
            wanted["xdm:destinationProperty"] = path
            schema = self.registry.schema(sandbox_id, target["$id"])
            if schema is None or not steps(schema.root, path):
                raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:destinationProperty: {path} is no field of {target['$id']}.")
        if wanted.get("xdm:destinationNamespace"):
            self._check_namespace(sandbox_id, "xdm:destinationNamespace", wanted["xdm:destinationNamespace"])
        if self.registry.has_union_tag(sandbox_id, wanted["xdm:sourceSchema"]):
            self.relationships.check_namespaces(sandbox_id, wanted)

    def _check_standard(self, stated: Json) -> None:
        for path in stated if isinstance(stated, list) else [stated]:
            if self.registry.namespace in path.split("/"):
                cure = "PATCH meta:status deprecated into its definition"
                raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:sourceProperty: {path} is a custom field; {cure}.")

    def _check_identity(self, sandbox_id: str, wanted: dict[str, Json], own_id: str) -> None:
        path, uri = wanted["xdm:sourceProperty"], wanted["xdm:sourceSchema"]
        schema = self.registry.schema(sandbox_id, uri)
        way = [] if schema is None or not isinstance(path, str) else steps(schema.root, path)
        if not way or way[-1].kind != "string":
            raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:sourceProperty: {path} must be a string field to be an identity.")
        namespace = wanted["xdm:namespace"]
        wanted["xdm:property"] = wanted.get("xdm:property") or ("xdm:id" if isinstance(namespace, int) else "xdm:code")
        wanted.setdefault("xdm:isPrimary", False)
        self._check_namespace(sandbox_id, "xdm:namespace", namespace)
        others = [one for one in self.registry.descriptors(sandbox_id, uri) if one["@type"] == IDENTITY and one["@id"] != own_id]
        if any(one["xdm:sourceProperty"] == path for one in others):
            raise Refusal(Faults.BAD_DESCRIPTOR, f"A descriptor already exists for {path}. Replace it with PUT.")
        if not wanted["xdm:isPrimary"]:
            return
        if any(field.kind in {"array", "map"} for field in way):
            raise Refusal(Faults.BAD_DESCRIPTOR, f"{path} is inside an array or map: it cannot be the primary identity.")
        if any(one.get("xdm:isPrimary") for one in others):
            raise Refusal(Faults.TWO_PRIMARIES, f"{uri} already has a primary identity descriptor.")

    def _save(self, call: Call, wanted: dict[str, Json], own_id: str, old: dict[str, Json] | None) -> dict[str, Json]:
        document = {"@id": own_id, **wanted, **descriptor_metadata(call, wanted, old)}
        with self.registry.documents.transaction() as change:
            change.put(DESCRIPTORS, [(f"{call.sandbox.id}/{own_id}", dumps(document))])
        return document


def _check_values(wanted: dict[str, Json]) -> None:
    """Refuse members whose value is of another form than clients of descriptors can read."""
    for name in ("xdm:sourceSchema", "xdm:destinationSchema"):
        if not isinstance(wanted.get(name, ""), str):
            raise Refusal(Faults.BAD_DESCRIPTOR, f"{name}: must be the $id of a schema.")
    for name in ("xdm:title", "xdm:description", "xdm:note"):
        if not isinstance(wanted.get(name, {}), dict):
            raise Refusal(Faults.BAD_DESCRIPTOR, f'{name}: must be texts by locale, such as {{"en_us": "Tier"}}.')
    if not isinstance(wanted.get("xdm:isPrimary", False), bool):
        raise Refusal(Faults.BAD_DESCRIPTOR, "xdm:isPrimary: must be true or false.")
    if "xdm:granularity" in wanted and str(wanted["xdm:granularity"]) not in _GRANULARITIES:
        raise Refusal(Faults.BAD_DESCRIPTOR, f"xdm:granularity: one of {', '.join(sorted(_GRANULARITIES))}.")
    if wanted.get("xdm:property", "xdm:code") not in ("xdm:code", "xdm:id"):
        raise Refusal(Faults.BAD_DESCRIPTOR, "xdm:property: xdm:code or xdm:id, the kind of xdm:namespace.")


def _check_permission(call: Call, kind: str) -> None:
    """Refuse who may not write descriptors of a kind. Source: sandboxes-access.md 4; relationships are ASSUMPTION."""
    needed = "manage-schemas"
    if kind.startswith(IDENTITY) or kind == "xdm:descriptorReferenceIdentity":
        needed += " manage-identity-metadata"
    elif "xdm:destinationSchema" in _REQUIRED.get(kind, ()):
        needed += " manage-relationships"
    if not call.granted(needed):
        names = " or ".join(needed.split())
        raise Refusal(Faults.FORBIDDEN, f"The permission {names} is missing in sandbox {call.sandbox.name}.")


def normal_path(path: Json, name: str = "xdm:sourceProperty") -> str:
    """Return `/a/b[*]/c`: leading slash, no trailing one, dots read as slashes. Errors: Refusal 1604 for what is no text."""
    if not isinstance(path, str) or not path.strip("/"):
        raise Refusal(Faults.BAD_DESCRIPTOR, f"{name}: a path such as /personalEmail/address is required.")
    return "/" + (path if "/" in path else path.replace(".", "/")).strip("/")


def steps(root: Field, path: str) -> list[Field]:
    """Return the fields on the way to `path`, its own last; empty when the schema has no such path."""
    found: list[Field] = []
    node: Field | None = root
    for name in path.strip("/").split("/"):
        while node is not None and node.kind == "array":
            node = node.items
        if node is None:
            return []
        node = node.values if node.kind == "map" else node.children.get(name.removesuffix("[*]"))
        if node is None:
            return []
        found.append(node)
    if path.endswith("[*]") and found[-1].items is not None:
        found.append(found[-1].items)
    return found
