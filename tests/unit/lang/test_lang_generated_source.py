"""Generated source holds generated names and keywords, whatever the user wrote."""

import io
import keyword
import linecache
import re
import tokenize
from pathlib import Path

import pytest

from capstream.kernel.json import loads
from capstream.lang.expression import CheckError, compile_expression

CASES = Path(__file__).parents[3] / "cases" / "data-prep.jsonl"
NAMES = re.compile(r"[a-z][0-9]*|expression|get|__class__")


def test_alphabet_of_every_case() -> None:
    seen = 0
    cases = [loads(line) for line in CASES.read_bytes().splitlines()]
    chains = ["a.b" + " + 'x' - 1" * 40, "a" + " && b.c > 'x' || !d" * 30]
    for expression in [case["expression"] for case in cases if "expression" in case] + chains:
        try:
            source = compile_expression(expression).source
        except CheckError:
            continue
        seen += 1
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                assert keyword.iskeyword(token.string) or NAMES.fullmatch(token.string), token
            assert token.type not in {tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT}, token
    assert seen > 300


def test_tracebacks_show_generated_lines_and_the_cache_forgets_them() -> None:
    compiled = compile_expression("a + 1")
    file = compiled.run.__code__.co_filename
    assert "return" in linecache.getline(file, 2)
    del compiled
    assert linecache.getline(file, 2) == ""


def test_generated_code_cannot_reach_builtins() -> None:
    assert compile_expression("a").run.__globals__["__builtins__"] == {}
    with pytest.raises(CheckError):
        compile_expression("__import__('os')")
