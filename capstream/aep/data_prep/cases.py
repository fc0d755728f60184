"""Mapping cases: unit tests for expressions and mapping sets, one JSON object a line. Pure. Source: data-prep.md 9.

Two forms of line exist: a single expression, and with `"kind": "mapping-set"` a whole set. Values compare as in the
language: numbers by value, a boolean is no number, arrays in order, members of objects in any order.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from capstream.aep.data_prep.compiler import rows_of
from capstream.aep.data_prep.plain_schema import plain_schema
from capstream.aep.data_prep.preview import tolerant_program
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.lang.expression import FAILURES, CheckError, NewId, compile_expression
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.values import same, settled, text
from capstream.xdm.schema import Field, Schema

_MEMBERS = {
    "id", "category", "source", "note", "decision", "kind", "expression", "input", "expected", "error", "stage",
    "nondeterministic", "pattern", "mappings", "schema", "allowNullValues", "strictMapping", "errors", "rejected",
}  # fmt: skip
_NOTHING = object()


class BadCase(ValueError):
    """The line is no mapping case."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run of cases takes from outside."""

    now_ms: int
    new_id: NewId


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a result is not what the case expects. An empty side means: nothing there."""

    where: str
    expected: str
    found: str

    def describe(self) -> str:
        """Return the difference as lines, expected with `-` and found with `+`."""
        return "\n".join([f"  {self.where}", f"    - {self.expected or '(nothing)'}", f"    + {self.found or '(nothing)'}"])


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one line."""

    line: int
    name: str  #: the case's id, or what it tests
    subject: str  #: the expression, or the note of a set
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Say whether the case holds."""
        return not self.differences

    def to_json(self) -> dict[str, Json]:
        """Return the result for tools."""
        listed = [{"where": one.where, "expected": one.expected, "found": one.found} for one in self.differences]
        return {"line": self.line, "id": self.name, "subject": self.subject, "differences": listed}

    def describe(self) -> str:
        """Return the failure as a readable diff."""
        head = f"FAIL line {self.line}" + (f"  {self.name}" if self.name else "") + (f"  {self.subject}" if self.subject else "")
        return "\n".join([head, *(difference.describe() for difference in self.differences)])


def run_lines(lines: Iterable[str], around: Surroundings) -> Iterator[Result]:
    """Yield the result of each line that holds something, in order. A line that is no case fails."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = subject = ""
        try:
            case = _read(line)
            name, subject = _title(case)
            differences = tuple(_run(case, around))
        except BadCase as error:
            differences = (Difference(str(error), "a mapping case", line.strip()[:120]),)
        yield Result(number, name, subject, differences)


def _title(case: dict[str, Json]) -> tuple[str, str]:
    note = case.get("note")
    subject = case.get("expression", note if isinstance(note, str) else "")
    return str(case.get("id", "")), str(subject)[:200]


def _read(line: str) -> dict[str, Json]:
    try:
        case = loads(line)
    except (JsonError, RecursionError) as error:
        raise BadCase(f"not JSON: {error}") from error
    if not isinstance(case, dict):
        raise BadCase("a case is a JSON object")
    for member in case.keys() - _MEMBERS:
        near = get_close_matches(member, _MEMBERS, n=1, cutoff=0.8)
        if near:
            raise BadCase(f"unknown member {member}; did you mean {near[0]}?")
    if not isinstance(case.get("input", {}), dict):
        raise BadCase("input: the source record is a JSON object")
    return case


def _run(case: dict[str, Json], around: Surroundings) -> Iterator[Difference]:
    kind = case.get("kind")
    if kind == "mapping-set":
        return _set_differences(case, around)
    if kind is not None:
        raise BadCase(f"kind: {kind!r} is unknown; leave it out for an expression, or write mapping-set")
    if not isinstance(case.get("expression"), str):
        raise BadCase('expression: a text is needed (or "kind": "mapping-set" with mappings)')
    return _expression_differences(case, around)


def _expression_differences(case: dict[str, Json], around: Surroundings) -> Iterator[Difference]:
    early, failure, found = _evaluated(case["expression"], case.get("input", {}), around)
    if case.get("error") is True:
        stage = case.get("stage", "run")
        if stage not in {"compile", "run"}:
            raise BadCase(f"stage: {stage!r} is unknown; known are compile and run")
        if not failure:
            yield Difference("the expression must fail", f"an error ({stage})", _shown(found))
        elif stage == "compile" and not early:
            yield Difference("the expression must fail at validation", "an error (compile)", f"an error (run): {failure}")
    elif case.get("nondeterministic") is True:
        yield from _pattern_differences(case, failure, found)
    elif "expected" not in case:
        raise BadCase("the case says nothing about the result; add expected, error or nondeterministic with pattern")
    elif failure:
        yield Difference("result", _shown(case["expected"]), f"an error ({'compile' if early else 'run'}): {failure}")
    else:
        yield from differences(case["expected"], found)


