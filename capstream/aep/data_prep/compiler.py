"""A mapping set to one program. Source: data-prep.md 3, 4, 8."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from capstream.aep.data_prep.conversion import Conversions
from capstream.aep.data_prep.emitter import ProgramWriter
from capstream.aep.data_prep.general import GeneralEngine
from capstream.aep.data_prep.resolving import Surroundings
from capstream.aep.data_prep.rowplan import RowError, RowPlan, plan_rows
from capstream.aep.data_prep.rows import Problem, Row, rows_of
from capstream.aep.data_prep.shape import NoShape
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json
from capstream.lang.emit import is_long
from capstream.lang.expression import NewId, define, define_inlined
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.nodes import Call, Name
from capstream.xdm.schema import Schema

Names = tuple[str, ...]
_UPSERTS = {"upsert_array_append": "append", "upsert_array_replace": "replace"}
Mapped = tuple[dict[str, Json], list[Problem]]


@dataclass(frozen=True, slots=True, eq=False)
class TypedProgram:
    """A compiled mapping set for records decoded into a type that holds only what the set reads.

    A JSON text decodes into `record`, or raises `msgspec.ValidationError` when its record has an unusual shape; `run` gives
    None for a record that it cannot judge. Either way the text must be decoded whole, for the `Program`. What no row reads is
    skipped: numbers there may be larger than any that can be decoded.
    """

    record: type
    run: Callable[[Json], Mapped | None]
    source: str


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled mapping set: record in, mapped record and transform errors out. Never raises for a record."""

    run: Callable[[dict[str, Json]], Mapped]
    source: str  #: the generated Python source; empty when the general engine does all the work
    general: Callable[[dict[str, Json]], Mapped]  #: the general engine, to which generated code hands unusual records
    typed: Callable[[], TypedProgram | None]  #: the same for decoded records, made when first asked for; None where it cannot be
    array_ops: Mapping[Names, str]  #: destination of an upserted array -> `append` or `replace`, for updates

    def __call__(self, record: dict[str, Json]) -> Mapped:
        """Return the mapped record and its transform errors."""
        return self.run(record)


def compile_set(
    rows: Sequence[Row],
    schema: Schema | None,
    *,
    allow_null_values: bool = False,
    strict: bool = False,
    clock: Clock = system_clock,
    new_id: NewId = new_uuid,
) -> Program:
    """Return the program of a mapping set. Errors: RowError for the first row that cannot be compiled."""
    plans = plan_rows(rows, schema)
    conversions = Conversions(keep_nulls=allow_null_values)
    array_ops = _array_ops(plans)
    engine = GeneralEngine(plans, conversions, keep_nulls=allow_null_values, strict=strict)

    def general(record: dict[str, Json]) -> Mapped:
        return engine.map(Surroundings(record, clock(), Budget(), new_id))

    if allow_null_values or strict:
        return Program(general, "", general, _untyped, array_ops)
    surroundings = {"s": general, "u": new_id, "y": clock, "o": Budget}
    try:
        writer = ProgramWriter(plans, conversions, surroundings)
        written = writer.plain()
    except NoShape:
        return Program(general, "", general, _untyped, array_ops)

    # Long expressions take long enough to compile as it is.
    made = define if any(plan.node is not None and is_long(plan.node) for plan in plans) else define_inlined

    @cache
    def typed() -> TypedProgram | None:
        try:
            record, written = writer.typed()
        except NoShape:
            return None
        return TypedProgram(record, made(written.source, written.names, "program"), written.source)

    return Program(made(written.source, written.names, "program"), written.source, general, typed, array_ops)


def _untyped() -> None:
    return None


def _array_ops(plans: Sequence[RowPlan]) -> dict[Names, str]:
    """Return what an update does with stored arrays, as rows of whole arrays say it. Source: data-prep.md 4.6 (ASSUMPTION)."""
    found: dict[Names, str] = {}
    for plan in plans:
        names = tuple(step.text for step in plan.target.steps if isinstance(step, Name))
        if isinstance(plan.node, Call) and plan.node.name in _UPSERTS and len(names) == len(plan.target.steps):
            found[names] = _UPSERTS[plan.node.name]
    return found


def compile_mapping_set(mapping_set: dict[str, Json], schema: Schema | None) -> Program:
    """Return the program of a stored mapping set, its `allowNullValues` and `strictMapping` heeded.

    Errors: ValueError, of which RowError is one.
    """
    return compile_set(
        rows_of(mapping_set),
        schema,
        allow_null_values=mapping_set.get("allowNullValues") is True,
        strict=mapping_set.get("strictMapping") is True,
    )


__all__ = ["Problem", "Program", "RowError", "TypedProgram", "compile_mapping_set", "compile_set", "rows_of"]
