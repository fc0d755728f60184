"""One row, understood against the output schema: where it writes, how it converts, how it reads. Source: data-prep.md 3."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from capstream.aep.data_prep.rows import Row, SourceType
from capstream.lang.diagnostics import ParseError
from capstream.lang.expression import CheckError, checked
from capstream.lang.nodes import Name, Node, Path, Star, Step, record_paths
from capstream.lang.paths import PathError, parse_path, path_text
from capstream.xdm.schema import Field, Schema

_MOST_STEPS = 64
"""Steps of a destination: how deep a result may be nested by its rows. Source: data-prep.md 2.9 (ASSUMPTION)."""


class RowError(ValueError):
    """The row cannot be compiled: its path or expression is not valid."""

    def __init__(self, row: Row, reason: str) -> None:
        super().__init__(f"{row.destination}: {reason}")
        self.row = row
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A destination with its implicit `[*]` written out."""

    steps: tuple[Step, ...]  #: Name, Index with a position, Star
    field: Field | None  #: what is written there; None when the schema does not say
    known: bool  #: every step exists in the schema (true when there is no schema)
    unknown: str = ""  #: the path to the first step that does not exist
    near: str = ""  #: the path to the field that was probably meant instead

    @property
    def stars(self) -> int:
        """Return the number of wildcards."""
        return sum(1 for step in self.steps if isinstance(step, Star))


@dataclass(frozen=True, slots=True)
class RowPlan:
    """A row ready to be compiled."""

    at: int  #: position in the mapping set
    row: Row
    target: Target
    path: tuple[Step, ...] | None  #: of an ATTRIBUTE row
    node: Node | None  #: of an EXPRESSION row, constants folded
    reads: tuple[Path, ...] = ()  #: record paths of an expression, in order of appearance
    shares: bool = False  #: an earlier row has the same destination
    column: str | None = None
    broken: str = ""  #: why the expression can never run (an unknown function, say): the row fails for every record

    @property
    def explicit_stars(self) -> int:
        """Return how many arrays the source iterates by an explicit `[*]`."""
        if self.path is not None:
            return sum(1 for step in self.path if isinstance(step, Star))
        return 1 if self.per_element else 0

    @property
    def per_element(self) -> bool:
        """Say whether the expression is evaluated once per element (rule A8)."""
        return self.target.stars > 0 and any(isinstance(step, Star) for path in self.reads for step in path.steps)

    @property
    def carries_data(self) -> bool:
        """Say whether the value comes from the record: constants never make an array element."""
        return self.path is not None or bool(self.reads)


def target_of(destination: str, schema: Schema | None) -> Target:
    """Return where a destination points. Errors: PathError."""
    steps: list[Step] = []
    current: Field | None = None if schema is None else schema.root
    unknown = near = ""
    parsed = [_without_prefix(step) for step in parse_path(destination)]
    if len(parsed) > _MOST_STEPS:
        raise PathError(f"path has {len(parsed)} steps, the limit is {_MOST_STEPS}")
    for at, step in enumerate(parsed):
        if current is not None and current.kind == "array" and isinstance(step, Name):
            steps.append(Star())
            current = current.items
        steps.append(step)
        if current is None:
            continue
        below = _below(current, step)
        if below is None and not unknown and not _is_free(current):
            unknown, near = path_text(parsed[: at + 1]), _nearest(current, parsed[: at + 1])
        current = below
    return Target(tuple(steps), current, not unknown, unknown, near)


def _nearest(current: Field, steps: Sequence[Step]) -> str:
    """Return the path of the field whose name is most like the last step, empty when none is."""
    last = steps[-1]
    if not isinstance(last, Name):
        return ""
    found = get_close_matches(last.text, current.children, n=1) or [
        name for name in current.children if name.lower() == last.text.lower()
    ]
    return path_text((*steps[:-1], Name(found[0]))) if found else ""


def _without_prefix(step: Step) -> Step:
    if isinstance(step, Name):
        text = step.text.removeprefix("xdm:")
        if not text:
            raise PathError("path has an empty step")
        return Name(text)
    return step


def _below(current: Field, step: Step) -> Field | None:
    if isinstance(step, Name):
        return current.values if current.kind == "map" else current.children.get(step.text)
    return current.items if current.kind == "array" else None


def _is_free(current: Field) -> bool:
    return current.kind == "map" or (current.kind == "object" and not current.children)


def plan_rows(rows: Sequence[Row], schema: Schema | None) -> list[RowPlan]:
    """Return the plans of all rows, in list order. Errors: RowError for the first row that is not valid."""
    plans = []
    seen: set[tuple[Step, ...]] = set()
    for at, row in enumerate(rows):
        plan = plan_row(row, schema, at=at, seen=seen)
        seen.add(plan.target.steps)
        plans.append(plan)
    return plans


def plan_row(row: Row, schema: Schema | None, *, at: int, seen: set[tuple[Step, ...]]) -> RowPlan:
    """Return the plan of one row. Errors: RowError."""
    try:
        target = target_of(row.destination, schema)
    except PathError as error:
        raise RowError(row, f"destination is no path: {error}") from error
    shares = target.steps in seen
    if row.source_type is SourceType.ATTRIBUTE:
        try:
            path = parse_path(row.source)
        except PathError as error:
            raise RowError(row, f"source is no path: {error}") from error
        return RowPlan(at, row, target, path, None, shares=shares, column=path_text(path))
    if row.source_type is SourceType.STATIC:
        return RowPlan(at, row, target, None, None, shares=shares)
    try:
        node = checked(row.source)
    except CheckError as error:
        finding = error.diagnostics[0]
        if isinstance(error.__cause__, ParseError):
            raise RowError(row, finding.describe(row.source)) from error
        # The other rows must not suffer: errors are localised to their column (data-prep.md 4.4).
        return RowPlan(at, row, target, None, None, shares=shares, broken=finding.describe(row.source))
    reads = tuple(record_paths(node))
    column = path_text(reads[0].steps) if reads else None
    return RowPlan(at, row, target, None, node, reads=reads, shares=shares, column=column)


__all__ = ["RowError", "RowPlan", "Target", "plan_row", "plan_rows", "target_of"]
