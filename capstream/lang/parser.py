"""Text to nodes: a Pratt parser, a binding power per operator. Source: data-prep.md 2.3, 2.4 (JEXL 3).

Hostile text costs little: it is refused by length first, nested no deeper than MAX_DEPTH, and read once from left to right.
"""

from capstream.lang.chains import height, longest_branch
from capstream.lang.diagnostics import Code, ParseError
from capstream.lang.nodes import (
    Call,
    Computed,
    Index,
    Lambda,
    ListOf,
    Literal,
    MapOf,
    Method,
    Name,
    Node,
    Path,
    Span,
    Star,
    Step,
    Variable,
)
from capstream.lang.scanner import MAX_DEPTH, MAX_LENGTH, RESERVED, Scanner

_CONDITIONAL, _OR, _EQUALITY, _RELATION = 1, 2, 7, 8

POWER = {
    "?": 1, "?:": 1, "??": 1,
    "||": 2, "or": 2,
    "&&": 3, "and": 3,
    "|": 4, "^": 5, "&": 6,
    "==": 7, "eq": 7, "!=": 7, "ne": 7, "===": 7, "!==": 7, "..": 7,
    "<": 8, "lt": 8, ">": 8, "gt": 8, "<=": 8, "le": 8, ">=": 8, "ge": 8,
    "=~": 8, "!~": 8, "=^": 8, "!^": 8, "=$": 8, "!$": 8,
    "<<": 9, ">>": 9, ">>>": 9,
    "+": 10, "-": 10,
    "*": 11, "/": 11, "div": 11, "%": 11, "mod": 11,
}  # fmt: skip
"""Binding power of each binary operator, loosest first."""

_CANONICAL = {
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "and": "&&", "or": "||", "div": "/", "mod": "%"
}  # fmt: skip
_PREFIX = {"-": "negate", "+": "positivize", "~": "~", "!": "!"}
_PREFIX_WORDS = {"not": "!", "empty": "empty", "size": "size"}
_CONSTANTS = {"true": True, "false": False, "null": None}
_TOO_DEEP = f"Nested deeper than {MAX_DEPTH} levels"


def parse(source: str) -> Node:
    """Return the tree of an expression. Errors: ParseError, with the place of the first thing that does not fit."""
    scanner = Scanner(source)
    if len(source) > MAX_LENGTH:
        message = f"Expression has {len(source)} characters, the limit is {MAX_LENGTH}"
        raise scanner.error(message, code=Code.TOO_LONG, at=0, hint="split it into several fields")
    parser = _Parser(scanner)
    node = parser.expression()
    if not scanner.done():
        hint = "compare with ==; an expression assigns nothing" if scanner.looking_at("=") else ""
        raise scanner.error(f"Unexpected {scanner.found()}", hint=hint)
    if height(node) > MAX_DEPTH:
        raise scanner.error(_TOO_DEEP, code=Code.TOO_DEEP, at=0, hint="split it into several fields")
    return node


