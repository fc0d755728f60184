"""Which mapping sets have a shape that straight-line code covers, and that shape: a tree of destinations with rows attached.

The shape rests on guesses about records (which source step is an array); the generated code checks each guess and hands
the record to the general engine when one is wrong. None of it changes what a record maps to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from capstream.aep.data_prep.rowplan import RowPlan
from capstream.lang.nodes import Computed, Index, Name, Path, Star, Step
from capstream.lang.paths import is_plain
from capstream.xdm.schema import Field

_MOST_STEPS = 40
"""Steps of a path: each is a block of its own, and Python nests no more than 100."""


class NoShape(Exception):
    """The mapping set needs the general engine for every record."""


@dataclass(frozen=True, slots=True)
class Element:
    """A source step that takes one element of an array, for a destination with a fixed index (rule A2)."""

    at: int
    explicit: bool  #: written `[*]`; otherwise a guess that holds only where the value is an array


SourceStep = Name | Index | Element


@dataclass(slots=True)
class Leaf:
    """One row that writes a value of its own."""

    plan: RowPlan
    path: tuple[SourceStep, ...] | None = None  #: what to read, relative to the record or to the loop's element


@dataclass(slots=True)
class Loop:
    """The rows of one destination array, in one loop over one source array."""

    source: tuple[Name, ...] | None  #: None: no row iterates, the rows make at most one element
    explicit: bool
    element: "Branch"  #: what each element gets from the source element
    broadcasts: list[tuple[tuple[str, ...], Leaf]] = field(default_factory=list)  #: (names below the element, row), data first


@dataclass(slots=True)
class Branch:
    """One place of the destination."""

    leaves: list[Leaf] = field(default_factory=list)
    members: dict[str, "Branch"] = field(default_factory=dict)
    positions: dict[int, "Branch"] = field(default_factory=dict)
    starred: list[RowPlan] = field(default_factory=list)  #: rows with a wildcard here
    prefix: tuple[Step, ...] = ()
    loop: Loop | None = None

    def all_leaves(self) -> Iterator[Leaf]:
        """Yield the rows here and below, loops left out."""
        yield from self.leaves
        for branch in (*self.members.values(), *self.positions.values()):
            yield from branch.all_leaves()


def shape_of(plans: Sequence[RowPlan]) -> Branch:
    """Return the tree of destinations. Errors: NoShape."""
    root = Branch()
    for plan in plans:
        if any(len(steps) > _MOST_STEPS for steps in _paths(plan)):
            raise NoShape("deep paths")
        _attach(root, plan)
    _check(root)
    _loops(root, plans)
    return root


def _paths(plan: RowPlan) -> Iterator[tuple[Step, ...]]:
    yield plan.target.steps
    yield plan.path or ()
    for path in plan.reads:
        yield path.steps


def _attach(root: Branch, plan: RowPlan) -> None:
    steps = plan.target.steps
    stars, indexes = plan.target.stars, sum(1 for step in steps if isinstance(step, Index))
    if stars > 1 or indexes > 1 or (stars and indexes):
        raise NoShape("nested arrays")
    if stars and plan.broken:
        raise NoShape("a broken row in a loop")
    branch = root
    for at, step in enumerate(steps):
        if isinstance(step, Name):
            branch = branch.members.setdefault(step.text, Branch(prefix=steps[: at + 1]))
        elif isinstance(step, Index):
            branch = branch.positions.setdefault(int(step.value), Branch(prefix=steps[: at + 1]))
        else:
            branch.starred.append(plan)
            return
    branch.leaves.append(_leaf(plan))


def _leaf(plan: RowPlan) -> Leaf:
    if plan.path is None:
        if plan.per_element:
            raise NoShape("an expression per element outside a loop")
        return Leaf(plan)
    return Leaf(plan, _source(plan.path, plan.target.steps))


def _source(path: tuple[Step, ...], target: tuple[Step, ...]) -> tuple[SourceStep, ...]:
    """Return the steps to read for a destination without wildcards."""
    at = next((at for at, step in enumerate(target) if isinstance(step, Index)), None)
    stars = [step for step in path if isinstance(step, Star)]
    if at is None:
        if stars:
            raise NoShape("gathered values")
        return tuple(step for step in path if isinstance(step, Name | Index))
    position = int(target[at].value)  # type: ignore[union-attr]
    if len(stars) > 1:
        raise NoShape("gathered values")
    if stars:
        return tuple(Element(position, explicit=True) if isinstance(step, Star) else step for step in path)  # type: ignore[misc]
    steps = [step for step in path if isinstance(step, Name | Index)]
    split = len(path) - (len(target) - at - 1)
    if is_plain(path) and 0 < split < len(path):
        return (*steps[:split], Element(position, explicit=False), *steps[split:])
    return tuple(steps)


def _check(branch: Branch) -> None:
    kinds = bool(branch.members) + bool(branch.positions) + bool(branch.starred)
    if kinds > 1 or (branch.leaves and (branch.positions or branch.starred)):
        raise NoShape("rows that overlap in an array")
    if branch.leaves and branch.members:
        if len(branch.leaves) > 1 or branch.leaves[0].plan.row.source_type == "STATIC":
            raise NoShape("rows that overlap in an object")
        if any(_has_array(member) for member in branch.members.values()):
            raise NoShape("rows that write into a copied array")
    for below in branch.positions.values():
        if len(below.leaves) + bool(below.members) > 1:
            raise NoShape("rows that overlap in an element")
    for below in (*branch.members.values(), *branch.positions.values()):
        _check(below)


def _has_array(branch: Branch) -> bool:
    return bool(branch.starred or branch.positions) or any(map(_has_array, branch.members.values()))


def _loops(branch: Branch, plans: Sequence[RowPlan]) -> None:
    if branch.starred:
        branch.loop = _loop(branch.starred)
    for below in branch.members.values():
        _loops(below, plans)


def _loop(plans: list[RowPlan]) -> Loop:
    source, explicit = _loop_source(plans)
    loop = Loop(source, explicit, Branch())
    for plan in sorted(plans, key=lambda plan: len(plan.target.steps)):
        star = next(at for at, step in enumerate(plan.target.steps) if isinstance(step, Star))
        names = tuple(step.text for step in plan.target.steps[star + 1 :] if isinstance(step, Name))
        if not names:
            raise NoShape("rows that write whole elements")
        if source is not None and _iterates(plan, source):
            branch = loop.element
            for name in names:
                branch = branch.members.setdefault(name, Branch())
            branch.leaves.append(Leaf(plan, None if plan.path is None else _rest(plan.path, source)))
        else:
            loop.broadcasts.append((names, _broadcast(plan)))
    loop.broadcasts.sort(key=lambda pair: not pair[1].plan.carries_data)
    _check(loop.element)
    if any(_overlaps(branch) for branch in loop.element.members.values()):
        raise NoShape("rows that overlap in an element")
    _check_broadcasts(loop)
    return loop


def _overlaps(branch: Branch) -> bool:
    return bool(branch.leaves and branch.members) or any(map(_overlaps, branch.members.values()))


def _check_broadcasts(loop: Loop) -> None:
    """Refuse broadcasts that meet another row: order and overlap are the general engine's matter."""
    taken: list[tuple[str, ...]] = list(_written(loop.element, ()))
    for names, leaf in loop.broadcasts:
        if any(names[: len(other)] == other[: len(names)] for other in taken):
            raise NoShape("broadcasts that overlap")
        target = leaf.plan.target.field
        if target.kind in {"object", "map"} if target is not None else len(names) > 1:
            raise NoShape("broadcast of an object")
        taken.append(names)


