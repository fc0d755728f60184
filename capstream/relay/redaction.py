"""Texts of other systems as they may stand in a log: an answer can quote the record it refuses. Source: capillary.md 7.8."""

import re

_VALUES = re.compile(
    r"""[^\s"'<>(),;:=]+@[^\s"'<>(),;]+   # an address
    | "[^"]*" | '[^']*' | «[^»]*»          # a quotation
    | \+?\d(?:[\s.-]?\d){5,}               # a number of a person, a card, a phone""",
    re.VERBOSE,
)


def without_values(text: str) -> str:
    """Return `text` with everything that may be a value of a record replaced by `…`."""
    return _VALUES.sub("…", text)
