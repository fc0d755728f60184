"""Draws a schema as a tree of text, and words what a field holds."""

from collections.abc import Iterator

from capstream.xdm.schema import Field

_MOST_VALUES = 6


def tree(root: Field, *, depth: int = 0, marks: dict[str, str] | None = None) -> Iterator[str]:
    """Yield one line per field under `root`; `depth` limits the levels (0 = all), `marks` adds notes to `/paths`."""
    yield from _level(root, "", "", depth or 10_000, marks or {})


def _level(field: Field, path: str, indent: str, depth: int, marks: dict[str, str]) -> Iterator[str]:
    if depth == 0:
        return
    last = len(field.children) - 1
    for index, (name, child) in enumerate(field.children.items()):
        branch, below = ("└── ", "    ") if index == last else ("├── ", "│   ")
        here = f"{path}/{name}"
        note = f"  ← {marks[here]}" if here in marks else ""
        star = " *" if name in field.required else ""
        title = f'  "{child.title}"' if child.title else ""
        yield f"{indent}{branch}{name}{star}: {described(child)}{title}{note}"
        yield from _level(_inside(child), here, indent + below, depth - 1, marks)


def _inside(field: Field) -> Field:
    """Return what an array's items or a map's values are, however deep; other fields as they are."""
    while (inner := field.items if field.kind == "array" else field.values if field.kind == "map" else None) is not None:
        field = inner
    return field


def described(field: Field) -> str:
    """Return the type of a field and its rules: `array of string, email, at most 40 characters`."""
    if field.kind == "array":
        return "array" if field.items is None else f"array of {described(field.items)}"
    if field.kind == "map":
        return "map" if field.values is None else f"map of {described(field.values)}"
    rules = [field.kind, *_rules(field)]
    return ", ".join(rules)


def _rules(field: Field) -> Iterator[str]:
    if field.format:
        yield field.format
    if field.minimum is not None or field.maximum is not None:
        low = "" if field.minimum is None else str(field.minimum)
        yield f"{low}..{'' if field.maximum is None else field.maximum}"
    if field.max_length is not None:
        yield f"at most {field.max_length} characters"
    if field.pattern is not None:
        yield f"pattern {field.pattern}"
    if field.enum is not None:
        yield f"one of {_listed([str(value) for value in field.enum])}"
    elif field.suggested:
        yield f"suggested {_listed(list(field.suggested))}"
    if field.default is not None:
        yield f"default {field.default}"
    if field.status == "deprecated":
        yield "deprecated"


def _listed(values: list[str]) -> str:
    more = len(values) - _MOST_VALUES
    return "|".join(values[:_MOST_VALUES]) + (f" and {more} more" if more > 0 else "")
