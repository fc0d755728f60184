"""The engine for every shape a row can have: array rules A1 to A13, nulls, overlaps. Source: data-prep.md 3, 4.

Generated code (see `emitter`) covers the common shapes and hands a record to this engine when the record turns out to have
another one, so the two must agree; a property test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from capstream.aep.data_prep.conversion import Conversions, Converter, Failures, Place, concrete, convert
from capstream.aep.data_prep.resolving import Many, Resolve, Surroundings, resolver
from capstream.aep.data_prep.rowplan import RowPlan
from capstream.aep.data_prep.rows import Problem
from capstream.kernel.json import Json
from capstream.lang.expression import FAILURES
from capstream.lang.nodes import Index, Name, Star, Step
from capstream.lang.paths import MISSING


class Built(dict[str, Json]):
    """An object the engine made to hold fields, in contrast to a copied one."""

    __slots__ = ()


class Grid:
    """An array the engine builds: elements by position. Those of a copied array stay, null or not; so does the array."""

    __slots__ = ("copied", "items", "kept")

    def __init__(self, copied: list[Json] | None = None) -> None:
        self.items: dict[int, Json] = dict(enumerate(copied or ()))
        self.kept = len(self.items)
        self.copied = copied is not None


class Origin(NamedTuple):
    """Which row wrote a slot, and at which place."""

    plan: RowPlan
    place: Place
    slots: Json  #: held, so that no other container can take its identity while the record is mapped


Origins = dict[tuple[int, str | int], Origin]
"""By identity of the container and key in it."""


@dataclass(frozen=True, slots=True)
class _Line:
    plan: RowPlan
    resolve: Resolve
    converter: Converter
    item: Converter  #: of a gathered element
    nested: bool  #: gathered elements are arrays themselves
    creates: tuple[bool, ...]  #: for each wildcard: may a broadcast make element 0?


class GeneralEngine:
    """Maps records by walking its rows."""

    def __init__(self, plans: Sequence[RowPlan], conversions: Conversions, *, keep_nulls: bool, strict: bool = False) -> None:
        self._keep_nulls = keep_nulls
        self._strict = strict
        self._plans = plans
        ordered = sorted(plans, key=lambda plan: len(plan.target.steps))
        self._lines = [_line(plan, plans, conversions) for plan in ordered]

    def map(self, surroundings: Surroundings) -> tuple[dict[str, Json], list[Problem]]:
        """Return the mapped record and its transform errors."""
        run = self._ran(surroundings, None)
        return finished(run.out), list(run.problems.values())

    def trace(self, surroundings: Surroundings) -> tuple[dict[str, Json], list[Problem], Origins]:
        """Return what the rows wrote, not yet `finished`, the transform errors, and which row wrote what."""
        origins: Origins = {}
        run = self._ran(surroundings, origins)
        return run.out, list(run.problems.values()), origins

    def _ran(self, surroundings: Surroundings, origins: Origins | None) -> "_Run":
        run = _Run(self._keep_nulls, origins)
        later: list[tuple[_Line, Json]] = []
        for line in self._lines:
            value = self._value(line, surroundings, run)
            if _broadcasts(value, line.plan.target.stars):
                later.append((line, value))
            else:
                run.write(line, value)
        later.sort(key=lambda pair: not pair[0].plan.carries_data)
        for line, value in later:
            run.write(line, value)
        return run

    def _value(self, line: _Line, surroundings: Surroundings, run: "_Run") -> Json:
        try:
            value = line.resolve(surroundings, lambda text: run.fail(line, text))
        except FAILURES as error:
            run.fail(line, str(error))
            return None
        if value is MISSING and self._strict and line.plan.path is not None:
            run.fail(line, f"Unknown source path {line.plan.column}")
            return None
        return value


class _Run:
    """The output of one record while it grows."""

    def __init__(self, keep_nulls: bool, origins: Origins | None) -> None:
        self.keep_nulls = keep_nulls
        self.origins = origins
        self.out: dict[str, Json] = {}
        self.problems: dict[object, Problem] = {}

    def fail(self, line: _Line, text: str, place: str | None = None) -> None:
        """Note an error: one for a row, however many of its elements fail; one for each attribute of a copied object."""
        plan = line.plan
        self.problems.setdefault((plan.at, place), problem_of(plan, text, place))

    def set(self, slots: dict, key: str | int, value: Json, origin: tuple[RowPlan, Place]) -> None:  # type: ignore[type-arg]
        """Fill a slot, and remember by which row when that is wanted."""
        slots[key] = value
        if self.origins is not None:
            self.origins[id(slots), key] = Origin(*origin, slots)

    def write(self, line: _Line, value: Json) -> None:
        """Write what a row gives for the record."""
        steps = line.plan.target.steps
        if line.plan.target.stars == 0:
            value = _bound(value, steps)
        if value is MISSING:
            return
        first = steps[0]
        if isinstance(first, Name):
            _Writer(self, line, wild=line.plan.target.stars > 0).put(self.out, first.text, 1, value, first.text)


@dataclass(slots=True)
class _Writer:
    run: _Run
    line: _Line
    wild: bool
    star: int = 0

    def put(self, slots: dict, key: str | int, depth: int, value: Json, place: Place) -> None:  # type: ignore[type-arg]
        """Write `value` at `slots[key]`, followed by the steps from `depth` on."""
        steps = self.line.plan.target.steps
        if value is MISSING:
            return
        if depth == len(steps):
            self.leaf(slots, key, value, place)
            return
        step = steps[depth]
        if isinstance(step, Name):
            self.member(slots, key, depth, value, (place, step.text))
            return
        grid = self.grid(slots, key)
        if grid is None:
            return
        if isinstance(step, Index):
            self.put(grid.items, step.value, depth + 1, value, (place, step.value))
        else:
            self.elements(grid, depth, value, place)
        if not grid.items and not grid.copied:
            del slots[key]

    def member(self, slots: dict, key: str | int, depth: int, value: Json, place: Place) -> None:  # type: ignore[type-arg]
        step = self.line.plan.target.steps[depth]
        held = slots.get(key)
        if held is None:
            held = Built()
            self.put(held, step.text, depth + 1, value, place)  # type: ignore[union-attr]
            if held:
                slots[key] = held
        elif isinstance(held, dict):
            self.put(held, step.text, depth + 1, value, place)  # type: ignore[union-attr]
        elif value is not None:
            self.run.fail(self.line, "a value that is no object already stands above this destination")

    def grid(self, slots: dict, key: str | int) -> Grid | None:  # type: ignore[type-arg]
        held = slots.get(key)
        if isinstance(held, Grid):
            return held
        if isinstance(held, list):
            grid = Grid(held)
        elif held is None:
            grid = Grid()
        else:
            self.run.fail(self.line, "a value that is no array already stands above this destination")
            return None
        slots[key] = grid
        return grid

    def elements(self, grid: Grid, depth: int, value: Json, place: Place) -> None:
        star = self.star
        self.star += 1
        if isinstance(value, list):  # Many along a wildcard (A1), or an array laid out (A6)
            for at, part in enumerate(value):
                self.put(grid.items, at, depth + 1, part, (place, at))
        else:
            held = [at for at, item in grid.items.items() if item is not None]
            if not held and value is not None and self.line.creates[star]:
                held = [0]
            for at in held:
                self.put(grid.items, at, depth + 1, value, (place, at))
        self.star = star

    def leaf(self, slots: dict, key: str | int, value: Json, place: Place) -> None:  # type: ignore[type-arg]
        if isinstance(value, Many):
            converted: Json = self.gathered(value)
        elif value is None:
            converted = None
        else:
            converted = self.converted(value, place)
        if converted is not None:
            self.run.set(slots, key, converted, (self.line.plan, place))
        elif self.wild or not self.run.keep_nulls:
            if not self.line.plan.shares:
                slots.pop(key, None)
        elif not (self.line.plan.shares and key in slots):
            self.run.set(slots, key, None, (self.line.plan, place))

    def converted(self, value: Json, place: Place) -> Json:
        failures: Failures = []
        try:
            result = convert(self.line.converter, value, failures, place)
        except FAILURES as error:
            self.run.fail(self.line, str(error))
            return None
        for where, text in failures:
            self.run.fail(self.line, text, concrete(where))
        return result

    def gathered(self, value: Many) -> Json:
        field = self.line.plan.target.field
        values = list(_leaves(value, nested=self.line.nested))
        if field is not None and field.kind != "array":
            self.run.fail(self.line, f"array is no {field.kind}")
            return None
        result = []
        for one in values:
            failures: Failures = []
            try:
                result.append(convert(self.line.item, one, failures, ""))
            except FAILURES as error:
                self.run.fail(self.line, str(error))
            for _, text in failures:
                self.run.fail(self.line, text)
        return result


def problem_of(plan: RowPlan, text: str, place: str | None = None) -> Problem:
    """Return the transform error of a row; `place` when it is about one attribute of a copied object."""
    row = plan.row
    return Problem(place or row.destination, text, row.source, plan.column, str(row.source_type))


def _leaves(value: Many, *, nested: bool) -> list[Json]:
    result: list[Json] = []
    for one in value:
        if isinstance(one, Many) or (one.__class__ is list and not nested):
            result.extend(_leaves(Many(one), nested=nested))
        elif one is not None and one is not MISSING:
            result.append(one)
    return result


def _bound(value: Json, steps: Sequence[Step]) -> Json:
    """Return the value after its wildcards are bound to the destination's fixed indexes, from the left (A2)."""
    for step in steps:
        if isinstance(step, Index) and isinstance(value, Many):
            at = int(step.value)
            value = value[at] if at < len(value) else MISSING
    return value


