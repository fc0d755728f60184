"""Expressions that want to hurt are refused by limits that are counted, not timed."""

from typing import Any

import pytest

from capstream.aep.data_prep.compiler import compile_set
from capstream.aep.data_prep.rows import Row, SourceType
from capstream.lang import matching
from capstream.lang.check import diagnose
from capstream.lang.diagnostics import Code, Fail
from capstream.lang.explain import explain
from capstream.lang.expression import FAILURES, CheckError, compile_expression
from capstream.lang.hierarchy_functions import MAX_CALLS, MAX_WORK, Budget
from capstream.lang.scanner import MAX_DEPTH, MAX_LENGTH
from capstream.lang.values import settled

BIG = "a" * 600_000
NUMBERS = list(range(100_000))
MANY = dict.fromkeys(map(str, range(20_000)), 1)


def run(expression: str, **record: Any) -> tuple[Any, Budget]:
    budget = Budget()
    return settled(compile_expression(expression).run(record, 0, budget, str)), budget


def refused(expression: str, **record: Any) -> tuple[str, Budget]:
    budget = Budget()
    with pytest.raises(FAILURES) as caught:
        settled(compile_expression(expression).run(record, 0, budget, str))
    return str(caught.value), budget


LONG = [
    "1" + "+1" * 50_000,
    "a" * 100_000,
    '"' + "x" * 100_000,
    " " * 100_000,
    "/*" + "x" * 100_000,
    "${" * 50_000,
    '"' + "\\" * 100_000,
]
DEEP = [
    "(" * 1000 + "1" + ")" * 1000, "[" * 1000, "{" * 1000, "lower(" * 600 + "a" + ")" * 600, "!" * 1000 + "1",
    "not " * 1000 + "1",
    "a?" * 800 + "1" + ":1" * 800, "a[" * 1000 + "0" + "]" * 1000, "a" + ".trim()" * 500,
    "f(a,x->" * 500 + "1" + ")" * 500,
]  # fmt: skip


@pytest.mark.parametrize("expression", LONG, ids=lambda text: text[:6])
def test_100_kilobytes_are_refused_unread(expression: str) -> None:
    with pytest.raises(CheckError) as caught:
        compile_expression(expression)
    (finding,) = caught.value.diagnostics
    assert finding.code is Code.TOO_LONG
    assert f"the limit is {MAX_LENGTH}" in finding.message
    assert "split it" in finding.hint


@pytest.mark.parametrize("expression", DEEP, ids=lambda text: text[:8])
def test_1000_levels_are_refused(expression: str) -> None:
    with pytest.raises(CheckError) as caught:
        compile_expression(expression)
    finding = caught.value.diagnostics[0]
    assert finding.code in {Code.TOO_DEEP, Code.TOO_LONG}
    assert str(MAX_DEPTH) in finding.message or str(MAX_LENGTH) in finding.message


CHAINS = {
    "a" + "+a" * 2000: 2001, "a" + "-a+a" * 800: 1, "a" + " + 'x' + a" * 400: "1" + "x1" * 400, "a" + "&&a" * 1300: True,
    "no" + "||no" * 900 + " || a": True, "a" + "*a*2/2" * 600: 1, "1" + "+1" * 1000 + "+a": 1002, "a" + "+(a)+((a))" * 300: 601,
    "size_of(transformArray([a], x -> x" + "+a-x" * 20 + "))": 1,
    "first(transformArray([a], x -> x" + "+a" * 900 + "))": 901,
}  # fmt: skip


@pytest.mark.parametrize("expression", CHAINS, ids=lambda text: text[:12])
def test_a_chain_of_operators_is_no_nesting(expression: str) -> None:
    assert run(expression, a=1)[0] == CHAINS[expression]
    assert explain(expression).code
    row = Row(SourceType.EXPRESSION, expression, "x")
    assert compile_set([row], None)({"a": 1}) == ({"x": CHAINS[expression]}, [])


