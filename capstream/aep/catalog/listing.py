"""Filters, order, paging and projection of Catalog lists. Pure. Source: gateway.md 5, 6; help/catalog/api/filter-data.md."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import regex

from capstream.aep.catalog.patching import Refused
from capstream.kernel.json import Json

Objects = Mapping[str, dict[str, Json]]
Condition = Callable[[str, dict[str, Json]], bool]

MOST = 100
_DEFAULT = 20
_MOST_WITH_SCHEMA = 20  # objects per page when `observableSchema` is asked for
_REGEX_TIME_S = 0.05
_OPERATOR = re.compile(r"~|==|!=|<=|>=|<|>")


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be asked of one collection."""

    simple: frozenset[str]  #: members that may be a query parameter `name=a,b` or `name=!a,b`
    ranges: Mapping[str, str]  #: `{createdAfter: created}`: parameters ending in After or Before
    special: Mapping[str, Callable[[str], Condition]]  #: parameters with a meaning of their own


def page(objects: Objects, query: Sequence[tuple[str, str]], kind: Kind) -> dict[str, dict[str, Json]]:
    """Return the objects a list request asks for: filtered, ordered, cut to the page, projected. Errors: Refused."""
    conditions = list(_conditions(query, kind))
    found = [(key, body) for key, body in objects.items() if all(holds(key, body) for holds in conditions)]
    values = dict(reversed(query))
    found = _ordered(found, values.get("orderBy") or values.get("sort") or "")
    start, limit = _window(values)
    members = wanted_members(values.get("properties", ""))
    if "observableSchema" in members:
        limit = min(limit, _MOST_WITH_SCHEMA)
    return {key: projected(body, members) for key, body in found[start : start + limit]}


def projected(body: dict[str, Json], members: Sequence[str]) -> dict[str, Json]:
    """Return only the asked-for top-level members that exist; everything when none is asked for."""
    return {name: body[name] for name in members if name in body} if members else body


def wanted_members(properties: str) -> list[str]:
    """Return the member names of a `properties` parameter."""
    return [name.strip() for name in properties.split(",") if name.strip()]


def _window(values: Mapping[str, str]) -> tuple[int, int]:
    limit, start = values.get("limit", str(_DEFAULT)), values.get("start", "0")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST:
        raise Refused(f"limit must be a number from 1 to {MOST}.")
    if not start.isdecimal():
        raise Refused("start must be a number from 0.")
    return int(start), int(limit)


def _conditions(query: Sequence[tuple[str, str]], kind: Kind) -> Iterable[Condition]:
    for name, value in query:
        if name == "property":
            yield _property(value)
        elif name == "tags":
            yield from (_tag(part) for part in value.split(",") if part)
        elif name in kind.special:
            yield kind.special[name](value)
        elif name in kind.ranges:
            yield _range(name, kind.ranges[name], value)
        elif name in kind.simple:
            yield _simple(name, value)


def _simple(name: str, value: str) -> Condition:
    negated = value.startswith("!")
    wanted = {part.strip().lower() for part in value.removeprefix("!").split(",")}
    return lambda _, body: (_text(body.get(name)).lower() in wanted) is not negated


def _range(parameter: str, member: str, value: str) -> Condition:
    try:
        bound = float(value)
    except ValueError as error:
        raise Refused(f"{parameter} must be a time in milliseconds.") from error
    if parameter.endswith("After"):
        return lambda _, body: isinstance(body.get(member), (int, float)) and body[member] > bound
    return lambda _, body: isinstance(body.get(member), (int, float)) and body[member] < bound


def _tag(condition: str) -> Condition:
    """Return the condition of `key:value`, `key:val*` or `key:*`."""
    key, colon, pattern = condition.partition(":")
    if not colon:
        raise Refused(f"tags={condition}: write key:value, key:val* or key:*.")

    def holds(_: str, body: dict[str, Json]) -> bool:
        values = [str(value) for value in body.get("tags", {}).get(key, ())]
        if pattern.endswith("*"):
            return any(value.startswith(pattern[:-1]) for value in values)
        return pattern in values

    return holds


