"""Where each value of a mapped record came from: its row, and the places of the source record that row read. Pure.

The rows run on the general engine, which gives what generated code gives; it notes which row filled which slot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from capstream.aep.data_prep.conversion import Conversions
from capstream.aep.data_prep.general import GeneralEngine, Grid, Origin, Origins, finished, is_hollow
from capstream.aep.data_prep.resolving import Surroundings
from capstream.aep.data_prep.rowplan import RowPlan, plan_rows
from capstream.aep.data_prep.rows import Problem, Row
from capstream.kernel.json import Json
from capstream.lang.nodes import Computed, Index, Name, Star, Step
from capstream.lang.paths import element, path_text, read, run_steps
from capstream.xdm.schema import Schema


@dataclass(frozen=True, slots=True)
class Below:
    """A step from the place a row wrote to a value below it; `length` is that of an array it steps into."""

    key: str | int
    length: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A place of the source record, and what is there."""

    path: str
    value: Json

    def to_json(self) -> dict[str, Json]:
        """Return the input for tools."""
        return {"path": self.path, "value": self.value}


@dataclass(frozen=True, slots=True)
class Traced:
    """One value of the mapped record."""

    path: str
    value: Json
    row: int  #: position in the mapping set, from 1
    source_type: str
    source: str  #: the row's source text
    inputs: tuple[Input, ...]  #: empty for constants

    def to_json(self) -> dict[str, Json]:
        """Return the field for tools."""
        return {
            "path": self.path,
            "value": self.value,
            "row": self.row,
            "sourceType": self.source_type,
            "source": self.source,
            "inputs": [one.to_json() for one in self.inputs],
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """One mapped record, laid open."""

    record: dict[str, Json]
    fields: tuple[Traced, ...]
    problems: tuple[Problem, ...]
    silent: tuple[Row, ...]  #: rows that wrote nothing, and did not fail: their source is missing, or a later row won


class Tracer:
    """Maps records and says where each value came from. Errors: RowError for the first row that cannot be compiled."""

    def __init__(
        self, rows: Sequence[Row], schema: Schema | None, *, allow_null_values: bool = False, strict: bool = False
    ) -> None:
        self._plans = plan_rows(rows, schema)
        conversions = Conversions(keep_nulls=allow_null_values)
        self._engine = GeneralEngine(self._plans, conversions, keep_nulls=allow_null_values, strict=strict)

    def trace(self, around: Surroundings) -> Trace:
        """Return what becomes of a record, and why."""
        raw, problems, origins = self._engine.trace(around)
        fields = tuple(_fields(raw, origins, around.record))
        told = {one.row - 1 for one in fields} | {at for at, plan in enumerate(self._plans) if _has_failed(plan, problems)}
        silent = tuple(plan.row for plan in self._plans if plan.at not in told)
        return Trace(finished(raw), fields, tuple(problems), silent)


def _has_failed(plan: RowPlan, problems: Sequence[Problem]) -> bool:
    row = plan.row
    return any((one.source, one.source_type) == (row.source, str(row.source_type)) for one in problems)


@dataclass(frozen=True, slots=True)
class _At:
    """A value on the walk through what the rows wrote."""

    value: Json
    steps: tuple[Step, ...]
    origin: Origin | None
    below: tuple[Below, ...] = ()


def _fields(raw: Json, origins: Origins, record: dict[str, Json]) -> Iterator[Traced]:
    for found in _leaves(_At(raw, (), None), origins):
        if found.origin is not None:
            plan = found.origin.plan
            inputs = tuple(_inputs(plan, found, record))
            path, row = path_text(found.steps), plan.row
            yield Traced(path, finished(found.value), plan.at + 1, str(row.source_type), row.source, inputs)


def _leaves(at: _At, origins: Origins) -> Iterator[_At]:
    inner = list(_members(at, origins))
    if not inner:
        yield at
    for one in inner:
        yield from _leaves(one, origins)


def _members(at: _At, origins: Origins) -> Iterator[_At]:
    value = at.value
    if isinstance(value, Grid):
        kept = [key for key in sorted(value.items) if key < value.kept or not _hollow(value.items[key])]
        for position, key in enumerate(kept):
            origin = origins.get((id(value.items), key))
            yield _below(at, value.items[key], origin, Index(position), Below(key, value.kept))
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, Grid) and not member.copied and not finished(member):
                continue
            yield _below(at, member, origins.get((id(value), name)), Name(name), Below(name))
    elif isinstance(value, list):
        for position, member in enumerate(value):
            yield _below(at, member, None, Index(position), Below(position, len(value)))


