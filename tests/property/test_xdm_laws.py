"""Laws of validation and of the way to Arrow, over schemas and records nobody wrote down."""

import contextlib
import math
import re
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from capstream.xdm.arrow import compile_table
from capstream.xdm.arrow_types import arrow_schema
from capstream.xdm.fast import compile_sure
from capstream.xdm.formats import CHECKS, SURE
from capstream.xdm.sample import Sampler
from capstream.xdm.schema import INTEGER_RANGES, Field, Schema
from capstream.xdm.validate import compile_validator
from capstream.xdm.violations import LIMIT, violations

NAMES = st.sampled_from(["a", "b", "_id", "from", "class", "x y", "été", 'quote"', "f0"])
PATTERNS = ["a", "^a", "b$", "^.*$", "[^a]", "^[A-Z]{1,2}?$", "a{,2}b", "[a&b]", "(?=a)", "a*+a", "^(a|)$"]
PATTERNS += [r"\d", r"^\w+$", r"\W", r"\p{L}"]
TEXT = st.text(alphabet="ab-Z0:/.@T9 é٣\n", max_size=6)
FORMATTED = st.sampled_from(
    [
        "2024-02-29",
        "2023-02-29",
        "2024-06-01T10:15:30Z",
        "2024-06-01T10:15:30.1+05:30",
        "2024-06-01",
        "a@example.com",
        "700:a",
        "x:y",
    ]
)


def texts() -> st.SearchStrategy[Field]:
    return st.builds(
        Field,
        kind=st.sampled_from(["string", "date", "date-time"]),
        min_length=st.none() | st.integers(0, 2),
        max_length=st.none() | st.integers(2, 40),
        pattern=st.none() | st.sampled_from(PATTERNS),
        enum=st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        format=st.none() | st.sampled_from(sorted(CHECKS)),
    )


def numbers() -> st.SearchStrategy[Field]:
    return st.builds(
        Field,
        kind=st.sampled_from(["number", *INTEGER_RANGES]),
        minimum=st.none() | st.integers(-5, 5),
        maximum=st.none() | st.integers(-5, 2**60),
        exclusive_minimum=st.none() | st.integers(-5, 5),
        enum=st.none() | st.just((1, 2)),
    )


def containers(inner: st.SearchStrategy[Field]) -> st.SearchStrategy[Field]:
    return st.one_of(
        st.builds(
            Field, kind=st.just("array"), items=inner, min_items=st.none() | st.integers(0, 1), max_items=st.none() | st.just(2)
        ),
        st.builds(Field, kind=st.just("map"), values=inner),
        objects(inner),
    )


def objects(inner: st.SearchStrategy[Field]) -> st.SearchStrategy[Field]:
    return st.builds(
        Field,
        kind=st.just("object"),
        children=st.dictionaries(NAMES, inner, max_size=4),
        required=st.frozensets(NAMES, max_size=2),
    )


FIELDS = st.recursive(texts() | numbers() | st.just(Field(kind="boolean")), containers, max_leaves=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.just(2.0) | st.just(2.5) | st.just(2**70) | TEXT | FORMATTED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)


def schema_of(root: Field) -> Schema:
    return Schema(id="x", title="x", behaviour="record", class_id="x", root=root)


def near(field: Field, draw: st.DrawFn) -> Any:
    """Draw a value that often fits the field."""
    if draw(st.integers(0, 11)) == 0:
        return draw(JSON)
    if field.kind == "object":
        return {name: near(child, draw) for name, child in field.children.items() if draw(st.integers(0, 3))}
    if field.kind == "array":
        assert field.items is not None
        return [near(field.items, draw) for _ in range(draw(st.integers(0, 2)))]
    if field.kind == "map":
        assert field.values is not None
        return {draw(NAMES): near(field.values, draw) for _ in range(draw(st.integers(0, 2)))}
    if field.kind == "boolean":
        return draw(st.booleans())
    if field.enum is not None and draw(st.booleans()):
        return draw(st.sampled_from(field.enum))
    if field.kind in {"string", "date", "date-time"}:
        return draw(TEXT | FORMATTED)
    return draw(st.sampled_from([-3, 0, 1, 2, 2.0, 2.5, 3, 127, 128, 40000, 2**53]))