class _Parser:
    __slots__ = ("depth", "params", "scanner")

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.depth = 0
        self.params: list[str] = []

    def expression(self, power: int = _CONDITIONAL) -> Node:
        """Return the longest expression whose operators bind at least as tightly as `power`."""
        self.enter()
        start = self.scanner.skip()
        left = self.unary()
        closed = 99  # operators of this power or tighter may not follow: relations and equalities do not chain
        while True:
            operator = self.scanner.operator()
            strength = POWER.get(operator, 0)
            if strength < power or not operator:
                break
            if strength >= closed:
                raise self.scanner.error(f"'{operator}' cannot follow another comparison", hint="use parentheses")
            self.scanner.at += len(operator)
            if strength == _CONDITIONAL:
                left = self.conditional(operator, left, start)
                break
            right = self.expression(strength + 1)
            left = Call(_CANONICAL.get(operator, operator), (left, right), self.span(start), operator=True)
            closed = strength if strength in {_EQUALITY, _RELATION} else 99
        self.depth -= 1
        return left

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.scanner.error(_TOO_DEEP, code=Code.TOO_DEEP)

    def span(self, start: int) -> Span:
        return Span(start, self.scanner.at)

    def conditional(self, operator: str, test: Node, start: int) -> Node:
        chosen = self.expression()
        if operator != "?":
            return Call(operator, (test, chosen), self.span(start), operator=True)
        self.scanner.expect(":", "of '? :'")
        other = self.expression()
        return Call("?", (test, chosen, other), self.span(start), operator=True)

    def unary(self) -> Node:
        scanner = self.scanner
        start = scanner.skip()
        symbol = scanner.source[start : start + 1]
        name = _PREFIX.get(symbol)
        if name is not None:
            if symbol in "+-" and scanner.source.startswith(symbol * 2, start):
                raise scanner.error(f"'{symbol * 2}' is not part of the language")
            scanner.at += 1
        else:
            word = scanner.word()
            name = _PREFIX_WORDS.get(word)
            if name is None or scanner.source[start + len(word) : start + len(word) + 1] in {"\\", "$"}:
                return self.postfix()
            scanner.at += len(word)
        self.enter()
        operand = self.unary()
        self.depth -= 1
        return Call(name, (operand,), self.span(start), operator=True)

    def postfix(self) -> Node:
        scanner = self.scanner
        start = scanner.skip()
        node = self.primary()
        grouped = scanner.source[start : start + 1] == "("
        while True:
            scanner.skip()
            step: tuple[Step, ...] | None = None
            if scanner.looking_at("["):
                step = (self.bracket(),)
            elif scanner.accept("?.") or (scanner.looking_at(".") and not scanner.looking_at("..") and scanner.accept(".")):
                found = self.name_or_call(node, start)
                if isinstance(found, Method):
                    node, grouped = found, True
                    continue
                step = found
            if step is None:
                return node
            # A parenthesised path is a value of its own: a step on it must not continue the projection inside.
            if isinstance(node, Path) and not grouped:
                node = Path(node.base, node.steps + step, self.span(start))
            else:
                node, grouped = Path(node, step, self.span(start)), False

    def bracket(self) -> Step:
        scanner = self.scanner
        scanner.expect("[", "")
        if scanner.accept("]"):
            return Star()
        mark = scanner.at
        if scanner.accept("*") and scanner.accept("]"):
            return Star()
        scanner.at = mark
        node = self.expression()
        scanner.expect("]", "after the index")
        if isinstance(node, Literal) and node.value.__class__ in {int, str}:
            return Index(node.value)
        if longest_branch(node) > MAX_DEPTH:  # paths are compared with each other, and comparing goes by recursion
            hint = f"use at most {MAX_DEPTH} operators in an index"
            raise scanner.error(_TOO_DEEP, code=Code.TOO_DEEP, at=mark, hint=hint)
        return Computed(node)

    def name_or_call(self, receiver: Node, start: int) -> tuple[Step, ...] | Method:
        scanner = self.scanner
        wrapped = scanner.wrapped()
        if wrapped is not None:
            return wrapped
        text = scanner.string()
        if text is not None:
            return (Name(text),)
        name = scanner.member()
        if name is None:
            raise scanner.error(f"Expected a name after '.', found {scanner.found()}")
        if scanner.looking_at("("):
            return Method(receiver, name, self.arguments(), self.span(start))
        return (Name(name),)

    def arguments(self) -> tuple[Node, ...]:
        scanner = self.scanner
        scanner.expect("(", "")
        args: list[Node] = []
        if scanner.accept(")"):
            return ()
        while True:
            args.append(self.argument())
            if scanner.accept(")"):
                return tuple(args)
            scanner.expect(",", "or ')' after an argument")

    def argument(self) -> Node:
        start = self.scanner.skip()
        params = self.scanner.lambda_head()
        if params is None:
            return self.expression()
        for name in params:
            if name in RESERVED:
                raise self.scanner.error(f"'{name}' is a reserved word", code=Code.RESERVED, at=start)
        self.params.extend(params)
        body = self.expression()
        del self.params[len(self.params) - len(params) :]
        return Lambda(params, body, self.span(start))

    def primary(self) -> Node:
        scanner = self.scanner
        start = scanner.skip()
        symbol = scanner.source[start : start + 1]
        if symbol == "(":
            scanner.at += 1
            node = self.expression()
            scanner.expect(")", "to close '('")
            return node
        if symbol == "[":
            return self.array(start)
        if symbol == "{":
            return self.mapping(start)
        wrapped = scanner.wrapped()
        if wrapped is not None:
            return Path(None, wrapped, self.span(start))
        text = scanner.string()
        if text is not None:
            return Literal(text, self.span(start))
        number = scanner.number()
        if number is not None:
            return Literal(number, self.span(start))
        return self.named(start)

    def named(self, start: int) -> Node:
        scanner = self.scanner
        name = scanner.identifier()
        if name is None:
            raise scanner.error(f"Expected a value, found {scanner.found()}")
        written = scanner.source[start : scanner.at]
        if written in _CONSTANTS:
            return Literal(_CONSTANTS[written], self.span(start))
        if written in RESERVED:
            hint = f"write ${{{name}}} to read a field of that name"
            if name == "if" and scanner.looking_at("("):
                hint = "write iif(condition, value, other value)"
            raise scanner.error(f"'{name}' is a reserved word", code=Code.RESERVED, at=start, hint=hint)
        if scanner.looking_at("("):
            return Call(name, self.arguments(), self.span(start))
        scanner_end = Span(start, start + len(written))
        if name in self.params:
            return Variable(name, scanner_end)
        return Path(None, (Name(name),), scanner_end)

    def array(self, start: int) -> Node:
        scanner = self.scanner
        scanner.expect("[", "")
        items: list[Node] = []
        while not scanner.accept("]"):
            items.append(self.expression())
            if not scanner.accept(","):
                scanner.expect("]", "or ',' in an array")
                break
        return ListOf(tuple(items), self.span(start))

    def mapping(self, start: int) -> Node:
        scanner = self.scanner
        scanner.expect("{", "")
        if scanner.accept(":"):
            scanner.expect("}", "of the empty map")
            return MapOf((), self.span(start))
        entries: list[tuple[Node, Node]] = []
        while not scanner.accept("}"):
            key = self.expression(_OR)
            scanner.expect(":", "between key and value")
            entries.append((key, self.expression()))
            if not scanner.accept(","):
                scanner.expect("}", "or ',' in a map")
                break
        return MapOf(tuple(entries), self.span(start))


__all__ = ["POWER", "ParseError", "parse"]
