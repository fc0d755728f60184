"""Array rules, nulls, overlaps and conversions beyond the conformance cases."""

from typing import Any

import pytest
from mapping_world import program

ITEM = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "n": {"type": "number"},
        "o": {"type": "object", "properties": {"s": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "in": {"type": "array", "items": {"type": "object", "properties": {"s": {"type": "string"}, "t": {"type": "string"}}}},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer", "minimum": 0, "maximum": 10},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "d": {"type": "string", "format": "date"},
        "t": {"type": "string", "format": "date-time"},
        "l": {"type": "array", "items": {"type": "string"}},
        "ints": {"type": "array", "items": {"type": "integer"}},
        "a": {"type": "array", "items": ITEM},
        "o": ITEM,
        "m": {"type": "object", "additionalProperties": {"type": "array", "items": ITEM}},
    },
}

RULES: list[tuple[str, list[tuple[str, str, str]], Any, Any]] = [
    ("A1 pairs", [("A", "x[*].s", "a[*].s")], {"x": [{"s": 1}, {"s": 2}]}, {"a": [{"s": "1"}, {"s": "2"}]}),
    ("A1 implicit on both sides", [("A", "x.y.s", "a.s")], {"x": {"y": [{"s": "1"}]}}, {"a": [{"s": "1"}]}),
    ("A2 second element", [("A", "x.e.s", "m.e[1].s")], {"x": {"e": [{"s": "1"}, {"s": "2"}]}}, {"m": {"e": [{"s": "2"}]}}),
    ("A2 absent position", [("A", "x.e.s", "m.e[5].s")], {"x": {"e": [{"s": "1"}]}}, {}),
    ("A2 explicit", [("A", "x[*].s", "m.e[0].s")], {"x": [{"s": "1"}]}, {"m": {"e": [{"s": "1"}]}}),
    (
        "A2 binds what there is",
        [("A", "x[*].y[*]", "m.e[0].tags")],
        {"x": [{"y": ["1", "2"]}, {"y": ["3"]}]},
        {"m": {"e": [{"tags": ["1", "2"]}]}},
    ),
    ("A3 flat", [("A", "x[*].y[*]", "l")], {"x": [{"y": [1, 2]}, {"y": [3, None]}, {}]}, {"l": ["1", "2", "3"]}),
    ("A3 of terminal arrays", [("A", "x[*].y", "l")], {"x": [{"y": ["1"]}, {"y": ["2", "3"]}]}, {"l": ["1", "2", "3"]}),
    ("A3 nothing left", [("A", "x[*].y", "l")], {"x": [{}, {"y": None}]}, {"l": []}),
    ("A3 into a scalar", [("A", "x[*].y", "s")], {"x": [{"y": "1"}]}, "s"),
    (
        "A4 inner gathered",
        [("A", "x[*].y[*].s", "a[*].tags")],
        {"x": [{"y": [{"s": "1"}, {"s": "2"}]}, {"y": []}]},
        {"a": [{"tags": ["1", "2"]}, {"tags": []}]},
    ),
    ("A5 single inner element", [("A", "x[*].s", "a[*].in[*].s")], {"x": [{"s": "1"}]}, {"a": [{"in": [{"s": "1"}]}]}),
    (
        "A5 on all inner elements",
        [("A", "x[*].s", "a[*].in[*].t"), ("A", "x[*].y[*].s", "a[*].in[*].s")],
        {"x": [{"s": "h", "y": [{"s": "1"}, {"s": "2"}]}]},
        {"a": [{"in": [{"s": "1", "t": "h"}, {"s": "2", "t": "h"}]}]},
    ),
    ("A6 laid out", [("A", "x", "a[*].s")], {"x": ["1", None, "3"]}, {"a": [{"s": "1"}, {"s": "3"}]}),
    (
        "A7 constants last",
        [("S", "c", "a[*].o.s"), ("A", "h", "a[*].n"), ("A", "x[*].s", "a[*].s")],
        {"h": 1, "x": [{"s": "1"}, {}]},
        {"a": [{"s": "1", "n": 1, "o": {"s": "c"}}]},
    ),
    ("A7 one flat item", [("S", "c", "a[*].o.s"), ("A", "h", "a[*].n")], {"h": 1}, {"a": [{"n": 1, "o": {"s": "c"}}]}),
    ("A7 constants make no item", [("S", "c", "a[*].s"), ("E", "'x'", "a[*].o.s")], {}, {}),
    ("A7 explicit iteration forbids an item", [("A", "h", "a[*].n"), ("A", "x[*].s", "a[*].s")], {"h": 1}, {}),
    ("A7 implicit iteration allows one", [("A", "h", "a.n"), ("A", "x.s", "a.s")], {"h": 1}, {"a": [{"n": 1}]}),
    (
        "A7 item per element of a copied array",
        [("A", "x", "a"), ("A", "h", "a[*].n")],
        {"h": 1, "x": [{"s": "1"}, {"s": "2"}]},
        {"a": [{"s": "1", "n": 1}, {"s": "2", "n": 1}]},
    ),
    (
        "A8 longest array",
        [("E", "concat(x[*].s, y[*])", "a[*].s")],
        {"x": [{"s": "1"}], "y": ["a", "b"]},
        {"a": [{"s": "1a"}, {"s": "b"}]},
    ),
    (
        "A8 inside a lambda",
        [("E", "size_of(filterArray(y, v -> v == x[*].s))", "a[*].n")],
        {"x": [{"s": "1"}, {"s": "2"}], "y": ["1", "1"]},
        {"a": [{"n": 2}, {"n": 0}]},
    ),
    ("A9 projects", [("E", "join('-', x[*].s)", "s")], {"x": [{"s": "1"}, {"s": "2"}]}, {"s": "1-2"}),
    (
        "A10 longest",
        [("A", "x[*]", "a[*].s"), ("A", "y[*].n", "a[*].n")],
        {"x": ["1"], "y": [{"n": 1}, {"n": 2}]},
        {"a": [{"s": "1", "n": 1}, {"n": 2}]},
    ),
    ("A11 gaps", [("A", "x[*].s", "a[*].s")], {"x": [{}, {"s": "2"}, {"s": None}, {"s": "4"}]}, {"a": [{"s": "2"}, {"s": "4"}]}),
    ("A11 copied nulls stay", [("A", "x", "l")], {"x": ["1", None]}, {"l": ["1", None]}),
    ("A12 missing", [("A", "x[*].s", "a[*].s"), ("A", "y[*].s", "l")], {"y": None}, {}),
    ("A13 empty", [("A", "x[*].s", "a[*].s"), ("A", "x[*].s", "l"), ("A", "x", "ints")], {"x": []}, {"l": [], "ints": []}),
    ("A13 copied empty array stays", [("A", "x", "a"), ("A", "y[*].s", "a[*].s")], {"x": []}, {"a": []}),
    ("non-array under [*]", [("A", "x[*].s", "a[*].s")], {"x": {"s": "1"}}, {"a": [{"s": "1"}]}),
    (
        "deeper wins over the list order",
        [("A", "x.s", "o.s"), ("A", "y", "o")],
        {"x": {"s": "1"}, "y": {"s": "2", "n": 3}},
        {"o": {"s": "1", "n": 3}},
    ),
    (
        "null takes a copied value away",
        [("A", "y", "o"), ("A", "z", "o.s")],
        {"z": None, "y": {"s": "2", "n": 3}},
        {"o": {"n": 3}},
    ),
    ("a failed row takes it away too", [("A", "y", "o"), ("E", "1 / 0", "o.s")], {"y": {"s": "2", "n": 3}}, "o.s"),
    ("missing leaves it", [("A", "y", "o"), ("A", "z", "o.s")], {"y": {"s": "2", "n": 3}}, {"o": {"s": "2", "n": 3}}),
    ("later row, null value", [("A", "y", "s"), ("A", "z", "s")], {"y": "1", "z": None}, {"s": "1"}),
    (
        "constants convert",
        [("S", "5", "i"), ("S", "YES", "b"), ("S", "x", "l"), ("S", "2020/01/02", "d")],
        {},
        {"i": 5, "b": True, "l": ["x"], "d": "2020-01-02"},
    ),
    ("bound minimum", [("A", "x", "i")], {"x": -1}, "i"),
    ("bound maximum", [("A", "x", "i")], {"x": "11"}, "i"),
    ("boolean is no integer", [("A", "x", "i")], {"x": True}, "i"),
    ("number is no boolean", [("A", "x", "b")], {"x": 1}, "b"),
    ("object is no text", [("A", "x", "s")], {"x": {}}, "s"),
    ("text is no object", [("A", "x", "o")], {"x": "1"}, "o"),
    ("a bad element is left out", [("A", "x", "ints")], {"x": [1, "x", 3]}, "ints[1]"),
    ("a bad attribute of an element", [("A", "x", "a")], {"x": [{"s": "1"}, {"n": "many"}]}, "a[1].n"),
    ("a bad attribute in a loop", [("A", "x[*].o", "a[*].o")], {"x": [{"o": {"s": "1"}}, {"o": {"s": []}}]}, "a[1].o.s"),
    (
        "text that is RFC 3339 stays",
        [("A", "x", "t")],
        {"x": "2024-02-29T10:00:00.120+05:30"},
        {"t": "2024-02-29T10:00:00.120+05:30"},
    ),
    ("day of an offset", [("A", "x", "d")], {"x": "2024-02-29T23:00:00-08:00"}, {"d": "2024-02-29"}),
    ("impossible day", [("A", "x", "t")], {"x": "2023-02-29T10:00:00Z"}, "t"),
    ("a date into text", [("E", "date('2020-01-02')", "s")], {}, {"s": "2020-01-02T00:00:00Z"}),
    ("dates inside an object", [("E", "{'s': date('2020-01-02')}", "o")], {}, {"o": {"s": "2020-01-02T00:00:00Z"}}),
    ("a huge integer into a number", [("E", "9223372036854775807 * 4", "n")], {}, {"n": 3.6893488147419103e19}),
    ("flat key", [("A", "a.b", "s"), ("E", "upper(a.b)", "o.s")], {"a.b": "x"}, {"s": "x", "o": {"s": "X"}}),
    ("prefix of a step", [("A", "x", "xdm:o.xdm:s")], {"x": "1"}, {"o": {"s": "1"}}),
    ("unknown function", [("E", "nosuch(x)", "s"), ("A", "x", "n")], {"x": 1}, "s"),
]


