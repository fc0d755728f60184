"""Makes what a file describes, step by step, through the public APIs; what is there already is left alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from capstream.cli.registry import Registry
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.xdm.blueprint import Blueprint, Part, SchemaPlan, same, standard

_WRITABLE = ("title", "description", "type", "allOf", "definitions", "properties", "required", "meta:intendedToExtend")
_LOOKED_UP = ("datatypes", "fieldgroups", "classes")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing of the file and what became of it: created, updated or unchanged."""

    kind: str
    name: str
    action: str
    id: str = ""


@dataclass(slots=True)
class Application:
    """One run over a blueprint. A dry run reads only; ids of what it would create stay empty."""

    registry: Registry
    dry_run: bool = False
    _tenant: str = ""
    _ids: dict[str, str] = field(default_factory=dict)  #: title -> `$id` of what the run has passed

    def run(self, blueprint: Blueprint) -> Iterator[Step]:
        """Yield the steps as they are done. Errors: Refused when the platform refuses one; those before it stay."""
        self._tenant = self.registry.tenant()
        yield from self._namespaces(blueprint)
        for part in blueprint.parts:
            yield self._part(part)
        for schema in blueprint.schemas:
            yield from self._schema(schema)

    def _namespaces(self, blueprint: Blueprint) -> Iterator[Step]:
        known = self.registry.namespaces() if blueprint.namespaces else set()
        for body in blueprint.namespaces:
            if body["code"].lower() in known:
                yield Step("namespace", body["code"], "unchanged")
                continue
            if not self.dry_run:
                self.registry.create_namespace(body)
            yield Step("namespace", body["code"], "created")

    def _part(self, part: Part) -> Step:
        return self._saved(part.kind, part.body(self._tenant, self._resolve))

    def _schema(self, schema: SchemaPlan) -> Iterator[Step]:
        step = self._saved("schemas", schema.body(self._resolve))
        yield step
        present = self.registry.descriptors(step.id) if step.id else []
        for body in schema.descriptor_bodies(step.id, self._tenant):
            yield self._descriptor(body, present)
        if schema.profile:
            yield self._profile(schema, step.id)

    def _saved(self, kind: str, body: dict[str, Json]) -> Step:
        """Create the resource, or bring it up to date."""
        title = body["title"]
        uri = self.registry.by_title(kind, title)
        if uri is None:
            made = "" if self.dry_run else str(self.registry.create(kind, body)["$id"])
            self._ids[title] = made
            return Step(kind, title, "created", made)
        self._ids[title] = uri
        stored = self.registry.get(kind, uri)
        comparable = {name: stored[name] for name in _WRITABLE if name in stored}
        if same(body, comparable):
            return Step(kind, title, "unchanged", uri)
        if not self.dry_run:
            self.registry.replace(kind, uri, {key: value for key, value in stored.items() if key not in _WRITABLE} | body)
        return Step(kind, title, "updated", uri)

    def _descriptor(self, body: dict[str, Json], present: list[dict[str, Json]]) -> Step:
        name = f"{body['@type'].removeprefix('xdm:')} {body.get('xdm:sourceProperty', '')}".strip()
        keys = ("@type", "xdm:sourceProperty")
        twin = next((one for one in present if all(one.get(key) == body.get(key) for key in keys)), None)
        if twin is not None and all(twin.get(key) == value for key, value in body.items()):
            return Step("descriptor", name, "unchanged", str(twin["@id"]))
        if not self.dry_run:
            self.registry.save_descriptor(body, str(twin["@id"]) if twin else "")
        return Step("descriptor", name, "updated" if twin else "created", str(twin["@id"]) if twin else "")

    def _profile(self, schema: SchemaPlan, uri: str) -> Step:
        tags = self.registry.get("schemas", uri).get("meta:immutableTags", []) if uri else []
        if "union" in tags:
            return Step("profile", schema.title, "unchanged", uri)
        if not self.dry_run:
            self.registry.enable_for_profile(uri)
        return Step("profile", schema.title, "created", uri)

    def _resolve(self, name: str) -> str:
        """Return the `$id` of a title of the file, a standard component or a resource of the tenant."""
        if name in self._ids:
            return self._ids[name]
        found = standard(name)
        if found is None:
            asked = (self.registry.by_title(kind, name) for kind in _LOOKED_UP)
            found = next((uri for uri in asked if uri is not None), None)
        if found is None:
            cure = "name a title of the file above this entry, a standard component or a full $id"
            raise InputError(name, "no component has this name", cure)
        self._ids[name] = found
        return found
