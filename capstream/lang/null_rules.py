"""What each function makes of null, in words, with an expression that shows it. Source: data-prep.md 4.1 (N1), 5.2.

The rule of most functions is N1: a null first argument gives null. Here are those with a rule of their own, or with more to
say than N1.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from capstream.lang.signatures import Function


class NullRule(NamedTuple):
    """A rule, and an expression with its result that shows it."""

    text: str
    example: str
    result: str  #: as JSON


N1 = "`null`"
_DATE_PARTS = NullRule("any null gives null", 'make_date_time(2024, 1, 1, 0, 0, 0, 0, null)', "null")  # fmt: skip
_OBJECTS = NullRule("null array: its key is left out", "arrays_to_objects('a', [1], 'b', null)", '[{"a":1}]')
_FIRST = NullRule("null counts as a value; an empty array gives null", 'first(null, "a")', "null")
_EXTREME = NullRule("nulls are left out; none left: null", "max(null, 3, 1)", "3")
_PATH = NullRule("true for an existing path whose value is null; a null path gives false", "contains_key(null)", "false")

RULES: Mapping[str, NullRule] = MappingProxyType(
    {
        "concat": NullRule("null counts as empty text; all null gives null", 'concat("a", null)', '"a"'),
        "replacestr": NullRule("null; a null or empty text to find, or a null replacement, changes nothing",
                               'replacestr("abc", null, "x")', '"abc"'),
        "split": NullRule("null; null characters split at white space", 'split("a b", null)', '["a","b"]'),
        "join": NullRule("null elements are skipped; a null list gives null", 'join("-", "a", null, "b")', '"a-b"'),
        "lpad": NullRule("null; a null or empty filling is one blank", 'lpad("a", 3, null)', '"  a"'),
        "rpad": NullRule("null; a null or empty filling is one blank", 'rpad("a", 3, null)', '"a  "'),
        "matches_regex": NullRule("null gives false", 'matches_regex(null, ".*")', "false"),
        "date": NullRule("null gives the default, and without one null", 'date(null, "yyyy-MM-dd")', "null"),
        "date_part": NullRule("null date gives null", 'date_part("yyyy", null)', "null"),
        "set_date_part": NullRule("null date gives null", 'set_date_part("yyyy", 2024, null)', "null"),
        "make_date_time": _DATE_PARTS,
        "make_timestamp": _DATE_PARTS,
        "is_empty": NullRule("null is empty: true", "is_empty(null)", "true"),
        "arrays_to_object": _OBJECTS,
        "arrays_to_objects": _OBJECTS,
        "to_object": NullRule("null values are kept; a null key is an error", 'to_object("a", null)', '{"a":null}'),
        "str_to_object": NullRule("null; null delimiters are the default ones", 'str_to_object("a:1", null)', '{"a":"1"}'),
        "get_values": NullRule("null; an absent key gives null, null delimiters are the default ones",
                               'get_values("a:1", "b", null)', "null"),
        "contains_key": _PATH,
        "is_set": _PATH,
        "map_has_keys": NullRule("null gives false", 'map_has_keys(null, "a")', "false"),
        "add_to_map": NullRule("null maps are skipped; all null gives null", 'add_to_map(null, {"a": 1})', '{"a":1}'),
        "object_to_map": NullRule("null gives null", "object_to_map(null)", "null"),
        "coalesce": NullRule("nulls are passed over; none left: null", "coalesce(null, null)", "null"),
        "first": _FIRST,
        "last": NullRule("null counts as a value; an empty array gives null", "last([])", "null"),
        "add_to_array": NullRule("a null array is an empty one; nulls are appended", "add_to_array(null, 1, null)", "[1,null]"),
        "join_arrays": NullRule("null arrays are skipped", "join_arrays(null, [1])", "[1]"),
        "to_array": NullRule("nulls are kept if the first argument is true, else dropped", "to_array(true, null, 1)", "[null,1]"),
        "size_of": NullRule("null has size 0", "size_of(null)", "0"),
        "to_map": NullRule("a single null gives null; a null key is an error", "to_map(null)", "null"),
        "decode": NullRule("a null key gives the default; without one: null", 'decode(null, "a", 1, "none")', '"none"'),
        "iif": NullRule("a null condition counts as false", "iif(null, 1, 2)", "2"),
        "min": _EXTREME,
        "max": _EXTREME,
        "array_to_string": NullRule("a null array gives null; null elements are skipped", 'array_to_string("-", null)', "null"),
    }
)  # fmt: skip
"""By function name."""


def null_rule(function: Function) -> str:
    """Return the null rule of a function as the reference prints it; empty for one that takes nothing.

    Errors: KeyError for a function whose rule nobody wrote down.
    """
    if not function.params:
        return ""
    rule = RULES.get(function.name)
    if rule is None and function.null_first:
        return N1
    return RULES[function.name].text
