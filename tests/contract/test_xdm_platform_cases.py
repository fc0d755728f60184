"""The published platform cases: verdict, keyword and pointer. Source: xdm.md 12."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from capstream.xdm.compose import compose
from capstream.xdm.library import standard_library
from capstream.xdm.validate import Validator, compile_validator

FILE = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[3] / "shared")) / "cases" / "xdm-validation.jsonl"


def _cases() -> list[dict[str, Any]]:
    if not FILE.is_file():
        return []
    cases = (json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines())
    return [case for case in cases if case["mode"] == "platform"]


@cache
def _validator(references: tuple[str, ...]) -> Validator:
    return compile_validator(compose(references, standard_library().get, schema_id="case"))


@pytest.fixture(scope="module")
def validator() -> Callable[[list[str]], Validator]:
    return lambda references: _validator(tuple(references))


def test_the_cases_are_here() -> None:
    if not FILE.is_file():
        pytest.skip(f"the published cases are not here: {FILE}")
    assert len(_cases()) > 100


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case["id"])
def test_a_case_has_the_expected_verdict(case: dict[str, Any], validator: Callable[[list[str]], Validator]) -> None:
    found = validator(case["schema"])(case["instance"])
    if case["valid"] or case["stage"] == "identity":
        assert found == []
    else:
        assert (case["keyword"], case["pointer"]) in {(one.keyword, one.pointer) for one in found}, case["reason"]
