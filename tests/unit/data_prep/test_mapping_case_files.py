"""The case files of the repository hold, and the runner of such files tells failures so that one can act on them."""

from pathlib import Path
from typing import Any

import pytest

from capstream.aep.data_prep.cases import Result, Surroundings, run_lines
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import dumps, loads

CASES = Path(__file__).parents[3] / "cases"
AROUND = Surroundings(1_753_000_000_123, new_uuid)


def lines_of(name: str) -> list[str]:
    return (CASES / name).read_text().splitlines()


@pytest.mark.parametrize("line", lines_of("data-prep-more.jsonl"), ids=lambda line: loads(line)["id"])
def test_further_case(line: str) -> None:
    (result,) = run_lines([line], AROUND)
    assert result.passed, result.describe()


def test_the_runner_agrees_with_the_open_cases() -> None:
    results = list(run_lines(lines_of("data-prep.jsonl"), AROUND))
    assert [result.describe() for result in results if not result.passed] == []
    assert len(results) == 447


def test_a_changed_expectation_fails() -> None:
    for line in lines_of("data-prep.jsonl"):
        case = loads(line)
        if "expected" in case:
            (result,) = run_lines([dumps(case | {"expected": {"something": "else"}}).decode()], AROUND)
            assert not result.passed, case["id"]


def failure(**case: Any) -> Result:
    (result,) = run_lines([dumps(case).decode()], AROUND)
    assert not result.passed
    return result


def differences(**case: Any) -> list[tuple[str, str, str]]:
    return [(one.where, one.expected, one.found) for one in failure(**case).differences]


def test_a_difference_names_its_place() -> None:
    found = differences(expression="{'a': [1, 2], 'b': 'x', 'c': 0}", expected={"a": [1, "2", 3], "b": "x", "d": None})
    assert found == [("a[1]", '"2"', "2"), ("a[2]", "3", ""), ("d", "null", ""), ("c", "", "0")]


def test_a_failure_as_people_read_it() -> None:
    assert failure(id="points", expression="upper(tier)", input={"tier": "gold"}, expected="gold").describe().splitlines() == [
        "FAIL line 1  points  upper(tier)",
        "  result",
        '    - "gold"',
        '    + "GOLD"',
    ]


def test_numbers_compare_by_value_and_booleans_are_no_numbers() -> None:
    assert all(result.passed for result in run_lines(['{"expression": "90.0", "expected": 90}'], AROUND))
    assert differences(expression="true", expected=1) == [("result", "1", "true")]


def test_an_error_instead_of_a_value_and_a_value_instead_of_an_error() -> None:
    assert differences(expression="1 / 0", expected=1) == [("result", "1", "an error (run): Division by zero")]
    assert differences(expression="1", error=True, stage="run") == [("the expression must fail", "an error (run)", "1")]
    ((where, _, found),) = differences(expression="1 / 0", error=True, stage="compile")
    assert (where, found) == ("the expression must fail at validation", "an error (run): Division by zero")


def test_patterns() -> None:
    assert differences(expression="'abc'", nondeterministic=True, pattern="^b") == [("result", "matches ^b", '"abc"')]
    assert differences(expression="1 / 0", nondeterministic=True, pattern="^b")[0][2].startswith("an error")
    assert "regular expression" in differences(expression="'abc'", nondeterministic=True, pattern="(")[0][0]


SET: dict[str, Any] = {
    "kind": "mapping-set",
    "mappings": [
        {"sourceType": "EXPRESSION", "source": "to_integer(n)", "destination": "o.n"},
        {"sourceType": "ATTRIBUTE", "source": "s", "destination": "o.s"},
        {"sourceType": "EXPRESSION", "source": "1 +", "destination": "t"},
    ],
    "schema": {
        "type": "object",
        "properties": {
            "o": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}},
            "t": {"type": "string"},
        },
    },
    "input": {"n": "x", "s": 1},
}


def test_reported_and_rejected_fields_are_compared() -> None:
    right = SET | {"expected": {"o": {"s": "1"}}, "errors": ["o.n", "t"], "rejected": ["o.n"]}
    assert [result.passed for result in run_lines([dumps(right).decode()], AROUND)] == [True]
    found = differences(**right | {"errors": ["o.s", "t"], "rejected": []})
    assert found == [
        ("errors", "o.s", ""),
        ("errors", "", 'o.n: "x" is not an integer'),
        ("rejected", "", "o.n: required, and absent"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "a case is a JSON object"),
        ('{"expression": "1", "expcted": 1}', "did you mean expected?"),
        ('{"expression": "1"}', "says nothing about the result"),
        ('{"expected": 1}', "expression: a text is needed"),
        ('{"expression": "1", "expected": 1, "input": []}', "input: the source record"),
        ('{"kind": "mappingset"}', "kind: 'mappingset' is unknown"),
        ('{"expression": "1", "error": true, "stage": "later"}', "stage: 'later' is unknown"),
        ('{"kind": "mapping-set", "mappings": []}', "expected: the mapped record"),
        ('{"kind": "mapping-set", "expected": {}}', "mappings: an array"),
        ('{"kind": "mapping-set", "expected": {}, "mappings": [{"source": "a"}]}', "needs source and destination"),
        ('{"kind": "mapping-set", "expected": {}, "mappings": [], "errors": "a"}', "errors: an array of paths"),
        ('{"kind": "mapping-set", "expected": {}, "mappings": [], "schema": {"type": "text"}}', "type 'text' is unknown"),
        ('{"kind": "mapping-set", "expected": {}, "mappings": [], "schema": {"type": "string"}}', "a record is an object"),
        ('{"kind": "mapping-set", "expected": {}, "mappings": [], "schema": {"$ref": "#/a"}}', "references are not followed"),
    ],
)
def test_a_line_that_is_no_case_fails(line: str, reason: str) -> None:
    (result,) = run_lines(["", line, ""], AROUND)
    assert result.line == 2
    assert reason in result.differences[0].where
