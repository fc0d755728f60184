"""One expression as a function, for where a single value is wanted: validation, sample runs, rows outside the common shapes."""

import ast
import itertools
import linecache
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capstream.kernel.json import Json
from capstream.lang.check import check
from capstream.lang.diagnostics import Diagnostic, Fail, ParseError
from capstream.lang.emit import Emitter, Environment, PathSource, from_record, is_long
from capstream.lang.fold import fold
from capstream.lang.nodes import Node
from capstream.lang.parser import parse

NewId = Callable[[], str]
_serial = itertools.count(1)
FAILURES = (Fail, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError)
"""What a compiled expression can raise for a record. All of it means: this field has no value."""


class CheckError(Exception):
    """The expression is not valid. Carries every Diagnostic."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(diagnostics[0].message)
        self.diagnostics = diagnostics


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. Call it with the record, now (epoch ms), a fresh lambda budget and a source of random ids."""

    node: Node
    source: str  #: the generated Python source
    run: Callable[..., Json]


def checked(text: str) -> Node:
    """Return the tree of a valid expression, constants folded. Errors: CheckError with every finding."""
    try:
        node = parse(text)
    except ParseError as error:
        raise CheckError([error.diagnostic]) from error
    findings = check(node)
    if findings:
        raise CheckError(findings)
    return fold(node)


def compile_expression(text: str) -> Expression:
    """Return the compiled expression. Errors: CheckError."""
    return compile_node(checked(text))


def compile_node(node: Node, *, paths: PathSource = from_record, index: str = "") -> Expression:
    """Return the function of a checked tree; `index` names a last parameter that `paths` uses."""
    env = Environment()
    body = Emitter(env, paths, binds_star=bool(index), metered=is_long(node)).source(node)
    parameters = "r, n, b, u, i" if index else "r, n, b, u"
    source = f"def expression({parameters}):\n    return {body}\n"
    return Expression(node, source, define(source, env.names, "expression"))


def define(source: str, names: Mapping[str, Json], function: str) -> Callable[..., Json]:
    """Return the function that generated source defines. Tracebacks show its lines for as long as the function lives."""
    return _defined(source, source, names, function)


def define_inlined(source: str, names: Mapping[str, Json], function: str) -> Callable[..., Json]:
    """Return the function that generated source defines, texts and numbers put into it: it runs faster and compiles slower.

    They get there as values of the syntax tree: the source holds their names only.
    """
    inlined = {name: value for name, value in names.items() if value.__class__ in _INLINED}
    tree = ast.parse(source)
    _inline(tree, inlined)
    rest = {name: value for name, value in names.items() if name not in inlined}
    return _defined(source, tree, rest, function)


_INLINED = frozenset({str, int, float})


def _inline(tree: ast.AST, values: Mapping[str, Json]) -> None:
    """Put constants where names stand for them."""

    def inlined(node: Json) -> Json:
        if node.__class__ is ast.Name:
            return ast.copy_location(ast.Constant(values[node.id]), node) if node.id in values else node
        if isinstance(node, _HOLDERS):
            waiting.append(node)
        return node

    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for field, below in vars(node).items():
            if below.__class__ is list:
                below[:] = map(inlined, below)
            elif isinstance(below, ast.expr):
                setattr(node, field, inlined(below))


_HOLDERS = (ast.expr, ast.stmt, ast.excepthandler)


def _defined(source: str, what: str | ast.Module, names: Mapping[str, Json], function: str) -> Callable[..., Json]:
    file = f"<capstream {function} {next(_serial)}>"
    scope = dict(names)
    exec(compile(what, file, "exec"), scope)  # noqa: S102 - the source holds generated names only
    defined: Callable[..., Json] = scope.pop(function)  # not its own global: it goes when the last reference does
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    weakref.finalize(defined, linecache.cache.pop, file, None).atexit = False
    return defined
