"""RFC 6902 patches as Catalog takes them: tolerant of a missing target. Pure. Source: catalog.md 4, 8; gateway.md 7."""

from collections.abc import Sequence
from copy import deepcopy

from capstream.kernel.json import Json

_MISSING = object()


class Refused(ValueError):
    """The write cannot be applied; the text says where and why."""


def patched(document: dict[str, Json], operations: Sequence[Json]) -> dict[str, Json]:
    """Return the document after every operation. Errors: Refused names the first operation that cannot be applied.

    Departures from the RFC that clients rely on: `op` in any case, `replace` adds what is missing, `add` makes missing
    parents.
    """
    result: dict[str, Json] = deepcopy(document)
    for number, operation in enumerate(operations):
        where = f"operation {number}"
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise Refused(f"{where}: must be an object with op, path and value.")
        verb, path = str(operation.get("op", "")).lower(), operation["path"]
        if verb in {"add", "replace", "test"} and "value" not in operation:
            raise Refused(f"{where}: {verb} {path} needs a value.")
        if verb in {"move", "copy"} and not isinstance(operation.get("from"), str):
            raise Refused(f"{where}: {verb} {path} needs from.")
        _apply(result, verb, operation, where)
    return result


def _apply(document: dict[str, Json], verb: str, operation: dict[str, Json], where: str) -> None:
    tokens = _tokens(operation["path"], where)
    if verb in {"add", "replace"}:
        _put(document, tokens, deepcopy(operation["value"]), (verb == "add", where))
    elif verb == "remove":
        _take(document, tokens, where)
    elif verb == "test":
        if _look(document, tokens) != operation["value"]:
            raise Refused(f"{where}: test {operation['path']} failed.")
    elif verb in {"move", "copy"}:
        source = _tokens(operation["from"], where)
        value = _look(document, source)
        if value is _MISSING:
            raise Refused(f"{where}: {operation['from']} does not exist.")
        if verb == "move":
            _take(document, source, where)
        _put(document, tokens, deepcopy(value), (True, where))
    else:
        raise Refused(f"{where}: op {verb or 'missing'} is none of add, replace, remove, test, move, copy.")


def _tokens(path: str, where: str) -> list[str]:
    if not path.startswith("/") or path == "/":
        raise Refused(f"{where}: path {path!r} must start with a slash and name a member.")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _look(document: Json, tokens: Sequence[str]) -> Json:
    for token in tokens:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and token.isdecimal() and int(token) < len(document):
            document = document[int(token)]
        else:
            return _MISSING
    return document


def _put(document: dict[str, Json], tokens: Sequence[str], value: Json, how: tuple[bool, str]) -> None:
    inserts, where = how
    parent: Json = document
    for token in tokens[:-1]:
        if isinstance(parent, dict):
            parent = parent.setdefault(token, {})
        elif isinstance(parent, list):
            parent = parent[_index(token, len(parent) - 1, where)]
        else:
            break
    last = tokens[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and inserts:
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), where), value)
    elif isinstance(parent, list):
        parent[_index(last, len(parent) - 1, where)] = value
    else:
        raise Refused(f"{where}: {'/'.join(tokens)} leads through a value that has no members.")


def _take(document: dict[str, Json], tokens: Sequence[str], where: str) -> None:
    parent = _look(document, tokens[:-1])
    if isinstance(parent, dict) and tokens[-1] in parent:
        del parent[tokens[-1]]
    elif isinstance(parent, list):
        del parent[_index(tokens[-1], len(parent) - 1, where)]
    else:
        raise Refused(f"{where}: /{'/'.join(tokens)} does not exist.")


def _index(token: str, highest: int, where: str) -> int:
    if not token.isdecimal() or int(token) > highest:
        raise Refused(f"{where}: {token} is no index of an array with {highest + 1} places.")
    return int(token)