WRAPPERS = (
    "({}+a+b+c)", "(a+{}+c)", "lower({})", "iif({},a,b)", "({} ?? b)", "({} ?: b)", "(a?{}:b)", "({}&&a&&b||c)", "[{}]",
    "{{'a':{}}}",
    "transformArray(a,x->{})", "transformArray({},x->x)", "!{}", "a[{}]", "({}).trim()", "object_to_map({},a)", "lpad({},2,'x')",
    "({}..b)", "({} =~ b)", "({} < 3)", "decode({},'a',b)", "contains_key(({}).a)",
)  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_deepest_that_is_allowed_compiles(wrapper: str) -> None:
    expression = deepest = "a"
    while not diagnose(expression):
        deepest, expression = expression, wrapper.format(expression)
    compile_expression(deepest)
    assert diagnose(expression)[0].code in {Code.TOO_DEEP, Code.TOO_LONG}
    assert diagnose("a[a" + "+1" * 100 + "]")[0].code is Code.TOO_DEEP


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(?:a|aa)+c", "(a*)*b", "((a+)+)+$"])
@pytest.mark.parametrize("expression", ["matches_regex(s, p)", "s =~ p", "s.matches(p)", "extract_regex(s, p)", "explode(s, p)"])
def test_regular_expressions_that_explode_end(pattern: str, expression: str) -> None:
    try:
        run(expression, s="a" * 40 + "!", p=pattern)
    except Fail as error:
        assert "took longer than" in str(error)  # noqa: PT017 - the engine solves some of them, and may learn to solve more


