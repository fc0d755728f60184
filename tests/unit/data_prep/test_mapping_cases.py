"""Every mapping set of the conformance cases, on the generated code and on the general engine."""

from typing import Any

import pytest
from mapping_world import mapping_cases, schema

from capstream.aep.data_prep.compiler import compile_set
from capstream.aep.data_prep.rows import rows_of
from capstream.kernel.json import dumps
from capstream.lang.values import same

CASES = mapping_cases()


def missing_required(described: Any, output: Any) -> set[str]:
    return {name for name in (described or {}).get("required", ()) if name not in output}


@pytest.mark.parametrize("engine", ["run", "general"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_mapping_set_case(case: dict[str, Any], engine: str) -> None:
    allowed = case.get("allowNullValues", False)
    compiled = compile_set(rows_of(case), schema(case["schema"]), allow_null_values=allowed)
    before = dumps(case["input"])
    output, problems = getattr(compiled, engine)(case["input"])
    assert same(output, case["expected"])
    assert {problem.destination for problem in problems} == set(case.get("errors", ()))
    assert missing_required(case["schema"], output) == set(case.get("rejected", ()))
    assert dumps(case["input"]) == before


def test_most_sets_run_as_generated_code() -> None:
    generated = [bool(compile_set(rows_of(case), schema(case["schema"])).source) for case in CASES]
    assert sum(generated) >= 0.8 * len(CASES)
