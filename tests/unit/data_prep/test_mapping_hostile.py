"""Mapping sets and records that want to hurt, and the alphabet of generated programs."""

import io
import keyword
import re
import tokenize
from typing import Any

import pytest
from mapping_world import mapping_cases, program, rows, schema

from capstream.aep.data_prep.compiler import RowError, compile_set
from capstream.aep.data_prep.rows import rows_of

NAMES = re.compile(r"[a-z][0-9]*|program|get|append|pop|__class__")
EVIL = "\"]; __import__('os').system('x'); [\"\n\t'\\"


def tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def check_alphabet(source: str) -> None:
    for token in tokens(source):
        if token.type == tokenize.NAME:
            assert keyword.iskeyword(token.string) or NAMES.fullmatch(token.string), token
        assert token.type not in {tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT}, token


def test_alphabet_of_every_generated_program() -> None:
    programs = [compile_set(rows_of(case), schema(case["schema"])) for case in mapping_cases()]
    sources = [program.source for program in programs]
    typed = [one.source for program in programs if (one := program.typed()) is not None]
    for source in [*sources, *typed]:
        check_alphabet(source)
    assert sum(map(bool, sources)) > 30
    assert len(typed) > 30


def test_names_and_constants_never_become_code() -> None:
    name = EVIL.replace("\\", "").replace("[", "").replace("]", "").replace(".", "")
    wrapped = name.replace("}", "")
    listed = [
        ("A", name, f"a.{wrapped}"),
        ("S", EVIL, f"b.{wrapped}"),
        ("E", f"concat(${{{wrapped}}}, 'x\"y')", "c"),
        ("A", f"l[*].{wrapped}", f"d[*].{wrapped}"),
    ]
    compiled = program(listed)
    check_alphabet(compiled.source)
    key = wrapped.strip()
    output, problems = compiled({key: "v", "l": [{key: 1}]})
    assert problems == []
    assert output["b"] == {key: EVIL}
    assert output["d"] == [{key: 1}]


def test_names_that_cannot_be_attributes_are_read_from_whole_records() -> None:
    compiled = program([("A", 'a"b', "x"), ("A", "a", "y")])
    assert compiled.source
    assert compiled.typed() is None
    assert compiled({'a"b': 1, "a": 2}) == ({"x": 1, "y": 2}, [])


@pytest.mark.parametrize(
    ("kind", "source", "destination", "reason"),
    [
        ("A", "a..b", "x", "source is no path"),
        ("A", "[0].a", "x", "source is no path"),
        ("A", "a" * 5000, "x", "longer than"),
        ("A", "a", "", "mapping needs"),
        ("A", "a", "x..y", "destination is no path"),
        ("A", "a", "[*]", "destination is no path"),
        ("A", "a", "xdm:", "destination is no path"),
        ("A", "a", "x" + ".y" * 64, "65 steps, the limit is 64"),
        ("E", "1 +", "x", "Expected a value"),
        ("E", "(" * 4000, "x", "Nested deeper"),
        ("E", "", "x", "needs a source"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(kind: str, source: str, destination: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        program([(kind, source, destination)])


def test_a_refusal_names_the_row() -> None:
    with pytest.raises(RowError) as caught:
        program([("A", "a", "x"), ("E", "1 +", "y.z")])
    assert caught.value.row == rows(("E", "1 +", "y.z"))[0]
    assert str(caught.value) == "y.z: Expected a value, found the end at 1:4"


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize("engine", ["run", "general"])
def test_a_record_nested_beyond_reason_is_a_problem_of_its_field(engine: str) -> None:
    compiled = program([("A", "a", "copied"), ("E", "flattenArray(a)", "flat"), ("A", "ok", "ok")])
    output, problems = getattr(compiled, engine)({**nested(900), "ok": 1})
    assert output["ok"] == 1
    assert "copied" in {problem.destination for problem in problems}


@pytest.mark.parametrize("engine", ["run", "general"])
def test_results_beyond_the_limit_are_problems(engine: str) -> None:
    listed = [
        ("E", "concat(big, big)", "a"),
        ("E", "[big, big]", "b"),
        ("A", "big", "c"),
        ("E", "matches_regex(big, '(a+)+b')", "d"),
    ]
    output, problems = getattr(program(listed), engine)({"big": "a" * 600_000})
    assert set(output) == {"c"} | ({"d"} & set(output))
    assert {"a", "b"} <= {problem.destination for problem in problems}


def test_many_failing_elements_are_one_problem() -> None:
    compiled = program([("E", "to_integer(l[*].n)", "x[*].n"), ("A", "l[*].s", "x[*].s")])
    output, problems = compiled({"l": [{"n": "x", "s": at} for at in range(1000)]})
    assert len(output["x"]) == 1000
    assert len(problems) == 1


def test_hundreds_of_rows_compile() -> None:
    listed = [("A", f"a{at}.b.c", f"x.y{at}.z") for at in range(600)]
    compiled = program(listed)
    assert compiled.source
    assert compiled({"a5": {"b": {"c": 1}}}) == ({"x": {"y5": {"z": 1}}}, [])


@pytest.mark.parametrize("depth", [30, 40, 41, 64])
def test_deep_destinations_compile(depth: int) -> None:
    names = [f"n{at}" for at in range(depth)]
    compiled = program(
        [("A", ".".join(names), ".".join(names)), *(("S", "x", ".".join([*names[:at], "y"])) for at in range(depth))]
    )
    record: Any = 7
    for name in reversed(names):
        record = {name: record, "y": "x"}
    assert compiled(record) == (record, [])


@pytest.mark.parametrize("steps", [39, 41, 600])
@pytest.mark.parametrize(
    ("kind", "source", "destination"),
    [("A", "a{}", "x"), ("E", "size_of(a{})", "x"), ("E", "concat(a{}, a{}.b)", "x"), ("A", "a{}[*].s", "x[*].s")],
)
@pytest.mark.parametrize("step", [".b", "[0]"])
def test_paths_of_many_steps_compile(kind: str, source: str, destination: str, step: str, steps: int) -> None:
    listed = [(kind, source.replace("{}", step * steps), destination), ("A", "ok", "ok")]
    compiled = program(listed)
    compiled.typed()
    output, _ = compiled({"a": {"b": 1}, "ok": 1})
    assert output["ok"] == 1
