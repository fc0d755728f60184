"""Generated code and the general engine give the same for any mapping set and any record; so does code for decoded records."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "data_prep"))

from mapping_world import program

from capstream.aep.data_prep.compiler import Program
from capstream.kernel.json import dumps, loads
from capstream.lang.values import same

NAMES = st.sampled_from(["s", "i", "n", "b", "t", "l", "o", "m", "a"])
SCALARS = st.sampled_from([None, "x", "12", "true", "2020-01-02", "2020-01-02T03:04:05Z", 7, 7.5, 3.0, True, ""])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
RECORDS = st.builds(
    lambda record, flat: {**record, **flat},
    st.dictionaries(NAMES, VALUES, max_size=8),
    st.dictionaries(st.sampled_from(["o.s", "a.s", "m.a.s"]), st.just("flat"), max_size=1),
)
ITEM: Any = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "o": {"type": "object", "properties": {"s": {"type": "string"}, "b": {"type": "boolean"}}},
        "l": {"type": "array", "items": {"type": "string"}},
        "a": {"type": "array", "items": {"type": "object", "properties": {"s": {"type": "string"}}}},
    },
}
SCHEMA: Any = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "t": {"type": "string", "format": "date-time"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "o": {"type": "object", "properties": {"s": {"type": "string"}, "i": {"type": "integer"}, "o": ITEM}},
        "m": {"type": "object", "additionalProperties": {"type": "array", "items": ITEM}},
        "a": {"type": "array", "items": ITEM},
    },
}
PATHS = (
    "s i o o.s o.i o.o.s a a.s a[*].s a[*].i a[*].o.s a[*] a[0].s a[1].i m.a.s m.a[*].s l l[*]"
    " m o.o t a.o a[*].a[*].s a.a.s m.a o.a.s"
)
FIELDS = (
    "concat(s,o.s)|to_integer(i)|upper(a[*].s)|concat(o.s,a[*].s)|size_of(a)|null|i + 1|a|iif(o.i > 3, o, null)|now()|a[*].i * 2"
    "|concat(a[*].o.s, a[*].s)|'k'|[1,2]|explode(s, '')|nosuch(a)"
    "|sha256(lower(trim(a[*].s)))|trim(upper(o.i))|sha256(a[*].i)|s == 'x'|upper(s)"
)
TARGETS = (
    "s i n b t l o o.s o.i o.o o.o.s m m.x[0].s m.x[0].i m.x[1].s a a.s a[*].s a[*].i a.i a.o.s a[*].o.b a[0].s a[*].l"
    " a[*].a[*].s l[*] l[0] a[*] m.x.s a.o"
)
ROWS = st.one_of(
    st.tuples(st.just("A"), st.sampled_from(PATHS.split()), st.sampled_from(TARGETS.split())),
    st.tuples(st.just("A"), st.sampled_from(PATHS.split()), st.sampled_from(TARGETS.split())),
    st.tuples(st.just("E"), st.sampled_from(FIELDS.split("|")), st.sampled_from(TARGETS.split())),
    st.tuples(st.just("S"), st.sampled_from(["x", "5", "true"]), st.sampled_from(TARGETS.split())),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.booleans(), st.lists(RECORDS, min_size=1, max_size=4))
def test_both_engines_agree(rows: list[tuple[str, str, str]], typed: bool, records: list[dict[str, Any]]) -> None:
    compiled = program(rows, SCHEMA if typed else None)
    for record in records:
        before = dumps(record)
        output, problems = compiled.run(record)
        expected, expected_problems = compiled.general(record)
        assert same(output, expected)
        assert sorted(problem.destination for problem in problems) == sorted(problem.destination for problem in expected_problems)
        assert dumps(record) == before
        dumps(output)


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.lists(RECORDS, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_no_record_raises(rows: list[tuple[str, str, str]], records: list[dict[str, Any]], nulls: bool, strict: bool) -> None:
    compiled = program(rows, SCHEMA, allow_null_values=nulls, strict=strict)
    for record in records:
        output, problems = compiled(record)
        dumps([output, [problem.to_json() for problem in problems]])


class Entries(list[tuple[str, Any]]):
    """The entries of an object as they stand in its text, some keys twice."""


WICKED = SCALARS | st.sampled_from(['é"\\\n', "\U0001f600", 1 << 63, 1 << 64, -(10**30), 1e300, -0.0, 5e-324])
TEXTS = st.recursive(
    WICKED,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=5).map(Entries),
    max_leaves=25,
)
MESSAGES = st.lists(st.tuples(NAMES | st.sampled_from(["o.s", "a.s", "m.a.s", "x"]), TEXTS), max_size=8).map(Entries)


def written(value: Any) -> str:
    """Return JSON text, characters beyond ASCII escaped."""
    if isinstance(value, Entries):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def by_type(compiled: Program, text: str) -> Any:
    """Return what the function for decoded records makes of a text; None when the text must be decoded whole."""
    typed = compiled.typed()
    if typed is None:
        return None
    try:
        record = msgspec.json.decode(text, type=typed.record)
    except msgspec.ValidationError:
        return None
    return typed.run(record)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.booleans(), st.lists(MESSAGES, min_size=1, max_size=4))
def test_decoded_records_map_as_whole_ones(rows: list[tuple[str, str, str]], typed: bool, messages: list[Entries]) -> None:
    compiled = program(rows, SCHEMA if typed else None)
    for message in messages:
        text = written(message)
        mapped = by_type(compiled, text)
        if mapped is None:
            continue
        output, problems = mapped
        expected, expected_problems = compiled.run(loads(text))
        assert dumps(output) == dumps(expected)
        assert problems == expected_problems


SHAPED = [
    ("A", "s", "s"),
    ("A", "o.s", "o.s"),
    ("E", "to_integer(o.i)", "o.i"),
    ("A", "a[*].s", "a[*].s"),
    ("E", "upper(a[*].o.s)", "a[*].o.s"),
    ("A", "m.a.s", "m.x[0].s"),
    ("E", "size_of(a)", "i"),
]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (
            '{"s": "x", "o": {"s": "y", "i": "7"}, "a": [{"s": "1", "o": {"s": "é"}}, {"o": null}], "m": {"a": [{"s": "z"}]}}',
            True,
        ),
        ('{"s": null, "o": null, "unread": [1, {"o": 2}]}', True),
        ('{"a": [], "m": {"a": []}}', True),
        ('{"s": 5, "o": {"s": {"no": "text"}, "i": "seven"}}', True),
        ('{"s": "first", "s": "\\u0073econd", "o": {"s": "gone"}, "o": {"i": 1}}', True),
        ('{"s": 36893488147419103232, "o": {"i": -36893488147419103232}}', True),
        ('{"o": "text"}', False),
        ('{"o": [{"s": "y"}]}', False),
        ('{"a": {"s": "no array"}}', False),
        ('{"a": [null]}', False),
        ('{"m": {"a": {"s": "no array"}}}', False),
        ('{"o.s": "flat"}', False),
        ('{"s": 1e999}', False),
    ],
)
def test_which_records_are_decoded_into_what_is_read(text: str, fits: bool) -> None:
    compiled = program(SHAPED, SCHEMA)
    mapped = by_type(compiled, text)
    assert (mapped is not None) is fits
    if fits:
        assert mapped == compiled.run(loads(text))


@pytest.mark.parametrize(
    "expression",
    ["contains_key('o.s')", "is_set(o.s)", "o[s]", "object_to_map(a, 's')", "a", "size_of(a[0])"],
)
def test_rows_that_read_whole_values_get_them(expression: str) -> None:
    compiled = program([*SHAPED, ("E", expression, "l")])
    text = '{"s": "i", "o": {"s": "y", "i": 3, "more": 1}, "a": [{"s": "1", "more": 2}], "m": {"a": [{"s": "z"}]}}'
    mapped = by_type(compiled, text)
    assert mapped is None or mapped == compiled.run(loads(text))
    assert compiled.run(loads(text))[0]["l"] is not None


COPYING = [("A", "o", "o"), ("A", "m", "m"), ("A", "a", "a"), ("A", "l", "l"), ("A", "a[*].s", "o.o.a[*].s")]
COPIERS = [program(COPYING[:4], SCHEMA), program(COPYING, SCHEMA), program([*COPYING, ("A", "o.s", "m.x[0].s")], SCHEMA)]
INTEGERS = st.integers(-(2**53), 2**53)


def usually(right: Any) -> Any:
    return st.one_of(right, right, right, right, right, right, right, WICKED)


def entries(**members: Any) -> Any:
    """Return the entries of an object: any of the members, in any order, some twice, and one that the schema does not know."""
    given = [st.tuples(st.just(name), usually(member)) for name, member in members.items()]
    return st.lists(st.one_of(*given, st.tuples(st.just("x"), WICKED)), max_size=6).map(Entries)


INNER = entries(s=st.text(max_size=3), b=st.booleans())
ITEMS = st.lists(
    entries(s=st.text(max_size=3), i=INTEGERS, o=INNER, l=st.lists(usually(st.text(max_size=2)), max_size=2)), max_size=3
)
COPIED = entries(
    o=entries(s=st.text(max_size=3), i=INTEGERS, o=entries(s=st.text(max_size=3), i=INTEGERS, o=INNER)),
    m=entries(k=ITEMS, j=ITEMS),
    a=ITEMS,
    l=st.lists(usually(INTEGERS), max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(COPIED)
def test_values_decoded_as_copies_are_the_copies(message: Entries) -> None:
    for compiled in COPIERS:
        text = written(message)
        mapped = by_type(compiled, text)
        expected, problems = compiled.run(loads(text))
        if mapped is not None:
            assert dumps(mapped[0]) == dumps(expected)
            assert mapped[1] == problems


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (
            '{"o": {"s": "x", "unknown": 1, "o": {"o": {"b": true, "b": false}}}, "m": {"any": [{"i": 5}]}, "a": [], "l": [1]}',
            True,
        ),
        ('{"o": {}, "m": {}, "a": [{}], "l": null}', True),
        ('{"o": {"s": null}}', False),
        ('{"o": {"s": 5}}', False),
        ('{"o": {"i": 7.0}}', False),
        ('{"o": {"i": 9007199254740993}}', False),
        ('{"m": {"any": {"s": "no array"}}}', False),
        ('{"l": [1, null]}', False),
        ('{"l": 1}', False),
        ('{"o": "text"}', False),
    ],
)
def test_which_values_are_decoded_as_copies(text: str, fits: bool) -> None:
    mapped = by_type(COPIERS[0], text)
    assert (mapped is not None) is fits
    if fits:
        assert mapped == COPIERS[0].run(loads(text))


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("date-time", "2024-03-01T10:00:00Z", True),
        ("date-time", "2024-03-01T10:00:00.5+01:00", True),
        ("date-time", "2024-03-01T10:00:00Z\n", False),
        ("date-time", "2024-03-01", False),
        ("date", "2024-03-01", True),
        ("date", "2024-03-01T10:00:00Z", False),
    ],
)
def test_dates_are_decoded_as_copies_when_they_stay_as_they_are(kind: str, value: str, fits: bool) -> None:
    member = {"type": "string", "format": kind}
    described = {"type": "object", "properties": {"o": {"type": "object", "properties": {"t": member}}}}
    compiled, text = program([("A", "o", "o")], described), dumps({"o": {"t": value}}).decode()
    assert by_type(compiled, text) == (compiled.run(loads(text)) if fits else None)