def _hollow(item: Json) -> bool:
    return is_hollow(item, finished(item))


def _below(at: _At, value: Json, origin: Origin | None, step: Step, below: Below) -> _At:
    if origin is not None:
        return _At(value, (*at.steps, step), origin)
    return _At(value, (*at.steps, step), at.origin, (*at.below, below))


def _inputs(plan: RowPlan, found: _At, record: dict[str, Json]) -> Iterator[Input]:
    indexes = _indexes(found.origin, plan)
    if plan.path is not None:
        yield _reached(record, plan.path, indexes, found.below)
    for path in plan.reads:
        yield _reached(record, path.steps, indexes[:1] if plan.per_element else [], ())


def _indexes(origin: Origin | None, plan: RowPlan) -> list[int]:
    """Return the positions that the wildcards of the source are bound to, outermost first."""
    if plan.target.stars == 0:
        return [int(step.value) for step in plan.target.steps if isinstance(step, Index)]
    keys: list[str | int] = []
    place = origin.place if origin is not None else ""
    while not isinstance(place, str):
        place, key = place
        keys.append(key)
    steps = plan.target.steps[1:]  # the place starts below its root
    return [key for key, step in zip(reversed(keys), steps, strict=False) if isinstance(step, Star) and isinstance(key, int)]


def _reached(record: Json, steps: Sequence[Step], indexes: list[int], below: Sequence[Below]) -> Input:
    """Return the place a path reaches with its wildcards bound, followed into what was copied from there."""
    walk = _Walk(record, list(indexes))
    flat = ".".join(step.text for step in steps if isinstance(step, Name))
    if len(steps) > 1 and isinstance(steps[0], Name) and steps[0].text not in record and flat in record:
        return Input(flat, record[flat])
    for step in steps:
        walk.step(step)
    if walk.many:
        return Input(path_text(steps), read(record, run_steps(steps)) if not _is_computed(steps) else None)
    walk.lay_out()
    for one in below:
        if not walk.follow(one):
            break
    return Input(path_text(walk.taken), walk.value)


def _is_computed(steps: Sequence[Step]) -> bool:
    return any(isinstance(step, Computed) for step in steps)


@dataclass(slots=True)
class _Walk:
    """A walk into the source record."""

    value: Json
    left: list[int]  #: positions for the arrays still to come
    taken: list[Step] = field(default_factory=list)  #: the steps so far, with their positions
    many: bool = False  #: several values are meant: a wildcard is not bound

    def step(self, step: Step) -> None:
        """Take one step of the path; arrays on the way are entered at the next position."""
        if isinstance(step, Star):
            self.enter()
            return
        if isinstance(step, Name):
            if isinstance(self.value, list):
                self.enter()
            self.value = self.value.get(step.text) if isinstance(self.value, dict) else None
        elif isinstance(step, Index):
            self.value = element(self.value, step.value)
        elif isinstance(step, Computed):
            self.many = True
        self.taken.append(step)

    def enter(self) -> None:
        """Enter an array at the next bound position, or stay in front of all its elements."""
        if not self.left:
            self.many, self.value = True, None
            self.taken.append(Star())
        elif isinstance(self.value, list):
            at = self.left.pop(0)
            self.value = element(self.value, at)
            self.taken.append(Index(at))
        else:
            self.left.pop(0)  # a single value stands for an array of one

    def lay_out(self) -> None:
        """Enter a value that is laid out along the destination (A6)."""
        if self.left and isinstance(self.value, list):
            self.enter()

    def follow(self, one: Below) -> bool:
        """Follow what was copied one step down; False where the copy has another form than the source."""
        if isinstance(one.key, str):
            if not isinstance(self.value, dict) or one.key not in self.value:
                return False
            self.value = self.value[one.key]
            self.taken.append(Name(one.key))
            return True
        if not isinstance(self.value, list):
            return one.length == 1  # wrapped as the one element
        if len(self.value) != one.length:
            return False
        self.value = self.value[one.key]
        self.taken.append(Index(one.key))
        return True