def _property(expression: str) -> Condition:
    """Return the condition of `name`, `!name`, `name~^regex` or `name==value` and the other comparisons."""
    found = _OPERATOR.search(expression)
    if found is None:
        absent = expression.startswith("!")
        path = _path(expression.removeprefix("!"))
        return lambda _, body: bool(list(_values(body, path))) is not absent
    path, operator, value = _path(expression[: found.start()]), found.group(), expression[found.end() :].strip()
    test = _matching(value) if operator == "~" else _COMPARISONS[operator](value)
    if operator == "!=":
        return lambda _, body: all(test(one) for one in _values(body, path))
    return lambda _, body: any(test(one) for one in _values(body, path))


def _path(text: str) -> list[re.Pattern[str] | str]:
    """Return the steps of a dotted member path; `*` in a step stands for any text, `**` for a star."""
    steps: list[re.Pattern[str] | str] = []
    for step in text.strip().split("."):
        if "*" not in step:
            steps.append(step)
        else:
            literal = [re.escape(part).replace("\0", r"\*") for part in step.replace("**", "\0").split("*")]
            steps.append(re.compile(".*".join(literal)))
    return steps


def _values(value: Json, path: Sequence[re.Pattern[str] | str]) -> Iterable[Json]:
    """Yield every value the path leads to; arrays are looked through."""
    if isinstance(value, list):
        for element in value:
            yield from _values(element, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        step = path[0]
        names = [step] if isinstance(step, str) else [name for name in value if step.fullmatch(name)]
        for name in names:
            if name in value:
                yield from _values(value[name], path[1:])


def _matching(pattern: str) -> Callable[[Json], bool]:
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise Refused(f"property: {pattern} is no regular expression: {error}") from error

    def test(value: Json) -> bool:
        try:
            return compiled.search(_text(value), timeout=_REGEX_TIME_S) is not None
        except TimeoutError as error:
            raise Refused(f"property: {pattern} takes too long; make it simpler.") from error

    return test


def _compared(decide: Callable[[Json, Json], bool]) -> Callable[[str], Callable[[Json], bool]]:
    """Return a comparison with a text: as numbers when both sides are, else as texts."""

    def against(text: str) -> Callable[[Json], bool]:
        bare = text.strip('"')
        number = _number(bare)

        def test(value: Json) -> bool:
            mine = _number(value)
            return decide(mine, number) if mine is not None and number is not None else decide(_text(value), bare)

        return test

    return against


_COMPARISONS: Mapping[str, Callable[[str], Callable[[Json], bool]]] = {
    "==": _compared(lambda mine, other: bool(mine == other)),
    "!=": _compared(lambda mine, other: bool(mine != other)),
    "<": _compared(lambda mine, other: bool(mine < other)),
    "<=": _compared(lambda mine, other: bool(mine <= other)),
    ">": _compared(lambda mine, other: bool(mine > other)),
    ">=": _compared(lambda mine, other: bool(mine >= other)),
}


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _ordered(found: list[tuple[str, dict[str, Json]]], order: str) -> list[tuple[str, dict[str, Json]]]:
    """Return the objects sorted by `name,desc:created`; objects without the member come last. Errors: Refused."""
    for part in reversed(wanted_members(order)):
        direction, colon, name = part.partition(":")
        if colon and direction.lower() not in {"asc", "desc"}:
            raise Refused(f"orderBy: {direction} in {part} is no direction: write asc:{name} or desc:{name}.")
        member, descending = (name, direction.lower() == "desc") if colon else (part, False)
        have = [item for item in found if item[1].get(member) is not None]
        lack = [item for item in found if item[1].get(member) is None]
        have.sort(key=_sort_key(member), reverse=descending)
        found = have + lack
    return found


def _sort_key(member: str) -> Callable[[tuple[str, dict[str, Json]]], tuple[bool, float, str]]:
    def key(item: tuple[str, dict[str, Json]]) -> tuple[bool, float, str]:
        value = item[1][member]
        number = value if isinstance(value, (int, float)) else None
        return number is None, number or 0, "" if number is not None else _text(value)

    return key
