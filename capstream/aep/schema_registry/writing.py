"""Creates, replaces and deletes resources of the tenant. Source: schema-registry.md 5 and 6."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from secrets import token_hex
from uuid import uuid4

from capstream.aep.call import Call
from capstream.aep.schema_registry.audit import audit_entry
from capstream.aep.schema_registry.changes import breaking
from capstream.aep.schema_registry.definitions import BEHAVIOURS, check_namespace, checked_body
from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.model import (
    AUDIT,
    DESCRIPTORS,
    RESOURCES,
    UNION_TAG,
    SchemaRegistry,
    all_references,
    references,
)
from capstream.aep.schema_registry.relationships import Relationships
from capstream.aep.schema_registry.stamp import Draft, core, stamped
from capstream.kernel.json import Json, dumps
from capstream.xdm.compose import ancestors, document_field
from capstream.xdm.merge import CompositionError, merge
from capstream.xdm.names import XDM
from capstream.xdm.schema import Schema, find

UNKNOWN = {
    "schemas": Faults.SCHEMA_UNKNOWN,
    "classes": Faults.CLASS_UNKNOWN,
    "mixins": Faults.GROUP_UNKNOWN,
    "datatypes": Faults.TYPE_UNKNOWN,
    "behaviors": Faults.BEHAVIOUR_UNKNOWN,
    "unions": Faults.UNION_UNKNOWN,
    "": Faults.SCHEMA_UNKNOWN,
}
_ADHOC = XDM + "data/adhoc"

SchemaUse = Callable[[str, str], bool]
"""Tells whether (sandbox id, schema `$id`) has a dataset with data or one that is enabled for Profile."""


def not_found(kind: str, reference: str, version: str = "1") -> Refusal:
    """Return the refusal for an id that names nothing of this kind."""
    what = "class resource" if kind == "classes" else "resource"
    return Refusal(UNKNOWN[kind], f"Requested {what} {reference} with version {version} is not found")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes of the registry. All checks come first; one transaction stores what they let through."""

    registry: SchemaRegistry
    in_use: SchemaUse
    relationships: Relationships

    def create(self, call: Call, kind: str, body: Json, *, uri: str = "") -> dict[str, Json]:
        """Store a new resource and return it. `uri` keeps the id of an imported one."""
        uri = uri or f"https://ns.adobe.com/{self.registry.tenant_id}/{kind}/{token_hex(24)}"
        wanted = self._adhoc(kind, checked_body(body, kind))
        document = self._checked(call, kind, wanted, uri)
        self._save(call, document, None)
        return document

    def replace(self, call: Call, kind: str, old: dict[str, Json], body: Json) -> dict[str, Json]:
        """Store the new content of a resource and return it; without a change nothing is stored.

        Errors: Refusal, 1602 when the resource is locked and the change is not additive.
        """
        wanted = checked_body(body, kind)
        self._check_tags(old, wanted)
        document = self._checked(call, kind, wanted, old["$id"], old)
        if core(document) == core(old):
            return old
        self._check_change(call.sandbox.id, document, old)
        self._save(call, document, old)
        return document

    def remove(self, call: Call, kind: str, document: dict[str, Json]) -> None:
        """Delete a resource, a schema with its descriptors. Errors: Refusal 1603 while something uses it."""
        sandbox_id, uri = call.sandbox.id, document["$id"]
        if kind == "schemas":
            if UNION_TAG in document.get("meta:immutableTags", []) or self.in_use(sandbox_id, uri):
                raise Refusal(
                    Faults.IN_USE, f"{document['title']} is enabled for Profile or has a dataset: it cannot be deleted."
                )
        elif users := self.registry.users(sandbox_id, uri):
            names = ", ".join(one["title"] for one in users)
            raise Refusal(Faults.IN_USE, f"{document['title']} is used by {names}: remove it there first.")
        attached = [f"{sandbox_id}/{one['@id']}" for one in self.registry.descriptors(sandbox_id, uri)]
        with self.registry.documents.transaction() as change:
            change.delete(RESOURCES, [f"{sandbox_id}/{uri}"])
            change.delete(DESCRIPTORS, attached)

    def check_union(self, sandbox_id: str, document: dict[str, Json], schema: Schema) -> None:
        """Refuse what Profile cannot take. Errors: Refusal 1526-1528, 1413."""
        uri = document["$id"]
        primaries = self.registry.primaries(sandbox_id, uri)
        if not primaries and find(schema.root, "identityMap") is None:
            raise Refusal(
                Faults.NO_IDENTITY,
                f"{document['title']} has no primary identity: add a primary identity descriptor or the IdentityMap field group.",
            )
        if len(primaries) > 1:
            raise Refusal(Faults.TWO_PRIMARIES, f"{document['title']} has more than one primary identity descriptor.")
        self.relationships.check(sandbox_id, uri)
        others = [one for one in self.registry.members(sandbox_id, document["meta:class"]) if one["$id"] != uri]
        roots = [self.registry.compose_document(sandbox_id, one, document).root for one in others]
        reduce(merge, roots, schema.root)

    def _checked(
        self, call: Call, kind: str, wanted: dict[str, Json], uri: str, old: dict[str, Json] | None = None
    ) -> dict[str, Json]:
        """Return the stamped document after every check of its own content."""
        sandbox_id = call.sandbox.id
        self._check_title(sandbox_id, wanted["title"], uri)
        class_id = self._check_parts(sandbox_id, kind, wanted, old)
        extends = self._extends(sandbox_id, wanted)
        draft = Draft(kind=kind, uri=uri, class_id=class_id, extends=extends, namespace=self.registry.namespace, old=old)
        document = stamped(draft, wanted, call)
        self._check_recursion(sandbox_id, document)
        try:
            schema = self.registry.compose_document(sandbox_id, document)
            if kind in {"mixins", "classes"}:
                self._check_namespace(sandbox_id, document)
            if UNION_TAG in document.get("meta:immutableTags", []):
                self.check_union(sandbox_id, document, schema)
        except CompositionError as error:
            raise refusal_of(error) from None
        return document

    def _check_recursion(self, sandbox_id: str, document: dict[str, Json]) -> None:
        """Refuse a component that contains itself through others. ASSUMPTION: only the standard may be recursive."""
        waiting, seen = list(all_references(document)), set[str]()
        while waiting:
            uri = waiting.pop()
            if uri == document["$id"]:
                raise Refusal(Faults.BAD_REQUEST, f"{document['title']} cannot contain itself: a $ref leads back to it.")
            if uri not in seen:
                seen.add(uri)
                waiting += all_references(self.registry.document(sandbox_id, uri))

    def _check_title(self, sandbox_id: str, title: str, uri: str) -> None:
        for one in self.registry.tenant(sandbox_id):
            if one["title"] == title and one["$id"] != uri:
                raise Refusal(
                    Faults.TITLE_TAKEN, f"Title must be unique. An object {one['$id']} already exists with the same title"
                )

    def _check_parts(self, sandbox_id: str, kind: str, wanted: dict[str, Json], old: dict[str, Json] | None) -> str:
        """Check what the resource is made of; return the class of a schema, empty for components."""
        parts: list[dict[str, Json]] = []
        for reference in references(wanted):
            part = self.registry.document(sandbox_id, reference.partition("#")[0])
            if part is None:
                raise Refusal(Faults.BAD_REFERENCE, f"allOf: {reference} does not exist in this sandbox or the global library.")
            parts.append(part)
        if kind == "classes":
            behaviours = [part["$id"] for part in parts if part["$id"] in BEHAVIOURS]
            if len(behaviours) != 1:
                raise Refusal(Faults.BAD_COMPOSITION, "A class extends exactly one behavior: record, time-series or adhoc.")
        if kind != "schemas":
            return ""
        classes = [part["$id"] for part in parts if part["meta:resourceType"] == "classes"]
        if len(classes) != 1:
            raise Refusal(Faults.BAD_COMPOSITION, f"A schema has exactly one class; allOf names {len(classes)}.")
        if old is not None and old["meta:class"] != classes[0]:
            raise Refusal(Faults.BAD_COMPOSITION, "The class of a schema cannot be changed once it is saved.")
        self._check_fit(sandbox_id, classes[0], parts)
        return str(classes[0])

    def _check_fit(self, sandbox_id: str, class_id: str, parts: Sequence[dict[str, Json]]) -> None:
        allowed = {class_id, *ancestors(class_id, lambda uri: self.registry.document(sandbox_id, uri))}
        for part in parts:
            fits = part.get("meta:intendedToExtend", [])
            if part["meta:resourceType"] == "mixins" and fits and not allowed & set(fits):
                raise Refusal(
                    Faults.BAD_COMPOSITION,
                    f"The field group {part['title']} does not fit the class {class_id}; it is made for {', '.join(fits)}.",
                )

    def _extends(self, sandbox_id: str, wanted: dict[str, Json]) -> list[str]:
        found: dict[str, None] = {}
        for reference in references(wanted):
            found[reference] = None
            found.update(dict.fromkeys(ancestors(reference, lambda uri: self.registry.document(sandbox_id, uri))))
        return list(found)

    def _check_namespace(self, sandbox_id: str, document: dict[str, Json]) -> None:
        own = {**document, "allOf": [entry for entry in document.get("allOf", []) if str(entry.get("$ref")).startswith("#")]}
        root = document_field(own, lambda uri: self.registry.document(sandbox_id, uri))
        check_namespace(root, document.get("meta:datasetNamespace") or self.registry.namespace)

    def _adhoc(self, kind: str, wanted: dict[str, Json]) -> dict[str, Json]:
        """Give an ad hoc class a namespace of its own in the place of `_adhoc`."""
        if kind != "classes" or _ADHOC not in references(wanted):
            return wanted
        namespace = f"_{uuid4().hex}"
        changed = deepcopy(wanted)
        for definition in changed.get("definitions", {}).values():
            members = definition.get("properties", {})
            if "_adhoc" in members:
                members[namespace] = members.pop("_adhoc")
        return {**changed, "meta:datasetNamespace": namespace}

    def _check_tags(self, old: dict[str, Json], wanted: dict[str, Json]) -> None:
        """A tag is never removed; a body without tags keeps them."""
        tags = old.get("meta:immutableTags", [])
        if not tags:
            return
        if "meta:immutableTags" in wanted and not set(tags) <= set(wanted["meta:immutableTags"]):
            raise Refusal(Faults.BREAKING, "/meta:immutableTags: a tag, once set, cannot be removed.")
        wanted.setdefault("meta:immutableTags", tags)

    def _check_change(self, sandbox_id: str, document: dict[str, Json], old: dict[str, Json]) -> None:
        """Refuse a change that breaks a schema: its own composition, a union, or data that is already there."""
        users = [one for one in self.registry.users(sandbox_id, old["$id"]) if one["meta:resourceType"] == "schemas"]
        schemas = [document] if document["meta:resourceType"] == "schemas" else users
        for one in schemas:
            before = old if one is document else one
            try:
                new = self.registry.compose_document(sandbox_id, one, document)
                if one is not document and UNION_TAG in one.get("meta:immutableTags", []):
                    self.check_union(sandbox_id, one, new)
            except CompositionError as error:
                raise refusal_of(error) from None
            if not self._locked(sandbox_id, before):
                continue
            for rule in breaking(self.registry.compose_document(sandbox_id, before, old).root, new.root):
                raise Refusal(Faults.BREAKING, f"{before['title']} is locked because data or Profile depend on it. {rule}.")

    def _locked(self, sandbox_id: str, document: dict[str, Json]) -> bool:
        return UNION_TAG in document.get("meta:immutableTags", []) or self.in_use(sandbox_id, document["$id"])

    def _save(self, call: Call, document: dict[str, Json], old: dict[str, Json] | None) -> None:
        key = f"{call.sandbox.id}/{document['$id']}"
        entry_key, entry = audit_entry(call, document, old)
        with self.registry.documents.transaction() as change:
            change.put(RESOURCES, [(key, dumps(document))])
            change.put(AUDIT, [(entry_key, dumps(entry))])


def refusal_of(error: CompositionError) -> Refusal:
    """Return the documented refusal of a composition that failed."""
    faults = {"conflict": Faults.CONFLICT, "reference": Faults.BAD_REFERENCE, "definition": Faults.BAD_REQUEST}
    return Refusal(faults[error.code], str(error))
