"""Checks V1 to V8 on sets as data."""

from typing import Any

import pytest
from mapping_world import rows, schema

from capstream.aep.data_prep.rules import examine

SCHEMA: Any = {
    "type": "object",
    "required": ["s", "o"],
    "properties": {
        "s": {"type": "string"},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "t": {"type": "string", "format": "date-time"},
        "l": {"type": "array", "items": {"type": "string"}},
        "o": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}, "y": {"type": "string"}}},
        "a": {"type": "array", "items": {"type": "object", "properties": {"s": {"type": "string"}}}},
        "identityMap": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"type": "object", "properties": {"id": {"type": "string"}, "primary": {"type": "boolean"}}},
            },
        },
    },
}

ERRORS = [
    (("E", "lower(", "s"), "Expected a value"),
    (("E", "lower(1, 2)", "s"), "lower takes 1 argument, not 2"),
    (("E", "a.nosuch()", "s"), "Unknown method nosuch"),
    (("E", "new", "s"), "reserved word"),
    (("A", "a", "nowhere"), "nowhere does not exist"),
    (("A", "a", "o.z"), "o.z does not exist"),
    (("A", "a", "s.below"), "s.below does not exist"),
    (("A", "a", "x..y"), "destination is no path"),
    (("S", "many", "n"), '"many" is not a number'),
    (("E", "'many'", "n"), '"many" is not a number'),
    (("S", "maybe", "b"), "not a boolean"),
    (("S", "tomorrow", "t"), "is no date"),
    (("E", "[1]", "s"), "gives an array"),
    (("E", "explode(a)", "s"), "gives an array"),
    (("E", "to_object('a', 1)", "s"), "gives a map"),
    (("E", "a == 1", "n"), "gives a bool"),
    (("E", "now()", "n"), "gives a date"),
    (("E", "size_of(a)", "b"), "gives an int"),
    (("E", "upper(a)", "o"), "gives a text"),
    (("E", "iif(a, [1], [2])", "s"), "gives an array"),
]


@pytest.mark.parametrize(("listed", "reason"), ERRORS)
def test_errors(listed: tuple[str, str, str], reason: str) -> None:
    (verdict,) = examine(rows(listed), schema(SCHEMA)).verdicts
    assert reason in verdict.errors[0].exception


FINE = [
    ("E", "explode(a)", "a[*].s"),
    ("E", "explode(a)", "l"),
    ("E", "upper(a)", "l"),
    ("E", "upper(a)", "n"),
    ("E", "now()", "s"),
    ("E", "null", "n"),
    ("E", "iif(a, [1], 'x')", "s"),
    ("A", "a", "identityMap.email[0].id"),
    ("A", "a.b", "a.s"),
    ("S", "7", "n"),
]


@pytest.mark.parametrize("listed", FINE)
def test_what_may_be(listed: tuple[str, str, str]) -> None:
    assert examine(rows(listed), schema(SCHEMA)).errors == []


def test_duplicates_fail_on_both_sides() -> None:
    findings = examine(rows(("A", "a", "xdm:s"), ("A", "b", "s"), ("A", "c", "n")), schema(SCHEMA))
    assert [bool(verdict.errors) for verdict in findings.verdicts] == [True, True, False]


def test_nothing_stands_below_a_single_value() -> None:
    findings = examine(rows(("S", "x", "any"), ("A", "b", "any.thing"), ("A", "c", "other")), None)
    assert [bool(verdict.errors) for verdict in findings.verdicts] == [False, True, False]


def test_unknown_sources_are_warnings() -> None:
    findings = examine(rows(("A", "a[*].b", "s"), ("E", "upper(c.d)", "n"), ("A", "x", "b")), None, frozenset({"a", "a.b", "x"}))
    assert findings.errors == []
    assert [len(verdict.warnings) for verdict in findings.verdicts] == [0, 1, 0]
    assert findings.verdicts[1].warnings[0].exception == "c.d does not exist in the source"


def test_required_fields_nobody_fills() -> None:
    assert examine(rows(("A", "a", "o.y")), schema(SCHEMA)).warnings == [
        "no mapping fills the required field s",
        "no mapping fills the required field o.x",
    ]
    assert examine(rows(("A", "a", "o"), ("A", "a", "s")), schema(SCHEMA)).warnings == []


def test_a_second_primary_is_a_warning() -> None:
    findings = examine(
        rows(
            ("S", "true", "identityMap.a[0].primary"),
            ("E", "true", "identityMap.b[0].primary"),
            ("S", "false", "identityMap.c[0].primary"),
        ),
        schema(SCHEMA),
    )
    assert [len(verdict.warnings) for verdict in findings.verdicts] == [0, 1, 0]
