"""Names, argument counts and lambdas of a parsed expression. Findings are collected, never raised.

Source: data-prep.md 1.6 V1.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice

from capstream.lang.diagnostics import Code, Diagnostic, ParseError
from capstream.lang.functions import FUNCTIONS
from capstream.lang.methods import ARITIES
from capstream.lang.nodes import Call, Lambda, ListOf, Literal, MapOf, Method, Node, Path, children
from capstream.lang.operators import BOOLEAN
from capstream.lang.parser import parse
from capstream.lang.signatures import Type

_ELSEWHERE = {
    "tostring": "concat", "concatws": "join", "length": "size_of", "len": "size_of", "count": "size_of",
    "nvl": "coalesce", "ifnull": "coalesce", "isnull": "is_empty", "replace": "replacestr", "indexof": "instr",
    "substring": "substr", "mid": "substr", "touppercase": "upper", "tolowercase": "lower", "today": "now",
    "sysdate": "now", "getdate": "now", "currentdate": "now", "currenttimestamp": "now", "todate": "date",
    "parsedate": "date", "totimestamp": "date", "dateformat": "format", "formatdate": "format", "int": "to_integer",
    "toint": "to_integer", "tonumber": "to_decimal", "todouble": "to_decimal", "float": "to_float", "case": "decode",
    "switch": "decode", "regexpextract": "extract_regex", "regexextract": "extract_regex",
    "regexpmatches": "matches_regex", "regexmatch": "matches_regex", "array": "to_array", "object": "to_object",
    "map": "to_map",
}  # fmt: skip
"""What functions of SQL, spreadsheets and JavaScript are called here; names without `_`, in lower case."""

MOST = 20
"""How many findings are told at most."""


def check(node: Node) -> list[Diagnostic]:
    """Return what is wrong with the tree, in reading order, the first MOST findings: each costs a search for the nearest name."""
    return list(islice(_findings(node), MOST))


def diagnose(source: str) -> list[Diagnostic]:
    """Return everything wrong with the text of an expression; the first thing only when it does not parse."""
    try:
        return check(parse(source))
    except ParseError as error:
        return [error.diagnostic]


def _findings(root: Node) -> Iterator[Diagnostic]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and not node.operator:
            yield from _call(node)
        elif isinstance(node, Method):
            yield from _method(node)
        waiting.extend(reversed(children(node)))


def _call(node: Call) -> Iterator[Diagnostic]:
    function = FUNCTIONS.get(node.name)
    if function is None:
        hint = _meant(node.name, FUNCTIONS, _ELSEWHERE)
        yield Diagnostic(Code.UNKNOWN_FUNCTION, f"Unknown function {node.name}", node.span, hint)
        return
    count, most = len(node.args), function.most
    if count < function.least or (most is not None and count > most):
        takes = _range(function.least, most)
        yield Diagnostic(Code.ARGUMENTS, f"{node.name} takes {takes}, not {count}", node.span)
        return
    for at, arg in enumerate(node.args):
        wants = function.params[min(at, len(function.params) - 1)].type is Type.LAMBDA
        if isinstance(arg, Lambda):
            if not wants:
                yield Diagnostic(Code.ARGUMENTS, f"{node.name} does not take a function here", arg.span)
            elif len(arg.params) != 1:
                yield Diagnostic(Code.ARGUMENTS, f"{node.name} needs a function of one parameter", arg.span)
        elif wants:
            yield Diagnostic(Code.ARGUMENTS, f"{node.name} needs a function such as x -> x", arg.span)


def _method(node: Method) -> Iterator[Diagnostic]:
    arity = ARITIES.get(node.name)
    if arity is None:
        hint = _meant(node.name, ARITIES, {})
        yield Diagnostic(Code.UNKNOWN_METHOD, f"Unknown method {node.name}", node.span, hint)
    elif not arity.least <= len(node.args) <= arity.most:
        takes = _range(arity.least, arity.most)
        yield Diagnostic(Code.ARGUMENTS, f"{node.name} takes {takes}, not {len(node.args)}", node.span)
    for arg in node.args:
        if isinstance(arg, Lambda):
            yield Diagnostic(Code.ARGUMENTS, f"{node.name} does not take a function", arg.span)


def _meant(name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """Return the hint at the name somebody probably meant: the same in other letters, another language's, the nearest."""
    lower = {each.lower(): each for each in known}
    found = lower.get(name.lower()) or elsewhere.get(name.lower().replace("_", ""))
    near = [] if found else get_close_matches(name.lower(), lower, n=1)
    return f"did you mean {found or lower[near[0]]}?" if found or near else ""


def _range(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least} argument{'s' * (least != 1)}"
    return f"{least} argument{'s' * (least != 1)}" if least == most else f"{least} to {most} arguments"


def static_type(node: Node) -> Type | None:
    """Return the type every result of the node has (or null), None when it varies."""
    match node:
        case Literal(value):
            return {bool: Type.BOOL, int: Type.LONG, float: Type.NUMBER, str: Type.TEXT}.get(value.__class__)
        case ListOf():
            return Type.ARRAY
        case MapOf():
            return Type.MAP
        case Call(name, operator=True) if name != "?":
            return Type.BOOL if name in BOOLEAN else Type.ARRAY if name == ".." else None
        case Call("iif" | "?", (_, chosen, other)):
            found = static_type(chosen)
            return found if found is static_type(other) else None
        case Call(name):
            function = FUNCTIONS.get(name)
            return None if function is None or function.returns is Type.ANY else function.returns
        case Path() | _:
            return None
