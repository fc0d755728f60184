"""How to mend a record that breaks a rule, in words. The messages themselves keep the platform's wording."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from capstream.kernel.json import Json
from capstream.xdm.schema import INTEGER_RANGES, Field

_CURES: Mapping[str, str] = MappingProxyType(
    {
        "type": "send the value in the type of the field, and leave the member out instead of null; a mapping can convert it",
        "required": "send the member, or map something to it",
        "additionalProperties": "leave the member out, map it to a field, or add the field with a field group",
        "enum": "send one of the values of the enum, or add the value to it",
        "minLength": "leave the member out instead of sending it empty",
        "maxLength": "shorten the text, or raise maxLength in the field group",
        "pattern": "bring the text into the form of the pattern",
        "format": "bring the text into the form of the format; date-times need date, T, time and zone",
        "minimum": "send a larger number, or lower the minimum in the field group",
        "maximum": "send a smaller number, or choose a wider integer type",
        "minItems": "send more items, or leave the member out",
        "maxItems": "send fewer items, or raise maxItems in the field group",
    }
)

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "date": "send year, month and day alone, such as 2024-06-01",
        "date-time": "send date, T, time and zone, such as 2024-06-01T10:15:30Z, or format it in the mapping",
        "time": "send hours, minutes and seconds, such as 10:15:30Z",
        "email": "send an address such as member-0001@example.com, or leave the member out",
        "uri": "send a URI with its scheme, such as https://example.com/a; write a blank as %20",
        "uri-reference": "write a blank as %20, ^ as %5E; what stands before a first colon must be a scheme: capillary:700123:1",
        "ipv4": "send four numbers from 0 to 255, such as 192.0.2.1",
        "ipv6": "send an IPv6 address such as 2001:db8::1",
    }
)
_MOST_LISTED = 12


def cure(keyword: str) -> str:
    """Return what helps against a violation of the keyword, when no more than the keyword is known."""
    return _CURES.get(keyword, "send a value the field allows")


def of_type(field: Field, value: Json) -> str:
    """Return how to send a value of another type."""
    kind = field.kind
    if value is None:
        return "leave the member out: XDM has no null"
    if kind in {"string", "date", "date-time"}:
        return "send it as a text in quotes, or convert it in the mapping"
    if kind == "array":
        return "send a list, also of a single value: [...]"
    if kind in {"object", "map"}:
        return "send an object: {...}"
    if kind == "boolean":
        return "send true or false, without quotes, or convert it in the mapping"
    if kind in INTEGER_RANGES and isinstance(value, float):
        return "send a whole number, or round it in the mapping"
    return "send a number without quotes, or convert it in the mapping"


def of_format(name: str) -> str:
    """Return how a text of the format looks."""
    return _FORMS.get(name, f"send a text in the form of {name}")


def one_of(values: Iterable[Json]) -> str:
    """Return which values an enum allows."""
    every = [str(value) for value in values]
    more = f" or one of {len(every) - _MOST_LISTED} more" if len(every) > _MOST_LISTED else ""
    return f"send one of {', '.join(every[:_MOST_LISTED])}{more}, or add the value to the enum in the field group"


def missing(field: Field, name: str) -> str:
    """Return what to send for a required member."""
    return f"send {name} ({field.children[name].kind}), or map something to it"


def unknown(field: Field, name: str) -> str:
    """Return what to do with a member the schema does not have; names the member that was probably meant."""
    bare = name.rpartition(":")[2]
    near = [bare] if bare in field.children else get_close_matches(name, field.children, n=1, cutoff=0.75)
    meant = f"send it as {near[0]}, " if near else ""
    return f"{meant}{cure('additionalProperties')}"


def too_short(least: int) -> str:
    """Return what to do about a text under its least length."""
    return cure("minLength") if least <= 1 else f"send at least {least} characters, or lower minLength in the field group"


def out_of_range(field: Field, low: float | None, high: float | None) -> str:
    """Return which numbers fit."""
    ends = ([f"from {low}"] if low is not None else []) + ([f"to {high}"] if high is not None else [])
    wider = ", or choose a wider integer type" if field.kind in INTEGER_RANGES and field.kind != "long" else ""
    return f"send a number {' '.join(ends)}{wider}"
