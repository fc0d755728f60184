"""Differences between two schemas. Source: schema-registry.md 6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.xdm.compose import document_field
from capstream.xdm.diff import changes
from capstream.xdm.library import standard_library

TEXT = {"type": "string"}
CASES = [
    ({"a": TEXT}, {"a": TEXT, "b": TEXT}, "/b", "new field", False),
    ({"a": TEXT, "b": TEXT}, {"a": TEXT}, "/b", "removed", True),
    ({"a": TEXT}, {"a": {"type": "number"}}, "/a", "type cannot change", True),
    ({"a": TEXT}, {"a": {"type": "array", "items": TEXT}}, "/a", "type cannot change", True),
    ({"a": {"type": "integer"}}, {"a": {"type": "integer", "maximum": 2**40}}, "/a", "from int to long", True),
    (
        {"a": {"type": "integer", "minimum": 0, "maximum": 100}},
        {"a": {"type": "integer", "minimum": 0, "maximum": 999}},
        "/a",
        "from byte to short",
        True,
    ),
    (
        {"a": {"type": "integer", "minimum": 0, "maximum": 50}},
        {"a": {"type": "integer", "minimum": 0, "maximum": 99}},
        "/a",
        "maximum raised",
        False,
    ),
    ({"a": TEXT}, {"a": {"type": "string", "format": "email"}}, "/a", "format", True),
    ({"a": TEXT}, {"a": {"type": "string", "pattern": "^a"}}, "/a", "pattern", True),
    ({"a": {"type": "string", "pattern": "^a"}}, {"a": TEXT}, "/a", "pattern is gone", False),
    ({"a": TEXT}, {"a": {"type": "string", "maxLength": 5}}, "/a", "maxLength", True),
    ({"a": {"type": "string", "maxLength": 5}}, {"a": {"type": "string", "maxLength": 9}}, "/a", "raised from 5 to 9", False),
    ({"a": TEXT}, {"a": {"type": "string", "minLength": 2}}, "/a", "minLength", True),
    ({"a": {"type": "number", "minimum": 0}}, {"a": {"type": "number", "minimum": 1}}, "/a", "raised to 1", True),
    ({"a": TEXT}, {"a": {"type": "string", "enum": ["x"]}}, "/a", "become an enum", True),
    ({"a": {"type": "string", "enum": ["x", "y"]}}, {"a": {"type": "string", "enum": ["x"]}}, "/a", "removed: y", True),
    ({"a": {"type": "string", "enum": ["x"]}}, {"a": {"type": "string", "enum": ["x", "y"]}}, "/a", "new enum values: y", False),
    ({"a": {"type": "string", "enum": ["x"]}}, {"a": TEXT}, "/a", "suggested values", False),
    ({"a": TEXT}, {"a": {"type": "string", "title": "A"}}, "/a", "title", False),
    ({"a": TEXT}, {"a": {"type": "string", "meta:status": "deprecated"}}, "/a", "deprecated", False),
    ({"a": {"type": "array", "items": TEXT}}, {"a": {"type": "array", "items": {"type": "number"}}}, "/a[*]", "type", True),
]


def field(properties, required=()):  # type: ignore[no-untyped-def]
    return document_field({"type": "object", "properties": properties, "required": list(required)}, {}.get)


@pytest.mark.parametrize(("old", "new", "path", "told", "breaking"), CASES, ids=[f"{case[2]}-{case[3]}" for case in CASES])
def test_a_change_is_named_and_judged(old, new, path, told, breaking) -> None:  # type: ignore[no-untyped-def]
    (change,) = changes(field(old), field(new))
    assert (change.path, change.breaking) == (path, breaking)
    assert told in change.text


def test_required_is_told_and_allowed() -> None:
    old, new = field({"a": TEXT, "b": TEXT}, ["a"]), field({"a": TEXT, "b": TEXT}, ["b"])
    assert [(change.path, change.breaking) for change in changes(old, new)] == [("/a", False), ("/b", False)]


@given(st.sampled_from(sorted(standard_library())))
def test_nothing_differs_from_itself(uri: str) -> None:
    library = standard_library()
    root = document_field(library[uri], library.get)
    assert list(changes(root, root)) == []
