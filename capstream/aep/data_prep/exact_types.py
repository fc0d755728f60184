"""Types of values that need no conversion to their field: decoded into one, a value is the object copy of its row already.

Decoding leaves out what the schema does not know, and fails where a member has to be converted, or is null. Source: data-prep.md
3.4, 4.2.
"""

from typing import Annotated, Any, TypedDict

from msgspec import Meta

from capstream.aep.data_prep.conversion import DAY, integer_range
from capstream.lang.dates import RFC3339
from capstream.xdm.schema import Field

_INT64 = 1 << 63

_SCALARS: dict[str, Any] = {
    "string": str,
    "number": Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)] | float,
    "boolean": bool,
    "date-time": Annotated[str, Meta(pattern=rf"\A(?:{RFC3339.pattern})\Z")],
    "date": Annotated[str, Meta(pattern=rf"\A(?:{DAY.pattern})\Z")],
}


def exact_type(field: Field | None) -> Any:
    """Return the type whose values are converted to the field already; None when there is no such type."""
    if field is None:
        return None
    match field.kind:
        case "array":
            items = exact_type(field.items)
            return None if items is None else list[items]  # type: ignore[valid-type]
        case "map":
            values = exact_type(field.values)
            return None if values is None else dict[str, values]  # type: ignore[valid-type]
        case "object":
            members = {name: exact_type(child) for name, child in field.children.items()}
            if not members or None in members.values():
                return None
            return TypedDict("Copied", members, total=False)  # type: ignore[operator]
        case kind if kind in _SCALARS:
            return _SCALARS[kind]
        case _:
            low, high = integer_range(field)
            return Annotated[int, Meta(ge=low, le=high)] if -_INT64 <= low <= high < _INT64 else None


__all__ = ["exact_type"]
