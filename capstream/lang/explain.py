"""An expression laid open: what it was read as, of which types, and the code it becomes. For people and for tools."""

from collections.abc import Iterator
from dataclasses import dataclass

from capstream.kernel.json import Json, dumps
from capstream.lang.check import diagnose, static_type
from capstream.lang.diagnostics import Diagnostic
from capstream.lang.emit import Emitter, Environment, bound, is_long
from capstream.lang.fold import fold
from capstream.lang.functions import FUNCTIONS
from capstream.lang.nodes import Call, Lambda, ListOf, Literal, MapOf, Method, Node, Path, Variable, children, record_paths
from capstream.lang.parser import parse
from capstream.lang.paths import path_text
from capstream.lang.signatures import takes_text

_CALLED = {bound(function, count): name for name, function in reversed(list(FUNCTIONS.items())) for count in (None, 1)}
_FOR_TEXT = {function.call: name for name, function in reversed(list(FUNCTIONS.items())) if takes_text(function)}
_PLACES = {"r": "the source record", "n": "now, in epoch milliseconds", "b": "the lambda calls left", "u": "a source of ids"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one expression. An invalid one has diagnostics, and no tree when it does not even parse."""

    expression: str
    diagnostics: tuple[Diagnostic, ...]
    tree: tuple[str, ...] = ()  #: one line a node, indented by two blanks a level
    type: str = ""  #: of the result; `any` when it depends on the record
    reads: tuple[str, ...] = ()  #: paths of the record, in order of appearance
    code: str = ""  #: generated Python, constants folded
    names: tuple[tuple[str, str], ...] = ()  #: what the generated names stand for

    def to_json(self) -> dict[str, Json]:
        """Return the explanation for tools."""
        return {
            "expression": self.expression,
            "valid": not self.diagnostics,
            "type": self.type or None,
            "reads": list(self.reads),
            "tree": list(self.tree),
            "code": self.code or None,
            "names": dict(self.names),
            "diagnostics": [_finding(self.expression, finding) for finding in self.diagnostics],
        }


def explain(expression: str) -> Explanation:
    """Return the explanation of an expression, valid or not."""
    findings = tuple(diagnose(expression))
    if findings and not _parses(findings):
        return Explanation(expression, findings)
    node = parse(expression)
    tree, reads = tuple(_lines(node)), tuple(path_text(path.steps) for path in record_paths(node))
    if findings:
        return Explanation(expression, findings, tree, _typed(node), reads)
    env, folded = Environment(), fold(node)
    code = Emitter(env, metered=is_long(folded)).source(folded)
    names = {name: _named(value) for name, value in env.names.items() if not name.startswith("_")}
    used = {letter: meaning for letter, meaning in _PLACES.items() if _uses(code, letter)}
    return Explanation(expression, (), tree, _typed(node), reads, code, tuple((used | names).items()))


def pointed(source: str, finding: Diagnostic) -> str:
    """Return a finding with the line it is about and a caret under its place."""
    line_at, column = place(source, finding)
    line = source.split("\n")[line_at - 1]
    start = max(0, column - 61)  # a long line is cut around the place
    shown = line[start : start + 120]
    before = "".join("\t" if char == "\t" else " " for char in shown[: column - 1 - start])
    width = max(1, min(finding.span.end - finding.span.start, len(shown) - len(before)))
    hint = f"\n  hint: {finding.hint}" if finding.hint else ""
    return f"{finding.message} at {line_at}:{column} ({finding.code})\n    {shown}\n    {before}{'^' * width}{hint}"


def place(source: str, finding: Diagnostic) -> tuple[int, int]:
    """Return line and column of a finding, both from 1."""
    start = min(finding.span.start, len(source))
    return source.count("\n", 0, start) + 1, start - source.rfind("\n", 0, start)


def _finding(source: str, finding: Diagnostic) -> dict[str, Json]:
    line, column = place(source, finding)
    return {"code": str(finding.code), "message": finding.message, "line": line, "column": column, "hint": finding.hint or None}


def _parses(findings: tuple[Diagnostic, ...]) -> bool:
    return all(finding.code in {"unknown-function", "unknown-method", "arguments"} for finding in findings)


def _typed(node: Node) -> str:
    return str(static_type(node) or "any")


def _lines(root: Node) -> Iterator[str]:
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield f"{'  ' * depth}{_label(node)} : {_typed(node)}"
        waiting.extend((child, depth + 1) for child in reversed(children(node)))


def _label(node: Node) -> str:
    match node:
        case Literal(value):
            return f"constant {dumps(value).decode()}"
        case Path(base, steps):
            return f"path {path_text(steps)}" if base is None else f"step {path_text(steps)} of"
        case Variable(name):
            return f"parameter {name}"
        case Call(name, operator=True):
            return f"operator {name}"
        case Call(name):
            return f"call {name}"
        case Method(_, name, _):
            return f"method {name} of"
        case Lambda(params, _):
            return f"function of {', '.join(params)}"
        case ListOf():
            return "array"
        case MapOf():
            return "map"


def _named(value: Json) -> str:
    if isinstance(value, type):
        return f"class {value.__name__}"
    if callable(value):
        called = _CALLED.get(value) or getattr(value, "__name__", "value").lstrip("_")
        return f"function {_FOR_TEXT[value]} for a text" if value in _FOR_TEXT else f"function {called}"
    if isinstance(value, tuple):
        return "steps " + ".".join("[*]" if step is None else str(step[0] if isinstance(step, tuple) else step) for step in value)
    return dumps(value).decode()


def _uses(code: str, letter: str) -> bool:
    return any(word == letter for word in "".join(char if char.isalnum() else " " for char in code).split())
