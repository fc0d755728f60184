"""Mapping sample records without storing anything. Source: data-prep.md 1.7."""

from collections.abc import Sequence

from capstream.aep.data_prep.compiler import Program, compile_set
from capstream.aep.data_prep.rowplan import RowError
from capstream.aep.data_prep.rows import Problem, Row
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.json import Json
from capstream.xdm.schema import Schema

MOST_RECORDS = 100


def preview(
    data: Json, rows: Sequence[Row], schema: Schema | None, *, allow_null_values: bool, strict: bool
) -> dict[str, Json] | list[dict[str, Json]]:
    """Return the PreviewResponse of one record, or of each of up to 100.

    Errors: none; a row that cannot be compiled is an error of every record.
    """
    program, broken = tolerant_program(rows, schema, allow_null_values=allow_null_values, strict=strict)

    def one(record: Json) -> dict[str, Json]:
        mapped, problems = program(record)
        return {"data": mapped, "errors": [problem.to_json() for problem in (*broken, *problems)] or None}

    return [one(record) for record in data[:MOST_RECORDS]] if isinstance(data, list) else one(data)


def tolerant_program(
    rows: Sequence[Row], schema: Schema | None, *, allow_null_values: bool, strict: bool, clock: Clock = system_clock
) -> tuple[Program, list[Problem]]:
    """Return the program of the rows that can be compiled, and a transform error for each of the others."""
    rows, broken = list(rows), []
    while True:
        try:
            program = compile_set(rows, schema, allow_null_values=allow_null_values, strict=strict, clock=clock)
        except RowError as error:
            row = error.row
            broken.append(Problem(row.destination, error.reason, row.source, None, str(row.source_type)))
            rows = [one for one in rows if one is not row]
        else:
            return program, broken
