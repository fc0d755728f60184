"""PATCH of a resource: the forms clients send, in normal form, all or nothing. Source: schema-registry.md 5.6. Pure."""

from copy import deepcopy

import jsonpatch

from capstream.aep.schema_registry.definitions import tidy
from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.kernel.json import Json

_NAMED = frozenset({"properties", "definitions"})
_IGNORED = ("/meta:extends",)  #: follows from allOf by itself


def patched(document: dict[str, Json], body: Json) -> dict[str, Json]:
    """Return the document after the operations. Errors: Refusal 1600 when one cannot be carried out; nothing happens then."""
    steps = [body] if isinstance(body, dict) else body
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise Refusal(Faults.BAD_REQUEST, "The body must be an array of JSON Patch operations.")
    found = deepcopy(document)
    for step in steps:
        try:
            found = _apply(found, _normal(found, tidy(step)))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError, TypeError, ValueError) as error:
            raise Refusal(Faults.BAD_REQUEST, f"{step.get('op')} {step.get('path')}: {error}") from None
    if "meta:immutableTags" in document:
        found.setdefault("meta:immutableTags", [])  # taken off on purpose: the writer refuses
    return found


def _apply(document: dict[str, Json], step: dict[str, Json] | None) -> dict[str, Json]:
    if step is None:
        return document
    if step["op"] == "add":
        _make_parents(document, step["path"])
    result: dict[str, Json] = jsonpatch.apply_patch(document, [step], in_place=True)
    return result


def _normal(document: dict[str, Json], step: dict[str, Json]) -> dict[str, Json] | None:
    path = step.get("path")
    if not isinstance(path, str) or step.get("op") not in {"add", "remove", "replace", "move", "copy", "test"}:
        raise ValueError("expected op (add, remove, replace, move, copy, test) and path")
    path = path if path.startswith("/") else f"/{path}"
    if path.startswith(_IGNORED):
        return None
    value = step.get("value")
    if path == "/meta:immutableTags-":
        path = "/meta:immutableTags/-"
    if path.startswith("/meta:immutableTags/"):
        document.setdefault("meta:immutableTags", [])
    if step["op"] == "add" and path == "/allOf" and isinstance(value, dict):
        path = "/allOf/-"
    if step["op"] == "add" and path == "/meta:immutableTags" and isinstance(value, str):
        step = {**step, "value": [value]}
    return {**step, "path": path}


def _make_parents(document: Json, path: str) -> None:
    """Create the objects on the way to an added member. ASSUMPTION: missing parents are no error for `add`."""
    at, holds_names = document, False
    for part in path.split("/")[1:-1]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list):
            at, holds_names = at[int(name)], False
        else:
            at = at.setdefault(name, {"type": "object"} if holds_names else {})
            holds_names = name in _NAMED and not holds_names
