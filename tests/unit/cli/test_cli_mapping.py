"""`capstream map` without a server."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capstream.cli.main import app
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps, loads


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["map", *arguments])


def written(path: Path, *values: Any) -> str:
    path.write_bytes(b"\n".join(value.encode() if isinstance(value, str) else dumps(value) for value in values))
    return str(path)


def test_cases_that_hold_and_cases_that_do_not(tmp_path: Path) -> None:
    right, wrong = {"expression": "1 + 1", "expected": 2}, {"id": "sum", "expression": "1 + 1", "expected": 3}
    done = run("test", written(tmp_path / "right.jsonl", right, right))
    assert (done.exit_code, done.output) == (0, "2 passed, 0 failed\n")
    file = written(tmp_path / "wrong.jsonl", right, "", wrong)
    done = run("test", file)
    assert (done.exit_code, done.output) == (1, "FAIL line 3  sum  1 + 1\n  result\n    - 3\n    + 2\n1 passed, 1 failed\n")
    told = loads(run("test", file, "--json").output)
    assert (told["passed"], told["failed"], told["failures"][0]["line"]) == (1, 1, 3)


@pytest.mark.parametrize("name", ["missing.jsonl", "empty.jsonl"])
def test_a_file_without_cases_is_a_mistake(tmp_path: Path, name: str) -> None:
    written(tmp_path / "empty.jsonl", "")
    assert isinstance(run("test", str(tmp_path / name)).exception, InputError)


def test_explain(tmp_path: Path) -> None:
    done = run("explain", "lower(trim(a.b))")
    assert done.exit_code == 0
    assert "  call lower : text\n    call trim : text\n      path a.b : any\n" in done.output
    assert "= function trim" in done.output
    done = run("explain", "lower(1, 2)")
    assert done.exit_code == 1
    assert "    lower(1, 2)\n    ^^^^^^^^^^^" in done.output
    assert loads(run("explain", "lower(1, 2)", "--json").output)["diagnostics"][0]["code"] == "arguments"


MAPPINGS = [
    {"sourceType": "ATTRIBUTE", "source": "points", "destination": "loyalty.points"},
    {"sourceType": "ATTRIBUTE", "source": "lines[*].sku", "destination": "productListItems[*].SKU"},
    {"sourceType": "STATIC", "source": "active", "destination": "loyalty.status"},
    {"sourceType": "ATTRIBUTE", "source": "tier", "destination": "loyalty.tier"},
    {"sourceType": "EXPRESSION", "source": "to_integer(name)", "destination": "loyalty.joined"},
]
SCHEMA = {
    "type": "object",
    "required": ["_id"],
    "properties": {
        "_id": {"type": "string"},
        "loyalty": {
            "type": "object",
            "properties": {
                "points": {"type": "number"}, "status": {"type": "string"}, "tier": {"type": "string"},
                "joined": {"type": "integer"}
            },
        },
        "productListItems": {"type": "array", "items": {"type": "object", "properties": {"SKU": {"type": "string"}}}},
    },
}  # fmt: skip


def test_try_shows_where_values_come_from(tmp_path: Path) -> None:
    records = written(tmp_path / "records.jsonl", {"points": "5", "lines": [{"sku": "a"}], "name": "x"}, {"points": 6})
    mappings, schema = written(tmp_path / "set.json", MAPPINGS), written(tmp_path / "schema.json", SCHEMA)
    done = run("try", mappings, "--input", records, "--schema", schema)
    assert done.exit_code == 0, done.exception
    first, second = done.output.rstrip().split("\n\n")
    assert [" ".join(line.split()) for line in first.splitlines()] == [
        "record 1",
        'loyalty.points = 5 <- points = "5" (mapping 1)',
        'loyalty.status = "active" <- constant (mapping 3)',
        'productListItems[0].SKU = "a" <- lines[0].sku (mapping 2)',
        '! loyalty.joined: "x" is not an integer (from to_integer(name))',
        "! _id: required, and no mapping gave it a value",
        ". loyalty.tier: nothing from tier",
    ]
    assert second.startswith("record 2\n")
    told = loads(run("try", mappings, "--input", records, "--schema", schema, "--limit", "1", "--json").output)
    assert [one["missing"] for one in told] == [["_id"]]
    assert told[0]["record"]["loyalty"] == {"points": 5, "status": "active"}


def test_suggest_for_a_local_schema_needs_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no credentials here
    records = written(
        tmp_path / "records.jsonl", {"loyalty": {"points": 5}, "productLineItems": [{"SKU": "a"}], "loyaltyTier": "gold"}
    )
    done = run("suggest", "--sample", records, "--schema", written(tmp_path / "schema.json", SCHEMA))
    assert done.exit_code == 0, done.exception
    found = loads(done.output)
    assert [(one["source"], one["destination"]) for one in found.pop("mappings")] == [
        ("loyalty.points", "loyalty.points"),
        ("productLineItems[*].SKU", "productListItems[*].SKU"),
        ("loyaltyTier", "loyalty.tier"),
    ]
    assert found == {}
    named = written(tmp_path / "named.json", SCHEMA | {"$id": "https://ns.adobe.com/demo/schemas/x"})
    done = run("suggest", "--sample", records, "--schema", named)
    assert loads(done.output)["outputSchema"]["schemaRef"]["id"] == "https://ns.adobe.com/demo/schemas/x"
    tried = run("try", written(tmp_path / "set.json", done.output), "--input", records, "--schema", named)
    assert "loyalty.points = 5" in " ".join(tried.output.split())


def test_a_name_is_suggested_for_the_place_people_keep_it_in(tmp_path: Path) -> None:
    text: dict[str, Any] = {"type": "string"}
    properties = {
        "emailFormat": text,
        "personalEmail": {"type": "object", "properties": {"address": text}},
        "mobilePhone": {"type": "object", "properties": {"number": text}},
    }
    schema = written(tmp_path / "schema.json", {"type": "object", "properties": properties})
    records = written(
        tmp_path / "records.jsonl", {"email": "member-0001@example.com", "mobile": "123", "lines": [{"email": "x"}]}
    )
    found = loads(run("suggest", "--sample", records, "--schema", schema).output)["mappings"]
    assert {one["source"]: one["destination"] for one in found if one["matchScore"] >= 0.9} == {
        "email": "personalEmail.address",
        "mobile": "mobilePhone.number",
    }


@pytest.mark.parametrize("content", ["[]", "{", '{"type": "string"}'])
def test_suggest_refuses_what_is_no_schema(tmp_path: Path, content: str) -> None:
    records = written(tmp_path / "records.jsonl", {"a": 1})
    done = run("suggest", "--sample", records, "--schema", written(tmp_path / "schema.json", content))
    assert isinstance(done.exception, InputError)
    assert "--schema" in str(done.exception)


@pytest.mark.parametrize(
    ("mappings", "records", "reason"),
    [
        ("[]", "{}", "holds no mapping"),
        ("nonsense", "{}", "not JSON"),
        ('[{"source": "a..b", "destination": "c"}]', "{}", "cannot be compiled"),
        ('[{"source": "a", "destination": "c"}]', "{}\n1", "line 2"),
    ],
)
def test_files_that_cannot_be_tried(tmp_path: Path, mappings: str, records: str, reason: str) -> None:
    done = run("try", written(tmp_path / "set.json", mappings), "--input", written(tmp_path / "records.jsonl", records))
    assert isinstance(done.exception, InputError)
    assert reason in str(done.exception)


def test_a_wrong_file_is_told_before_any_server_is_asked(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", "source,destination,sourceType\na,b,NONSENSE\n")
    done = run("import", file, "--schema", "https://ns.adobe.com/demo/schemas/x")
    assert isinstance(done.exception, InputError)
    assert "\n  line 2: unknown sourceType 'NONSENSE'" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("try", "set.csv", "--input", "records.jsonl"), "SET: set.csv is neither a file here nor the id of a mapping set"),
        (("try", "0" * 32, "--input", "none.jsonl"), "--input: none.jsonl cannot be read: No such file or directory"),
        (
            ("try", "0" * 32, "--input", "records.jsonl", "--schema", "none.json"),
            "--schema: none.json is neither a file here nor",
        ),
        (
            ("suggest", "--sample", "none.jsonl", "--schema", "https://ns.adobe.com/demo/schemas/x"),
            "--sample: none.jsonl cannot be",
        ),
        (("suggest", "--sample", "records.jsonl", "--schema", "none.json"), "--schema: none.json is neither a file here nor"),
    ],
)
def test_a_missing_file_is_told_before_credentials_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)  # no credentials here
    written(tmp_path / "records.jsonl", {"a": 1})
    done = run(*arguments)
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(reason)