def _evaluated(expression: str, record: dict[str, Json], around: Surroundings) -> tuple[bool, str, Json]:
    """Return (fails at validation, the error or empty, the value)."""
    try:
        compiled = compile_expression(expression)
    except CheckError as error:
        return True, "; ".join(finding.describe(expression) for finding in error.diagnostics), None
    try:
        return False, "", settled(compiled.run(record, around.now_ms, Budget(), around.new_id))
    except FAILURES as error:
        return False, str(error) or type(error).__name__, None


def _pattern_differences(case: dict[str, Json], failure: str, found: Json) -> Iterator[Difference]:
    pattern = case.get("pattern")
    try:
        compiled = re.compile(pattern if isinstance(pattern, str) else "(")
    except re.error as error:
        raise BadCase("pattern: a nondeterministic case needs a regular expression") from error
    if failure:
        yield Difference("result", f"matches {pattern}", f"an error: {failure}")
        return
    written = dumps(found).decode() if found is None or isinstance(found, list | dict) else text(found)
    if compiled.search(written) is None:
        yield Difference("result", f"matches {pattern}", _shown(found))


def _set_differences(case: dict[str, Json], around: Surroundings) -> Iterator[Difference]:
    if "expected" not in case:
        raise BadCase("expected: the mapped record is needed")
    if not isinstance(case.get("mappings"), list):
        raise BadCase("mappings: an array of {sourceType, source, destination} is needed")
    try:
        schema = None if case.get("schema") is None else plain_schema(case["schema"])
        nulls, strict = case.get("allowNullValues") is True, case.get("strictMapping") is True
        rows = rows_of(case)
    except ValueError as error:
        raise BadCase(str(error)) from error
    program, broken = tolerant_program(rows, schema, allow_null_values=nulls, strict=strict, clock=lambda: around.now_ms)
    found, problems = program(case.get("input", {}))
    yield from differences(case["expected"], found)
    told = {problem.destination: problem.exception for problem in (*broken, *problems)}
    yield from _compared("errors", _names(case, "errors"), told)
    yield from _compared(
        "rejected", _names(case, "rejected"), dict.fromkeys(missing_required(schema, found), "required, and absent")
    )


def _names(case: dict[str, Json], member: str) -> set[str]:
    names = case.get(member) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadCase(f"{member}: an array of paths is needed")
    return set(names)


def _compared(member: str, expected: set[str], found: dict[str, str]) -> Iterator[Difference]:
    for name in sorted(expected - found.keys()):
        yield Difference(member, name, "")
    for name in sorted(found.keys() - expected):
        yield Difference(member, "", f"{name}: {found[name]}")


def missing_required(schema: Schema | None, record: dict[str, Json]) -> list[str]:
    """Return the required paths a mapped record lacks: with one of them it is not stored. Source: data-prep.md 4.4."""
    return [] if schema is None else list(_missing(schema.root, record, ""))


def _missing(field: Field, value: Json, path: str) -> Iterator[str]:
    if field.kind == "object" and isinstance(value, dict):
        for name in sorted(field.required - value.keys()):
            yield f"{path}.{name}" if path else name
        for name, child in field.children.items():
            if name in value:
                yield from _missing(child, value[name], f"{path}.{name}" if path else name)
    elif field.kind == "array" and field.items is not None and isinstance(value, list):
        for at, item in enumerate(value):
            yield from _missing(field.items, item, f"{path}[{at}]")
    elif field.kind == "map" and field.values is not None and isinstance(value, dict):
        for name, item in value.items():
            yield from _missing(field.values, item, f"{path}.{name}" if path else name)


def differences(expected: Json, found: Json, where: str = "") -> Iterator[Difference]:
    """Yield where two values differ, as deep as they have the same form."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in [*expected, *(name for name in found if name not in expected)]:
            place = f"{where}.{name}" if where else name
            yield from _both(expected.get(name, _NOTHING), found.get(name, _NOTHING), place)
    elif isinstance(expected, list) and isinstance(found, list):
        for at in range(max(len(expected), len(found))):
            place = f"{where}[{at}]"
            yield from _both(_at(expected, at), _at(found, at), place)
    elif not same(expected, found):
        yield Difference(where or "result", _shown(expected), _shown(found))


def _both(expected: Json, found: Json, where: str) -> Iterator[Difference]:
    if expected is _NOTHING or found is _NOTHING:
        yield Difference(where, "" if expected is _NOTHING else _shown(expected), "" if found is _NOTHING else _shown(found))
    else:
        yield from differences(expected, found, where)


def _at(values: list[Json], at: int) -> Json:
    return values[at] if at < len(values) else _NOTHING


def _shown(value: Json) -> str:
    written = dumps(value).decode()
    return written if len(written) <= 400 else f"{written[:400]}… ({len(written)} characters)"
