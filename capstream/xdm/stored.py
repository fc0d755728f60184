"""The stored form of a component (`allOf`, `$ref`, `definitions` kept) with names in either notation."""

from collections.abc import Callable

from capstream.kernel.json import Json
from capstream.xdm.compose import kind_of
from capstream.xdm.merge import CompositionError
from capstream.xdm.names import compatible

_NAMED = ("properties", "definitions")
_TEXTS = ("title", "description")


def annotated(node: Json) -> Json:
    """Return the definition with `meta:xdmType` on every node that has a type."""

    def mark(inner: dict[str, Json]) -> dict[str, Json]:
        if "meta:xdmType" in inner or "type" not in inner:
            return inner
        try:
            return {**inner, "meta:xdmType": kind_of(inner)}
        except CompositionError:
            return inner

    return _mapped(node, mark)


def compatible_names(node: Json) -> Json:
    """Return the definition with the members of `properties` and `required` in compatibility notation."""

    def rename(inner: dict[str, Json]) -> dict[str, Json]:
        if not isinstance(inner.get("properties"), dict):
            if not inner.get("required"):
                return inner
            return {**inner, "required": [compatible(name)[0] for name in inner["required"]]}
        needed = set(inner.get("required") or [])
        members: dict[str, Json] = {}
        required: list[str] = []
        for name, child in inner["properties"].items():
            way = compatible(name)
            _place(members, way, _with_field(child, name, way), needed=name in needed)
            if name in needed and way[0] not in required:
                required.append(way[0])
        required += [compatible(name)[0] for name in inner.get("required") or [] if name not in inner["properties"]]
        return {**inner, "properties": members, **({"required": required} if required else {})}

    return _mapped(node, rename)


def without_texts(node: Json) -> Json:
    """Return the definition without titles and descriptions."""
    return _mapped(node, lambda inner: {key: value for key, value in inner.items() if not _is_text(key, value)})


def _is_text(key: str, value: Json) -> bool:
    return key in _TEXTS and isinstance(value, str)


def _with_field(child: Json, name: str, way: tuple[str, ...]) -> Json:
    return {**child, "meta:xdmField": name} if way != (name,) and isinstance(child, dict) else child


def _place(members: dict[str, Json], way: tuple[str, ...], child: Json, *, needed: bool) -> None:
    at = members
    for name in way[:-1]:
        holder = at.setdefault(name, {"type": "object", "meta:xdmType": "object", "meta:xedConverted": True, "properties": {}})
        if needed:
            holder["required"] = [*holder.get("required", []), way[-1]]
        at = holder["properties"]
    at[way[-1]] = child


def _mapped(node: Json, change: Callable[[dict[str, Json]], dict[str, Json]]) -> Json:
    """Return `node` with `change` applied to every definition in it, outermost last; names of members are left alone."""
    if not isinstance(node, dict):
        return node
    inner = dict(node)
    for key in _NAMED:
        if isinstance(inner.get(key), dict):
            inner[key] = {name: _mapped(child, change) for name, child in inner[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), dict):
            inner[key] = _mapped(inner[key], change)
    if isinstance(inner.get("allOf"), list):
        inner["allOf"] = [_mapped(entry, change) for entry in inner["allOf"]]
    return change(inner)
