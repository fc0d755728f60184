"""What changed between two schemas, and which changes break what depends on them. Source: schema-registry.md 6."""

from collections.abc import Iterator
from dataclasses import dataclass

from capstream.xdm.schema import Field

_ENUM_BECAME = "an existing field cannot become an enum"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. A breaking one is refused once data or Profile depend on the schema."""

    path: str  #: `/loyalty/points`, `/` for the record itself; `[*]` steps into items, `/*` into map values
    text: str
    breaking: bool


def changes(old: Field, new: Field, path: str = "") -> Iterator[Change]:
    """Yield the changes from `old` to `new` in the order of the old fields, new ones after them."""
    here = path or "/"
    if old.kind != new.kind:
        yield Change(here, f"the type cannot change from {old.kind} to {new.kind}", True)
        return
    if (old.format or "") != (new.format or ""):
        yield Change(here, f"the format cannot change from {old.format or 'none'} to {new.format or 'none'}", True)
    yield from _bounds(old, new, here)
    yield from _values(old, new, here)
    yield from _texts(old, new, here)
    yield from _members(old, new, path)
    if old.items is not None and new.items is not None:
        yield from changes(old.items, new.items, f"{path}[*]")
    if old.values is not None and new.values is not None:
        yield from changes(old.values, new.values, f"{path}/*")


def _members(old: Field, new: Field, path: str) -> Iterator[Change]:
    for name, child in old.children.items():
        if name not in new.children:
            yield Change(f"{path}/{name}", "the field cannot be removed, renamed or moved", True)
        else:
            yield from changes(child, new.children[name], f"{path}/{name}")
    for name, child in new.children.items():
        if name not in old.children:
            yield Change(f"{path}/{name}", f"new field, {child.kind}", False)
    for name in new.children:
        if name in new.required and name not in old.required:
            yield Change(f"{path}/{name}", "now required: later records without it are rejected", False)
        if name in old.required and name not in new.required:
            yield Change(f"{path}/{name}", "no longer required", False)


def _bounds(old: Field, new: Field, here: str) -> Iterator[Change]:
    lower = (
        ("minimum", old.minimum, new.minimum),
        ("exclusiveMinimum", old.exclusive_minimum, new.exclusive_minimum),
        ("minLength", _least(old), _least(new)),
        ("minItems", old.min_items, new.min_items),
    )
    for name, before, after in lower:
        if after is not None and (before is None or after > before):
            yield Change(here, f"{name} cannot be raised to {after}", True)
        elif after != before:
            yield Change(here, f"{name} lowered from {before} to {'none' if after is None else after}", False)
    upper = (
        ("maximum", old.maximum, new.maximum),
        ("exclusiveMaximum", old.exclusive_maximum, new.exclusive_maximum),
        ("maxLength", old.max_length, new.max_length),
        ("maxItems", old.max_items, new.max_items),
    )
    for name, before, after in upper:
        if after is not None and (before is None or after < before):
            yield Change(here, f"{name} cannot be lowered to {after}", True)
        elif after != before:
            yield Change(here, f"{name} raised from {before} to {'none' if after is None else after}", False)


def _least(field: Field) -> int:
    """Return the fewest characters validation takes: one where nothing is stated."""
    return 1 if field.min_length is None else field.min_length


def _values(old: Field, new: Field, here: str) -> Iterator[Change]:
    if new.pattern is not None and new.pattern != old.pattern:
        yield Change(here, "the pattern of an existing field cannot be added or changed", True)
    elif new.pattern != old.pattern:
        yield Change(here, "the pattern is gone", False)
    before, after = set(map(str, old.enum or ())), set(map(str, new.enum or ()))
    if old.enum is None and new.enum is not None:
        yield Change(here, _ENUM_BECAME, True)
    elif old.enum is not None and new.enum is None:
        yield Change(here, "the enum becomes suggested values", False)
    elif lost := [str(value) for value in old.enum or () if str(value) not in after]:
        yield Change(here, f"enum values cannot be removed: {', '.join(lost)}", True)
    if old.enum is not None and new.enum is not None and after - before:
        yield Change(here, f"new enum values: {', '.join(sorted(after - before))}", False)
    elif old.enum is None and new.enum is None and dict(old.suggested or {}) != dict(new.suggested or {}):
        yield Change(here, "other suggested values", False)


def _texts(old: Field, new: Field, here: str) -> Iterator[Change]:
    if new.status == "deprecated" != old.status:
        yield Change(here, "deprecated", False)
    for name, before, after in (("title", old.title, new.title), ("description", old.description, new.description)):
        if before != after:
            yield Change(here, f"{name}: {before!r} becomes {after!r}", False)
