"""Nodes to Python source. The source holds no user text: only generated names and keywords; literals, keys and functions
are bound in an environment under those names.

Names: `k` constants, `f` functions, `t` temporaries, `v` lambda parameters, each with a number; `r` record, `n` now,
`b` lambda budget, `u` source of ids.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from capstream.kernel.json import Json
from capstream.lang.chains import chain, is_chain
from capstream.lang.diagnostics import Fail
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget, charged, charged_padding, charged_range, charged_slow, decode
from capstream.lang.methods import COSTLY_METHODS, call_method
from capstream.lang.nodes import (
    Call,
    Computed,
    Lambda,
    ListOf,
    Literal,
    MapOf,
    Method,
    Name,
    Node,
    Path,
    Star,
    Step,
    Variable,
    children,
)
from capstream.lang.operators import BINARY, BOOLEAN, LAZY, MATCHING, ORDERING, UNARY
from capstream.lang.paths import first_star, flat_key, has_path, path_text, read, read_record, run_steps
from capstream.lang.signatures import Function, Needs, bind, takes_text
from capstream.lang.values import text, truth

LONG = 24
"""The most operations an expression may have without counting its work: each takes a few milliseconds at worst."""

_PADDING = frozenset({"lpad", "rpad"})
_SLOW_CATEGORIES = frozenset({"Regular expression", "Date / Time", "User agent", "JSON"})
_TEXT_TO_TEXT = frozenset({"lower", "lcase", "upper", "ucase", "trim", "ltrim", "rtrim", "sha1", "sha256", "sha512", "md5"})
"""Functions that give a text for every text."""

_SLOW_FUNCTIONS = frozenset({"explode", "contains_key", "is_set"})
_KEYWORDS = {None: "None", True: "True", False: "False"}


@dataclass(slots=True)
class Environment:
    """The objects that generated names stand for. Its `names` become the globals of the generated function."""

    names: dict[str, Json] = field(default_factory=lambda: {"__builtins__": {}})
    known: dict[tuple[str, type, Json], str] = field(default_factory=dict)
    count: int = 0

    def fresh(self, prefix: str) -> str:
        """Return a name that was not used before."""
        self.count += 1
        return f"{prefix}{self.count}"

    def bind(self, prefix: str, value: Json) -> str:
        """Return the name under which `value` is bound; equal constants share one."""
        try:
            key = (prefix, value.__class__, value)
            name = self.known.get(key)
        except TypeError:  # not hashable
            name = self.fresh(prefix)
            self.names[name] = value
            return name
        if name is None:
            name = self.known[key] = self.fresh(prefix)
            self.names[name] = value
        return name

    def constant(self, value: Json) -> str:
        """Return the source of a constant."""
        if value is None or value is True or value is False:
            return _KEYWORDS[value]
        if value.__class__ is float and value == 0:  # 0.0 and -0.0 are equal, and must not share a name
            value = value + 0.0
        return self.bind("k", value)


class PathSource(Protocol):
    """Where the values of record paths come from in the code being written."""

    def __call__(self, path: Path, emitter: "Emitter") -> str:
        """Return the source of the value of a path that reads the record."""
        ...


def from_record(path: Path, emitter: "Emitter") -> str:
    """Return source that reads the path from the record, whatever its steps."""
    emitter.needs.add(Needs.RECORD)
    steps = path.steps
    env = emitter.env
    if len(steps) == 1 and isinstance(steps[0], Name):
        return f"r.get({env.constant(steps[0].text)})"
    flat = flat_key(steps)
    if flat is not None:
        return f"{env.bind('f', read_record)}(r, {env.bind('k', run_steps(steps))}, {env.constant(flat)})"
    return f"{env.bind('f', read)}(r, {emitter.steps(steps)})"


@dataclass(slots=True)
class Emitter:
    """Writes one expression. `needs` collects what the surrounding function must provide."""

    env: Environment
    paths: PathSource = from_record
    binds_star: bool = False  #: `paths` gives one element for the leftmost `[*]` of a path
    needs: set[Needs] = field(default_factory=set)
    scope: dict[str, str] = field(default_factory=dict)
    counting: bool = False  #: `paths` is asked for a value of which only the size matters
    metered: bool = False  #: a long expression: what it does counts as work outside lambdas too

    @property
    def counts(self) -> bool:
        """Say whether what is written now must count as work."""
        return self.metered or bool(self.scope)

    def source(self, node: Node) -> str:
        """Return Python source whose value is the value of the node."""
        match node:
            case Literal(value):
                return self.env.constant(value)
            case Path():
                return self._path(node)
            case Variable(name):
                return self.scope[name]
            case Call(operator=True):
                return self._operator(node)
            case Call():
                return self._call(node)
            case Method(receiver, name, args):
                arguments = self._list((receiver, Literal(name, node.span), *args))
                return self._applied(call_method, arguments, slow=name in COSTLY_METHODS)
            case ListOf(items):
                return self._kept(f"[{self._list(items)}]")
            case MapOf(entries):
                return self._kept(self._map(entries))
            case Lambda(params, body):
                return self._lambda(params, body)

    def _applied(self, function: Callable[..., Json], arguments: str, *, slow: bool = False) -> str:
        """Return the source of a call; inside a lambda or a long expression it counts as work."""
        called = self.env.bind("f", function)
        if not self.counts:
            return f"{called}({arguments})"
        self.needs.add(Needs.BUDGET)
        charge = self.env.bind("f", charged_slow if slow else charged)
        return f"{charge}(b, {called}{', ' if arguments else ''}{arguments})"

    def _kept(self, source: str) -> str:
        """Return the source of a value that takes room; inside a lambda or a long expression that counts as work."""
        if not self.counts:
            return source
        self.needs.add(Needs.BUDGET)
        return f"{self.env.bind('f', Budget.charge)}(b, {source})"

    def _list(self, nodes: Iterable[Node]) -> str:
        return ", ".join(self.source(node) for node in nodes)

    def steps(self, steps: tuple[Step, ...]) -> str:
        """Return the source of run-time steps."""
        if not any(isinstance(step, Computed) for step in steps):
            return self.env.bind("k", run_steps(steps))
        parts = []
        for step in steps:
            if isinstance(step, Computed):
                parts.append(f"({self.source(step.node)},)")
            elif isinstance(step, Star):
                parts.append("None")
            else:
                parts.append(self.env.bind("k", run_steps((step,))[0]))
        return f"({', '.join(parts)},)"

    def _path(self, node: Path) -> str:
        if node.base is None:
            return self._kept(self.paths(node, self))
        return self._kept(f"{self.env.bind('f', read)}({self.source(node.base)}, {self.steps(node.steps)})")

    def truth(self, node: Node) -> str:
        """Return the source of the truth value of the node."""
        source = self.source(node)
        if isinstance(node, Call) and node.operator and node.name in BOOLEAN:
            return source
        return f"{self.env.bind('f', truth)}({source})"

    def _operator(self, node: Call) -> str:
        name, args = node.name, node.args
        if name in LAZY:
            return self._lazy(node)
        if name == "..":
            self.needs.add(Needs.BUDGET)
            return f"{self.env.bind('f', charged_range)}(b, {self._list(args)})"
        if self.metered and is_chain(node):
            return self._chain(node)
        function = BINARY[name] if name in BINARY else UNARY[name]
        if name in ORDERING and not self.counts and _is_number(args[1]):
            return self._compared(name, args)
        return self._applied(function, self._list(args), slow=name in MATCHING)

    def _chain(self, node: Call) -> str:
        """Write a chain as one value after the other: nested calls would go as deep as the chain is long."""
        first, links = chain(node)
        kept, value, written = self.env.fresh("t"), self.source(first), []
        for link in links:
            called = self._applied(BINARY[link.name], f"{value}, {self.source(link.args[1])}", slow=link.name in MATCHING)
            written.append(f"{kept} := {called}")
            value = kept
        return f"({', '.join(written)})[{self.env.constant(-1)}]"

    def _compared(self, name: str, args: tuple[Node, ...]) -> str:
        """Write a comparison with a constant number: numbers meet Python's operator without a call."""
        left, first = self._named(args[0])
        bound_to = self.source(args[1])
        is_float, is_int = self.env.bind("c", float), self.env.bind("c", int)
        test = f"{first}.__class__ is {is_float} or {left}.__class__ is {is_int}"
        return f"({left} {name} {bound_to} if {test} else {self.env.bind('f', BINARY[name])}({left}, {bound_to}))"

    def _named(self, node: Node) -> tuple[str, str]:
        """Return the name of a value and the source that first evaluates it."""
        source = self.source(node)
        if source.isidentifier():
            return source, source
        kept = self.env.fresh("t")
        return kept, f"({kept} := {source})"

    def _lazy(self, node: Call) -> str:
        args = node.args
        match node.name:
            case "&&" | "||":
                first, links = chain(node)
                word = " and " if node.name == "&&" else " or "
                return f"({word.join(map(self.truth, (first, *(link.args[1] for link in links))))})"
            case "!":
                return f"(not {self.truth(args[0])})"
            case "?" | "iif":
                return f"({self.source(args[1])} if {self.truth(args[0])} else {self.source(args[2])})"
            case "??":
                kept = self.env.fresh("t")
                return f"({kept} if ({kept} := {self.source(args[0])}) is not None else {self.source(args[1])})"
            case _:
                kept = self.env.fresh("t")
                test = f"{self.env.bind('f', truth)}({kept} := {self.source(args[0])})"
                return f"({kept} if {test} else {self.source(args[1])})"

    def _call(self, node: Call) -> str:
        function = FUNCTIONS[node.name]
        match node.name:
            case "iif":
                return self._lazy(node)
            case "decode":
                return self._decode(node)
            case "contains_key" | "is_set" if isinstance(node.args[0], Path):
                return self._exists(node.args[0])
            case "object_to_map" if len(node.args) == 2 and _bare_name(node.args[1]):
                return self._keyed(node, function)
            case "uuid" | "guid":
                self.needs.add(Needs.UUID)
                return "u()"
        if not self.counts and _is_of_one_text(node):
            return self._of_text(node)
        slow = function.category in _SLOW_CATEGORIES or node.name in _SLOW_FUNCTIONS
        self.counting = node.name == "size_of" and isinstance(node.args[0], Path)
        arguments = self._list(node.args)
        self.counting = False
        ambient = {Needs.NOW: "n", Needs.BUDGET: "b", Needs.RECORD: "r"}.get(function.needs)
        if ambient is not None:
            self.needs.add(function.needs)
            arguments = f"{ambient}, {arguments}" if arguments else ambient
        if node.name in _PADDING:
            self.needs.add(Needs.BUDGET)
            return f"{self.env.bind('f', charged_padding)}(b, {self.env.bind('f', bound(function))}, {arguments})"
        if function.needs is Needs.BUDGET:
            return self._kept(f"{self.env.bind('f', bound(function))}({arguments})")
        return self._applied(bound(function, len(node.args)), arguments, slow=slow)

    def _of_text(self, node: Call) -> str:
        """Write functions of one text applied one to another: a text goes through all of them without being looked at again."""
        chain, inner = [node.name], node.args[0]
        while isinstance(inner, Call) and inner.name in _TEXT_TO_TEXT and _is_of_one_text(inner):
            chain.append(inner.name)
            inner = inner.args[0]
        kept, first = self._named(inner)
        plain = other = kept
        for name in reversed(chain):
            plain = f"{self.env.bind('f', FUNCTIONS[name].call)}({plain})"
            other = f"{self.env.bind('f', bound(FUNCTIONS[name], 1))}({other})"
        return f"({plain} if {first}.__class__ is {self.env.bind('c', str)} else {other})"

    def _exists(self, path: Path) -> str:
        """Write the look-up of a bare path: in the record, in the element a row iterates over, or in the value it starts from."""
        exists = self.env.bind("f", has_path)
        self.needs.add(Needs.RECORD)
        if path.base is not None:
            return f"{exists}({self.source(path.base)}, {self.steps(path.steps)})"
        star = first_star(path.steps) if self.binds_star else None
        if star is None or star + 1 == len(path.steps):
            return f"{exists}(r, {self.steps(path.steps)})"
        element = self.paths(Path(None, path.steps[: star + 1], path.span), self)
        return f"{exists}({element}, {self.steps(path.steps[star + 1 :])})"

    def _keyed(self, node: Call, function: Function) -> str:
        """Write `object_to_map(array, name)`: the bare name is the name itself, unless the first argument is a key."""
        kept = self.env.fresh("t")
        name = self.env.constant(_bare_name(node.args[1]))
        is_list = self.env.bind("f", _is_list)
        second = f"({name} if {is_list}({kept}) else {self.source(node.args[1])})"
        return f"{self.env.bind('f', bound(function))}(({kept} := {self.source(node.args[0])}), {second})"

    def _decode(self, node: Call) -> str:
        key, *rest = node.args
        if all(isinstance(arg, Literal) for arg in rest):
            values = [arg.value for arg in rest if isinstance(arg, Literal)]
            if all(value.__class__ is str for value in values[: len(values) // 2 * 2 : 2]):
                return f"{self.env.bind('f', _decoder(tuple(values)))}({self.source(key)})"
        return f"{self.env.bind('f', decode)}({self._list(node.args)})"

    def _map(self, entries: tuple[tuple[Node, Node], ...]) -> str:
        as_key = self.env.bind("f", _map_key)
        written = []
        for key, value in entries:
            constant = isinstance(key, Literal) and key.value.__class__ is str
            source = self.source(key)
            written.append(f"{source if constant else f'{as_key}({source})'}: {self.source(value)}")
        return "{" + ", ".join(written) + "}"

    def _lambda(self, params: tuple[str, ...], body: Node) -> str:
        names = [self.env.fresh("v") for _ in params]
        outer = dict(self.scope)
        self.scope.update(zip(params, names, strict=True))
        source = self.source(body)
        self.scope = outer
        return f"(lambda {', '.join(names)}: {source})"


def is_long(node: Node) -> bool:
    """Say whether an expression has so many operations that together they could take too long on large values."""
    left, waiting = LONG, [node]
    while waiting and left >= 0:
        one = waiting.pop()
        waiting.extend(children(one))
        if isinstance(one, Call | Method) or (isinstance(one, Path) and len(one.steps) > 1):
            left -= 1
    return left < 0


def _is_of_one_text(node: Call) -> bool:
    return not node.operator and len(node.args) == 1 and takes_text(FUNCTIONS[node.name])


def _is_number(node: Node) -> bool:
    return isinstance(node, Literal) and node.value.__class__ in {int, float}


def _bare_name(node: Node) -> str | None:
    if isinstance(node, Path) and node.base is None and not any(isinstance(step, Computed) for step in node.steps):
        return path_text(node.steps)
    return None


def _is_list(value: Json) -> bool:
    return value.__class__ is list


def _map_key(value: Json) -> str:
    if value is None:
        raise Fail("Key is null")
    return text(value)


def _decoder(rest: tuple[Json, ...]) -> Callable[[Json], Json]:
    """Return `decode` with constant text keys as one look-up."""
    default = rest[-1] if len(rest) % 2 else None
    table = dict(zip(reversed(rest[: len(rest) // 2 * 2 : 2]), reversed(rest[1 : len(rest) // 2 * 2 : 2]), strict=True))

    def decoded(key: Json) -> Json:
        if key.__class__ is str:
            return table.get(key, default)
        return decode(key, *rest)

    return decoded


_BOUND = {name: bind(function) for name, function in FUNCTIONS.items()}
_BOUND_TO_ONE = {name: bind(function, 1) for name, function in FUNCTIONS.items()}


def bound(function: Function, count: int | None = None) -> Callable[..., Json]:
    """Return the function that takes raw arguments, that many of them."""
    return (_BOUND_TO_ONE if count == 1 else _BOUND)[function.name]
