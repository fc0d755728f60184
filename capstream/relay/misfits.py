"""Errors of members that do not fit their type: which member, why, and what would fit."""

import types
from collections.abc import Iterator
from typing import Literal, Union, get_args, get_origin

import msgspec

from capstream.kernel.errors import InputError


def misfit(error: Exception, kind: type[msgspec.Struct], *, whole: str) -> InputError:
    """Return the error of a body that is no `kind`; `whole` names the body where no member is to blame."""
    reason, _, place = str(error).partition(" - at `$")
    names = [name.partition("[")[0] for name in place.strip("`.").split(".") if name]
    found = _at(kind, names)
    unknown = reason.partition("unknown field `")[2].rstrip("`")
    path = ".".join([*names, unknown] if unknown else names) or whole
    allowed = next((each for each in _inside(found) if get_origin(each) is Literal), None)
    if allowed is not None:
        return InputError(path, reason, f"one of {', '.join(map(str, get_args(allowed)))}")
    struct = next((each for each in _inside(found) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)
    if struct is not None:
        return InputError(path, reason, f"its members are {', '.join(_members(struct))}")
    return InputError(path, reason, "send a value of that type")


def _at(kind: object, names: list[str]) -> object:
    for name in names:
        struct = next((each for each in _inside(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)
        if struct is None:
            return None
        kind = _members(struct).get(name)
    return kind


def _inside(kind: object) -> Iterator[object]:
    """Yield a type, or the types of a union."""
    yield from get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _members(struct: type[msgspec.Struct]) -> dict[str, object]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