@st.composite
def schemas_and_records(draw: st.DrawFn) -> tuple[Schema, Any]:
    root = draw(objects(FIELDS))
    return schema_of(root), near(root, draw)


@given(schemas_and_records())
@settings(max_examples=300, deadline=None)
def test_the_fast_half_never_accepts_what_the_exact_half_refuses(given_: tuple[Schema, Any]) -> None:
    schema, record = given_
    found = violations(schema.root, record)
    assert not (compile_sure(schema.root)(record) and found)
    assert compile_validator(schema)(record) == found
    assert len(found) <= LIMIT


@given(schemas_and_records())
@settings(max_examples=200, deadline=None)
def test_valid_records_become_rows(given_: tuple[Schema, Any]) -> None:
    schema, record = given_
    complete = arrow_schema(schema)
    records = [record] if not violations(schema.root, record) else []
    if not complete.names:
        return
    table = compile_table(schema)([*records, {}])
    table.validate(full=True)
    assert table.schema == complete
    assert table.num_rows == len(records) + 1
    for row, original in zip(table.to_pylist(), [*records, {}], strict=True):
        assert {name for name, value in row.items() if value is not None} == original.keys() & set(complete.names)


@given(st.data(), objects(FIELDS))
@settings(max_examples=400, deadline=None)
def test_a_table_never_proves_records_valid_that_are_not(data: st.DataObject, root: Field) -> None:
    tabulator = compile_table(schema_of(root))
    for _ in range(data.draw(st.integers(1, 3))):  # what was met in earlier records decides about later ones
        records = [data.draw(st.composite(lambda draw: near(root, draw))()) for _ in range(data.draw(st.integers(1, 4)))]
        read = table = None
        with contextlib.suppress(Exception):
            read = tabulator.proved(records)
        if read is not None:
            assert not any(violations(root, record) for record in records)
            with contextlib.suppress(Exception):
                table = tabulator.joined([read[:1], read[1:]])
        if table is not None:
            assert table.equals(tabulator(records))
            table.validate(full=True)


@given(st.dates())
def test_every_date_of_the_calendar_is_sure(day: date) -> None:
    assert re.fullmatch(SURE["date"], day.isoformat())
    assert re.fullmatch(SURE["date-time"], f"{day.isoformat()}T10:15:30.1Z")


@given(
    st.sampled_from(sorted(SURE)),
    st.one_of(st.text(max_size=30), FORMATTED, st.from_regex(r"[a-z]{1,4}:?/{0,2}[a-z0-9./:%@?#]{0,12}")),
)
@settings(max_examples=500, deadline=None)
def test_a_sure_format_is_valid(name: str, text: str) -> None:
    if re.fullmatch(SURE[name], text):
        assert CHECKS[name](text)


@given(st.sampled_from(sorted(SURE)), st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_matches_a_sure_pattern_is_valid(name: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(SURE[name], fullmatch=True))
    assert CHECKS[name](text), text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60))
def test_numbers_survive_the_way_to_arrow(value: float) -> None:
    table = compile_table(schema_of(Field(kind="object", children={"n": Field(kind="number")})))([{"n": value}])
    assert math.isclose(table.column("n")[0].as_py(), value)


@given(
    objects(
        st.recursive(
            st.sampled_from([Field(kind=kind) for kind in ("string", "int", "boolean", "date")]), containers, max_leaves=5
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_a_sample_fills_every_field_and_is_valid(root: Field) -> None:
    record = Sampler("2024-06-01T10:15:30.000Z").record(root)
    assert set(record) == set(root.children)
    assert violations(root, record) == []
