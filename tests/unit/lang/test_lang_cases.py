"""Every expression of the conformance cases."""

import re
from pathlib import Path
from typing import Any

import pytest

from capstream.kernel.ids import new_uuid
from capstream.kernel.json import loads
from capstream.lang.expression import FAILURES, CheckError, compile_expression
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.values import same, settled, text

CASES = Path(__file__).parents[3] / "cases" / "data-prep.jsonl"
EXPRESSIONS = [case for line in CASES.read_bytes().splitlines() if (case := loads(line)).get("kind") != "mapping-set"]
NOW_MS = 1_753_000_000_123


def run(expression: str, record: dict[str, Any]) -> Any:
    return settled(compile_expression(expression).run(record, NOW_MS, Budget(), new_uuid))


@pytest.mark.parametrize("case", EXPRESSIONS, ids=lambda case: case["id"])
def test_expression_case(case: dict[str, Any]) -> None:
    if case.get("error"):
        early = (CheckError,) if case["stage"] == "compile" else (CheckError, *FAILURES)
        with pytest.raises(early):
            run(case["expression"], case["input"])
    elif case.get("nondeterministic"):
        assert re.search(case["pattern"], text(run(case["expression"], case["input"])))
    else:
        found = run(case["expression"], case["input"])
        assert same(found, case["expected"])
        if case["expression"].startswith("get_keys"):
            assert found == case["expected"]


def test_every_kind_of_case_is_here() -> None:
    assert {"string", "regex", "hashing", "url", "date", "object", "map", "array", "operators", "paths", "syntax"} <= {
        case["category"] for case in EXPRESSIONS
    }
