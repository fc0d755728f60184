"""What the two ends of a relationship must have in common before Profile reads it. Source: schema-registry.md 6, 7."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.model import IDENTITY, SchemaRegistry
from capstream.kernel.json import Json

REFERENCE_IDENTITY = "xdm:descriptorReferenceIdentity"
ONE_TO_ONE = "xdm:descriptorOneToOne"
RELATIONSHIP = "xdm:descriptorRelationship"
RELATIONS = frozenset({ONE_TO_ONE, "xdm:descriptorOneToMany", "xdm:descriptorManyToMany", RELATIONSHIP})

NamespaceCode = Callable[[str, str], str]
"""Returns the code of (sandbox id, code or id of an identity namespace); empty when the sandbox does not know it."""


@dataclass(frozen=True, slots=True)
class Relationships:
    """Checks of relationship descriptors against the descriptors at both of their ends."""

    registry: SchemaRegistry
    namespace_code: NamespaceCode

    def check(self, sandbox_id: str, uri: str) -> None:
        """Refuse a relationship of a schema whose ends do not belong together. Errors: Refusal 1528."""
        for one in self.registry.descriptors(sandbox_id, uri):
            if one["@type"] in RELATIONS:
                self._check_target(sandbox_id, one)
                self.check_namespaces(sandbox_id, one)

    def check_namespaces(self, sandbox_id: str, relation: dict[str, Json]) -> None:
        """Refuse ends that identify different things. An end that names no namespace agrees with every other."""
        source = self._source_namespaces(sandbox_id, relation)
        target = self._target_namespaces(sandbox_id, relation)
        stated = self._codes(sandbox_id, [relation.get("xdm:destinationNamespace")])
        for one, other in ((source, target), (stated, target), (source, stated)):
            if one and other and not {code.lower() for code in one} & {code.lower() for code in other}:
                raise Refusal(Faults.NO_REFERENCE_IDENTITY, _differ(relation, sorted(one), sorted(other)))

    def _check_target(self, sandbox_id: str, relation: dict[str, Json]) -> None:
        """Every one-to-one relationship needs a reference identity on its target."""
        target = self.registry.resolve(relation["xdm:destinationSchema"])
        if relation["@type"] != ONE_TO_ONE:
            return
        if not any(one["@type"] == REFERENCE_IDENTITY for one in self.registry.descriptors(sandbox_id, target)):
            relates = f"{relation.get('@id', 'the relationship')} relates to it"
            raise Refusal(Faults.NO_REFERENCE_IDENTITY, f"{target} needs a {REFERENCE_IDENTITY}: {relates}.")

    def _source_namespaces(self, sandbox_id: str, relation: dict[str, Json]) -> set[str]:
        ends = self.registry.descriptors(sandbox_id, relation["xdm:sourceSchema"])
        return self._codes(sandbox_id, _namespaces(ends, relation["xdm:sourceProperty"]))

    def _target_namespaces(self, sandbox_id: str, relation: dict[str, Json]) -> set[str]:
        """Return what the field at the far end identifies; without a field, what the whole schema is referred to by."""
        ends = self.registry.descriptors(sandbox_id, self.registry.resolve(relation["xdm:destinationSchema"]))
        path = relation.get("xdm:destinationProperty")
        if path:
            return self._codes(sandbox_id, _namespaces(ends, path))
        referred = [one for one in ends if one["@type"] == REFERENCE_IDENTITY or one.get("xdm:isPrimary")]
        return self._codes(sandbox_id, map(_namespace, referred))

    def _codes(self, sandbox_id: str, named: Iterable[Json]) -> set[str]:
        return {self.namespace_code(sandbox_id, str(one)) or str(one) for one in named if one}


def _namespaces(descriptors: Iterable[dict[str, Json]], path: Json) -> list[Json]:
    return [_namespace(one) for one in descriptors if one.get("xdm:sourceProperty") == path]


def _namespace(descriptor: dict[str, Json]) -> Json:
    """Return the namespace that an identity or a reference identity names, None for every other descriptor."""
    key = {IDENTITY: "xdm:namespace", REFERENCE_IDENTITY: "xdm:identityNamespace"}.get(descriptor["@type"])
    return None if key is None else descriptor.get(key)


def _differ(relation: dict[str, Json], found: list[str], expected: list[str]) -> str:
    where = f"{relation['xdm:sourceSchema']}{relation['xdm:sourceProperty']}"
    target = f"{relation['xdm:destinationSchema']}{relation.get('xdm:destinationProperty', '')}"
    ends = f"{relation['@type']} from {where} to {target}: the namespaces of both ends must match"
    cure = "give both ends the same identity namespace"
    return f"{ends}; found {', '.join(found)} and {', '.join(expected)}: {cure}."
