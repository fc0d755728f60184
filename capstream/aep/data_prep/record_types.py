"""Types for the records of one mapping set: a message decoded into them holds what the set reads, and nothing else is made.

Decoding fails for a record of another shape; that record is decoded whole then. Values that rows take as they are stay plain
JSON: only what is stepped through has a type of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from capstream.aep.data_prep.exact_types import exact_type
from capstream.aep.data_prep.reads import Read
from capstream.aep.data_prep.shape import NoShape
from capstream.lang.emit import Environment
from capstream.lang.nodes import Name


def record_type(root: Read, flats: dict[str, str], env: Environment) -> type:
    """Return the type of a record, and note in the tree which steps have one; `flats`: root keys with dots, and their attributes.

    Errors: NoShape when a key cannot be an attribute.
    """
    root.typed = True
    try:
        return _object([root], flats, env)
    except (TypeError, ValueError) as error:
        raise NoShape("a key that cannot be an attribute") from error


def flat_keys(root: Read) -> Iterator[str]:
    """Yield the root keys that stand for whole paths."""
    for node in root.below.values():
        yield from (below.flat for below in node.used_below() if below.flat is not None)


def _object(nodes: Sequence[Read], flats: dict[str, str], env: Environment) -> type:
    readers: dict[str, list[Read]] = {}
    for node in nodes:
        for step, below in node.below.items():
            assert isinstance(step, Name)  # noqa: S101 - others make the node plain
            readers.setdefault(step.text, []).append(below)
    fields: list[tuple[str, Any, Any]] = []
    keys: dict[str, str] = {}
    for key in {**readers, **flats}:
        attribute = flats.get(key) or env.fresh("p")
        keys[attribute] = key
        here = readers.get(key, [])
        for reader in here:
            reader.attribute = attribute
        kind = Any if key in flats else _kind(here, env)
        unset = key in flats or any(reader.null_flag for reader in here)
        fields.append((attribute, kind, msgspec.UNSET if unset else None))
    return msgspec.defstruct("Record", fields, rename=keys, gc=False)


def _kind(readers: Sequence[Read], env: Environment) -> Any:
    """Return the type of what several paths read at one place: a copy, an object, an array of objects, or plain JSON."""
    copied = _copied(readers)
    if copied is not None:
        return copied
    if any(reader.wanted or reader.null_flag for reader in readers):
        return Any
    names = any(isinstance(step, Name) for reader in readers for step in reader.below)
    elements = [element for reader in readers for element in _elements(reader)]
    if names:
        if elements or any(reader.counted for reader in readers):
            return Any
        _mark(readers)
        return _object(readers, {}, env) | None
    if not elements or any(element.used or not _has_names_only(element) for element in elements):
        return Any
    _mark([*readers, *elements])
    return list[_object(elements, {}, env)] | None  # type: ignore[misc]


def _copied(readers: Sequence[Read]) -> Any:
    """Return the type of what one row alone copies, or None."""
    if len(readers) != 1 or len(readers[0].copies) != 1:
        return None
    (reader,) = readers
    if reader.converted or reader.null_flag or reader.below or reader.items is not None:
        return None
    (target,) = reader.copies.values()
    kind = exact_type(target)
    reader.exact = kind is not None
    return None if kind is None else kind | None


def _elements(reader: Read) -> list[Read]:
    found = [below for step, below in reader.below.items() if not isinstance(step, Name)]
    return found if reader.items is None else [*found, reader.items]


def _has_names_only(node: Read) -> bool:
    return all(isinstance(step, Name) for step in node.below)


def _mark(nodes: Iterable[Read]) -> None:
    for node in nodes:
        node.typed = True


__all__ = ["flat_keys", "record_type"]
