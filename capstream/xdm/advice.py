"""How to mend a record that breaks a rule, in words."""

from collections.abc import Mapping
from types import MappingProxyType

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
    }
)


def cure(keyword: str) -> str:
    """Return what helps against a violation of the keyword."""
    return _CURES.get(keyword, "send a value the field allows")
