"""The registry: components and schemas of a sandbox beside the standard library, composed on demand.

Resources are kept in their stored form under `{sandbox id}/{$id}`, descriptors under `{sandbox id}/{@id}`. Composed
schemas are cached and stay the same object as long as nothing they are made of has changed, so that whoever compiles a
validator or a table from one may key it on the schema itself or on `etag`.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from capstream.aep.resource import Resources
from capstream.aep.schema_registry.unions import UNION_SUFFIX, union_document, union_schema
from capstream.kernel.json import Json
from capstream.storage.ports import Documents
from capstream.xdm.compose import compose
from capstream.xdm.library import LIBRARY_VERSION, standard_library
from capstream.xdm.merge import require
from capstream.xdm.names import XDM
from capstream.xdm.schema import Schema

RESOURCES = "schema_registry_resources"
DESCRIPTORS = "schema_registry_descriptors"
AUDIT = "schema_registry_audit"
UNION_TAG = "union"
IDENTITY = "xdm:descriptorIdentity"

_ADOBE = "https://ns.adobe.com/"
_PROFILE = XDM + "context/profile"
_EVENTS = XDM + "context/experienceevent"


class SchemaRegistry:
    """Reads of the registry. `tenant_id` names the organisation's namespace: `_capstream` for `capstream`."""

    def __init__(self, documents: Documents, tenant_id: str) -> None:
        self.documents = documents
        self.tenant_id = tenant_id
        self.namespace = f"_{tenant_id}"
        self.resources = Resources(documents, RESOURCES)
        self._descriptors = Resources(documents, DESCRIPTORS)
        self._library = standard_library()
        self._global_alt_ids = {document["meta:altId"]: uri for uri, document in self._library.items()}
        self._composed: dict[tuple[str, str], tuple[int, str, Schema | None]] = {}

    def schema(self, sandbox_id: str, schema_id: str) -> Schema | None:
        """Return the effective schema of an `$id`, a `meta:altId`, a standard component or a union; None when unknown."""
        return self._current(sandbox_id, schema_id)[1]

    def etag(self, sandbox_id: str, schema_id: str) -> str:
        """Return a text that changes whenever the effective schema may have changed; empty when there is none."""
        return self._current(sandbox_id, schema_id)[0]

    def exists(self, sandbox_id: str, schema_id: str) -> bool:
        """Tell whether the id names a schema, a standard component or a union."""
        return self.document(sandbox_id, schema_id) is not None

    def has_union_tag(self, sandbox_id: str, schema_id: str) -> bool:
        """Tell whether the schema is enabled for Profile."""
        document = self.document(sandbox_id, schema_id)
        return document is not None and UNION_TAG in document.get("meta:immutableTags", [])

    def descriptors(self, sandbox_id: str, schema_id: str) -> list[dict[str, Json]]:
        """Return the descriptors attached to the schema."""
        uri = self.resolve(schema_id)
        return [one for one in self._descriptors.all(sandbox_id) if one.get("xdm:sourceSchema") == uri]

    def all_descriptors(self, sandbox_id: str) -> list[dict[str, Json]]:
        """Return every descriptor of the sandbox in the order of ids."""
        return self._descriptors.all(sandbox_id)

    def descriptor(self, sandbox_id: str, descriptor_id: str) -> dict[str, Json] | None:
        """Return one descriptor, or None."""
        return self._descriptors.get(sandbox_id, descriptor_id)

    def resolve(self, reference: str) -> str:
        """Return the `$id` a path id means: an `$id` (slashes possibly merged), a `meta:altId` or a bare hex of a schema."""
        if reference.startswith(("https:/", "http:/")):
            scheme, _, rest = reference.partition(":/")
            return f"{scheme}://{rest.lstrip('/')}"
        if reference.endswith(UNION_SUFFIX):
            return self.resolve(reference.removesuffix(UNION_SUFFIX)) + UNION_SUFFIX
        if reference in self._global_alt_ids:
            return self._global_alt_ids[reference]
        if reference.startswith(f"{self.namespace}."):
            return _ADOBE + reference[1:].replace(".", "/")
        if reference.isalnum():
            return f"{_ADOBE}{self.tenant_id}/schemas/{reference}"
        return reference

    def document(self, sandbox_id: str, reference: str) -> dict[str, Json] | None:
        """Return the stored form of any resource under any kind of id: tenant, standard or union."""
        uri = self.resolve(reference)
        if uri in self._library:
            return self._library[uri]
        if uri.endswith(UNION_SUFFIX):
            return self._union(sandbox_id, uri)
        return self.resources.get(sandbox_id, uri)

    def tenant(self, sandbox_id: str, kind: str = "") -> list[dict[str, Json]]:
        """Return the tenant's resources of one kind (`schemas`, `mixins`, ...), of all kinds when none is named."""
        return [one for one in self.resources.all(sandbox_id) if kind in {"", one.get("meta:resourceType")}]

    def standard(self, kind: str) -> list[dict[str, Json]]:
        """Return the standard components of one kind in the order of the library."""
        return [one for one in self._library.values() if one["meta:resourceType"] == kind]

    def members(self, sandbox_id: str, class_id: str) -> list[dict[str, Json]]:
        """Return the schemas of a class that are enabled for Profile."""
        return [
            one
            for one in self.tenant(sandbox_id, "schemas")
            if one.get("meta:class") == class_id and UNION_TAG in one.get("meta:immutableTags", [])
        ]

    def unions(self, sandbox_id: str) -> list[dict[str, Json]]:
        """Return the union of every class that has an enabled schema."""
        schemas = self.tenant(sandbox_id, "schemas")
        classes = sorted({one["meta:class"] for one in schemas if UNION_TAG in one.get("meta:immutableTags", [])})
        unions = (self._union(sandbox_id, class_id + UNION_SUFFIX) for class_id in classes)
        return [union for union in unions if union is not None]

    def dependencies(self, sandbox_id: str, uri: str) -> list[dict[str, Json]]:
        """Return the tenant components a resource is made of, transitively, those others need first."""
        found: dict[str, dict[str, Json]] = {}
        self._gather(sandbox_id, uri, found, set())
        found.pop(uri, None)
        return list(found.values())

    def users(self, sandbox_id: str, uri: str) -> list[dict[str, Json]]:
        """Return the tenant resources that are made of a component, directly or not."""
        return [
            one
            for one in self.tenant(sandbox_id)
            if one["$id"] != uri and any(part["$id"] == uri for part in self.dependencies(sandbox_id, one["$id"]))
        ]

    def compose_document(self, sandbox_id: str, document: dict[str, Json], *changed: dict[str, Json]) -> Schema:
        """Return the effective schema of a stored document, as if it and the resources in `changed` were stored.

        Errors: CompositionError.
        """
        overrides = {one["$id"]: one for one in (document, *changed)}

        def lookup(uri: str) -> Json | None:
            return overrides.get(uri) or self.document(sandbox_id, uri)

        parts = [document["$id"]]
        if document.get("meta:resourceType") == "schemas":
            parts = list(dict.fromkeys([document["meta:class"], *references(document)]))
        return compose(
            parts, lookup, schema_id=document["$id"], title=document.get("title", ""), version=document.get("version", "1.0")
        )

    def _union(self, sandbox_id: str, uri: str) -> dict[str, Json] | None:
        class_document = self.document(sandbox_id, uri.removesuffix(UNION_SUFFIX))
        members = self.members(sandbox_id, uri.removesuffix(UNION_SUFFIX))
        if class_document is None or not members:
            return None
        return union_document(class_document, members, library_version=LIBRARY_VERSION)

    def _gather(self, sandbox_id: str, uri: str, found: dict[str, dict[str, Json]], seen: set[str]) -> None:
        if uri in self._library or uri in seen:
            return
        seen.add(uri)
        document = self.resources.get(sandbox_id, uri)
        if document is None:
            return
        for reference in all_references(document):
            self._gather(sandbox_id, reference, found, seen)
        found[uri] = document

    def _current(self, sandbox_id: str, schema_id: str) -> tuple[str, Schema | None]:
        uri = self.resolve(schema_id)
        version = self.documents.version()
        known = self._composed.get((sandbox_id, uri))
        if known is not None and known[0] == version:
            return known[1], known[2]
        etag = self._fingerprint(sandbox_id, uri)
        unchanged = known is not None and known[1] == etag
        schema = known[2] if known is not None and unchanged else self._compose(sandbox_id, uri)
        self._composed[(sandbox_id, uri)] = (version, etag, schema)
        return etag, schema

    def _fingerprint(self, sandbox_id: str, uri: str) -> str:
        """Digest what the effective schema is made of: stored parts and primary identities."""
        if uri in self._library:
            return sha256(f"{uri} {LIBRARY_VERSION}".encode()).hexdigest()
        if uri.endswith(UNION_SUFFIX):
            class_id = uri.removesuffix(UNION_SUFFIX)
            members = self.members(sandbox_id, class_id)
            parts = [self._fingerprint(sandbox_id, one["$id"]) for one in members]
            if parts and class_id == _PROFILE:
                parts.append(self._fingerprint(sandbox_id, _EVENTS + UNION_SUFFIX))
            return sha256(" ".join([class_id, *parts]).encode()).hexdigest() if parts else ""
        document = self.resources.get(sandbox_id, uri)
        if document is None:
            return ""
        parts = [one["meta:registryMetadata"]["eTag"] for one in (document, *self.dependencies(sandbox_id, uri))]
        parts += sorted(one["xdm:sourceProperty"] for one in self.primaries(sandbox_id, uri))
        return sha256(" ".join(parts).encode()).hexdigest()

    def primaries(self, sandbox_id: str, uri: str) -> list[dict[str, Json]]:
        """Return the descriptors that make a field the primary identity of the schema."""
        return [one for one in self.descriptors(sandbox_id, uri) if one["@type"] == IDENTITY and one.get("xdm:isPrimary")]

    def _compose(self, sandbox_id: str, uri: str) -> Schema | None:
        if uri.endswith(UNION_SUFFIX):
            return self._compose_union(sandbox_id, uri)
        document = self.document(sandbox_id, uri)
        if document is None:
            return None
        schema = self.compose_document(sandbox_id, document)
        root = schema.root
        for descriptor in self.primaries(sandbox_id, uri):
            root = require(root, descriptor["xdm:sourceProperty"].strip("/").split("/"))
        return replace(schema, root=root)

    def _compose_union(self, sandbox_id: str, uri: str) -> Schema | None:
        class_id = uri.removesuffix(UNION_SUFFIX)
        schemas = [self.compose_document(sandbox_id, one) for one in self.members(sandbox_id, class_id)]
        if not schemas:
            return None
        document = self.document(sandbox_id, class_id) or {}
        return union_schema(schemas, union_id=uri, title=document.get("title", ""), events=lambda: self._events(sandbox_id))

    def _events(self, sandbox_id: str) -> Schema | None:
        return self._compose_union(sandbox_id, _EVENTS + UNION_SUFFIX)


def references(document: dict[str, Json]) -> list[str]:
    """Return the components an `allOf` names, local definitions left out, each once."""
    found = dict.fromkeys(
        reference
        for entry in document.get("allOf", [])
        if (reference := entry.get("$ref") or (entry.get("items") or {}).get("$ref") or "#") and not reference.startswith("#")
    )
    return list(found)


def all_references(node: Any) -> Iterator[str]:
    """Yield every `$id` a definition refers to, anywhere in it."""
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and not target.startswith("#"):
            yield target.partition("#")[0]
        for value in node.values():
            yield from all_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from all_references(value)
