"""Compiled expressions agree with a tree walk; text that is no expression is always refused the same way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstream.lang.check import diagnose
from capstream.lang.emit import bound
from capstream.lang.expression import FAILURES, CheckError, compile_expression
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.methods import call_method
from capstream.lang.nodes import Call, Computed, Index, Lambda, ListOf, Literal, MapOf, Method, Name, Node, Path, Star, Variable
from capstream.lang.operators import BINARY, UNARY
from capstream.lang.parser import parse
from capstream.lang.signatures import Needs
from capstream.lang.values import same, text, truth

NOW = 1_753_000_000_123
Scope = dict[str, Any]


def walk(node: Node, record: Any, scope: Scope) -> Any:
    """Evaluate a tree step by step, for comparison."""

    def at(one: Node) -> Any:
        return walk(one, record, scope)

    match node:
        case Literal(value):
            return value
        case Variable(name):
            return scope[name]
        case ListOf(items):
            return [at(item) for item in items]
        case MapOf(entries):
            return {text(at(key)): at(value) for key, value in entries}
        case Lambda((name,), body):
            return lambda value: walk(body, record, {**scope, name: value})
        case Path(None, steps):
            if len(steps) > 1 and all(isinstance(step, Name) for step in steps) and steps[0].text not in record:
                return record.get(".".join(step.text for step in steps))
            return reach(record, known(steps, at))
        case Path(base, steps):
            return reach(at(base), known(steps, at))
        case Method(receiver, name, args):
            return call_method(at(receiver), name, *map(at, args))
        case Call("iif" | "?", (test, chosen, other)):
            return at(chosen) if truth(at(test)) else at(other)
        case Call("&&", (left, right), operator=True):
            return truth(at(left)) and truth(at(right))
        case Call("||", (left, right), operator=True):
            return truth(at(left)) or truth(at(right))
        case Call("!", (operand,), operator=True):
            return not truth(at(operand))
        case Call("?:" | "??", (left, right), operator=True):
            value = at(left)
            return value if (truth(value) if node.name == "?:" else value is not None) else at(right)
        case Call(name, args, operator=True):
            return (BINARY.get(name) or UNARY[name])(*map(at, args))
        case Call(name, args):
            ambient = {Needs.NOW: (NOW,), Needs.BUDGET: (Budget(),), Needs.RECORD: (record,)}.get(FUNCTIONS[name].needs, ())
            return bound(FUNCTIONS[name])(*ambient, *map(at, args))
    raise AssertionError(node)


def known(steps: Any, at: Any) -> list[Any]:
    """Evaluate computed indexes, which happens whether or not there is anything to index."""
    return [Index(at(step.node)) if isinstance(step, Computed) else step for step in steps]


def reach(value: Any, steps: list[Any]) -> Any:
    """Follow a path, one step a call."""
    if not steps or value is None:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, Index):
        key = int(step.value) if isinstance(step.value, float) and step.value.is_integer() else step.value
        if isinstance(value, list):
            found = value[key] if type(key) is int and 0 <= key < len(value) else None
        else:
            found = value.get(str(key)) if isinstance(value, dict) and type(key) in {int, str} else None
        return reach(found, rest)
    if isinstance(step, Star) or isinstance(value, list):
        if isinstance(step, Star):
            steps = rest
        result: list[Any] = []
        for one in value if isinstance(value, list) else [value]:
            found = reach(one, steps)
            result.extend(found) if isinstance(found, list) and projects(one, steps) else result.append(found)
        return result
    return reach(value.get(step.text), rest) if isinstance(value, dict) else None


def projects(value: Any, steps: list[Any]) -> bool:
    for step in steps:
        if isinstance(step, Star):
            return True
        if isinstance(step, Name):
            if isinstance(value, list):
                return True
            value = value.get(step.text) if isinstance(value, dict) else None
        else:
            value = reach(value, [step])
    return False


LEAVES = [
    "a",
    "b",
    "a.b",
    "a[0]",
    "a[*].b",
    "b.a",
    "a.b.a",
    "a['b']",
    "1",
    "0",
    "2.5",
    "'7'",
    "''",
    "'x'",
    "null",
    "true",
    "false",
]
BINARIES = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "?:", "??", "===", "=^", "|", "=~"]


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(BINARIES), inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("iif({}, {}, {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}({})".format, st.sampled_from(["upper", "size_of", "is_empty", "!", "-", "to_integer", "coalesce"]), inner),
        st.builds("concat({}, {})".format, inner, inner),
        st.builds("decode({}, 'x', {}, '7', 1, {})".format, inner, inner, inner),
        st.builds("transformArray({}, x -> [x, {}])".format, inner, inner),
        st.builds("filterArray({}, x -> x.b == {})".format, inner, inner),
        st.builds("({}).b[{}]".format, inner, inner),
        st.builds("({}).toString()".format, inner),
    )


EXPRESSIONS = st.recursive(st.sampled_from(LEAVES), _joined, max_leaves=8)
VALUES = st.recursive(
    st.sampled_from([None, 0, 1, 2, 2.5, "7", "x", "", True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.sampled_from(["a", "b", "a.b", "b.a"]), VALUES)


def outcome(run: Any) -> Any:
    try:
        return "value", run()
    except FAILURES:
        return "fails", None


@settings(max_examples=500, deadline=None)
@given(EXPRESSIONS, RECORDS)
def test_compiled_code_agrees_with_a_tree_walk(expression: str, record: dict[str, Any]) -> None:
    compiled = compile_expression(expression)
    tree = parse(expression)
    expected = outcome(lambda: walk(tree, record, {}))
    found = outcome(lambda: compiled.run(record, NOW, Budget(), str))
    assert found[0] == expected[0]
    assert same(found[1], expected[1])


LINKS = st.tuples(
    st.sampled_from(["+", "+", "-", "*", "/", "%", "|", "&", "^", "&&", "||"]), st.sampled_from(LEAVES) | EXPRESSIONS
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LEAVES), st.lists(LINKS, min_size=25, max_size=60), RECORDS)
def test_long_chains_agree_with_a_tree_walk(first: str, links: list[tuple[str, str]], record: dict[str, Any]) -> None:
    expression = first + "".join(f" {operator} {right}" for operator, right in links)
    if not diagnose(expression):  # some are too long
        tree = parse(expression)
        expected = outcome(lambda: walk(tree, record, {}))
        found = outcome(lambda: compile_expression(expression).run(record, NOW, Budget(), str))
        assert found[0] == expected[0]
        assert same(found[1], expected[1])


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("ab.[]*(){}'\"\\$,:?!=<>&|+-/%~^ 01e#\n"), max_size=40) | st.text(max_size=40))
def test_any_text_compiles_or_is_refused(text_of_user: str) -> None:
    findings = diagnose(text_of_user)
    assert all(finding.message and 0 <= finding.span.start <= len(text_of_user) for finding in findings)
    if findings:
        with pytest.raises(CheckError):
            compile_expression(text_of_user)
    else:
        outcome(lambda: compile_expression(text_of_user).run({"a": [1], "b": {"a": "x"}}, NOW, Budget(), str))
