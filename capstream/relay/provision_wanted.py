"""What a connection should be: names, schemas, mappings and the sandbox, read from one document or as they are by default.

The document is what `capstream connect init` writes and `capstream connect capillary FILE` reads; docs/howto/connect-as-code.md
explains each member.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, loads

_PERMISSIONS = (
    "manage-schemas",
    "manage-datasets",
    "manage-identity-namespaces",
    "manage-profiles",
    "manage-sources",
)
_FILES = {
    "profile": ("capillary-profile-schema.json", "capillary-member.json", "profile.json", "Profiles"),
    "event": ("capillary-events-schema.json", "capillary-event.json", "transaction.json", "Events"),
}
_MEMBERS = frozenset({"source", "sandbox", "baseConnection", "permissions", "profile", "event", "relay"})
_HALF_MEMBERS = frozenset({"schema", "schemaFile", "fieldGroup", "fieldGroupFile", "dataset", "dataflow", "mapping"})

LoadFile = Callable[[str], Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One of the two dataflows and what belongs to it alone. Documents hold `{TENANT_ID}` where the tenant's name goes."""

    kind: str  #: profile or event
    schema: Json  #: body of the schema
    field_group: Json  #: body of the field group the schema names as `{CAPILLARY_...}`
    dataset: str
    dataflow: str
    mapping_name: str
    mapping: Json  #: the rows
    replaces_mapping: bool = False  #: whether the rows of an existing dataflow give way; only when they were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A whole connection. `sandbox` empty means that of the credentials."""

    source: str = "capillary"
    sandbox: str = ""
    base_connection: str = "Capillary base connection"
    permissions: tuple[str, ...] = _PERMISSIONS
    settings: Mapping[str, Json] = field(default_factory=dict)  #: further members of the relay's source record
    profile: Half = field(default_factory=lambda: _packaged_half("profile"))
    event: Half = field(default_factory=lambda: _packaged_half("event"))
    is_declared: bool = False  #: a file says all of it; else further members of a record that is there already stay

    @property
    def halves(self) -> tuple[Half, Half]:
        """Both dataflows, profiles first."""
        return self.profile, self.event

    @property
    def mark(self) -> str:
        """What the descriptions of everything made for this connection end with; `--destroy` removes nothing without it."""
        return f"[capstream connect {self.source}]"


def packaged(folder: str, name: str) -> Json:
    """Return a JSON document of the package, its places not yet filled."""
    return loads((resources.files("capstream.relay") / folder / name).read_text("utf-8"))


def _packaged_half(kind: str) -> Half:
    schema_file, group_file, mapping_file, label = _FILES[kind]
    return Half(
        kind=kind,
        schema=packaged("schemas", schema_file),
        field_group=packaged("schemas", group_file),
        dataset=f"Capillary {label}",
        dataflow=f"Capillary {kind} dataflow",
        mapping_name=f"Capillary {kind} mapping",
        mapping=packaged("mappings", mapping_file),
    )


def default_document() -> dict[str, Json]:
    """Return the document that says what happens without one."""
    wanted = Wanted()
    halves = {
        half.kind: {
            "schema": half.schema["title"],
            "fieldGroup": half.field_group["title"],
            "dataset": half.dataset,
            "dataflow": half.dataflow,
        }
        for half in wanted.halves
    }
    return {
        "source": wanted.source,
        "sandbox": "prod",
        "baseConnection": wanted.base_connection,
        "permissions": list(wanted.permissions),
        **halves,
        "relay": {},
    }


def read(document: Json, load: LoadFile) -> Wanted:
    """Return the connection a document describes; `load` returns the content of a file the document names.

    Errors: InputError naming the member, the reason and the cure.
    """
    _members("", document, _MEMBERS)
    default = Wanted()
    permissions = document.get("permissions", list(default.permissions))
    if not isinstance(permissions, list) or not all(isinstance(name, str) for name in permissions):
        raise InputError("permissions", "it must be a list of names", "leave it out for the default list")
    settings = _given(document, "relay")
    _members("relay", settings, None)
    return Wanted(
        source=_text(document, "source", default.source),
        sandbox=_text(document, "sandbox", default.sandbox),
        base_connection=_text(document, "baseConnection", default.base_connection),
        permissions=tuple(permissions),
        settings=settings,
        profile=_half(_given(document, "profile"), default.profile, load),
        event=_half(_given(document, "event"), default.event, load),
        is_declared=True,
    )


def _half(document: Json, default: Half, load: LoadFile) -> Half:
    kind = default.kind
    _members(kind, document, _HALF_MEMBERS)
    dataflow = _text(document, "dataflow", default.dataflow, kind)
    return replace(
        default,
        schema=_body(document, "schema", default.schema, kind, load),
        field_group=_body(document, "fieldGroup", default.field_group, kind, load),
        dataset=_text(document, "dataset", default.dataset, kind),
        dataflow=dataflow,
        mapping_name=default.mapping_name if dataflow == default.dataflow else f"{dataflow} mapping",
        mapping=_rows(document.get("mapping"), f"{kind}.mapping", load) if "mapping" in document else default.mapping,
        replaces_mapping="mapping" in document,
    )


def _body(document: Json, member: str, default: Json, kind: str, load: LoadFile) -> Json:
    """Return the body of a schema or field group: that of `<member>File` or the default, titled as `member` says."""
    body = default
    if file := _text(document, f"{member}File", "", kind):
        body = load(file)
        if not isinstance(body, dict) or not isinstance(body.get("title"), str):
            raise InputError(f"{kind}.{member}File", f"{file} holds no object with a title", "see `capstream schema show --json`")
    return {**body, "title": _text(document, member, body["title"], kind)}


def _rows(mapping: Json, place: str, load: LoadFile) -> Json:
    found = load(mapping) if isinstance(mapping, str) else mapping
    rows = found.get("mappings") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not rows:
        raise InputError(place, "it holds no rows", "give a list of rows, or the name of a file with them")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not {"source", "destination"} <= row.keys():
            raise InputError(f"{place}[{number}]", "it needs source and destination", "see docs/howto/test-your-mappings.md")
    return [{"sourceType": "ATTRIBUTE", **row} for row in rows]


def _given(document: Json, member: str) -> Json:
    """Return a member with members; a name with nothing behind it is YAML for null."""
    value = document.get(member)
    return {} if value is None else value


def _members(place: str, document: Json, known: frozenset[str] | None) -> None:
    if not isinstance(document, dict):
        raise InputError(place or "document", "it must have named members", "`capstream connect init` writes an example")
    unknown = sorted(document.keys() - known) if known is not None else []
    if known is not None and unknown:
        raise InputError(f"{place}.{unknown[0]}".lstrip("."), "nobody knows this member", f"known are {', '.join(sorted(known))}")


def _text(document: Json, member: str, default: str, place: str = "") -> str:
    value = document.get(member, default)
    if not isinstance(value, str) or (member in document and not value):
        raise InputError(f"{place}.{member}".lstrip("."), "it must be a text that is not empty", "leave it out for the default")
    return value