HUGE = [
    "((((a{100}){100}){100}){100})", "a{1000000000}", "(a{1000}){1000}", "a{99999}", "(?x)#[\n((a{999}){999}){999}#]",
    "(b{1000}[(]a){1000}", "(?:(?#[)a{999}){999}", "(a?){1000}", "a?" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("pattern", HUGE)
def test_patterns_that_would_be_written_out_huge_are_refused_before_they_are_compiled(pattern: str) -> None:
    assert matching.weight(pattern) > matching.MAX_WEIGHT
    reason, _ = refused("matches_regex('a', p)", p=pattern)
    assert "repeats more than" in reason


@pytest.mark.parametrize(
    ("pattern", "weight"),
    [("abc", 3), ("a{3}b", 4), (r"\d{4}-\d{2}", 7), ("(ab){3}", 6), ("[a-z{9}]{2}", 2), ("a{,5}", 5), ("a*", 5), (r"\({3}", 3)],
)
def test_the_weight_of_a_pattern(pattern: str, weight: int) -> None:
    assert matching.weight(pattern) == weight


GREEDY = [
    "1..999999999999", "1..-999999999999", "size_of(1..500000)", "size_of([1..200000, 1..200000])",
    "lpad('a', 999999999999, 'x')",
    "rpad('a', 1048577, 'x')", "concat(s, s)", "s + s", "join(s, ['a', 'b', 'c'])", "replacestr(s, 'a', s)", "s.replace('a', s)",
    "s.replaceAll('a', s)", "s.concat(s)", "explode(s, '')", "1 << 999999999", "instr(s, s.substring(300000), 0, 600000)",
    "join_arrays(" + ",".join(["n"] * 20) + ")", "add_to_map(" + ",".join(["m"] * 20) + ")",
    "arrays_to_objects(" + ",".join(["'a', n"] * 20) + ")", "flattenArray([n, n, n, n, n, n, n])",
    "add_to_array(n, n, n, n, n, n, n)", "to_array(true, n, n, n, n, n, n)",
    "split(csv, ',')", "date(digits, '" + "yM" * 60 + "')",
    "array_to_string(s, ['a', 'b', 'c'])", "get_url_encoded(cups)", "[s, s]", "to_object('a', s, 'b', s)",
    "aa_get_product_names(csv)", "aa_get_product_evars(csv, 'a')",
]  # fmt: skip


@pytest.mark.parametrize("expression", GREEDY)
def test_huge_results_are_refused(expression: str) -> None:
    reason, _ = refused(expression, s=BIG, cups="☕" * 200_000, n=NUMBERS, m=MANY, csv="a," * 300_000, digits="1" * 150 + "x")
    known = ("too ambiguous", "1 MiB", "Too much work", "too far", "Cannot shift", "took longer", "more than 50000 parts")
    assert any(word in reason for word in known)


IN_LAMBDAS = [
    "size_of(transformArray(l, x -> lpad('a', 1000000, 'b')))",
    "transformArray(l, x -> size_of(1..100000))",
    "transformArray(l, x -> size_of(concat(s, '')))",
    "transformArray(l, x -> sha512(s))",
    "filterArray(l, x -> x =~ l)",
    "filterArray(l, x -> l.contains(x))",
    "transformArray(l, x -> size_of(o[*].v))",
    "transformArray(l, x -> [x, x, x, x, x, x, x, x, x, x, x, x])",
    "transformArray(l, x -> {'a': x, 'b': {'c': x}, 'd': [x, x, x]})",
    "transformArray(l, x -> explode(s, 'b'))",
    "transformArray(l, x -> s.toUpperCase())",
]


@pytest.mark.parametrize("expression", IN_LAMBDAS)
def test_loops_of_large_values_use_up_the_work_of_the_record(expression: str) -> None:
    reason, budget = refused(expression, l=list(range(50_000)), s=BIG, o=[{"v": at} for at in range(50_000)])
    assert "Too much work" in reason or "took longer" in reason
    assert budget.left >= 0  # long before the calls are used up
    assert budget.work > -3 * MAX_WORK


@pytest.mark.parametrize(
    "operation",
    ["sha512(s)", "upper(s)", "s.trim()", "max(l)", "o == o", "join(',', l)", "o.v", "size_of(o[*].v)", "crc32(s)", "-1 =~ l"],
)
def test_many_operations_on_large_values_use_up_the_work_of_the_record(operation: str) -> None:
    record = {"s": BIG, "l": NUMBERS, "o": [{"v": at} for at in range(60_000)]}
    reason, budget = refused(f"[{','.join([operation] * 100)}]", **record)
    assert "Too much work" in reason
    assert budget.work < 0


def test_a_long_expression_over_usual_values_is_far_from_the_limit() -> None:
    value, budget = run(f"concat({','.join(['upper(s)', 'lower(s)', 's.trim()'] * 30)})", s="member-0001@example.com")
    assert len(value) == 90 * 23
    assert 0 < MAX_WORK - budget.work < MAX_WORK // 10


def test_many_large_texts_are_counted_before_they_are_joined() -> None:
    reason, _ = refused(f"concat({','.join(['s'] * 1900)})", s=BIG)
    assert reason == "Result is larger than 1 MiB"


def test_nested_loops_use_up_the_calls() -> None:
    reason, budget = refused("transformArray(l, x -> transformArray(l, y -> 1))", l=list(range(1000)))
    assert f"More than {MAX_CALLS} lambda calls" in reason
    assert budget.left < 0


def test_ordinary_loops_are_far_from_the_limit() -> None:
    lines = [{"sku": f"SKU-{at}", "quantity": at, "price": "1.50"} for at in range(1000)]
    found, budget = run(
        "transformArray(filterArray(l, x -> x.quantity > 0), x -> {'s': lower(trim(x.sku)), 'p': x.quantity * x.price})", l=lines
    )
    assert len(found) == 999
    assert budget.work > MAX_WORK * 0.8


def test_a_padding_of_usual_length_and_a_usual_range() -> None:
    assert run("lpad('7', 12, '0')")[0] == "0" * 11 + "7"
    assert run("size_of(1..100000)")[0] == 100_000


@pytest.mark.parametrize(
    ("expression", "part", "reason"),
    [
        ("get_url_decoded(s)", "%41", "percent escapes"),
        ("get_url_query_str(concat('http://a/?', s), 'remove')", "a&", "parameters"),
    ],
)
def test_texts_of_too_many_parts_are_refused(expression: str, part: str, reason: str) -> None:
    found, _ = refused(expression, s=part * 100_001)
    assert reason in found
    run(expression, s=part * 99_999)


@pytest.mark.parametrize(
    "element", [{"v": 1}, {"v": "text"}, {"v": 1 << 70, "w": None}, {"v": {"w": [1.5, True]}}, [1, "x"], True]
)
def test_results_are_counted_before_they_are_made(element: Any) -> None:
    value, _ = run("l", l=[element] * 100)
    assert value == [element] * 100
    found, _ = refused("[l, l, l]", l=[element] * 200_000)
    assert found == "Result is larger than 1 MiB"


def test_an_object_of_long_texts_is_refused() -> None:
    found, _ = refused("o", o={"a": BIG, "b": BIG})
    assert found == "Result is larger than 1 MiB"


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [([3, 1, 2], 1, 3), (["b", "a"], "a", "b"), ([2, 1.5, None], 1.5, 2), ([], None, None), ([None], None, None)],
)
def test_extremes(values: list[Any], least: Any, most: Any) -> None:
    assert run("[min(l), max(l)]", l=values)[0] == [least, most]
