"""What the general engine reads: the value, or values, of a row's source in a record. Source: data-prep.md 3.1, 3.3."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from capstream.aep.data_prep.rowplan import RowPlan
from capstream.kernel.json import Json
from capstream.lang.diagnostics import Fail
from capstream.lang.emit import Emitter, from_record
from capstream.lang.expression import FAILURES, NewId, compile_node
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.nodes import Node, Path
from capstream.lang.paths import MISSING, RunStep, element, first_star, flat_key, read, run_steps
from capstream.lang.values import settled


class Many(list[Json]):
    """Values position by position along one wildcard; nested once more for each further wildcard."""

    __slots__ = ()


class Surroundings(NamedTuple):
    """What one record's rows share."""

    record: dict[str, Json]
    now_ms: int
    budget: Budget
    new_id: NewId


Resolve = Callable[[Surroundings, Callable[[str], None]], Json]
"""Gives a row's value, MISSING or Many; calls its second argument with the text of an error of a single element."""


def resolver(plan: RowPlan) -> Resolve:
    """Return the function that gives the value of a row."""
    if plan.path is not None:
        steps, flat = run_steps(plan.path), flat_key(plan.path)
        return lambda around, _fail: resolve_record(around.record, steps, flat)
    if plan.broken:
        return _failing(plan.broken)
    if plan.node is None:
        constant = plan.row.source
        return lambda _around, _fail: constant
    return _per_element(plan, plan.node) if plan.per_element else _whole(plan.node)


def _failing(reason: str) -> Resolve:
    def fail(_around: Surroundings, _fail: Callable[[str], None]) -> Json:
        raise Fail(reason)

    return fail


def _whole(node: Node) -> Resolve:
    run = compile_node(node).run
    return lambda around, _fail: settled(run(*around))


def _per_element(plan: RowPlan, node: Node) -> Resolve:
    """Return the resolver of an expression that is evaluated once per element (A8)."""

    def indexed(path: Path, emitter: Emitter) -> str:
        at = first_star(path.steps)
        if at is None:
            return from_record(path, emitter)
        env = emitter.env
        prefix, rest = env.bind("k", run_steps(path.steps[:at])), emitter.steps(path.steps[at + 1 :])
        return f"{env.bind('f', nth)}(r, {prefix}, i, {rest})"

    run = compile_node(node, paths=indexed, index="i").run
    arrays = [run_steps(path.steps[:at]) for path in plan.reads if (at := first_star(path.steps)) is not None]

    def resolve_each(around: Surroundings, fail: Callable[[str], None]) -> Json:
        found = [values for prefix in arrays if (values := starred(around.record, prefix)) is not None]
        if not found:
            return MISSING
        result = Many()
        for at in range(max(map(len, found))):
            try:
                result.append(settled(run(*around, at)))
            except FAILURES as error:
                fail(str(error))
                result.append(None)
        return result

    return resolve_each


def starred(record: dict[str, Json], prefix: Sequence[RunStep]) -> list[Json] | None:
    """Return the elements `[*]` goes over; None when there is no array."""
    value = read(record, prefix)
    return value if value is None or value.__class__ is list else [value]


def nth(record: dict[str, Json], prefix: Sequence[RunStep], at: int, rest: Sequence[RunStep]) -> Json:
    """Return what `rest` reads from the element at a position of an iterated array; None beyond its end."""
    values = starred(record, prefix)
    return read(values[at], rest) if values is not None and at < len(values) else None


def resolve(value: Json, steps: Sequence[RunStep]) -> Json:
    """Return what an ATTRIBUTE path reaches: a value, MISSING, or Many for each wildcard met on the way."""
    for at, step in enumerate(steps):
        if step.__class__ is str:
            if value.__class__ is dict:
                if step not in value:
                    return MISSING
                value = value[step]
            elif value.__class__ is list:
                rest = steps[at:]
                return Many(resolve(one, rest) for one in value)
            else:
                return MISSING
        elif step is None:
            if value is None:
                return MISSING
            rest = steps[at + 1 :]
            return Many(resolve(one, rest) for one in (value if value.__class__ is list else [value]))
        else:
            key = step[0]
            if value.__class__ is list:
                if key.__class__ is not int or key >= len(value):
                    return MISSING
            elif value.__class__ is not dict or str(key) not in value:
                return MISSING
            value = element(value, key)
    return value


def resolve_record(record: dict[str, Json], steps: Sequence[RunStep], flat: str | None) -> Json:
    """Return what an ATTRIBUTE path reaches from the record."""
    if flat is not None and steps[0] not in record:
        return record.get(flat, MISSING)
    return resolve(record, steps)
