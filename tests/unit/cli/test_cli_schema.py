"""`capstream schema` without a server: cases, drawings, differences, drafts."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capstream.cli.main import app
from capstream.cli.schema_cases import Judge
from capstream.cli.schema_source import composed
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps, loads

PROFILE = ["https://ns.adobe.com/xdm/context/profile", "https://ns.adobe.com/xdm/context/identitymap"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["schema", *arguments])


def case(instance: Any, *, valid: bool, **more: Any) -> dict[str, Any]:
    return {"schema": PROFILE, "instance": instance, "valid": valid, "mode": "platform", "stage": "schema"} | more


def written(path: Path, *cases: Any) -> str:
    path.write_bytes(b"\n".join(dumps(one) for one in cases))
    return str(path)


WRONG_TYPE = {"keyword": "type", "pointer": "#/personID"}


@pytest.mark.parametrize(
    ("one", "outcome", "told"),
    [
        (case({"personID": "a"}, valid=True), "passed", ""),
        (case({"personID": 1}, valid=True), "failed", "should be valid, but #/personID expected type: String, found: Long"),
        (case({"personID": 1}, valid=False, **WRONG_TYPE), "passed", ""),
        (case({"personID": "a"}, valid=False, **WRONG_TYPE), "failed", "nothing was found"),
        (case({"personID": 1}, valid=False, keyword="enum", pointer="#/personID"), "failed", "should break enum"),
        (case({"personID": 1}, valid=False), "passed", ""),
        (case({}, valid=False, mode="standard"), "skipped", "standard"),
        (case({"identityMap": {"X": [{"id": "1", "primary": True}]}}, valid=True, stage="identity"), "passed", ""),
        (case({"identityMap": {"X": [{"id": "null", "primary": True}]}}, valid=False, stage="identity"), "passed", ""),
        (case({"identityMap": {"X": [{"id": "1"}]}}, valid=True, stage="identity"), "failed", "no identity is marked as primary"),
        (case({"identityMap": {"X": [{"id": "1", "primary": True}]}}, valid=False, stage="identity"), "failed", "was taken"),
    ],
)
def test_a_case_is_judged(one: dict[str, Any], outcome: str, told: str) -> None:
    verdict = Judge(lambda references: composed(references, None)).verdict("one", one)
    assert verdict.outcome == outcome
    assert told in verdict.reason


def test_failures_and_counts_are_printed(tmp_path: Path) -> None:
    file = written(
        tmp_path / "cases.jsonl", case({}, valid=True), case({"x": 1}, valid=True, id="two"), case({}, valid=True, mode="s")
    )
    done = run("test", file)
    assert done.exit_code == 1
    assert done.output.splitlines()[0].startswith("two: should be valid, but # extraneous key [x] is not permitted")
    assert done.output.splitlines()[1:] == ["1 skipped: mode s, not the platform's rules", "1 passed, 1 failed"]
    assert loads(run("test", file, "--json").output)["passed"] == 1
    assert run("test", written(tmp_path / "good.jsonl", case({}, valid=True))).exit_code == 0


@pytest.mark.parametrize("line", ["{", "[]", '{"schema": "x"}', '{"schema": ["no/thing", "x"], "instance": {}, "valid": true}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(line)
    assert isinstance(run("test", str(file)).exception, InputError)


def test_a_standard_component_is_drawn() -> None:
    done = run("show", "Loyalty Details", "--depth", "2")
    assert done.output.startswith(
        "Loyalty Details  https://ns.adobe.com/xdm/mixins/profile/profile-loyalty-details\n└── loyalty: object\n"
    )
    assert '    ├── points: number  "Program Points Balance"\n' in done.output
    assert loads(run("show", "Loyalty Details", "--json").output)["properties"]["loyalty"]["type"] == "object"


def test_files_are_compared(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    new = tmp_path / "new.json"
    old.write_bytes(dumps({"title": "Old", "properties": {"a": {"type": "string"}}}))
    new.write_bytes(
        dumps([{"$id": "part", "properties": {"b": {"type": "string"}}}, {"title": "New", "allOf": [{"$ref": "part"}]}])
    )
    done = run("diff", str(old), str(new))
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "breaks   /a: the field cannot be removed, renamed or moved",
        "allowed  /b: new field, string",
        "2 changes, 1 breaking",
    ]
    same = run("diff", str(old), str(old), "--json")
    assert (same.exit_code, loads(same.output)) == (0, {"breaking": 0, "changes": []})
    new.write_bytes(dumps({"title": "New", "allOf": [{"$ref": "elsewhere"}]}))
    assert "xed-full" in str(run("diff", str(old), str(new)).exception)


@pytest.mark.parametrize("content", ['{"a": 1}\n{"a": 2}', '[{"a": 1}, {"a": 2}]', '{"a": 1}'])
def test_a_draft_is_a_file_to_apply(tmp_path: Path, content: str) -> None:
    from capstream.cli.yaml_files import load_yaml

    sample = tmp_path / "sample.jsonl"
    sample.write_text(content)
    done = run("infer", "--sample", str(sample), "--title", "Drafted", "--class", "profile")
    assert done.exit_code == 0
    draft = tmp_path / "draft.yaml"
    draft.write_text(done.output)
    (group,) = load_yaml(draft)["fieldGroups"]
    assert (group["title"], group["classes"]) == ("Drafted", ["profile"])
    assert group["fields"] == {"a": {"title": "A", "type": "integer"}}


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"a": null}'])
def test_a_sample_without_fields_is_refused(tmp_path: Path, content: str) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text(content)
    assert isinstance(run("infer", "--sample", str(sample)).exception, InputError)


def test_yaml_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a: [")
    failed = run("apply", str(file)).exception
    assert isinstance(failed, InputError)
    assert "line" in str(failed)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"schema": 5}, "schema: it is neither an id nor a list of ids"),
        ({"schema": []}, "schema: it is neither an id nor a list of ids"),
        ({"schema": ["https://ns.adobe.com/xdm/none"]}, "https://ns.adobe.com/xdm/none: it is no standard component"),
        ({"valid": "yes"}, "valid: it is neither true nor false"),
    ],
)
def test_a_case_that_cannot_be_judged_is_refused(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    done = run("test", written(tmp_path / "cases.jsonl", case({}, valid=True) | wrong))
    assert done.exit_code != 0
    assert told in str(done.exception)
