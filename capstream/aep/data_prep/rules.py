"""What is wrong with a mapping set before any record runs: checks V1 to V8. Pure. Source: data-prep.md 1.6.

V9 (attribute-based access control) is the gateway's matter and not checked here.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from capstream.aep.data_prep.conversion import Conversions, Failures, convert
from capstream.aep.data_prep.general import problem_of
from capstream.aep.data_prep.rowplan import RowError, RowPlan, plan_row, target_of
from capstream.aep.data_prep.rows import Problem, Row, SourceType
from capstream.lang.check import diagnose, static_type
from capstream.lang.expression import FAILURES
from capstream.lang.nodes import Literal, Name, Step
from capstream.lang.paths import PathError, path_text
from capstream.lang.signatures import Type
from capstream.xdm.schema import Field, Schema

_SCALARS = frozenset({"string", "number", "long", "int", "short", "byte", "boolean", "date", "date-time"})
_NUMBERS = frozenset({"number", "long", "int", "short", "byte"})
_NUMERIC = frozenset({Type.INT, Type.LONG, Type.NUMBER, Type.FLOAT, Type.DECIMAL})


@dataclass(slots=True)
class Verdict:
    """What was found about one mapping; warnings do not fail it."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """What was found about a whole set: one verdict per mapping, in order, and warnings about the set."""

    verdicts: list[Verdict]
    warnings: list[str]

    @property
    def errors(self) -> list[Problem]:
        """Return every error."""
        return [error for verdict in self.verdicts for error in verdict.errors]


def examine(rows: Sequence[Row], schema: Schema | None, source_fields: frozenset[str] | None = None) -> Findings:
    """Return the findings; `source_fields` are the dotted paths of the input schema or sample, None when unknown."""
    verdicts = [Verdict() for _ in rows]
    plans: list[RowPlan | None] = []
    for at, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        plans.append(_examine_row(row, schema, at, verdict))
    _duplicates(plans, verdicts)
    for plan, verdict in zip(plans, verdicts, strict=True):
        if plan is not None:
            verdict.errors += (problem_of(plan, text) for text in _clashes(plan, plans))
            if source_fields is not None:
                verdict.warnings += (problem_of(plan, text) for text in _unknown_sources(plan, source_fields))
            verdict.warnings += (problem_of(plan, text) for text in _second_primary(plan, plans))
    known = [plan for plan in plans if plan is not None]
    return Findings(verdicts, [] if schema is None else list(_unfilled(known, schema)))


def _examine_row(row: Row, schema: Schema | None, at: int, verdict: Verdict) -> RowPlan | None:
    try:
        target = target_of(row.destination, schema)
        if not target.known:
            reason = f"{target.unknown} does not exist in the output schema{_meant(target.near)}"
            verdict.errors.append(_about(row, reason))
    except PathError:
        pass  # plan_row says the same with the row's text
    if row.source_type is SourceType.EXPRESSION:
        findings = diagnose(row.source)
        if findings:
            verdict.errors += (_about(row, finding.describe(row.source)) for finding in findings)
            return None
    try:
        return plan_row(row, schema, at=at, seen=set())
    except RowError as error:
        verdict.errors.append(_about(row, error.reason))
        return None


def _meant(near: str) -> str:
    return f"; did you mean {near}?" if near else ""


def _about(row: Row, text: str) -> Problem:
    return Problem(row.destination, text, row.source, None, str(row.source_type))


def _duplicates(plans: Sequence[RowPlan | None], verdicts: Sequence[Verdict]) -> None:
    counts = Counter(plan.target.steps for plan in plans if plan is not None)
    for plan, verdict in zip(plans, verdicts, strict=True):
        if plan is not None and counts[plan.target.steps] > 1:
            verdict.errors.append(problem_of(plan, "duplicate destination: another mapping writes it too; keep one of them"))


def _clashes(plan: RowPlan, plans: Sequence[RowPlan | None]) -> Iterator[str]:
    steps = plan.target.steps
    for other in plans:
        if other is None or other is plan or len(other.target.steps) >= len(steps):
            continue
        if steps[: len(other.target.steps)] == other.target.steps and _writes_scalar(other):
            yield f"{other.row.destination} is filled with a single value, nothing can stand below it"
            break
    target = plan.target.field
    if target is None:
        return
    reason = _constant_clash(plan, target) or _type_clash(plan, target)
    if reason:
        yield reason


def _writes_scalar(plan: RowPlan) -> bool:
    if plan.target.field is not None:
        return plan.target.field.kind in _SCALARS
    if plan.row.source_type is SourceType.STATIC:
        return True
    found = static_type(plan.node) if plan.node is not None else None
    return found is not None and found not in {Type.ARRAY, Type.MAP}


def _constant_clash(plan: RowPlan, target: Field) -> str:
    if plan.row.source_type is SourceType.STATIC:
        value = plan.row.source
    elif isinstance(plan.node, Literal) and plan.node.value is not None:
        value = plan.node.value
    else:
        return ""
    failures: Failures = []
    try:
        convert(Conversions(keep_nulls=False).of(target), value, failures, "")
    except FAILURES as error:
        return f"{error}; {plan.row.destination} is a {target.kind}"
    return failures[0][1] if failures else ""


def _type_clash(plan: RowPlan, target: Field) -> str:
    """Return why no value of the expression's type can ever become the destination's, empty when one can."""
    found = static_type(plan.node) if plan.node is not None else None
    if found is None or isinstance(plan.node, Literal) or target.kind == "array":
        return ""
    if found is Type.ARRAY:
        impossible = plan.target.stars == 0  # with a wildcard the array is laid out
    elif found is Type.MAP:
        impossible = target.kind in _SCALARS
    elif target.kind in {"object", "map"}:
        impossible = True
    elif found is Type.BOOL:
        impossible = target.kind in _NUMBERS or target.kind in {"date", "date-time"}
    elif found is Type.DATE:
        impossible = target.kind in _NUMBERS or target.kind == "boolean"
    else:
        impossible = found in _NUMERIC and target.kind == "boolean"
    return f"the expression gives {_named(found)}, {plan.row.destination} is {_named(target.kind)}" if impossible else ""


def _named(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _unknown_sources(plan: RowPlan, source_fields: frozenset[str]) -> Iterator[str]:
    paths = [plan.path] if plan.path is not None else [path.steps for path in plan.reads]
    for steps in paths:
        plain = ".".join(step.text for step in steps if isinstance(step, Name))
        if plain not in source_fields:
            near = get_close_matches(plain, source_fields, n=1)
            yield f"{path_text(steps)} does not exist in the source{_meant(near[0] if near else '')}"


def _second_primary(plan: RowPlan, plans: Sequence[RowPlan | None]) -> Iterator[str]:
    if not _is_primary(plan):
        return
    first = next((other for other in plans if other is not None and _is_primary(other)), plan)
    if first is not plan:
        yield f"{first.row.destination} already marks a primary identity; a record has one"


def _is_primary(plan: RowPlan) -> bool:
    steps = [step.text for step in plan.target.steps if isinstance(step, Name)]
    constant = plan.row.source == "true" or (isinstance(plan.node, Literal) and plan.node.value is True)
    return len(steps) == 3 and steps[0] == "identityMap" and steps[2] == "primary" and plan.path is None and constant


def _unfilled(plans: Sequence[RowPlan], schema: Schema) -> Iterator[str]:
    targets = [_plain(plan.target.steps) for plan in plans]

    def visit(node: Field, path: tuple[str, ...]) -> Iterator[str]:
        for name in sorted(node.required):
            wanted = (*path, name)
            if not any(target[: len(wanted)] == wanted or wanted[: len(target)] == target for target in targets):
                yield f"no mapping fills the required field {'.'.join(wanted)}"
        for name, child in node.children.items():
            below = (*path, name)
            inner = child.items if child.kind == "array" and child.items is not None else child
            if inner.kind == "object" and any(len(target) > len(below) and target[: len(below)] == below for target in targets):
                yield from visit(inner, below)

    yield from visit(schema.root, ())


def _plain(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(step.text for step in steps if isinstance(step, Name))


def misfits(rows: Sequence[Row], schema: Schema | None) -> list[list[str]]:
    """Return for each row what checks V1 and V2 say against it: its expression, its path, its place in the schema."""
    verdicts = [Verdict() for _ in rows]
    for at, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        _examine_row(row, schema, at, verdict)
    return [[error.exception for error in verdict.errors] for verdict in verdicts]


def unusable(rows: Sequence[Row]) -> list[Problem]:
    """Return an error for each row that is not even stored: a path or an expression that does not parse."""
    found = []
    for at, row in enumerate(rows):
        try:
            plan_row(row, None, at=at, seen=set())
        except RowError as error:
            found.append(_about(row, error.reason))
    return found
