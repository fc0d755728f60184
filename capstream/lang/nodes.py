"""What an expression is made of. Operators are calls of functions, so few kinds suffice."""

from dataclasses import dataclass, field

from capstream.kernel.json import Json


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the source text, in code points."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    """A step by member name: `.b`. On an array it projects."""

    text: str


@dataclass(frozen=True, slots=True)
class Index:
    """A step by constant position or key: `[2]`, `["k"]`."""

    value: int | str


@dataclass(frozen=True, slots=True)
class Star:
    """A step over every element: `[*]` or `[]`."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A step by a position or key that an expression gives: `[size_of(a) - 1]`."""

    node: "Node"


Step = Name | Index | Star | Computed


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: null, boolean, integer, double or string."""

    value: Json
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the source record (`base` is None) or from the value of `base`."""

    base: "Node | None"
    steps: tuple[Step, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """The parameter of an enclosing lambda."""

    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call or an operator (whose name is its symbol, `-x` is `negate`)."""

    name: str
    args: tuple["Node", ...]
    span: Span = field(compare=False)
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """A method call on a value: `name.trim()`."""

    receiver: "Node"
    name: str
    args: tuple["Node", ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Lambda:
    """A function written in place: `x -> x > 0`. Only ever an argument."""

    params: tuple[str, ...]
    body: "Node"
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array literal."""

    items: tuple["Node", ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map literal; keys are expressions."""

    entries: tuple[tuple["Node", "Node"], ...]
    span: Span = field(compare=False)


Node = Literal | Path | Variable | Call | Method | Lambda | ListOf | MapOf


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below `node`, in reading order."""
    match node:
        case Path(base, steps):
            computed = tuple(step.node for step in steps if isinstance(step, Computed))
            return computed if base is None else (base, *computed)
        case Call(_, args) | ListOf(args):
            return args
        case Method(receiver, _, args):
            return (receiver, *args)
        case Lambda(_, body):
            return (body,)
        case MapOf(entries):
            return tuple(node for entry in entries for node in entry)
        case _:
            return ()


def record_paths(node: Node) -> list[Path]:
    """Return the paths that read the record, in order of appearance, each once."""
    found: dict[tuple[Step, ...], Path] = {}

    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Path) and one.base is None:
            found.setdefault(one.steps, one)
        waiting.extend(reversed(children(one)))
    return list(found.values())