def _broadcasts(value: Json, stars: int) -> bool:
    """Say whether some value has fewer wildcards than the destination: it goes to elements other rows make (A5, A7)."""
    if stars == 0 or value is MISSING:
        return False
    if isinstance(value, list):
        return any(_broadcasts(one, stars - 1) for one in value)
    return True


def finished(value: Json) -> Json:
    """Return what the rows wrote as plain JSON: grids as arrays without their gaps (A11)."""
    if isinstance(value, Grid):
        elements = ((at, value.items[at], finished(value.items[at])) for at in sorted(value.items))
        return [done for at, item, done in elements if at < value.kept or not is_hollow(item, done)]
    if isinstance(value, Built) or value.__class__ is dict:
        result = {}
        for name, member in value.items():
            done = finished(member)
            if done or not isinstance(member, Grid) or member.copied:
                result[name] = done
        return result
    return value


def is_hollow(value: Json, done: Json) -> bool:
    """Say whether an element the engine made has nothing in it (any more); `done` is that element finished."""
    return isinstance(value, Built | Grid) and not done


def _line(plan: RowPlan, plans: Sequence[RowPlan], conversions: Conversions) -> _Line:
    field = plan.target.field
    items = field.items if field is not None and field.kind == "array" else None
    return _Line(
        plan,
        resolver(plan),
        conversions.of(field),
        conversions.of(items),
        items is not None and items.kind == "array",
        tuple(_creates(plan, plans)),
    )


def _creates(plan: RowPlan, plans: Sequence[RowPlan]) -> list[bool]:
    """Say for each wildcard whether a broadcast of this row may make element 0 of that array (A7)."""
    result = []
    for ordinal, prefix in enumerate(star_prefixes(plan.target.steps)):
        others = (other for other in plans if other is not plan and other.explicit_stars > ordinal)
        iterated = any(star_prefixes(other.target.steps)[ordinal : ordinal + 1] == [prefix] for other in others)
        result.append(plan.carries_data and not iterated)
    return result


def star_prefixes(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """Return the steps in front of each wildcard."""
    return [steps[:at] for at, step in enumerate(steps) if isinstance(step, Star)]
