"""Source paths as a tree, so that generated code reads every step of every path once.

The code reads plain JSON, or, where `Code.typed`, records of the types in `record_types`: their steps are attributes, which need
no test of what they are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from capstream.aep.data_prep.shape import Element, SourceStep
from capstream.lang.emit import Environment
from capstream.lang.nodes import Index, Name
from capstream.lang.paths import MISSING
from capstream.xdm.schema import Field


@dataclass(slots=True)
class Code:
    """Lines of generated source, with the bound names they use."""

    env: Environment
    typed: bool = False  #: the record has a type of its own
    flats: dict[str, str] = field(default_factory=dict)  #: root keys that stand for paths, and their attributes where typed
    lines: list[str] = field(default_factory=list)
    depth: int = 1

    def add(self, line: str) -> None:
        """Append a line at the current indentation."""
        self.lines.append(f"{'    ' * self.depth}{line}")

    def block(self, line: str, body: Callable[[], None]) -> None:
        """Append a line that opens a block, and the block."""
        self.add(line)
        self.depth += 1
        before = len(self.lines)
        body()
        if len(self.lines) == before:
            self.add("pass")
        self.depth -= 1

    def bail(self) -> None:
        """Append the hand-over of the record to the general engine; of a typed one, to who can read it whole."""
        self.add("return None" if self.typed else "return s(r)")

    def beside(self) -> "Code":
        """Return an empty piece of the same code."""
        return Code(self.env, self.typed, self.flats, depth=self.depth)

    def in_record(self, key: str) -> str:
        """Return the test whether the record has a key that stands for a path."""
        if self.typed:
            return f"r.{self.flats[key]} is not {self.env.bind('k', msgspec.UNSET)}"
        self.flats[key] = ""
        return f"{self.env.constant(key)} in r"

    def is_class(self, variable: str, kind: type) -> str:
        """Return the test for an exact class."""
        return f"{variable}.__class__ is {self.env.bind('c', kind)}"


@dataclass(slots=True)
class Read:
    """One step of some paths. `wanted`: its value is used itself, not only stepped through."""

    variable: str = ""
    wanted: bool = False
    counted: bool = False  #: its size is used
    items: "Read | None" = None  #: what a loop reads of each of its elements
    attribute: str = ""  #: of a typed record
    typed: bool = False  #: in a typed record it is no plain JSON
    copies: dict[int, Field] = field(default_factory=dict)  #: rows that copy it whole: position and target
    converted: bool = False  #: something else than such a row uses its value
    exact: bool = False  #: in a typed record it is its row's copy already
    flat: str | None = None  #: root key that stands for the whole path
    null_flag: str = ""  #: variable that tells an explicit null from a missing value
    below: dict[SourceStep, "Read"] = field(default_factory=dict)

    def declare(self, env: Environment, path: tuple[SourceStep, ...], flat: str | None = None) -> "Read":
        """Return the node of a path, its value wanted."""
        node = self.reach(env, path, flat)
        node.wanted = True
        return node

    def reach(self, env: Environment, path: tuple[SourceStep, ...], flat: str | None = None) -> "Read":
        """Return the node of a path."""
        node = self
        for step in path:
            node = node.below.setdefault(step, Read())
            node.variable = node.variable or env.fresh("p")
        node.flat = node.flat or flat
        return node

    @property
    def used(self) -> bool:
        """Say whether code uses its variable."""
        return self.wanted or self.counted or self.items is not None

    def used_below(self) -> Iterator["Read"]:
        """Yield the used nodes below this one."""
        for node in self.below.values():
            if node.used:
                yield node
            yield from node.used_below()


def write_reads(code: Code, root: Read, holder: str, *, record: bool) -> None:
    """Append the reads of a tree from `holder`, which is an object; `record`: it is the record itself."""
    if code.typed and root.typed:
        for node in root.below.values():
            _attribute(code, node, holder)
            if record:
                _flat_typed(code, node)
            _below_attribute(code, node)
        return
    for step, node in root.below.items():
        if isinstance(step, Name):
            _get(code, node, step, holder)
            _steps(code, node, step if record else None)
        else:
            _nothing(code, [node, *node.used_below()])


def _get(code: Code, node: Read, step: Name, holder: str) -> None:
    key = code.env.constant(step.text)
    if not node.null_flag:
        code.add(f"{node.variable} = {holder}.get({key})")
        return
    missing = code.env.bind("k", MISSING)
    code.add(f"{node.variable} = {holder}.get({key}, {missing})")
    code.add(f"{node.null_flag} = {node.variable} is None")
    code.block(f"if {node.variable} is {missing}:", lambda: code.add(f"{node.variable} = None"))


def _steps(code: Code, node: Read, root_step: Name | None) -> None:
    """Append what lies below a node whose variable holds its value."""
    for step, below in node.below.items():
        if isinstance(step, Element):
            if root_step is not None:
                _flat_element(code, node.variable, below)
            _element(code, node.variable, step, below)
    plain = {step: below for step, below in node.below.items() if not isinstance(step, Element)}
    if not plain:
        return
    names = {step: below for step, below in plain.items() if isinstance(step, Name)}
    indexes = {step: below for step, below in plain.items() if isinstance(step, Index)}
    code.block(f"if {code.is_class(node.variable, dict)}:", lambda: _names(code, node, names, bail=bool(indexes)))
    code.block(f"elif {code.is_class(node.variable, list)}:", lambda: _indexes(code, node, indexes, bail=bool(names)))
    wanted = [one for below in plain.values() for one in _self_and_below(below)]
    flats = [one for one in wanted if one.flat is not None]
    if root_step is not None and flats:
        test = f"elif {node.variable} is None and {code.env.constant(root_step.text)} not in r:"
        code.block(test, lambda: _flat(code, wanted))
    code.block("else:", lambda: _nothing(code, wanted))


def _attribute(code: Code, node: Read, holder: str) -> None:
    code.add(f"{node.variable} = {holder}.{node.attribute}")
    if node.null_flag:
        unset = code.env.bind("k", msgspec.UNSET)
        code.add(f"{node.null_flag} = {node.variable} is None")
        code.block(f"if {node.variable} is {unset}:", lambda: code.add(f"{node.variable} = None"))


def _flat_typed(code: Code, node: Read) -> None:
    """Append the test for root keys that stand for whole paths: who reads the record whole knows what becomes of them."""
    flats = dict.fromkeys(one.flat for one in node.used_below() if one.flat is not None)
    if flats:
        code.block(f"if {node.variable} is None and ({' or '.join(map(code.in_record, flats))}):", code.bail)


def _below_attribute(code: Code, node: Read) -> None:
    if node.typed:
        _typed_steps(code, node)
    else:
        _steps(code, node, None)


def _typed_steps(code: Code, node: Read) -> None:
    """Append what lies below a typed node whose variable holds its value: an object or an array of objects, or None."""
    elements = {step: below for step, below in node.below.items() if not isinstance(step, Name)}
    if elements:
        for step, below in elements.items():
            _typed_element(code, node.variable, step.at if isinstance(step, Element) else int(step.value), below)
    elif node.below:
        _present(code, node, node.variable)


def _typed_element(code: Code, holder: str, at: int, node: Read) -> None:
    position = code.env.constant(at)
    present = holder if at == 0 else f"{holder} is not None and {code.env.bind('f', len)}({holder}) > {position}"
    code.add(f"{node.variable} = {holder}[{position}] if {present} else None")
    _present(code, node, node.variable)


def _present(code: Code, node: Read, holder: str) -> None:
    def read() -> None:
        for below in node.below.values():
            _attribute(code, below, holder)
            _below_attribute(code, below)

    code.block(f"if {holder} is not None:", read)
    code.block("else:", lambda: _nothing(code, list(node.used_below())))


def _self_and_below(node: Read) -> list[Read]:
    return ([node] if node.used else []) + list(node.used_below())


def _names(code: Code, node: Read, names: dict[Name, Read], *, bail: bool) -> None:
    if bail:
        code.bail()
        return
    for step, below in names.items():
        _get(code, below, step, node.variable)
        _steps(code, below, None)


def _indexes(code: Code, node: Read, indexes: dict[Index, Read], *, bail: bool) -> None:
    if bail:
        code.bail()
        return
    for step, below in indexes.items():
        _nth(code, below, node.variable, int(step.value))
        _steps(code, below, None)


def _nth(code: Code, node: Read, holder: str, at: int) -> None:
    if at == 0 and not node.null_flag:
        code.add(f"{node.variable} = {holder}[{code.env.constant(0)}] if {holder} else None")
        return
    position = code.env.constant(at)
    length = code.env.bind("f", len)
    code.add(f"{node.variable} = {holder}[{position}] if {length}({holder}) > {position} else None")
    if node.null_flag:
        code.add(f"{node.null_flag} = {node.variable} is None and {length}({holder}) > {position}")


def _element(code: Code, holder: str, step: Element, node: Read) -> None:
    code.block(f"if {code.is_class(holder, list)}:", lambda: _nth(code, node, holder, step.at))
    taken = holder if step.at == 0 or not step.explicit else "None"

    def other() -> None:
        code.add(f"{node.variable} = {taken}")
        if node.null_flag:
            code.add(f"{node.null_flag} = False")

    code.block("else:", other)
    _steps(code, node, None)


def _flat_element(code: Code, holder: str, node: Read) -> None:
    flats = [one.flat for one in _self_and_below(node) if one.flat is not None]
    if flats:
        code.block(f"if {holder} is None and ({' or '.join(map(code.in_record, flats))}):", code.bail)


def _nothing(code: Code, wanted: list[Read]) -> None:
    named = [node for node in wanted if node.variable]
    if named:
        code.add(f"{' = '.join(node.variable for node in named)} = None")
    for node in named:
        if node.null_flag:
            code.add(f"{node.null_flag} = False")


def _flat(code: Code, wanted: list[Read]) -> None:
    for node in wanted:
        if node.flat is None:
            _nothing(code, [node])
            continue
        key = code.env.constant(node.flat)
        code.add(f"{node.variable} = r.get({key})")
        if node.null_flag:
            code.add(f"{node.null_flag} = {node.variable} is None and {key} in r")
