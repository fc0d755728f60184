"""The quick half of validation: the rules lowered to plain JSON Schema for jsonschema-rs, an engine in Rust.

A record it accepts is valid beyond doubt. One it does not accept may still be valid (an unusual URI): the
exact half decides. So the lowered schema may be stricter than the rules, never laxer. Why: docs/adr/0006.
"""

import re
from collections.abc import Callable

import jsonschema_rs

from capstream.kernel.json import Json
from capstream.xdm.formats import CHECKS, SURE
from capstream.xdm.schema import INTEGER_RANGES, Field
from capstream.xdm.violations import bounds, mandatory

_NOTHING = False  #: the schema no value fits: the exact half decides about all of them

_CLASS = r"\[\^?(?:[A-Za-z0-9_.,:;@#%+*/ ]|(?<!-)-(?!-)|\\[.\-/+*])+\]"
_ATOM = rf"(?:[A-Za-z0-9_\-,:;@#%'\"!=<>/ ^$|.]|\((?!\?)|\)|\\[.\-/+*?()\[\]{{}}|^$\\dw]|{_CLASS})"
ALIKE = re.compile(rf"(?:{_ATOM}(?:[*+?]|\{{\d+(?:,\d*)?\}})?\??(?![*+?{{]))*")
"""Patterns that Python's engine and Rust's read alike: no look-around, no Unicode classes, no possessive quantifiers."""


def compile_sure(root: Field) -> Callable[[Json], bool]:
    """Return a function that tells whether a record is valid beyond doubt."""
    options = jsonschema_rs.RegexOptions()
    accepts = jsonschema_rs.Draft7Validator(_lowered(root), validate_formats=False, pattern_options=options).is_valid

    def sure(record: Json) -> bool:
        try:
            return bool(accepts(record))
        except ValueError:  # nested too deep for the engine, or a value JSON does not know
            return False

    return sure


def _lowered(field: Field) -> Json:
    kind = field.kind
    if kind in {"string", "date", "date-time"}:
        return _text(field)
    if kind in INTEGER_RANGES or kind == "number":
        return _number(field)
    if kind == "boolean":
        return {"type": "boolean"} if field.enum is None else _NOTHING
    if kind == "map":
        return {"type": "object", "additionalProperties": True if field.values is None else _lowered(field.values)}
    if kind == "array":
        limits = {"minItems": field.min_items, "maxItems": field.max_items}
        return {"type": "array", "items": True if field.items is None else _lowered(field.items), **_stated(limits)}
    return {
        "type": "object",
        "properties": {name: _lowered(child) for name, child in field.children.items()},
        "required": sorted(mandatory(field)),
        "additionalProperties": False,
    }


def _text(field: Field) -> Json:
    name = (field.format or "") if field.kind == "string" else field.kind
    sure = SURE.get(name)
    if (name in CHECKS and sure is None) or (field.pattern is not None and not ALIKE.fullmatch(field.pattern)):
        return _NOTHING
    if field.enum is not None and not all(isinstance(value, str) for value in field.enum):
        return _NOTHING
    patterns = [{"pattern": pattern} for pattern in (field.pattern, sure and f"^(?:{sure})$") if pattern is not None]
    least = 1 if field.min_length is None else field.min_length
    found = {"type": "string", "minLength": least, **_stated({"maxLength": field.max_length, "enum": field.enum})}
    return {**found, "allOf": patterns} if len(patterns) > 1 else {**found, **(patterns[0] if patterns else {})}


def _number(field: Field) -> Json:
    if field.enum is not None:
        return _NOTHING
    low, high = bounds(field)
    above, below = field.exclusive_minimum, field.exclusive_maximum
    limits = {"minimum": low, "maximum": high, "exclusiveMinimum": above, "exclusiveMaximum": below}
    return {"type": "integer" if field.kind in INTEGER_RANGES else "number", **_stated(limits)}


def _stated(rules: dict[str, Json]) -> dict[str, Json]:
    return {name: list(rule) if isinstance(rule, tuple) else rule for name, rule in rules.items() if rule is not None}