@pytest.mark.parametrize("engine", ["run", "general"])
@pytest.mark.parametrize(("listed", "record", "expected"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_rule(listed: list[tuple[str, str, str]], record: Any, expected: Any, engine: str) -> None:
    output, problems = getattr(program(listed, SCHEMA), engine)(record)
    if isinstance(expected, str):
        assert [problem.destination for problem in problems] == [expected]
    else:
        assert (output, problems) == (expected, [])


def test_null_values_are_written_when_allowed() -> None:
    listed = [("A", "x", "s"), ("A", "o", "o"), ("E", "1 / 0", "n"), ("A", "none", "b"), ("A", "l[*].s", "a[*].s")]
    record = {"x": None, "o": {"s": None, "n": 1}, "l": [{"s": None}, {"s": "1"}]}
    output, problems = program(listed, SCHEMA, allow_null_values=True)(record)
    assert output == {"s": None, "o": {"s": None, "n": 1}, "n": None, "a": [{"s": "1"}]}
    assert [problem.destination for problem in problems] == ["n"]


def test_strict_sets_report_unknown_paths() -> None:
    output, (problem,) = program([("A", "x.y", "s"), ("A", "z", "n")], SCHEMA, strict=True)({"x": {}, "z": 1})
    assert output == {"n": 1}
    assert problem.to_json() == {
        "destination": "s",
        "exception": "Unknown source path x.y",
        "source": "x.y",
        "columnName": "x.y",
        "sourceType": "ATTRIBUTE",
    }


def test_a_problem_tells_where_it_comes_from() -> None:
    _, (problem,) = program([("E", "to_integer(a.b) + to_integer(c)", "i")], SCHEMA)({"a": {"b": "x"}})
    assert (problem.column_name, problem.source_type) == ("a.b", "EXPRESSION")
    assert problem.exception == '"x" is not an integer'


def test_time_is_fixed_once_per_record_and_ids_are_new() -> None:
    listed = [("E", "timestamp()", "a"), ("E", "now()", "b"), ("E", "uuid()", "c"), ("E", "guid()", "d")]
    output, _ = program(listed)({})
    assert (output["a"], output["b"]) == (1_753_000_000_123, "2025-07-20T08:26:40Z")
    assert output["c"] != output["d"]


def test_the_record_stays_as_it_was_and_the_output_shares_nothing_with_it() -> None:
    record = {"o": {"s": {"deep": [1]}}, "l": [[1]]}
    output, _ = program([("A", "o", "o"), ("A", "o.s", "o.t"), ("A", "l", "l"), ("E", "o.s", "e")])(record)
    output["o"]["s"]["deep"].append(2)
    output["l"][0].append(2)
    output["e"]["deep"].append(2)
    assert record == {"o": {"s": {"deep": [1]}}, "l": [[1]]}
