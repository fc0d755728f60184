"""The identities of a record: those of its identityMap and of the fields with an identity descriptor. Source: xdm.md 6."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capstream.aep.identity_service import rules
from capstream.aep.identity_service.namespaces import Namespace, NamespaceTable
from capstream.aep.identity_service.rules import Identity
from capstream.kernel.json import Json

_CACHE_LIMIT = 50_000


@dataclass(frozen=True, slots=True)
class IdentityField:
    """A field that holds an identity, from an identity descriptor of the schema."""

    path: tuple[str, ...]  #: member names; array items and map values are stepped through
    namespace: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The usable identities of one record. `problem` says why Profile cannot place it, `refusal` why neither can."""

    identities: tuple[Identity, ...]
    primary: Identity | None
    problem: str = ""
    refusal: str = ""
    unusable: tuple[str, ...] = ()  #: namespaces of the values that cannot be identities


class Resolver:
    """Turns (namespace, value) of one organisation into identities, remembering the most recent ones."""

    def __init__(self, org_id: str, namespaces: NamespaceTable) -> None:
        self.org_id = org_id
        self.namespaces = namespaces
        self._known: dict[tuple[str, str], Identity | str] = {}

    def identity(self, code: str, value: str) -> Identity | str:
        """Return the identity, or why the value cannot be one (`ECID` alone condemns its whole record)."""
        found = self._known.get((code, value))
        if found is None:
            if len(self._known) >= _CACHE_LIMIT:
                self._known.clear()
            found = self._known[code, value] = self._resolve(code, value)
        return found

    def _resolve(self, code: str, value: str) -> Identity | str:
        namespace = self.namespaces.find(code)
        if namespace is None:
            return f"namespace '{code}' is unknown"
        return self.of(namespace, value)

    def of(self, namespace: Namespace, value: str) -> Identity | str:
        """Return the identity of a value in a known namespace, or why there is none."""
        value = rules.normalise(namespace.code, value)
        if rules.is_bad_ecid(namespace.code, value):
            return "ECID"
        if not rules.is_usable(value):
            return f"the value in namespace '{namespace.code}' is blank, blocked or too long"
        name = rules.xid(self.org_id, namespace.id, value)
        return Identity(name, namespace.id, value, namespace.links(), namespace.rank())


def identity_fields(descriptors: Sequence[dict[str, Json]]) -> tuple[IdentityField, ...]:
    """Return the identity fields that a schema's descriptors declare."""
    return tuple(
        IdentityField(
            tuple(part for part in str(descriptor["xdm:sourceProperty"]).split("/") if part and part not in {"*", "[*]"}),
            str(descriptor["xdm:namespace"]),
            bool(descriptor.get("xdm:isPrimary", False)),
        )
        for descriptor in descriptors
        if descriptor.get("@type") == "xdm:descriptorIdentity"
    )


def identities_of(record: dict[str, Json], fields: Sequence[IdentityField], resolver: Resolver) -> Found:
    """Return the identities of a validated record.

    A primary descriptor decides alone; without one exactly one identityMap item must say `primary: true`.
    """
    found: dict[str, Identity] = {}
    primaries: list[Identity | str] = []
    described = False
    unusable: list[str] = []
    for code, items in (record.get("identityMap") or {}).items():
        for item in items:
            value = item.get("id")
            identity = resolver.identity(code, value) if isinstance(value, str) else "the identity has no id"
            if identity == "ECID":
                return _bad_ecid(code)
            if item.get("primary"):
                primaries.append(identity)
            if isinstance(identity, Identity):
                found[identity.xid] = identity
            else:
                unusable.append(code)
    for field in fields:
        if field.primary and not described:
            described, primaries = True, []
        for value in values_at(record, field.path):
            identity = resolver.identity(field.namespace, str(value))
            if identity == "ECID":
                return _bad_ecid(field.namespace)
            if field.primary:
                primaries.append(identity)
            if isinstance(identity, Identity):
                found[identity.xid] = identity
            else:
                unusable.append(field.namespace)
    if len(found) > rules.RECORD_LIMIT:
        return Found((), None, refusal=f"the record has {len(found)} identities, the limit is {rules.RECORD_LIMIT}")
    primary, problem = _primary(primaries)
    return Found(tuple(found.values()), primary, problem, unusable=tuple(unusable))


def _bad_ecid(code: str) -> Found:
    return Found((), None, refusal="UPLIB-101003-400 Invalid ECID", unusable=(code,))


def values_at(record: Json, path: Sequence[str]) -> Iterator[Json]:
    """Yield the scalars under `path`, each item of an array on the way or at the end."""
    if isinstance(record, list):
        for item in record:
            yield from values_at(item, path)
    elif not path:
        if record is not None and not isinstance(record, dict):
            yield record
    elif isinstance(record, dict) and path[0] in record:
        yield from values_at(record[path[0]], path[1:])


def _primary(candidates: Sequence[Identity | str]) -> tuple[Identity | None, str]:
    if not candidates:
        return None, "no identity is marked as primary"
    if len(candidates) > 1:
        return None, "UPINGT-030075 more than one identity is marked as primary"
    only = candidates[0]
    return (None, only) if isinstance(only, str) else (only, "")
