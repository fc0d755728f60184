"""Grammar, places of errors, and text that wants to hurt."""

import pytest

from capstream.lang import check
from capstream.lang.check import diagnose
from capstream.lang.diagnostics import Code
from capstream.lang.expression import CheckError, compile_expression
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.nodes import Call, Index, Literal, Name, Path, Star
from capstream.lang.parser import ParseError, parse


def value(expression: str, **record: object) -> object:
    return compile_expression(expression).run(record, 0, Budget(), str)


PRECEDENCE = [
    ("1 + 2 * 3 - 4", 3),
    ("-2 * 3", -6),
    ("- -2", 2),
    ("1 << 2 + 1", 8),
    ("6 & 3 | 8 ^ 1", 11),
    ("(1 | 2) == 3 ? 'y' : 'n'", "y"),
    ("not empty 'a' and size 'abc' == 3", True),
    ("1 == 1 == true ? 1 : 2", None),
    ("true ? false ? 1 : 2 : 3", 2),
    ("null ?: null ?? 'x'", "x"),
    ("7 div 2 mod 2", 1),
    ("-7 / 2", -3),
    ("-7 % 3", -1),
    ("0x1F + 017", 46),
    ("10L + 5h", 15),
    ("3 .. 1", [3, 2, 1]),
    ("[[1], [2,],]", [[1], [2]]),
    ("{'a': {'b': 1}}.a.b", 1),
    ("{1: 'x'}.get('1')", "x"),
    ("'a\\'b' + \"c'd\"", "a'bc'd"),
    ("'\\ud83d\\ude00'", "\U0001f600"),
    ("a.`", None),
    ("a.5", "five"),
    ("a.'x y'", "quoted"),
    ("a.${x y}", "quoted"),
    ("a [ 'x y' ]", "quoted"),
    ("timestamp", "a field"),
    ("size(a) + 1", 3),
]
RECORD = {"a": {"5": "five", "x y": "quoted"}, "timestamp": "a field"}


@pytest.mark.parametrize(("expression", "expected"), PRECEDENCE)
def test_precedence_and_literals(expression: str, expected: object) -> None:
    if expected is None:
        with pytest.raises(CheckError):
            value(expression, **RECORD)
    else:
        assert value(expression, **RECORD) == expected


