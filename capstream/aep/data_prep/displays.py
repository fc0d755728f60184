"""Objects whose values already have their types, written as one dict display: most records need nothing else.

The values are tested together; a record that fails the test is written attribute by attribute (`row_writer`), where each one is
converted and its failure noted.
"""

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


def _together(parts: Sequence[Display], source: str) -> Display:
    tests = dict.fromkeys(test for part in parts for test in part.tests)
    return Display(source, tuple(tests), sum(part.rows for part in parts))


@dataclass(slots=True)
class DisplayWriter(RowWriter):
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
            return None
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

    def either(self, display: Display, store: Store, otherwise: Callable[[], None]) -> None:
        """Append the storing of a display, and what happens to records it does not fit."""
        code = self.code
        if not display.tests:
            code.add(store(display.source))
            return
        code.block(f"if {' and '.join(display.tests)}:", lambda: code.add(store(display.source)))
        fails = {display.tests} - self.failed
        self.failed |= fails
        code.block("else:", otherwise)
        self.failed -= fails

    def start_object(self, below: str, members: Mapping[str, Branch], scope: Scope, constants: str = "") -> set[str]:
        """Append the making of an object with the attributes that one display can hold, and return their keys.

        `constants` are entries for a display that holds data as well.
        """
        parts: dict[str, Display] = {}
        for key, member in members.items():
            part = self.display(member, scope) if member.leaves else None
            if part is not None and len(parts) < _LARGEST:
                parts[key] = part
        display = self._object(parts)
        if not self.pays(display):
            self.code.add(f"{below} = {{}}")
            return set()
        if display.tests:
            display = self._object(parts, constants)

        def stepwise() -> None:
            self.code.add(f"{below} = {{}}")
            for key in parts:
                self.leaf_of(members[key], below, key, scope)

        self.either(display, lambda source: f"{below} = {source}", stepwise)
        return set(parts)

    def leaf_of(self, member: Branch, below: str, key: str, scope: Scope) -> None:
        """Append the one row of a member."""
        name = self.code.env.constant(key)
        self.leaf(member.leaves[0], lambda value: f"{below}[{name}] = {value}", scope)

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
