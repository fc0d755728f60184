"""The closed list of methods on values. Source: data-prep.md 2.8; ASSUMPTION: closed, for safety."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from capstream.kernel.json import Json
from capstream.lang import matching
from capstream.lang.diagnostics import Fail
from capstream.lang.paths import element
from capstream.lang.text_functions import trim
from capstream.lang.values import equal, integer, kind, sized, strictly_equal, text


def _position(value: Json, length: int) -> int:
    at = integer(value)
    if not 0 <= at <= length:
        raise Fail(f"Position {at} is out of range 0 to {length}")
    return at


def _substring(receiver: str, start: Json, end: Json = None) -> str:
    last = len(receiver) if end is None else _position(end, len(receiver))
    return receiver[_position(start, last) : last]


def _char_at(receiver: str, at: Json) -> str:
    return receiver[_position(at, len(receiver) - 1)]


def _equals_ignore_case(receiver: str, other: Json) -> bool:
    """Say whether two texts differ in case only, character by character as Java does: "ß" is not "SS"."""
    if other.__class__ is not str or len(receiver) != len(other):
        return False
    lower = receiver.lower()
    if len(lower) == len(receiver) and lower == other.lower():
        return True
    pairs = zip(receiver, other, strict=True)
    lower = receiver.lower()
    if len(lower) == len(receiver) and lower == other.lower():
        return True
    pairs = zip(receiver, other, strict=True)
    return all(one == two or one.upper() == two.upper() or one.lower() == two.lower() for one, two in pairs)


def _java_replacement(replacement: str, match: matching.Found) -> str:
    """Return the replacement with `$1` filled in. Errors: Fail when the group does not exist."""
    if "$" not in replacement and "\\" not in replacement:
        return replacement
    parts: list[str] = []
    groups = (match.group(), *match.groups())
    at = 0
    while at < len(replacement):
        char = replacement[at]
        following = replacement[at + 1 : at + 2]
        if char == "\\" and following:
            parts.append(following)
            at += 2
        elif char == "$":
            if not (following.isascii() and following.isdigit()) or int(following) >= len(groups):
                raise Fail(f"No group ${following} in the regular expression")
            parts.append(groups[int(following)] or "")
            at += 2
        else:
            parts.append(char)
            at += 1
    return "".join(parts)


def _replace(receiver: str, pattern: Json, replacement: Json, *, limit: int | None = None) -> str:
    parts: list[str] = []
    at = size = 0
    for count, match in enumerate(matching.each(receiver, text(pattern))):
        if count == limit:
            break
        parts += (receiver[at : match.start()], _java_replacement(text(replacement), match))
        size += len(parts[-1])
        if size > 1 << 20:
            raise Fail("Result is larger than 1 MiB")
        at = match.end()
    return "".join([*parts, receiver[at:]])


def _literal_replace(receiver: str, find: Json, replacement: Json) -> str:
    found, put = text(find), text(replacement)
    if len(receiver) + receiver.count(found) * len(put) > 1 << 20:
        raise Fail("Result is larger than 1 MiB")
    return receiver.replace(found, put)


def _split(receiver: str, pattern: Json) -> list[str]:
    parts = matching.split(receiver, text(pattern))
    if len(parts) > 1:  # as in Java, only a text that was split loses its empty parts at the end, if need be all of them
        while parts and not parts[-1]:
            parts.pop()
    return parts


def _list_get(receiver: list[Json], at: Json) -> Json:
    return receiver[_position(at, len(receiver) - 1)]


def _list_index(receiver: list[Json], item: Json) -> int:
    return next((at for at, one in enumerate(receiver) if equal(one, item)), -1)


_STRING: dict[str, Callable[..., Json]] = {
    "contains": lambda receiver, part: text(part) in receiver,
    "startsWith": lambda receiver, part: receiver.startswith(text(part)),
    "endsWith": lambda receiver, part: receiver.endswith(text(part)),
    "length": len,
    "isEmpty": lambda receiver: not receiver,
    "toLowerCase": str.lower,
    "toUpperCase": str.upper,
    "trim": trim,
    "indexOf": lambda receiver, part, start=0: receiver.find(text(part), max(0, integer(start))),
    "lastIndexOf": lambda receiver, part: receiver.rfind(text(part)),
    "substring": _substring,
    "replace": _literal_replace,
    "replaceAll": _replace,
    "replaceFirst": lambda receiver, pattern, put: _replace(receiver, pattern, put, limit=1),
    "matches": lambda receiver, pattern: matching.matches(receiver, text(pattern)),
    "concat": lambda receiver, other: sized(receiver + text(other)),
    "charAt": _char_at,
    "split": _split,
}
_ARRAY: dict[str, Callable[..., Json]] = {
    "size": len,
    "isEmpty": lambda receiver: not receiver,
    "get": _list_get,
    "contains": lambda receiver, item: any(equal(one, item) for one in receiver),
    "indexOf": _list_index,
}
_MAP: dict[str, Callable[..., Json]] = {
    "get": lambda receiver, key: None if key is None else element(receiver, key if key.__class__ is str else text(key)),
    "containsKey": lambda receiver, key: key is not None and text(key) in receiver,
    "size": len,
    "isEmpty": lambda receiver: not receiver,
    "keySet": list,
    "values": lambda receiver: list(receiver.values()),
}
_ANY: dict[str, Callable[..., Json]] = {"equals": strictly_equal, "toString": text}
_SCALAR: dict[str, Callable[..., Json]] = {"equalsIgnoreCase": lambda receiver, other: _equals_ignore_case(text(receiver), other)}


@dataclass(frozen=True, slots=True)
class Arity:
    """How many arguments a method takes."""

    least: int
    most: int


ARITIES = {
    "equals": Arity(1, 1), "equalsIgnoreCase": Arity(1, 1), "contains": Arity(1, 1), "startsWith": Arity(1, 1),
    "endsWith": Arity(1, 1), "length": Arity(0, 0), "isEmpty": Arity(0, 0), "toLowerCase": Arity(0, 0),
    "toUpperCase": Arity(0, 0), "trim": Arity(0, 0), "indexOf": Arity(1, 2), "lastIndexOf": Arity(1, 1),
    "substring": Arity(1, 2), "replace": Arity(2, 2), "replaceAll": Arity(2, 2), "replaceFirst": Arity(2, 2),
    "matches": Arity(1, 1), "concat": Arity(1, 1), "charAt": Arity(1, 1), "split": Arity(1, 1), "toString": Arity(0, 0),
    "size": Arity(0, 0), "get": Arity(1, 1), "containsKey": Arity(1, 1), "keySet": Arity(0, 0), "values": Arity(0, 0),
}  # fmt: skip


_NULL_ARGUMENT = frozenset({"equals", "equalsIgnoreCase", "contains", "indexOf"})
"""Methods that look for null, or compare with it. A map has nothing under a null key."""

COSTLY_METHODS = frozenset({"matches", "replaceAll", "replaceFirst", "split"})
"""Methods that run a regular expression."""


def call_method(receiver: Json, name: str, *args: Json) -> Json:
    """Return the result of a method; null on a null receiver. Errors: Fail when the value has no such method."""
    if receiver is None:
        return None
    tables: tuple[dict[str, Callable[..., Json]], ...]
    if receiver.__class__ is str:
        tables = (_STRING, _ANY, _SCALAR)
    elif receiver.__class__ is list:
        tables = (_ARRAY, _ANY)
    elif receiver.__class__ is dict:
        tables = (_MAP, _ANY)
    elif isinstance(receiver, bool | int | float | datetime):
        tables = (_ANY, _SCALAR)
    else:
        tables = ()
    for table in tables:
        method = table.get(name)
        if method is not None:
            if any(arg is None for arg in args) and table is not _MAP and name not in _NULL_ARGUMENT:
                raise Fail(f"Argument of {name} is null")
            try:
                return method(receiver, *args)
            except TypeError as error:
                raise Fail(f"{name} does not take these arguments on {kind(receiver)}") from error
    raise Fail(f"{kind(receiver)} has no method {name}")
