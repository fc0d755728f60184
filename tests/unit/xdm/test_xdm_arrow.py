"""Records to Arrow. Source: data-lake-and-query.md A3."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from capillary_schemas import REPOSITORY, target_schema

from capstream.kernel.json import Json, loads
from capstream.xdm.arrow import compile_table
from capstream.xdm.arrow_types import arrow_schema
from capstream.xdm.instants import micros
from capstream.xdm.schema import Field, Schema

CASES = [loads(line) for line in (REPOSITORY / "cases" / "xdm" / "validation.jsonl").read_bytes().splitlines()]


def schema(**children: Field) -> Schema:
    return Schema(id="x", title="x", behaviour="record", class_id="x", root=Field(kind="object", children=children))


def column(field: Field, *values: Json) -> Json:
    table = compile_table(schema(value=field))([{} if value is ... else {"value": value} for value in values])
    table.validate(full=True)
    return table.column("value").to_pylist()


TEXT = Field(kind="string")
POINT = Field(kind="object", children={"x": Field(kind="int"), "y": TEXT})


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        (Field(kind="int"), (1, 2.0, ...), [1, 2, None]),
        (Field(kind="number"), (1, 2.5, 2**60 + 1), [1.0, 2.5, float(2**60 + 1)]),
        (Field(kind="long"), (2**53 - 1, 10.0), [2**53 - 1, 10]),
        (Field(kind="boolean"), (True, ..., False), [True, None, False]),
        (Field(kind="date"), ("2024-02-29", ...), [date(2024, 2, 29), None]),
        (Field(kind="array", items=TEXT), (["a", "b"], [], ..., ["c"]), [["a", "b"], [], None, ["c"]]),
        (
            Field(kind="array", items=POINT),
            ([{"x": 1}], [{"y": "b"}, {}]),
            [[{"x": 1, "y": None}], [{"x": None, "y": "b"}, {"x": None, "y": None}]],
        ),
        (Field(kind="array", items=Field(kind="array", items=TEXT)), ([["a"], []], []), [[["a"], []], []]),
        (Field(kind="array"), ([1, "a", {"b": 2}],), [["1", "a", '{"b":2}']]),
        (Field(kind="map", values=Field(kind="int")), ({"a": 1, "b": 2}, {}, ...), [[("a", 1), ("b", 2)], [], None]),
        (Field(kind="map", values=Field(kind="map", values=TEXT)), ({"a": {"b": "c"}},), [[("a", [("b", "c")])]]),
        (POINT, ({"x": 1}, ..., {"y": "b"}), [{"x": 1, "y": None}, None, {"x": None, "y": "b"}]),
        (POINT, (..., ..., ..., ..., {"x": 5}), [None, None, None, None, {"x": 5, "y": None}]),
    ],
)
def test_values_keep_their_meaning(field: Field, values: tuple[Json, ...], expected: Json) -> None:
    assert column(field, *values) == expected


def test_date_times_become_instants() -> None:
    texts = ("2024-06-01T10:15:30Z", "2024-06-01T10:15:30.5+05:30", "1969-12-31T23:59:59.999999-00:30", ...)
    instants = [
        datetime(2024, 6, 1, 10, 15, 30, tzinfo=UTC),
        datetime(2024, 6, 1, 4, 45, 30, 500000, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 29, 59, 999999, tzinfo=UTC),
        None,
    ]
    assert column(Field(kind="date-time"), *texts) == instants
    nanos = column(Field(kind="date-time"), *texts, "2024-06-01T10:15:30.123456789Z")
    assert nanos == [*instants, datetime(2024, 6, 1, 10, 15, 30, 123456, tzinfo=UTC)]


@pytest.mark.parametrize(("text", "expected"), [("1970-01-01T00:00:00.0000019Z", 1), ("1970-01-01T01:00:00+01:00", 0)])
def test_micros(text: str, expected: int) -> None:
    assert micros(text) == expected


@pytest.mark.parametrize("name", ["events", "profile"])
def test_every_valid_case_fits_the_complete_schema(name: str) -> None:
    records = [case["instance"] for case in CASES if case["valid"] and case["schema"] == name]
    table = compile_table(target_schema(name))(records)
    table.validate(full=True)
    assert table.schema == arrow_schema(target_schema(name))
    assert table.num_rows == len(records)
    for record, row in zip(records, table.to_pylist(), strict=True):
        assert {key for key, value in row.items() if value is not None} == set(record)


@pytest.mark.parametrize("name", ["events", "profile"])
def test_an_empty_batch_is_an_empty_table(name: str) -> None:
    table = compile_table(target_schema(name))([])
    assert (table.num_rows, table.schema) == (0, arrow_schema(target_schema(name)))


def test_types_of_the_lake() -> None:
    found = arrow_schema(target_schema("events"))
    assert found.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert pa.types.is_map(found.field("identityMap").type)
    capillary = found.field("_capstream").type.field("capillary").type
    assert capillary.field("eventLogId").type == pa.int64()
    assert capillary.field("tier").type.field("to").type.field("number").type == pa.int16()
    assert all(field.nullable for field in found)


def test_objects_without_members_have_no_column() -> None:
    empty = Field(kind="object")
    found = arrow_schema(schema(a=empty, b=Field(kind="object", children={"c": empty}), d=Field(kind="array", items=empty)))
    assert found.names == ["d"]
    assert compile_table(schema(d=Field(kind="array", items=empty)))([{"d": [{}]}]).to_pylist() == [{"d": ["{}"]}]


def test_unknown_members_are_left_out() -> None:
    assert compile_table(schema(a=TEXT))([{"a": "x", "b": 1}]).to_pylist() == [{"a": "x"}]


def test_a_value_of_another_type_raises() -> None:
    with pytest.raises(pa.ArrowException):
        compile_table(schema(a=Field(kind="int")))([{"a": "x"}])


def test_names_that_differ_in_case_share_a_column_with_their_deprecated_twin() -> None:
    old, new = Field(kind="string", status="deprecated"), Field(kind="string")
    found = compile_table(schema(POIID=old, poiID=new))([{"POIID": "a"}, {"poiID": "b"}, {"POIID": "c", "poiID": "d"}, {}])
    assert found.to_pydict() == {"poiID": ["a", "b", "d", None]}


def test_other_names_that_differ_in_case_get_a_number() -> None:
    fields = {"a": Field(kind="int"), "A": TEXT, "a_1": TEXT, "old": TEXT, "OLD": Field(kind="int", status="deprecated")}
    table = compile_table(schema(**fields))([{"a": 1, "A": "x", "a_1": "y", "old": "z", "OLD": 5}])
    assert table.to_pylist() == [{"a": 1, "A_2": "x", "a_1": "y", "old": "z", "OLD_1": 5}]


@pytest.mark.parametrize("name", ["events", "profile"])
def test_no_two_columns_differ_in_case_alone(name: str) -> None:
    def check(fields: list[pa.Field]) -> None:
        names = [field.name.lower() for field in fields]
        assert len(names) == len(set(names)), names
        for field in fields:
            inner = field.type
            while pa.types.is_list(inner) or pa.types.is_map(inner):
                inner = inner.item_type if pa.types.is_map(inner) else inner.value_type
            if pa.types.is_struct(inner):
                check(list(inner))

    check(list(arrow_schema(target_schema(name))))


def test_members_met_later_are_learned() -> None:
    root = Field(kind="object", children={"a": Field(kind="int"), "b": Field(kind="map", values=Field(kind="string"))})
    tabulator = compile_table(Schema(id="x", title="x", behaviour="record", class_id="x", root=root))
    rows: list[list[dict[str, Json]]] = [[{"a": 1}], [{"a": 2}, {"b": {"k": "v"}}], [{"b": {"l": "w"}}]]
    first, *later = [tabulator.proved(records) for records in rows]
    assert first is not None
    assert tabulator.joined([first]) is None  # it lacks what was met since
    again = tabulator.proved(rows[0])
    joined = tabulator.joined([each for each in (again, *later) if each is not None])
    assert joined is not None
    assert joined.to_pylist(maps_as_pydicts="strict") == [
        {"a": 1, "b": None},
        {"a": 2, "b": None},
        {"a": None, "b": {"k": "v"}},
        {"a": None, "b": {"l": "w"}},
    ]
    assert tabulator.proved([{"a": 1}, {"a": 2.5}]) is None  # Arrow alone makes it 2
    assert tabulator.proved([{"a": 1, "c": 1}]) is None
    assert tabulator.proved([{"b": None}]) is None
