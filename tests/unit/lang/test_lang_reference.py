"""What the reference page says of each function: its null rule and its example, run."""

import pytest

from capstream.kernel.json import loads
from capstream.lang.expression import compile_expression
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.method_examples import METHOD_EXAMPLES
from capstream.lang.methods import ARITIES
from capstream.lang.null_rules import N1, RULES, null_rule
from capstream.lang.values import same, settled


def value(expression: str) -> object:
    return settled(compile_expression(expression).run({}, 1_721_300_000_000, Budget(), lambda: "an id"))


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_null_rule_holds(name: str) -> None:
    rule = RULES[name]
    assert same(value(rule.example), loads(rule.result))


@pytest.mark.parametrize("name", [name for name, one in FUNCTIONS.items() if one.params and null_rule(one) == N1])
def test_null_first_gives_null(name: str) -> None:
    function = FUNCTIONS[name]
    kinds = {"array": "[1]", "map": "{'a': 1}", "lambda": "x -> x", "date": "now()", "int": "1", "number": "1", "bool": "true"}
    rest = [kinds.get(param.type, "'a'") for param in function.params[1:] if not param.optional]
    assert value(f"{name}({', '.join(['null', *rest])})") is None


def test_every_function_has_a_null_rule_and_an_example() -> None:
    for function in FUNCTIONS.values():
        assert bool(null_rule(function)) == bool(function.params)
        assert function.name in function.example
        value(function.example)


def test_every_method_has_an_example_that_uses_it() -> None:
    assert METHOD_EXAMPLES.keys() == ARITIES.keys()
    for name, example in METHOD_EXAMPLES.items():
        assert f".{name}(" in example
        assert value(example) is not None
