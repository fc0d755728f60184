"""Reads the compact notation of `components/*.toml` into JSON Schema properties.

One line is one field, two blanks deeper than its parent:

    xdm:payload object "Payload"
      xdm:payloadType! string enum=boolean|number "Payload Type"
    xdm:segmentMembership ->context/segmentmembership{}{}

A line holds: the standard name (`!` when required); the type, which is a scalar, a string format, `object` or `->` and
the id of a data type, followed by `[]` for "array of" and `{}` for "map of" as often as they apply, innermost first;
constraints `key=value`; titles, outermost first. A backslash at the end continues the line without a blank.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from capstream.kernel.json import Json
from capstream.xdm.names import XDM

_JSON_TYPES = frozenset({"string", "number", "integer", "boolean", "object"})
_NUMBERS = {"min": "minimum", "max": "maximum", "above": "exclusiveMinimum", "minLength": "minLength", "maxLength": "maxLength"}
_ITEM_COUNTS = frozenset({"minItems", "maxItems"})
_TYPE = re.compile(r"(?P<base>.+?)(?P<wraps>(?:\[\]|\{\})*)")
_LITERALS = {"true": True, "false": False}


class OutlineError(ValueError):
    """A line of a component outline cannot be read."""


@dataclass(frozen=True, slots=True)
class _Line:
    depth: int
    name: str
    required: bool
    type: str
    constraints: dict[str, str]
    titles: list[str]


def absolute(reference: str) -> str:
    """Return the `$id` behind a short reference: `context/profile`, or a full URI as it is."""
    return reference if "://" in reference else XDM + reference


def properties(outline: str) -> tuple[dict[str, Json], list[str]]:
    """Return (properties, names of the required ones) in standard notation. Errors: OutlineError names the line."""
    lines = [_parse(line) for line in _joined(outline.splitlines())]
    return _block(lines, 0, len(lines), 0)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    held = ""
    for line in lines:
        text = held + (line.lstrip() if held else line)
        if text.endswith("\\"):
            held = text[:-1]
            continue
        held = ""
        if text.strip():
            yield text


def _parse(line: str) -> _Line:
    depth, odd = divmod(len(line) - len(line.lstrip(" ")), 2)
    quoted = set(re.findall(r'"([^"]*)"', line))
    words = shlex.split(line)
    if odd or len(words) < 2:
        raise OutlineError(f"{line.strip()!r}: expected `name type`, indented by pairs of blanks")
    constraints: dict[str, str] = {}
    titles: list[str] = []
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if word in quoted or not equals:
            titles.append(word)
        else:
            constraints[key] = value
    return _Line(depth, words[0].removesuffix("!"), words[0].endswith("!"), words[1], constraints, titles)


def _block(lines: list[_Line], start: int, stop: int, depth: int) -> tuple[dict[str, Json], list[str]]:
    found: dict[str, Json] = {}
    required: list[str] = []
    at = start
    while at < stop:
        line = lines[at]
        if line.depth != depth:
            raise OutlineError(f"{line.name}: indented too far")
        end = next((n for n in range(at + 1, stop) if lines[n].depth <= depth), stop)
        members = _block(lines, at + 1, end, depth + 1) if end > at + 1 else None
        found[line.name] = _node(line, members)
        if line.required:
            required.append(line.name)
        at = end
    return found, required


def _node(line: _Line, members: tuple[dict[str, Json], list[str]] | None) -> dict[str, Json]:
    match = _TYPE.fullmatch(line.type)
    if match is None:
        raise OutlineError(f"{line.name}: {line.type!r} is no type")
    wraps = re.findall(r"\[\]|\{\}", match["wraps"])
    node = _base(match["base"])
    if members is not None:
        node["properties"] = members[0]
        if members[1]:
            node["required"] = members[1]
    for key, text in line.constraints.items():
        if key not in _ITEM_COUNTS and key != "status":
            node.update(_constraint(line.name, key, text))
    nodes = [node]
    for wrap in wraps:
        node = {"type": "array", "items": node} if wrap == "[]" else _map_of(node)
        nodes.append(node)
    node.update({key: int(text) for key, text in line.constraints.items() if key in _ITEM_COUNTS})
    if "status" in line.constraints:
        node["meta:status"] = line.constraints["status"]
    for titled, title in zip(reversed(nodes), line.titles, strict=False):
        if title:
            titled["title"] = title
    return node


def _base(token: str) -> dict[str, Json]:
    if token.startswith("->"):
        return {"$ref": absolute(token[2:])}
    return {"type": token} if token in _JSON_TYPES else {"type": "string", "format": token}


def _map_of(node: Json) -> dict[str, Json]:
    return {"type": "object", "meta:xdmType": "map", "additionalProperties": node}


def _constraint(name: str, key: str, text: str) -> dict[str, Json]:
    if key in _NUMBERS:
        return {_NUMBERS[key]: float(text) if "." in text else int(text)}
    if key == "enum":
        values = text.split("|")
        return {"enum": values, "meta:enum": {value: label(value) for value in values}}
    if key == "suggest":
        return {"meta:enum": {value: label(value) for value in text.split("|")}}
    if key == "default":
        return {"default": _LITERALS.get(text, text)}
    if key == "pattern":
        return {"pattern": text}
    raise OutlineError(f"{name}: unknown constraint {key!r}")


def label(value: str) -> str:
    """Return a readable label of an enum value: `credit_card` is `Credit Card`."""
    if "://" in value:
        value = value.rsplit("/", 1)[-1]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[_.\-/]+", " ", value)).split()
    return " ".join(word[:1].upper() + word[1:] for word in words)
