"""Which columns an object has in the lake. Pure, and without Arrow. Source: data-lake-and-query.md A3."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from capstream.xdm.schema import Field

_TEXT = Field(kind="string")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an object."""

    name: str
    field: Field
    members: tuple[str, ...]  #: members of a record whose value it takes, the first present one


def columns(field: Field) -> list[Column]:
    """Return the columns of an object, in schema order.

    Objects without members have none: Parquet cannot hold them. Names that differ only in case cannot stand side by side
    in the lake. The standard has such pairs where a misspelt field is deprecated (`POIID`, `poiID`): both fill one column,
    the current one first. Of two fields in use the later column gets a number: `name_1`.
    """
    groups: dict[str, list[str]] = {}
    for name, child in field.children.items():
        if storable(child):
            groups.setdefault(name.lower(), []).append(name)
    taken = set(groups)
    found = [column for names in groups.values() for column in _of_one_name(field, names, taken)]
    order = {name: position for position, name in enumerate(field.children)}
    return sorted(found, key=lambda column: order[column.members[0]])


def storable(field: Field) -> bool:
    """Tell whether a field has a column: all have, but objects with nothing in them."""
    if field.kind == "object":
        return any(storable(child) for child in field.children.values())
    return True


def content(inner: Field | None) -> Field:
    """Return what an array or map holds; text (of JSON) where the definition does not say or says nothing storable."""
    return inner if inner is not None and storable(inner) else _TEXT


def _of_one_name(field: Field, names: list[str], taken: set[str]) -> Iterator[Column]:
    current = [name for name in names if field.children[name].status != "deprecated"] or names[:1]
    first = field.children[current[0]]
    old = [name for name in names if name not in current and _shape(field.children[name]) == _shape(first)]
    yield Column(current[0], first, (current[0], *old))
    for name in names:
        if name != current[0] and name not in old:
            number = next(number for number in count(1) if f"{name}_{number}".lower() not in taken)
            taken.add(f"{name}_{number}".lower())
            yield Column(f"{name}_{number}", field.children[name], (name,))


def _shape(field: Field) -> object:
    """Return a value that is equal for fields with equal columns."""
    if field.kind == "object":
        return [(column.name, _shape(column.field)) for column in columns(field)]
    if field.kind == "array":
        return ("array", _shape(content(field.items)))
    if field.kind == "map":
        return ("map", _shape(content(field.values)))
    return field.kind
