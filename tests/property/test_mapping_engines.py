"""Generated code and the general engine give the same for any mapping set and any record."""

import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "data_prep"))

from mapping_world import program

from capstream.kernel.json import dumps
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
