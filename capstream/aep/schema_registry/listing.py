"""Order, pages and filters of lists. Source: schema-registry.md 3. Pure."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.kernel.json import Json

MOST = 500
_ABSENT = re.compile(r"\s*|\{\{.*\}\}")
_CONDITION = re.compile(r"(?P<name>[^=!<>~]+)(?:(?P<operator>==|!=|<=|>=|<|>|~)(?P<value>.*))?", re.DOTALL)
_ORDERED: dict[str, Callable[[Json, Json], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_METADATA = {"created": "repo:createdDate", "updated": "repo:lastModifiedDate"}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `next` is the `start` of the following one, None when there is none."""

    items: Sequence[dict[str, Json]]
    orderby: str
    next: str | None


def matching(items: Sequence[dict[str, Json]], filters: Sequence[str]) -> list[dict[str, Json]]:
    """Return the items that meet every condition. Errors: Refusal 1600 for a condition nobody can read."""
    found = list(items)
    for text in filters:
        for part in _conditions(text):
            wanted = _condition(part)
            found = [item for item in found if wanted(item)]
    return found


def page(items: Sequence[dict[str, Json]], *, orderby: str, limit: str, start: str) -> Page:
    """Return one page, ordered by the keys of `orderby`. Without a limit all items are one page.

    A page never ends between items of the same primary key, so that "strictly after `start`" loses none.
    """
    keys = [key.strip() for key in orderby.split(",") if key.strip()] or ["updated"]
    ordered = list(items)
    for key in reversed(keys):
        ordered.sort(key=partial(_sort_key, key.lstrip("-")), reverse=key.startswith("-"))
    first = keys[0].lstrip("-")
    if not _ABSENT.fullmatch(start):
        edge = _rank(_typed(start, sort_value(ordered[0], first)) if ordered else start)
        after = operator.lt if keys[0].startswith("-") else operator.gt
        ordered = [item for item in ordered if after(_rank(sort_value(item, first)), edge)]
    count = _limit(limit)
    if not count or count >= len(ordered):
        return Page(ordered, ",".join(keys), None)
    last = sort_value(ordered[count - 1], first)
    while count < len(ordered) and sort_value(ordered[count], first) == last:
        count += 1
    following = str(last) if count < len(ordered) else None
    return Page(ordered[:count], ",".join(keys), following)


def sort_value(item: dict[str, Json], name: str) -> Json:
    """Return what an item is ordered by: a top-level scalar, or `created`/`updated` from its metadata."""
    if name in _METADATA:
        return item.get("meta:registryMetadata", {}).get(_METADATA[name], item.get(name, 0))
    return item.get(name)


def _sort_key(name: str, item: dict[str, Json]) -> tuple[int, Json]:
    return _rank(sort_value(item, name))


def _limit(text: str) -> int:
    if _ABSENT.fullmatch(text):
        return 0
    if not text.isdigit() or int(text) > MOST:
        raise Refusal(Faults.BAD_REQUEST, f"limit: {text!r} must be a number from 0 to {MOST}.")
    return int(text)


def _typed(text: str, example: Json) -> Json:
    return int(text) if isinstance(example, int) and text.isdigit() else text


def _rank(value: Json) -> tuple[int, Json]:
    """Order values of different types: nothing, numbers, then texts."""
    if value is None or isinstance(value, list | dict):
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _conditions(text: str) -> list[str]:
    """Split at the commas that start another condition; a comma inside a value stays."""
    if _ABSENT.fullmatch(text):
        return []
    parts: list[str] = []
    for part in text.split(","):
        if parts and not re.match(r"\s*[@\w:.$/-]+\s*(==|!=|<=|>=|<|>|~)", part):
            parts[-1] += f",{part}"
        else:
            parts.append(part.strip())
    return parts


def _condition(text: str) -> Callable[[dict[str, Json]], bool]:
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise Refusal(Faults.BAD_REQUEST, f"property: {text!r} is no condition such as title==Profile.")
    name, sign, value = match["name"].strip(), match["operator"], match["value"]
    if sign is None:
        return lambda item: _value(item, name) is not None
    value = unquote(value.strip()) if "%" in value else value.strip()
    if _ABSENT.fullmatch(value):
        return lambda _item: True
    if sign == "~":
        return _like(name, value)
    if sign == "==":
        return lambda item: any(_same(one, value) for one in _values(item, name))
    if sign == "!=":
        return lambda item: not any(_same(one, value) for one in _values(item, name))
    return lambda item: any(_compare(one, value, sign) for one in _values(item, name))


def _like(name: str, pattern: str) -> Callable[[dict[str, Json]], bool]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Refusal(Faults.BAD_REQUEST, f"property: {pattern!r} is no regular expression: {error}.") from None
    return lambda item: any(compiled.search(str(one)) for one in _values(item, name))


def _values(item: dict[str, Json], name: str) -> list[Json]:
    value = _value(item, name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _value(item: Json, name: str) -> Json:
    """Return a top-level member, or what a dotted or slashed path leads to."""
    if name in item:
        return item[name]
    for part in re.split(r"[./]", name):
        if not isinstance(item, dict):
            return None
        item = item.get(part)
    return item


def _same(one: Json, text: str) -> bool:
    if isinstance(one, bool):
        return str(one).lower() == text.lower()
    return str(one) == text


def _compare(one: Json, text: str, sign: str) -> bool:
    try:
        return _ORDERED[sign](float(one), float(text))
    except (TypeError, ValueError):
        return _ORDERED[sign](str(one), text)
