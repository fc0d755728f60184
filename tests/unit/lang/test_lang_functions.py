"""The function table: complete, and every example does what it shows."""

import re

import pytest

from capstream.kernel.ids import new_uuid
from capstream.lang.diagnostics import Fail
from capstream.lang.expression import compile_expression
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.signatures import Function, Needs
from capstream.lang.values import settled


def run(expression: str, **record: object) -> object:
    return settled(compile_expression(expression).run(record, 1_753_000_000_123, Budget(), new_uuid))


def test_there_are_a_hundred_names() -> None:
    assert len(FUNCTIONS) == 100


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_row_is_complete_and_its_example_runs(function: Function) -> None:
    assert function.description.endswith(".")
    assert function.example.startswith(f"{function.name}(")
    assert (function.result is not None) == (function.needs in {Needs.NOW, Needs.UUID})
    expected_null = function.name == "nullify"
    assert (run(function.example, evars={"evar": {"field1": "x"}}) is None) == expected_null


NULLS = [name for name, function in FUNCTIONS.items() if function.null_first]


@pytest.mark.parametrize("name", NULLS)
def test_a_null_first_argument_gives_null(name: str) -> None:
    function = FUNCTIONS[name]
    rest = ["x -> x" if param.type == "lambda" else "'1'" for param in function.params[1:] if not param.optional]
    assert run(f"{name}({', '.join(['missing', *rest])})") is None


EDGES = [
    ("instr('aaaa', 'aa', 0, 2)", 1),
    ("instr('abc', 'c', -5)", 2),
    ("instr('abc', 'a', 0, 0)", -1),
    ("explode('abc', '')", ["a", "b", "c", ""]),
    ("explode('a1b22c', '[0-9]+')", ["a", "b", "c"]),
    ("split('a b\\tc', missing)", ["a", "b", "c"]),
    ("split('abc', '')", ["abc"]),
    ("join(',', 'a', missing, 1)", "a,1"),
    ("concat(missing, missing)", None),
    ("concat(1.0, true, date('2020-01-01'))", "1.0true2020-01-01T00:00:00Z"),
    ("lpad('a', 5, 'xyz')", "xyzxa"),
    ("replacestr('abc', '', 'x')", "abc"),
    ("substr('abc', -2, 2)", "ab"),
    ("substr('abc', 9, 2)", ""),
    ("extract_regex('ab', '(x)?(b)')", ["b", None, "b"]),
    ("md5('é', 'us-ascii')", "d1457b72c3fb323a2671125aef3eab5d"),
    ("get_url_host('mailto:a@example.com')", None),
    ("get_url_host('https://u:p@shop.example.com:8443/x')", "shop.example.com"),
    ("get_url_port('gopher://example.com')", None),
    ("get_url_path('https://a.example.com/x/y z')", None),
    ("get_url_query_str('https://a.example.com/?a=1&a=2&b', 'append')", {"a": "2", "b": ""}),
    ("get_url_query_str('https://a.example.com/?a=1#x', 'append')", {"a": "1", "_anchor_": "x"}),
    ("get_url_query_str('https://a.example.com/', 'retain')", {}),
    ("date(missing, missing, '2020-01-02')", "2020-01-02T00:00:00Z"),
    ("set_date_part('month', 2, date('2019-03-31'))", "2019-02-28T00:00:00Z"),
    ("set_date_part('year', 2019, date('2020-02-29'))", "2019-02-28T00:00:00Z"),
    ("make_date_time(2024, 3, 31, 2, 30, 0, 0, 'Europe/Paris')", "2024-03-31T03:30:00+02:00"),
    ("make_date_time(2024, 1, 1, missing, 0, 0, 0, 'UTC')", None),
    ("zone_date_to_zone('2020-01-01T00:00:00Z', 'GMT+2')", "2020-01-01T02:00:00+02:00"),
    ("arrays_to_objects('a', [1, 2], 'b', 'x')", [{"a": 1, "b": "x"}, {"a": 2}]),
    ("str_to_object('a=1=2;b', '=', ';')", {"a": "1=2"}),
    ("get_values('a:1', 'a', '', missing)", "1"),
    ("map_get_values({'a': 1, 'b': 2}, ['b', 'x', 'a', 'b'])", {"b": 2, "a": 1}),
    ("map_has_keys({'1': 2}, [9, 1])", True),
    ("object_to_map(rows, id)", {"1": {"id": 1}, "2": {"id": 2}}),
    ("object_to_map('k', id)", {"k": None}),
    ("to_map(missing)", None),
    ("coalesce([missing, 2])", 2),
    ("last(missing)", None),
    ("size_of({})", 0),
    ("decode('b', 'a', 1, 'b', 2, 'b', 3, 4)", 2),
    ("decode(n, 1, 'one', '2', 'two')", "two"),
    ("min('b', 'a', missing)", "a"),
    ("max([])", None),
    ("to_integer(12.9)", 12),
    ("to_decimal('1e3')", 1000.0),
    ("to_bigint('-5')", -5),
    ("contains_key(rows[1].id)", True),
    ("contains_key('rows[2].id')", False),
    ("contains_key('nothing.at')", False),
    ("is_set(nul)", True),
    ("flattenArray([1, [2, [3, []]]])", [1, 2, 3]),
    ("array_to_string('-', [1, missing, 'b'])", "1-b"),
    ("json_to_object('[1, {\"a\": null}]')", [1, {"a": None}]),
]
RECORD = {"rows": [{"id": 1}, {"id": 2}], "n": 2, "nul": None}


