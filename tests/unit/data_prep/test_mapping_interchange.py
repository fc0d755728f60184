"""Files of mappings: CSV, JSON and XLSX in, CSV out and back the same."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_world import schema
from openpyxl import Workbook

from capstream.aep.data_prep.interchange import NotImported, check, read_mappings, write_csv
from capstream.kernel.json import dumps

SCHEMA: Any = {"type": "object", "properties": {"loyalty": {"type": "object", "properties": {"points": {"type": "number"}}}}}
ROWS: list[dict[str, Any]] = [
    {"sourceType": "ATTRIBUTE", "source": "loyalty.points", "destination": "loyalty.points", "name": "Points"},
    {"sourceType": "EXPRESSION", "source": "concat(\"a, b\", '\n')", "destination": "text", "description": 'says "hello"'},
    {"sourceType": "STATIC", "source": " active ", "destination": "status"},
    {"sourceType": "STATIC", "source": "", "destination": "nothing"},
]


def read(content: bytes, name: str = "rows.csv") -> list[dict[str, Any]]:
    return [one.mapping for one in read_mappings(content, name)]


def misfits(content: bytes, name: str = "rows.csv") -> list[tuple[str, str]]:
    with pytest.raises(NotImported) as caught:
        read_mappings(content, name)
    return [(one.place, one.reason) for one in caught.value.misfits]


def test_what_is_exported_is_what_is_imported() -> None:
    assert read(write_csv(ROWS).encode()) == ROWS


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(
        st.builds(
            lambda kind, source, to, name: (
                {"sourceType": kind, "source": source, "destination": to} | ({"name": name} if name else {})
            ),
            st.sampled_from(["ATTRIBUTE", "EXPRESSION", "STATIC"]),
            TEXTS,
            TEXTS,
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        min_size=1,
    )
)
def test_any_text_survives_the_round_trip(mappings: list[dict[str, Any]]) -> None:
    assert read(write_csv(mappings).encode()) == mappings


def test_stored_mappings_are_exported_in_the_form_people_write() -> None:
    stored = ROWS[0] | {"sourceType": "text/x.schema-path", "id": "1", "sourceAttribute": "loyalty.points"}
    assert write_csv([stored]).splitlines()[1] == "loyalty.points,loyalty.points,ATTRIBUTE,Points,"


def test_other_headers_a_byte_order_mark_and_rows_nobody_mapped() -> None:
    content = '\ufeffSource Field,XDM field,Type\r\na,b,\r\nlower(a),c,\r\n"""x""",d,\r\nunmapped,,\r\na b,e,attribute\r\n'
    found = read(content.encode())
    assert [(one["sourceType"], one["source"], one["destination"]) for one in found] == [
        ("ATTRIBUTE", "a", "b"),
        ("EXPRESSION", "lower(a)", "c"),
        ("EXPRESSION", '"x"', "d"),
        ("ATTRIBUTE", "a b", "e"),
    ]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("a.b[*].c", "ATTRIBUTE"),
        ("First Name", "ATTRIBUTE"),
        ("${a-b}.c", "ATTRIBUTE"),
        ("a\\.b", "ATTRIBUTE"),
        ("a + b", "EXPRESSION"),
        ("a - b", "EXPRESSION"),
        ("a ? b : c", "EXPRESSION"),
        ("a..b", "EXPRESSION"),
        ("'x'", "EXPRESSION"),
    ],
)
def test_a_missing_source_type_is_guessed(source: str, kind: str) -> None:
    assert read(
        write_csv([{"sourceType": "ATTRIBUTE", "source": source, "destination": "d"}]).replace("ATTRIBUTE", "").encode()
    ) == [{"sourceType": kind, "source": source, "destination": "d"}]


def test_json_of_rules_and_of_whole_sets() -> None:
    assert read(dumps(ROWS), "rows.json") == ROWS
    assert read(dumps({"name": "set", "mappings": ROWS}), "SET.JSON") == ROWS
    legacy = {"sourceAttribute": "a", "destinationXdmPath": "b", "sourceType": None}
    assert read(dumps([legacy]), "rows.json") == [{"sourceType": "ATTRIBUTE", "source": "a", "destination": "b"}]


def test_a_sheet() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in [
        ["Target", "Source", "sourceType"],
        ["loyalty.points", 12, "STATIC"],
        [None, None, None],
        ["b", True, "STATIC"],
        ["c", 2.0, None],
    ]:
        sheet.append(cells)
    written = io.BytesIO()
    book.save(written)
    found = read_mappings(written.getvalue(), "rows.xlsx")
    assert [(one.place, one.mapping["source"], one.mapping["destination"]) for one in found] == [
        ("row 2", "12", "loyalty.points"),
        ("row 4", "true", "b"),
        ("row 5", "2", "c"),
    ]


def test_wrong_rows_are_told_by_line() -> None:
    content = b'source,destination,sourceType\na,b,\n"x\ny",c,STATIC\na,d,NONSENSE\n,e,EXPRESSION\n'
    assert [place for place, _ in misfits(content)] == ["line 5", "line 6"]
    assert "NONSENSE" in misfits(content)[0][1]


def test_rows_that_fail_v1_or_v2_are_told_by_line_and_nothing_is_imported() -> None:
    found = read_mappings(b"source,destination\na,loyalty.points\nlowr(a),loyalty.points\na,loyalty.pionts\n", "rows.csv")
    with pytest.raises(NotImported) as caught:
        check(found, schema(SCHEMA))
    assert [(one.place, one.reason) for one in caught.value.misfits] == [
        ("line 3", "Unknown function lowr; did you mean lower? at 1:1"),
        ("line 4", "loyalty.pionts does not exist in the output schema; did you mean loyalty.points?"),
    ]
    check(found[:1] * 2, schema(SCHEMA))  # a duplicate is V3: the validation tells it, the import takes it


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "rows.csv", "header must have one column source"),
        (b"a,b\n", "rows.csv", "header must have one column source"),
        (b"source,destination\n", "rows.csv", "holds no mapping"),
        (b"source,destination\n\xff,a\n", "rows.csv", "must be UTF-8"),
        (b'source,destination\n"a,b\n', "rows.csv", "not CSV"),
        (b"{", "rows.json", "not JSON"),
        (b"{}", "rows.json", "an array of mappings"),
        (b"[1]", "rows.json", "a mapping is an object"),
        (b"source", "rows.xlsx", "not an XLSX workbook"),
        (b"source", "rows.txt", "must end in .csv"),
    ],
)
def test_files_that_are_none(content: bytes, name: str, reason: str) -> None:
    assert reason in misfits(content, name)[0][1]
