"""What may not change once data or Profile depend on a schema. Source: schema-registry.md 6. Pure."""

from collections.abc import Iterator

from capstream.xdm.schema import Field


def breaking(old: Field, new: Field, path: str = "") -> Iterator[str]:
    """Yield `path: rule` for every change between two composed schemas that is not additive."""
    here = path or "/"
    if old.kind != new.kind:
        yield f"{here}: the type cannot change from {old.kind} to {new.kind}"
        return
    if (old.format or "") != (new.format or ""):
        yield f"{here}: the format cannot change from {old.format or 'none'} to {new.format or 'none'}"
    yield from (f"{here}: {rule}" for rule in _narrowed(old, new))
    for name, child in old.children.items():
        if name not in new.children:
            yield f"{path}/{name}: the field cannot be removed, renamed or moved"
        else:
            yield from breaking(child, new.children[name], f"{path}/{name}")
    if old.items is not None and new.items is not None:
        yield from breaking(old.items, new.items, f"{path}[*]")
    if old.values is not None and new.values is not None:
        yield from breaking(old.values, new.values, f"{path}/*")


def _narrowed(old: Field, new: Field) -> Iterator[str]:
    lower = (("minimum", old.minimum, new.minimum), ("minLength", old.min_length, new.min_length))
    for name, before, after in lower:
        if after is not None and (before is None or after > before) and not (name == "minLength" and after <= 1):
            yield f"{name} cannot be raised to {after}"
    upper = (("maximum", old.maximum, new.maximum), ("maxLength", old.max_length, new.max_length))
    for name, before, after in upper:
        if after is not None and (before is None or after < before):
            yield f"{name} cannot be lowered to {after}"
    if new.pattern is not None and new.pattern != old.pattern:
        yield "the pattern of an existing field cannot be added or changed"
    if new.enum is not None:
        lost = [value for value in old.enum or () if value not in new.enum]
        if old.enum is None:
            yield "an existing field cannot become an enum"
        elif lost:
            yield f"enum values cannot be removed: {', '.join(map(str, lost))}"
