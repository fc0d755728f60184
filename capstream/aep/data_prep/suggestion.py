"""Proposals for mappings: which source field probably belongs to which destination. Pure.

Source: data-prep.md 1.9 (ASSUMPTION).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from capstream.aep.data_prep.rowplan import target_of
from capstream.xdm.schema import Field, Schema

LEAST_SCORE = 0.5
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SYNONYMS = {
    "mail": "email", "mobile": "phone", "sku": "item", "product": "item", "bill": "order", "transaction": "order", "slab": "tier"
}  # fmt: skip
_COMPATIBLE = {
    "string": {"string", "date", "date-time"},
    "integer": {"long", "int", "short", "byte", "number", "string", "date-time"},
    "number": {"number", "string"},
    "boolean": {"boolean", "string"},
}

CERTAIN = (
    ("identityMap.email[*].id", "identityMap.email[0].id"),
    ("identityMap.email[*].primary", "identityMap.email[0].primary"),
    ("identityMap.email[*].authenticatedState", "identityMap.email[0].authenticatedState"),
    ("loyalty.points", "loyalty.points"),
    ("loyalty.tier", "loyalty.tier"),
    ("commerce.order.priceTotal", "commerce.order.priceTotal"),
    ("productLineItems[*].SKU", "productListItems[*].SKU"),
    ("productLineItems[*].name", "productListItems[*].name"),
    ("productLineItems[*].quantity", "productListItems[*].quantity"),
    ("productLineItems[*].priceTotal", "productListItems[*].priceTotal"),
    ("productLineItems[*].discountAmount", "productListItems[*].discountAmount"),
)
"""The rows that are certain for Capillary's payloads, proposed with score 1.0. Source: capillary.md 6.3."""


_CUSTOMARY = {
    "email": "personalEmail.address", "email address": "personalEmail.address", "email id": "personalEmail.address",
    "phone": "mobilePhone.number", "phone number": "mobilePhone.number", "phone phone": "mobilePhone.number",
    "birth date": "person.birthDate", "birthday": "person.birthDate", "dob": "person.birthDate", "gender": "person.gender",
    "first name": "person.name.firstName", "last name": "person.name.lastName", "full name": "person.name.fullName",
}  # fmt: skip
"""Where people keep what has such a name: the words of names alone would lead `email` to `emailFormat`. ASSUMPTION."""
_CUSTOMARY_SCORE = 0.9


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed ATTRIBUTE row."""

    source: str
    destination: str
    score: float


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: str
    kind: str
    words: frozenset[str]


def words(path: str) -> list[str]:
    """Return the normalised words of a path: split, lower case, synonyms replaced, plurals cut."""
    found = []
    for word in _WORD.findall(path):
        lower = word.lower()
        single = lower[:-1] if len(lower) > 3 and lower.endswith("s") and not lower.endswith("ss") else lower
        found.append(_SYNONYMS.get(single, single))
    return found


def leaves(schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield (path, kind) of every field a value can be mapped to, `[*]` after arrays of objects."""

    def visit(node: Field, path: str) -> Iterator[tuple[str, str]]:
        if node.kind == "array" and node.items is not None and node.items.kind in {"object", "map"}:
            yield from visit(node.items, f"{path}[*]")
        elif node.kind == "object":
            for name, child in node.children.items():
                yield from visit(child, f"{path}.{name}" if path else name)
        elif node.kind == "array":
            yield path, node.items.kind if node.items is not None else "string"
        elif node.kind != "map":
            yield path, node.kind

    yield from visit(schema.root, "")


def propose_for(sources: Mapping[str, str], schema: Schema) -> list[Proposal]:
    """Return the proposals for a source: the certain rows the schema has a place for, then what fits by name and type."""
    return propose(sources, schema, known=[pair for pair in CERTAIN if target_of(pair[1], schema).known])


def propose(sources: Mapping[str, str], schema: Schema, *, known: Sequence[tuple[str, str]] = ()) -> list[Proposal]:
    """Return the best destination of each source field that has one above the least score: the certain ones first,
    the others by score. No destination is proposed twice: it goes to the field that fits best.

    Shape: `sources` is path -> JSON type; `known` holds (source, destination) pairs that are certain.
    """
    result = [Proposal(path, destination, 1.0) for path, destination in known if path in sources]
    mapped, taken = {one.source for one in result}, {one.destination for one in result}
    targets = [_Leaf(path, kind, frozenset(words(path))) for path, kind in leaves(schema)]
    scores = ((_score(path, kind, leaf), leaf.path, path) for path, kind in sources.items() for leaf in targets)
    found = [one for one in scores if one[0] > LEAST_SCORE]
    for score, destination, path in sorted(found, key=lambda one: (-one[0], len(one[1]), one[1])):
        if path not in mapped and destination not in taken:
            result.append(Proposal(path, destination, round(score, 3)))
            mapped.add(path)
            taken.add(destination)
    return result


def _score(path: str, kind: str, leaf: _Leaf) -> float:
    own = frozenset(words(path))
    if not own or ("[*]" in path) < ("[*]" in leaf.path):
        return 0.0
    customary = "[*]" not in path and _CUSTOMARY.get(" ".join(words(path.rpartition(".")[2]))) == leaf.path
    least = _CUSTOMARY_SCORE if customary else 0.0
    overlap = len(own & leaf.words) / len(own | leaf.words)
    if overlap == 0:
        return least
    mine, other = path.rpartition(".")[2].lower(), leaf.path.rpartition(".")[2].lower()
    similarity = SequenceMatcher(None, mine, other).ratio()
    return max(least, 0.6 * overlap + 0.3 * similarity + 0.1 * (leaf.kind in _COMPATIBLE.get(kind, ())))
