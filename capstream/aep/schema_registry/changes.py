"""What may not change once data or Profile depend on a schema. Source: schema-registry.md 6. Pure."""

from collections.abc import Iterator

from capstream.xdm.diff import changes
from capstream.xdm.schema import Field


def breaking(old: Field, new: Field) -> Iterator[str]:
    """Yield `path: rule` for every change between two composed schemas that is not additive."""
    return (f"{change.path}: {change.text}" for change in changes(old, new) if change.breaking)
