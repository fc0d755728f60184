"""Objects whose values already have their types, written as one dict display: most records need nothing else.

The values of expressions are computed first. All values are tested together; a record that fails the test is written
attribute by attribute (`row_writer`), where each one is converted and its failure noted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.aep.data_prep.conversion import Failures, convert
from capstream.aep.data_prep.row_writer import RowWriter, Scope, Store, fresh_copy
from capstream.aep.data_prep.shape import Branch, Leaf, Loop
from capstream.kernel.json import Json
from capstream.lang.expression import FAILURES
from capstream.lang.paths import flat_key

_LARGEST = 32
"""Rows of one display. The more there are, the less likely all are present; and every row is written a second time."""


@dataclass(frozen=True, slots=True)
class Display:
    """Source of a value, valid when all tests hold. Without tests it is a constant."""

    source: str
    tests: tuple[str, ...] = ()
    rows: int = 1
    computed: tuple[Leaf, ...] = ()  #: rows whose expressions must be computed before the tests


def _together(parts: Sequence[Display], source: str) -> Display:
    tests = dict.fromkeys(sorted((test for part in parts for test in part.tests), key=lambda test: "(" in test[1:]))  # calls last
    computed = tuple(leaf for part in parts for leaf in part.computed)
    return Display(source, tuple(tests), sum(part.rows for part in parts), computed)


@dataclass(slots=True)
class DisplayWriter(RowWriter, ABC):
    """Writes displays, and beside each the code for records it does not fit."""

    failed: set[tuple[str, ...]] = field(default_factory=set)  #: tests known to fail where the code is being written

    def display(self, branch: Branch, scope: Scope) -> Display | None:
        """Return what a place gets when every value at and below it has its type; None where one test cannot tell."""
        leaves, below = branch.leaves, branch.members or branch.positions
        if branch.loop is not None or (leaves and (below or len(leaves) > 1)):
            return None
        if leaves:
            return self._one(leaves[0], scope)
        if branch.positions:
            parts = self._all((member for _, member in sorted(branch.positions.items())), scope)
            return None if parts is None else _together(parts, f"[{', '.join(part.source for part in parts)}]")
        parts = self._all(branch.members.values(), scope)
        return None if parts is None else self._object(dict(zip(branch.members, parts, strict=True)))

    def _all(self, branches: Iterable[Branch], scope: Scope) -> list[Display] | None:
        parts = []
        for branch in branches:
            part = self.display(branch, scope)
            if part is None:
                return None
            parts.append(part)
        return parts or None

    def _object(self, parts: Mapping[str, Display], more: str = "") -> Display:
        env = self.code.env
        written = ", ".join(f"{env.constant(key)}: {part.source}" for key, part in parts.items())
        return _together(list(parts.values()), f"{{{written}{more}}}")

    def _one(self, leaf: Leaf, scope: Scope) -> Display | None:
        plan = leaf.plan
        if plan.broken or plan.shares:
            return None
        is_constant, value = self.constant(plan)
        if is_constant:
            source = self.known_source(leaf, value)
            return None if source is None else Display(source)
        if leaf.path is None:
            kept = self.kept.setdefault(id(leaf), self.code.env.fresh("t"))
            test = self.has_type(plan, kept, computed=True)
            return None if test is None else Display(kept, (test,), computed=(leaf,))
        node = scope.reads.declare(self.code.env, leaf.path, None if scope.element else flat_key(plan.path or ()))
        test = self.has_type(plan, node.variable, computed=False)
        return None if test is None else Display(node.variable, (test,))

    def known_source(self, leaf: Leaf, value: Json) -> str | None:
        """Return the source of a constant, converted; None when it is null or cannot be converted."""
        if value is None:
            return None
        failures: Failures = []
        try:
            converted = convert(self.conversions.of(leaf.plan.target.field), value, failures, "")
        except FAILURES:
            return None
        if failures:
            return None
        if converted.__class__ in {list, dict}:
            return f"{self.code.env.bind('f', fresh_copy(converted))}()"
        return self.code.env.constant(converted)

    def pays(self, display: Display) -> bool:
        """Say whether a display saves more than the second writing of its rows costs."""
        return 1 < display.rows <= _LARGEST and display.tests not in self.failed

    def either(self, display: Display, store: Store, scope: Scope, otherwise: Callable[[], None]) -> None:
        """Append the storing of a display, and what happens to records it does not fit."""
        code = self.code
        for leaf in display.computed:
            if id(leaf) not in self.computed_rows:
                self.compute(leaf, scope)
        if not display.tests:
            code.add(store(display.source))
            return
        code.block(f"if {' and '.join(display.tests)}:", lambda: code.add(store(display.source)))
        fails = {display.tests} - self.failed
        self.failed |= fails
        code.block("else:", otherwise)
        self.failed -= fails

    def parts(self, members: Mapping[str, Branch], scope: Scope) -> dict[str, Display]:
        """Return the attributes of an object that one display can hold.

        Objects below are among them in the elements of an array: these are like one another.
        """
        parts: dict[str, Display] = {}
        rows = 0
        for key, member in members.items():
            part = self.display(member, scope) if member.leaves or scope.element else None
            if part is not None and rows + part.rows <= _LARGEST:
                parts[key] = part
                rows += part.rows
        return parts

    def object(self, below: str, members: Mapping[str, Branch], scope: Scope) -> None:
        """Append the making of an object: what one display can hold first."""
        parts = self.parts(members, scope)
        display = self._object(parts)
        if self.pays(display):
            self.either(display, lambda source: f"{below} = {source}", scope, lambda: self.stepwise(below, members, parts, scope))
        else:
            parts = {}
            self.code.add(f"{below} = {{}}")
        for key, member in members.items():
            if key not in parts:
                self.branch(member, below, key, scope, copied=False)

    def stepwise(self, below: str, members: Mapping[str, Branch], keys: Iterable[str], scope: Scope) -> None:
        """Append the making of an object with the attributes `keys`, one after another."""
        self.code.add(f"{below} = {{}}")
        for key in keys:
            self.branch(members[key], below, key, scope, copied=False)

    def item(self, loop: Loop, array: str, scope: Scope, constants: Mapping[str, str]) -> None:
        """Append the making of an element. `constants` are attributes that it gets when it holds data as well."""
        code, members = self.code, loop.element.members
        built = code.env.fresh("d")

        def keep() -> None:
            for key, source in constants.items():
                code.add(f"{built}[{code.env.constant(key)}] = {source}")
            code.add(f"{array}.append({built})")

        def stepwise() -> None:
            self.stepwise(built, members, members, scope)
            code.block(f"if {built}:", keep)

        parts = self.parts(members, scope)
        display = self._object(parts)
        if len(parts) == len(members) and display.tests and self.pays(display):
            whole = self._object(parts, "".join(f", {code.env.constant(key)}: {source}" for key, source in constants.items()))
            self.either(whole, lambda source: f"{array}.append({source})", scope, stepwise)
            return
        self.object(built, members, scope)
        code.block(f"if {built}:", keep)

    @abstractmethod
    def branch(self, branch: Branch, holder: str, key: str, scope: Scope, *, copied: bool) -> None:
        """Append everything at and below one place; `copied`: a row above may already have put a value here."""

    def loop_constants(self, loop: Loop) -> dict[str, tuple[Leaf, str]]:
        """Return the constants that every element gets as an attribute of its own: key to row and source."""
        heads = [names[0] for names, _ in loop.broadcasts]
        found = {}
        for names, leaf in loop.broadcasts:
            is_constant, value = self.constant(leaf.plan)
            alone = len(names) == 1 and heads.count(names[0]) == 1 and names[0] not in loop.element.members
            source = self.known_source(leaf, value) if alone and is_constant and not leaf.plan.broken else None
            if source is not None:
                found[names[0]] = (leaf, source)
        return found


__all__ = ["Display", "DisplayWriter"]