@pytest.mark.parametrize(("expression", "expected"), EDGES)
def test_edges_of_functions(expression: str, expected: object) -> None:
    assert run(expression, **RECORD) == expected


FAILING = [
    ("substr('a', missing, 1)", "Argument start of substr is null"),
    ("lower([1])", "array has no text form"),
    ("sha1('a', 'KOI8')", "Unknown charset KOI8"),
    ("to_integer('12.7')", '"12.7" is not an integer'),
    ("to_integer(true)", "true is not a number"),
    ("to_decimal('')", '"" is not a number'),
    ("size_of(true)", "boolean has no size"),
    ("max(1, true)", "boolean has no order"),
    ("to_object(missing, 1)", "Key is null"),
    ("to_object('a', 1, 'b')", "must come in pairs"),
    ("get_keys('x')", "string is no object"),
    ("get_url_query_str('https://a.example.com/', 'x')", "Unknown mode"),
    ("format('2020-01-01', 'bbb')", "Unknown letter b"),
    ("date('2020', 'ww')", "can be written but not read"),
    ("date('')", "is no date"),
    ("date('x', 'yyyy', now())", "is no date"),
    ("zone_date_to_zone('2020-01-01', 'Mars/Base')", "Unknown zone"),
    ("zone_date_to_zone('2020-01-01', '../../etc/passwd')", "Unknown zone"),
    ("set_date_part('hour', 24, '2020-01-01')", "not possible"),
    ("date(99999999999999999)", "is no date"),
    ("fpid_to_ecid('0')", "not public"),
    ("'abc'.charAt(3)", "out of range"),
    ("[1].get(1)", "out of range"),
    ("'abc'.substring(2, 1)", "out of range"),
    ("(5).trim()", "integer has no method trim"),
    ("'a'.replaceAll('a', '$7')", "No group"),
    ("1 / 0", "Division by zero"),
    ("1.0 % 0", "Division by zero"),
    ("missing + 1", "null is not a number"),
    ("1 << -1", "Cannot shift"),
    ("1.5 & 1", "not a whole number"),
    ("'a' < 1", '"a" is not a number'),
    ("true < false", "Cannot compare"),
    ("1 .. 'x'", "is not a number"),
    ("'a' =~ 5", "needs a regular expression"),
]


@pytest.mark.parametrize(("expression", "reason"), FAILING)
def test_failures_name_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(Fail, match=re.escape(reason)):
        run(expression)


BOMBS = [
    "lpad('a', 1000000000, 'b')",
    "1 << 100000000",
    "1 .. 100000000",
    "transformArray(1 .. 400000, x -> x)",
    "transformArray(1 .. 1000, x -> transformArray(1 .. 1000, y -> y))",
    "replacestr(big, 'a', big)",
    "join(big, big.split(''))",
    "big + big",
    "'a'.replaceAll('', big).replaceAll('', big)",
    "[big, big]",
    "matches_regex(aaa, '(a+)+$')",
    "extract_regex(aaa, '(a|aa)+$')",
    "aaa =~ '(a|aa)+'",
    "matches_regex('a', big)",
    "json_to_object(deep)",
    "9007199254740993" + " * 9007199254740993" * 3 + " .. 1",
    "to_decimal(digits)",
    "date('2020-01-01', big)",
]


@pytest.mark.parametrize("expression", BOMBS)
def test_expressions_that_want_too_much_fail(expression: str) -> None:
    record = {"big": "a" * 700_000, "aaa": "a" * 5000 + "!", "deep": "[" * 100_000, "digits": "9" * 5000}
    with pytest.raises(Fail):
        run(expression, **record)