REFUSED = [
    ("1 +", "Expected a value, found the end at 1:4"),
    ("lower('a'", "Expected ',' or ')' after an argument, found the end at 1:10"),
    ("1\n + * 2", "Expected a value, found '*' at 2:4"),
    ("to_intger(x)", "Unknown function to_intger; did you mean to_integer? at 1:1"),
    ("a.b.triim()", "Unknown method triim; did you mean trim? at 1:1"),
    ("UPPER(x)", "Unknown function UPPER; did you mean upper? at 1:1"),
    ("filterarray(x, y -> y)", "Unknown function filterarray; did you mean filterArray? at 1:1"),
    ("nvl(x, 1)", "Unknown function nvl; did you mean coalesce? at 1:1"),
    ("date_format(x, 'y')", "Unknown function date_format; did you mean format? at 1:1"),
    ("x.tolowercase()", "Unknown method tolowercase; did you mean toLowerCase? at 1:1"),
    ("x = 1", "Unexpected '='; compare with ==; an expression assigns nothing at 1:3"),
    ("if(x, 1, 2)", "'if' is a reserved word; write iif(condition, value, other value) at 1:1"),
    ("lower()", "lower takes 1 argument, not 0 at 1:1"),
    ("'abc", "String is not closed on its line at 1:1"),
    ("if + 1", "'if' is a reserved word; write ${if} to read a field of that name at 1:1"),
    ("089", "A leading zero makes an octal number, which has no digit 8 or 9; drop the zero at 1:1"),
    ("a ++ b", "'++' is not part of the language; put a blank between the '+' at 1:3"),
    ("1 < 2 < 3", "'<' cannot follow another comparison; use parentheses at 1:7"),
    ("1 == 2 != 3", "'!=' cannot follow another comparison; use parentheses at 1:8"),
    ("upper(x -> x)", "upper does not take a function here at 1:7"),
    ("filterArray(a, 1)", "filterArray needs a function such as x -> x at 1:16"),
    ("filterArray(a, (x, y) -> x)", "filterArray needs a function of one parameter at 1:16"),
    ("x -> x", "A function can only stand as an argument at 1:3"),
    ("a:b()", "Unexpected ':' at 1:2"),
    ("{1, 2}", "Expected ':' between key and value, found ',' at 1:3"),
    ("/* open", "Comment is not closed at 1:1"),
    ("${open", "'${' is not closed; write '}' at its end at 1:1"),
    ("1e999", "Number is too large for a double at 1:1"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_an_error_names_the_reason_the_cure_and_the_place(expression: str, message: str) -> None:
    found = [diagnostic.describe(expression) for diagnostic in diagnose(expression)]
    assert found == [message]


def test_findings_are_collected() -> None:
    assert [found.code for found in diagnose("upperr(a) + lower() + b.foo()")] == [
        Code.UNKNOWN_FUNCTION,
        Code.ARGUMENTS,
        Code.UNKNOWN_METHOD,
    ]


def test_tree_of_a_path() -> None:
    assert parse("${a b.c}[*].d[2]") == Path(None, (Name("a b"), Name("c"), Star(), Name("d"), Index(2)), parse("1").span)


def test_operators_are_calls() -> None:
    tree = parse("a >= 1 and b")
    assert isinstance(tree, Call)
    assert (tree.name, tree.operator) == ("&&", True)
    assert tree.args[0] == Call(">=", (parse("a"), Literal(1, tree.span)), tree.span, operator=True)


HOSTILE = {
    "long": ("x" * 100_000, Code.TOO_LONG),
    "parentheses": ("(" * 4096, Code.TOO_DEEP),
    "closed parentheses": ("(" * 2000 + "1" + ")" * 2000, Code.TOO_DEEP),
    "minus": ("- " * 2000 + "1", Code.TOO_DEEP),
    "not": ("!" * 4000 + "a", Code.TOO_DEEP),
    "ternaries": ("a?b:" * 1000 + "c", Code.TOO_DEEP),
    "methods": ("a" + ".trim()" * 500, Code.TOO_DEEP),
    "arrays": ("[" * 4000, Code.TOO_DEEP),
    "maps": ("{'a':" * 800, Code.TOO_DEEP),
    "calls": ("lower(" * 600, Code.TOO_DEEP),
    "lambdas": ("transformArray(a,x->" * 200, Code.TOO_DEEP),
    "indexes": ("a" + "[a" * 2000, Code.TOO_DEEP),
    "open string": ("'" + "\\" * 4000, Code.SYNTAX),
    "wrapped": ("${" + "\\" * 4001, Code.SYNTAX),
    "comments": ("/*" * 2000, Code.SYNTAX),
    "operators": ("&&" * 2000, Code.SYNTAX),
    "nothing": ("", Code.SYNTAX),
    "controls": ("\x00\x01", Code.SYNTAX),
}


@pytest.mark.parametrize(("source", "code"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused(source: str, code: Code) -> None:
    with pytest.raises(ParseError) as caught:
        parse(source)
    assert caught.value.diagnostic.code is code


def test_every_name_of_another_language_leads_to_a_function() -> None:
    assert set(check._ELSEWHERE.values()) <= set(FUNCTIONS)
    assert not set(check._ELSEWHERE) & {name.replace("_", "") for name in FUNCTIONS}


def test_the_deepest_expression_allowed_compiles_and_runs() -> None:
    depth = 0
    for depth in range(1, 80):
        source = "iif(" * depth + "true" + ", a ?: b, c)" * depth
        if diagnose(source):
            break
        assert compile_expression(source).run({}, 0, Budget(), str) is None
    assert 25 < depth < 79


def test_no_source_text_reaches_the_generated_code() -> None:
    source = compile_expression("concat(a.${__import__('os')}, '\"); exit(', b['evil'], {\"k\\n\": x_y}.k)").source
    assert all(word not in source for word in ("import", "evil", "exit", "x_y", "os"))
