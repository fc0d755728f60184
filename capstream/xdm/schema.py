"""The effective schema: one tree of fields in compatibility notation, all references resolved. Source: xdm.md 2, 3, 5."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from capstream.kernel.json import Json

Kind = Literal["string", "number", "long", "int", "short", "byte", "boolean", "date", "date-time", "array", "object", "map"]
"""The XDM types. Source: xdm.md 3."""

KINDS: frozenset[str] = frozenset(get_args(Kind))

INTEGER_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "byte": (-128, 127),
        "short": (-32768, 32767),
        "int": (-2147483648, 2147483647),
        "long": (-9007199254740991, 9007199254740991),
    }
)
"""Smallest and largest value of each integer type, narrowest type first."""

Behaviour = Literal["record", "time-series", "adhoc"]

_NO_FIELDS: Mapping[str, "Field"] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One node of a schema. Which members carry meaning depends on `kind`; the others stay at their defaults."""

    kind: Kind
    children: Mapping[str, "Field"] = field(default_factory=lambda: _NO_FIELDS)  #: members of an object, in schema order
    required: frozenset[str] = frozenset()  #: members an object must have
    items: "Field | None" = None  #: what an array holds
    values: "Field | None" = None  #: what a map holds
    minimum: float | int | None = None
    maximum: float | int | None = None
    exclusive_minimum: float | int | None = None
    exclusive_maximum: float | int | None = None
    min_length: int | None = None  #: as stated; validation takes 1 when nothing is stated
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    pattern: str | None = None  #: searched for, not matched whole
    enum: tuple[Json, ...] | None = None  #: the only values allowed
    suggested: Mapping[str, str] | None = None  #: value -> label (`meta:enum`); restricts nothing
    format: str | None = None  #: email, uri, uri-reference, ipv4, ipv6, ...; dates have kinds of their own
    title: str = ""
    description: str = ""
    default: Json = None  #: documentation value, never written into a record; None when there is none
    status: str = ""  #: `meta:status`: deprecated, experimental, ...
    xdm_field: str = ""  #: name in standard notation: `xdm:name`, `@id`
    source: str = ""  #: `$id` of the component the node came through, empty when none
    converted: bool = False  #: an object made from a name's prefix, such as `_repo`


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A class and its field groups composed into one tree."""

    id: str
    title: str
    behaviour: Behaviour
    class_id: str
    root: Field  #: kind object
    version: str = "1.0"


def find(root: Field, path: str) -> Field | None:
    """Return the field under a dotted path, or None; `[]` steps into array items, `*` into map values.

    Arrays and maps may also be stepped through without a mark: `productListItems.SKU` finds the item's member.
    """
    node: Field | None = root
    for name in path.replace("[]", "").replace("[*]", "").split("."):
        node = _enter(node)
        if node is None:
            return None
        node = node.values if node.kind == "map" else node.children.get(name)
    return node


def leaves(root: Field, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield (dotted path, field) for every node that is no object, `[]` for array items and `{key}` for map values."""
    for name, child in root.children.items():
        yield from _walk(f"{prefix}.{name}" if prefix else name, child)


def _walk(path: str, node: Field) -> Iterator[tuple[str, Field]]:
    if node.kind == "object":
        yield from leaves(node, path)
        return
    yield path, node
    if node.items is not None and node.items.kind in {"object", "array", "map"}:
        yield from _walk(f"{path}[]", node.items)
    if node.values is not None and node.values.kind in {"object", "array", "map"}:
        yield from _walk(f"{path}.{{key}}", node.values)


def _enter(node: Field | None) -> Field | None:
    while node is not None and node.kind == "array":
        node = node.items
    return node
