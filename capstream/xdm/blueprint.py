"""Schemas as code: what a file describes, and the bodies the Schema Registry takes for it. No file and no server in here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.xdm.catalogue import standard_id
from capstream.xdm.names import XDM
from capstream.xdm.outline import OutlineError, properties

TENANT = "_tenant"
"""Stands for the organisation's own object in the paths of a file: `_tenant/visit/code` is `_capstream/visit/code` here."""

_BEHAVIOURS = {"record": XDM + "data/record", "time-series": XDM + "data/time-series"}
_PARTS = {"dataTypes": "datatypes", "classes": "classes", "fieldGroups": "fieldgroups"}
_MEMBERS = {
    "namespaces": {"code", "name", "type", "description"},
    "dataTypes": {"title", "description", "fields"},
    "classes": {"title", "description", "behaviour", "fields"},
    "fieldGroups": {"title", "description", "classes", "fields"},
    "schemas": {"title", "description", "class", "fieldGroups", "identities", "descriptors", "profile"},
}

Resolve = Callable[[str], str]
"""Returns the `$id` behind a title, an id or a short name. Errors: InputError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A data type, a class or a field group."""

    kind: str  #: as in the paths of the API: datatypes, classes, fieldgroups
    title: str
    description: str
    fields: dict[str, Json]  #: JSON Schema properties; `$ref`s as the file has them
    required: tuple[str, ...] = ()
    extends: tuple[str, ...] = ()  #: behaviour of a class, classes of a field group, as the file names them

    def body(self, tenant: str, resolve: Resolve) -> dict[str, Json]:
        """Return the body that creates it."""
        body: dict[str, Json] = {"title": self.title, "description": self.description, "type": "object"}
        own: dict[str, Json] = {"type": "object", "properties": _resolved(self.fields, resolve)}
        if self.required:
            own["required"] = list(self.required)
        if self.kind == "datatypes":
            return body | own
        local = {"$ref": "#/definitions/customFields", "type": "object"}
        parents = [{"$ref": resolve(name)} for name in self.extends]
        if self.fields:
            body["definitions"] = {"customFields": {"type": "object", "properties": {f"_{tenant}": own}}}
        if self.kind == "fieldgroups":
            return body | {"meta:intendedToExtend": [parent["$ref"] for parent in parents], "allOf": [local]}
        return body | {"allOf": parents + ([local] if self.fields else [])}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPlan:
    """A schema, what identifies its records, and whether Profile reads it."""

    title: str
    description: str
    class_name: str
    groups: tuple[str, ...]
    descriptors: tuple[dict[str, Json], ...]  #: without `xdm:sourceSchema`
    profile: bool

    def body(self, resolve: Resolve) -> dict[str, Json]:
        """Return the body that creates it."""
        references = dict.fromkeys(resolve(name) for name in (self.class_name, *self.groups))
        entries = [{"$ref": reference, "type": "object"} for reference in references]
        return {"title": self.title, "description": self.description, "type": "object", "allOf": entries}

    def descriptor_bodies(self, uri: str, tenant: str) -> list[dict[str, Json]]:
        """Return the descriptors of the schema once it has an `$id`."""
        return [_placed(body, tenant) | {"xdm:sourceSchema": uri, "xdm:sourceVersion": 1} for body in self.descriptors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What a file describes, in the order in which it can be made."""

    namespaces: tuple[dict[str, Json], ...] = ()  #: bodies of the Identity Service
    parts: tuple[Part, ...] = ()
    schemas: tuple[SchemaPlan, ...] = field(default=())


def read(document: Json) -> Blueprint:
    """Return what a decoded file describes. Errors: InputError names the place in it."""
    if not isinstance(document, dict):
        raise InputError("file", "it holds no mapping", f"the sections are {', '.join(_MEMBERS)}")
    for name in document:
        if name not in _MEMBERS:
            raise InputError(str(name), "no such section", f"the sections are {', '.join(_MEMBERS)}")
    return Blueprint(
        namespaces=tuple(_namespace(entry, place) for entry, place in _entries(document, "namespaces")),
        parts=tuple(_part(entry, place, section) for section in _PARTS for entry, place in _entries(document, section)),
        schemas=tuple(_schema(entry, place) for entry, place in _entries(document, "schemas")),
    )


def same(wanted: Json, stored: Json) -> bool:
    """Tell whether a stored resource already says what a body asks for; what the server computes is overlooked."""
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return _same_members(wanted, stored)
    if isinstance(wanted, list) and isinstance(stored, list):
        return len(wanted) == len(stored) and all(same(one, other) for one, other in zip(wanted, stored, strict=True))
    return bool(wanted == stored)


_COMPARED = (
    *("title", "description", "format", "pattern", "enum", "default", "minimum", "maximum", "minLength", "maxLength"),
    *("required", "meta:enum", "meta:status", "properties", "definitions", "items", "additionalProperties", "allOf", "$ref"),
)


def _same_members(wanted: dict[str, Json], stored: dict[str, Json]) -> bool:
    if any(bool(stored.get(name)) and not wanted.get(name) for name in _COMPARED):
        return False
    for name, value in wanted.items():
        if name in {"properties", "definitions"} and set(value) != set(stored.get(name) or {}):
            return False
        if name in {"required", "meta:intendedToExtend"}:
            if set(value) != set(stored.get(name) or []):
                return False
        elif not same(value, stored.get(name)) and (value or stored.get(name)):
            return False
    return True


def _entries(document: dict[str, Json], section: str) -> list[tuple[dict[str, Json], str]]:
    found = [] if document.get(section) is None else document[section]
    if not isinstance(found, list):
        raise InputError(section, "it must be a list", "start every entry with `- `")
    for number, entry in enumerate(found):
        place = f"{section}[{number}]"
        if not isinstance(entry, dict):
            raise InputError(place, "it must be a mapping")
        if unknown := sorted(set(entry) - _MEMBERS[section]):
            raise InputError(f"{place}.{unknown[0]}", "no such member", f"an entry has {', '.join(sorted(_MEMBERS[section]))}")
    return [(entry, f"{section}[{number}]") for number, entry in enumerate(found)]


def _text(entry: Mapping[str, Json], name: str, place: str, default: str | None = None) -> str:
    value = entry.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise InputError(f"{place}.{name}", "a text is needed")
    return value


def _texts(entry: Mapping[str, Json], name: str, place: str) -> tuple[str, ...]:
    value = entry.get(name) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InputError(f"{place}.{name}", "a list of texts is needed")
    return tuple(value)


def _namespace(entry: dict[str, Json], place: str) -> dict[str, Json]:
    code = _text(entry, "code", place)
    return {
        "code": code,
        "name": _text(entry, "name", place, code),
        "idType": _text(entry, "type", place, "CROSS_DEVICE"),
        "description": _text(entry, "description", place, ""),
    }


def _part(entry: dict[str, Json], place: str, section: str) -> Part:
    fields, required = _fields(entry.get("fields") or {}, f"{place}.fields")
    extends = _texts(entry, "classes", place)
    if section == "classes":
        behaviour = _text(entry, "behaviour", place, "record")
        if behaviour not in _BEHAVIOURS:
            raise InputError(f"{place}.behaviour", f"{behaviour!r} is none", "record or time-series")
        extends = (_BEHAVIOURS[behaviour],)
    elif not fields:
        raise InputError(f"{place}.fields", "at least one field is needed")
    return Part(
        kind=_PARTS[section],
        title=_text(entry, "title", place),
        description=_text(entry, "description", place, ""),
        fields=fields,
        required=required,
        extends=extends,
    )


def _fields(value: Json, place: str) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Read fields: an outline (text), or name -> one line of an outline or a JSON Schema definition."""
    try:
        if isinstance(value, str):
            found, required = properties(value)
            return found, tuple(required)
        if not isinstance(value, dict):
            raise InputError(place, "fields are an outline (text) or a mapping of names")
        return _named_fields(value)
    except (OutlineError, ValueError, IndexError) as error:
        raise InputError(place, str(error), 'one field a line: `name type key=value "Title"`, two blanks per level') from error


def _named_fields(value: dict[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
    made: dict[str, Json] = {}
    required: list[str] = []
    for name, definition in value.items():
        if isinstance(definition, dict):
            made[name] = definition
        else:
            found, needed = properties(f"{name} {definition}")
            made |= found
            required += needed
    return made, tuple(required)


def _schema(entry: dict[str, Json], place: str) -> SchemaPlan:
    identities = entry.get("identities") or []
    more = entry.get("descriptors") or []
    for name, found in (("identities", identities), ("descriptors", more)):
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise InputError(f"{place}.{name}", "a list of mappings is needed")
    for number, each in enumerate(more):
        _text(each, "@type", f"{place}.descriptors[{number}]")
    described = [_identity(each, f"{place}.identities[{number}]") for number, each in enumerate(identities)]
    profile = entry.get("profile", False)
    if not isinstance(profile, bool):
        raise InputError(f"{place}.profile", "true or false is needed")
    return SchemaPlan(
        title=_text(entry, "title", place),
        description=_text(entry, "description", place, ""),
        class_name=_text(entry, "class", place),
        groups=_texts(entry, "fieldGroups", place),
        descriptors=(*described, *more),
        profile=profile,
    )


def _identity(entry: dict[str, Json], place: str) -> dict[str, Json]:
    primary = entry.get("primary", False)
    if not isinstance(primary, bool):
        raise InputError(f"{place}.primary", "true or false is needed")
    return {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceProperty": _text(entry, "path", place),
        "xdm:namespace": _text(entry, "namespace", place),
        "xdm:property": "xdm:code",
        "xdm:isPrimary": primary,
    }


def _placed(body: dict[str, Json], tenant: str) -> dict[str, Json]:
    path = body.get("xdm:sourceProperty")
    if isinstance(path, str):
        return body | {"xdm:sourceProperty": _own(path, tenant)}
    if isinstance(path, list):
        return body | {"xdm:sourceProperty": [_own(str(each), tenant) for each in path]}
    return body


def _own(path: str, tenant: str) -> str:
    steps: Sequence[str] = (path if "/" in path else path.replace(".", "/")).strip("/").split("/")
    return "/" + "/".join(f"_{tenant}" if step == TENANT else step for step in steps)


def _resolved(node: Json, resolve: Resolve) -> Json:
    if isinstance(node, list):
        return [_resolved(item, resolve) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _resolved(value, resolve) for key, value in node.items()}
    if isinstance(node.get("$ref"), str):
        found["$ref"] = resolve(node["$ref"].removeprefix(XDM))
        found.setdefault("type", "object")
    return found


def standard(name: str) -> str | None:
    """Return the `$id` a name stands for without asking a server: an `$id` itself, or a standard component."""
    return standard_id(name) or (name if "://" in name else None)
