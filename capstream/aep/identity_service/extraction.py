"""The identities of a record: those of its identityMap and of the fields with an identity descriptor. Source: xdm.md 6."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from capstream.aep.identity_service import rules
from capstream.aep.identity_service.namespaces import Namespace, NamespaceTable
from capstream.aep.identity_service.rules import Found, Identity
from capstream.kernel.json import Json

_CACHE_LIMIT: Final = 50_000
_NOTHING: Final[dict[str, Json]] = {}
_NO_ID: Final = "the identity has no id"


@dataclass(frozen=True)
class IdentityField:
    """A field that holds an identity, from an identity descriptor of the schema."""

    path: tuple[str, ...]  #: member names; array items and map values are stepped through
    namespace: str
    primary: bool


@final
class Resolver:
    """Turns (namespace, value) of one organisation into identities, remembering the most recent ones."""

    def __init__(self, org_id: str, namespaces: NamespaceTable) -> None:
        self.org_id = org_id
        self.namespaces = namespaces
        self.known: dict[tuple[str, str], Identity | str] = {}  #: what `identity` found of late

    def identity(self, code: str, value: str) -> Identity | str:
        """Return the identity, or why the value cannot be one (`ECID` alone condemns its whole record)."""
        found = self.known.get((code, value))
        if found is None:
            if len(self.known) >= _CACHE_LIMIT:
                self.known.clear()
            found = self.known[code, value] = self._resolve(code, value)
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
    known = resolver.known
    for code, items in (record.get("identityMap") or _NOTHING).items():
        for item in items:
            value = item.get("id")
            is_text = isinstance(value, str)
            identity = (known.get((code, value)) or resolver.identity(code, value)) if is_text else _NO_ID
            if item.get("primary"):
                primaries.append(identity)
            if isinstance(identity, Identity):
                found[identity.xid] = identity
            elif identity == "ECID":
                return _bad_ecid(code)
            else:
                unusable.append(code)
    for field in fields:
        if field.primary and not described:
            described, primaries = True, []
        for value in _scalars(record, field.path):
            identity = resolver.identity(field.namespace, str(value))
            if field.primary:
                primaries.append(identity)
            if isinstance(identity, Identity):
                found[identity.xid] = identity
            elif identity == "ECID":
                return _bad_ecid(field.namespace)
            else:
                unusable.append(field.namespace)
    if len(found) > rules.RECORD_LIMIT:
        return Found((), None, refusal=f"the record has {len(found)} identities, the limit is {rules.RECORD_LIMIT}")
    primary, problem = _primary(primaries)
    return Found(tuple(found.values()), primary, problem, "", tuple(unusable))


def _bad_ecid(code: str) -> Found:
    return Found((), None, refusal="UPLIB-101003-400 Invalid ECID", unusable=(code,))


def _scalars(record: dict[str, Json], path: Sequence[str]) -> Iterable[Json]:
    """Return what `values_at` yields; most paths lead through objects to one scalar, and that is a short way."""
    value: Json = record
    for at, name in enumerate(path):
        if value.__class__ is not dict:
            return values_at(value, path[at:])
        value = value.get(name)
    return () if value is None else values_at(value, ()) if isinstance(value, list | dict) else (value,)


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