def _written(branch: Branch, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if branch.leaves:
        yield names
    for name, member in branch.members.items():
        yield from _written(member, (*names, name))


def _broadcast(plan: RowPlan) -> Leaf:
    if plan.path is None:
        return Leaf(plan)
    if any(isinstance(step, Star) for step in plan.path):
        raise NoShape("several source arrays")
    return Leaf(plan, tuple(step for step in plan.path if isinstance(step, Name | Index)))


def _loop_source(plans: list[RowPlan]) -> tuple[tuple[Name, ...] | None, bool]:
    explicit = {prefix for plan in plans for prefix in _starred_prefixes(plan)}
    if len(explicit) > 1:
        raise NoShape("several source arrays")
    if explicit:
        return explicit.pop(), True
    for plan in plans:
        guess = _guess(plan)
        if guess is not None:
            return guess, False
    return None, False


def _starred_prefixes(plan: RowPlan) -> Iterator[tuple[Name, ...]]:
    paths = [plan.path] if plan.path is not None else [path.steps for path in plan.reads]
    for path in paths:
        stars = [at for at, step in enumerate(path) if isinstance(step, Star)]
        if not stars:
            continue
        if len(stars) > 1 or any(isinstance(step, Computed) for step in path) or not is_plain(path[: stars[0]]):
            raise NoShape("nested source arrays")
        yield tuple(step for step in path[: stars[0]] if isinstance(step, Name))


def _guess(plan: RowPlan) -> tuple[Name, ...] | None:
    """Return the source step that is probably the array: as many steps from the end as the destination's wildcard."""
    if plan.path is None or not is_plain(plan.path):
        return None
    star = next(at for at, step in enumerate(plan.target.steps) if isinstance(step, Star))
    split = len(plan.path) - (len(plan.target.steps) - star - 1)
    return tuple(step for step in plan.path[:split] if isinstance(step, Name)) if 0 < split < len(plan.path) else None


def _iterates(plan: RowPlan, source: tuple[Name, ...]) -> bool:
    if plan.path is None:
        return plan.per_element
    if any(isinstance(step, Star) for step in plan.path):
        return True
    return is_plain(plan.path) and len(plan.path) > len(source) and plan.path[: len(source)] == source


def _rest(path: tuple[Step, ...], source: tuple[Name, ...]) -> tuple[SourceStep, ...]:
    rest = path[len(source) :]
    if isinstance(rest[0], Star):
        rest = rest[1:]
    if not rest:
        raise NoShape("whole elements as values")
    return tuple(step for step in rest if isinstance(step, Name | Index))


def is_simple(path: Path) -> bool:
    """Say whether an expression's path has only names and fixed positions."""
    return all(isinstance(step, Name) or (isinstance(step, Index) and isinstance(step.value, int)) for step in path.steps)


__all__ = ["Branch", "Field", "Leaf", "Loop", "NoShape", "shape_of"]
