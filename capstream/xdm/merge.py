"""Puts two definitions of the same path together. Source: xdm.md 5 (3, 4)."""

from collections.abc import Sequence
from dataclasses import replace

from capstream.xdm.schema import Field


class CompositionError(ValueError):
    """Components do not fit together. `path` is dotted, `code` tells the kinds apart for the service's catalogue."""

    def __init__(self, code: str, path: str, reason: str) -> None:
        super().__init__(f"{path or 'schema'}: {reason}")
        self.code = code  #: conflict, reference or definition
        self.path = path
        self.reason = reason


def merge(first: Field, second: Field, *, path: str = "", suggestions: bool = False) -> Field:
    """Return one field: objects by member, scalars by the first definition; `suggestions` adds up suggested values.

    Errors: CompositionError `conflict` when the types differ.
    """
    if first.kind != second.kind:
        raise CompositionError("conflict", path, f"is {first.kind} in one component and {second.kind} in another")
    if first.kind == "object":
        return _objects(first, second, path=path, suggestions=suggestions)
    if first.items is not None and second.items is not None:
        return replace(first, items=merge(first.items, second.items, path=f"{path}[]", suggestions=suggestions))
    if first.values is not None and second.values is not None:
        return replace(first, values=merge(first.values, second.values, path=f"{path}.{{key}}", suggestions=suggestions))
    if suggestions and second.suggested and first.enum is None:
        return replace(first, suggested={**second.suggested, **(first.suggested or {})})
    return first


def _objects(first: Field, second: Field, *, path: str, suggestions: bool) -> Field:
    children = dict(first.children)
    for name, child in second.children.items():
        here = f"{path}.{name}" if path else name
        known = children.get(name)
        children[name] = child if known is None else merge(known, child, path=here, suggestions=suggestions)
    return replace(
        first,
        children=children,
        required=first.required | second.required,
        title=first.title or second.title,
        description=first.description or second.description,
        source=first.source or second.source,
    )


def placed(path: Sequence[str], field: Field) -> Field:
    """Return an object that holds `field` under `path`, with prefix objects in between."""
    for name in reversed(path):
        field = Field(kind="object", children={name: field}, converted=True)
    return replace(field, converted=False)


def require(root: Field, path: Sequence[str]) -> Field:
    """Return `root` with the member under `path`, and everything on the way, required. Unknown paths change nothing."""
    name, *rest = path
    child = root.children.get(name)
    if child is None:
        return root
    if rest and child.kind == "object":
        child = require(child, rest)
    return replace(root, children={**root.children, name: child}, required=root.required | {name})
