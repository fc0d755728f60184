"""The operations of every service as facts, one TOML file per service; the gateway's router is built from them.

An entry has `id`, `method`, `path` and may have `permission` and `sandboxed = false`. A permission is names between blanks,
any one of which is enough; several such groups between commas are all needed. A path parameter is `{name}`; `{name...}` takes
the rest of the path, slashes included.
"""

import tomllib
from collections.abc import Iterable
from importlib.resources import files

from capstream.aep.call import Operation

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_KEYS = frozenset({"id", "method", "path", "permission", "sandboxed"})


def load() -> tuple[Operation, ...]:
    """Return every operation of every table in this folder, in the order of service names."""
    tables = sorted((entry for entry in files(__name__).iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return tuple(operation for table in tables for operation in parse(table.name.removesuffix(".toml"), table.read_text("utf-8")))


def parse(service: str, text: str) -> tuple[Operation, ...]:
    """Return the operations of one table. Errors: ValueError names the entry that is wrong and why."""
    operations = tuple(_operation(service, entry) for entry in tomllib.loads(text).get("operation", []))
    _refuse_repeated(service, (operation.id for operation in operations))
    _refuse_repeated(service, (f"{operation.method} {operation.path}" for operation in operations))
    return operations


def _operation(service: str, entry: dict[str, object]) -> Operation:
    where = f"operations/{service}.toml: {entry.get('id', entry)}"
    if unknown := entry.keys() - _KEYS:
        raise ValueError(f"{where}: unknown members {sorted(unknown)}; known are {sorted(_KEYS)}")
    texts = {key: entry.get(key, "") for key in ("id", "method", "path", "permission")}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["id"]:
        raise ValueError(f"{where}: id, method, path and permission must be strings and id must not be empty")
    if texts["method"] not in METHODS:
        raise ValueError(f"{where}: method {texts['method']!r} is none of {sorted(METHODS)}")
    if not str(texts["path"]).startswith("/"):
        raise ValueError(f"{where}: path {texts['path']!r} must start with a slash")
    sandboxed = entry.get("sandboxed", True)
    return Operation(service=service, sandboxed=bool(sandboxed), **{key: str(value) for key, value in texts.items()})


def _refuse_repeated(service: str, keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"operations/{service}.toml: {key} stands there twice")
        seen.add(key)
