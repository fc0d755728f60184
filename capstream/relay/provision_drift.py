"""What is there compared with what is wanted, member by member. Pure. Source: schema-registry.md (which changes are breaking)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.kernel.json import Json

_ATTRIBUTE_TYPES = frozenset({"", "ATTRIBUTE", "TEXT/X.SCHEMA-PATH"})
_MOST_NAMED = 5


@dataclass(slots=True)
class Drift:
    """How a document of the Schema Registry differs from the wanted one."""

    added: list[tuple[str, Json]] = field(default_factory=list)  #: (JSON pointer, value): missing there; may always be added
    changed: list[tuple[str, Json]] = field(default_factory=list)  #: (JSON pointer, value): breaking once data or Profile use it
    extra: list[str] = field(default_factory=list)  #: JSON pointers: nobody wants them any more; stay

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.extra)

    def operations(self, *, breaking: bool) -> list[dict[str, Json]]:
        """Return the JSON Patch that brings the document up to date; without `breaking` only what may always be done."""
        operations = [{"op": "add", "path": path, "value": value} for path, value in self.added]
        if breaking:
            operations += [{"op": "replace", "path": path, "value": value} for path, value in self.changed]
        return operations


def field_group(wanted: Mapping[str, Json], found: Mapping[str, Json]) -> Drift:
    """Compare the definitions of two field groups. What the registry adds of its own accord is no difference."""
    drift = Drift()
    _compare(wanted.get("definitions") or {}, found.get("definitions") or {}, "/definitions", drift)
    return drift


def _compare(wanted: Mapping[str, Json], found: Mapping[str, Json], path: str, drift: Drift) -> None:
    names = path.endswith(("/properties", "/definitions"))
    for name, value in wanted.items():
        place = f"{path}/{_escaped(name)}"
        if name not in found:
            (drift.added if names else drift.changed).append((place, value))
        elif isinstance(value, dict) and isinstance(found[name], dict):
            _compare(value, found[name], place, drift)
        elif not _same(value, found[name]):
            drift.changed.append((place, value))
    if names:
        drift.extra += [f"{path}/{_escaped(name)}" for name in found if name not in wanted]


def _same(wanted: Json, found: Json) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return sorted(map(str, wanted)) == sorted(map(str, found))
    return bool(wanted == found)


def schema(wanted: Mapping[str, Json], found: Mapping[str, Json]) -> Drift:
    """Compare what two schemas are composed of."""
    there = set(_references(found))
    drift = Drift(added=[("/allOf/-", {"$ref": each}) for each in _references(wanted) if each not in there])
    drift.extra = sorted(there - set(_references(wanted)))
    return drift


def _references(document: Mapping[str, Json]) -> Iterator[str]:
    yield from (str(part["$ref"]) for part in document.get("allOf") or () if isinstance(part, dict) and "$ref" in part)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def rows(mappings: Json) -> list[tuple[str, str, str]]:
    """Return mapping rows as they count: kind, source, destination, in order (of two rows for a field the last holds)."""
    return [
        (_kind(row), _text(row, "source", "sourceAttribute"), _text(row, "destination", "destinationXdmPath"))
        for row in mappings or ()
    ]


def _kind(row: Mapping[str, Json]) -> str:
    said = str(row.get("sourceType") or "").upper()
    return "ATTRIBUTE" if said in _ATTRIBUTE_TYPES else "EXPRESSION"


def _text(row: Mapping[str, Json], *names: str) -> str:
    return next((str(row[name]) for name in names if row.get(name) is not None), "")


def rows_told(wanted: Json, found: Json) -> str:
    """Return how two sets of mapping rows differ, empty when they do not."""
    new, old = rows(wanted), rows(found)
    if new == old:
        return ""
    targets = {each[2]: each for each in old}
    added = [each[2] for each in new if each[2] not in targets]
    changed = [each[2] for each in new if each[2] in targets and targets[each[2]] != each]
    gone = [each[2] for each in old if each[2] not in {one[2] for one in new}]
    parts = (("add", added), ("change", changed), ("drop", gone))
    return "; ".join(f"{word} {named(found)}" for word, found in parts if found) or "another order of rows"


def told(drift: Drift) -> str:
    """Return a drift in words."""
    parts = (
        ("add", [_field(path, value) for path, value in drift.added]),
        ("change", [_field(path) for path, _ in drift.changed]),
        ("no longer wanted, stays", [_field(path) for path in drift.extra]),
    )
    return "; ".join(f"{word} {named(found)}" for word, found in parts if found)


def _field(path: str, value: Json = None) -> str:
    if isinstance(value, dict) and "$ref" in value:
        return str(value["$ref"])
    inside = path.replace("/properties/", "/").removeprefix("/definitions/").replace("~1", "/").replace("~0", "~")
    return inside.partition("/")[2].replace("/", ".") or inside if path.startswith("/") else path


def named(found: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more
