"""PATCH bodies of the Flow Service: add, replace, remove on JSON documents. Pure. Source: gateway.md 7."""

from copy import deepcopy
from dataclasses import dataclass

from capstream.kernel.json import Json

OPERATIONS = frozenset({"add", "replace", "remove"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One operation of a PATCH body."""

    op: str
    steps: tuple[str, ...]
    value: Json = None

    @property
    def path(self) -> str:
        """Return the JSON pointer of the place."""
        return "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in self.steps)


class BadPatch(Exception):
    """The body is no patch of this service. `code` is the number of the error catalogue."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def changes_of(body: Json) -> list[Change]:
    """Return the operations of a body: an array of them, or a single one (the OpenAPI file shows an object).

    Errors: BadPatch 1405 (nothing to do), 1434 (operation), 1455 (path).
    """
    listed = [body] if isinstance(body, dict) else body
    if not isinstance(listed, list) or not listed:
        raise BadPatch(1405, "the body must be an array of {op, path, value} with at least one element")
    return [_change(each) for each in listed]


def _change(each: Json) -> Change:
    if not isinstance(each, dict):
        raise BadPatch(1405, "every element of the body must be an object {op, path, value}")
    op = str(each.get("op") or "").lower()
    if op not in OPERATIONS:
        raise BadPatch(1434, f"op {each.get('op')!r} is not supported; use add, replace or remove")
    path = each.get("path")
    if not isinstance(path, str) or not path.strip("/"):
        raise BadPatch(1455, "path is missing; name the member to change, for example /name")
    if op != "remove" and "value" not in each:
        raise BadPatch(1405, f"value is missing for {op} {path}")
    return Change(op=op, steps=_steps(path), value=each.get("value"))


def _steps(path: str) -> tuple[str, ...]:
    raw = path.strip("/").split("/")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in raw)


def patched(document: dict[str, Json], changes: list[Change]) -> dict[str, Json]:
    """Return `document` after all changes; the argument stays as it is.

    Errors: BadPatch 1455 when a path leads into a value that has no members, or remove finds nothing.
    """
    result = deepcopy(document)
    for change in changes:
        _apply(result, change)
    return result


def _apply(document: dict[str, Json], change: Change) -> None:
    place: Json = document
    for step, following in zip(change.steps, change.steps[1:], strict=False):
        place = _enter(place, step, following, change)
    last = change.steps[-1]
    if isinstance(place, dict):
        _change_member(place, last, change)
    elif isinstance(place, list):
        _change_element(place, last, change)
    else:
        raise BadPatch(1455, f"path {change.path} leads into a value without members")


def _enter(place: Json, step: str, following: str, change: Change) -> Json:
    if isinstance(place, list):
        return place[_index(place, step, change)]
    if not isinstance(place, dict):
        raise BadPatch(1455, f"path {change.path} leads into a value without members")
    if place.get(step) is None:
        if change.op == "remove":
            raise BadPatch(1455, f"path {change.path} does not exist")
        # ASSUMPTION: intermediate objects are created; a step that only an array can take makes an array.
        place[step] = [] if following == "-" else {}
    return place[step]


def _change_member(place: dict[str, Json], name: str, change: Change) -> None:
    if change.op != "remove":
        place[name] = deepcopy(change.value)
    elif name in place:
        del place[name]
    else:
        raise BadPatch(1455, f"path {change.path} does not exist")


def _change_element(place: list[Json], step: str, change: Change) -> None:
    if change.op == "add" and (step == "-" or step == str(len(place))):
        place.append(deepcopy(change.value))
        return
    index = _index(place, step, change)
    if change.op == "remove":
        del place[index]
    elif change.op == "add":
        place.insert(index, deepcopy(change.value))
    else:
        place[index] = deepcopy(change.value)


def _index(place: list[Json], step: str, change: Change) -> int:
    if not step.isdecimal() or int(step) >= len(place):
        raise BadPatch(1455, f"path {change.path} names no element of an array of {len(place)}")
    return int(step)
