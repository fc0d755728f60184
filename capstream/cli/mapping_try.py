"""`capstream map try` and `capstream map suggest`: real records through a mapping set, and a first mapping set from records."""

from pathlib import Path
from typing import Annotated

import typer

from capstream.aep.data_prep.cases import missing_required
from capstream.aep.data_prep.provenance import Trace, Traced, Tracer
from capstream.aep.data_prep.resolving import Surroundings
from capstream.aep.data_prep.rules import unusable
from capstream.aep.data_prep.samples import leaf_types, schema_of
from capstream.aep.data_prep.suggestion import propose_for
from capstream.cli.mapping_source import FULL, mapping_set, records_of, target
from capstream.cli.options import AsJson, CredentialsFile
from capstream.kernel.clock import system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json, dumps, pretty
from capstream.lang.hierarchy_functions import Budget
from capstream.xdm.schema import Schema


def try_(
    named: Annotated[str, typer.Argument(metavar="SET", help="Id of a mapping set on the server, or a local file of mappings.")],
    input_: Annotated[Path, typer.Option("--input", help="Records: JSON, or JSON Lines.")],
    schema: Annotated[str, typer.Option(help="Target: $id of a schema on the server, or a local JSON Schema.")] = "",
    limit: Annotated[int, typer.Option(help="Most records to map.", min=1)] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Map real records and show for each field where its value came from. Nothing is stored."""
    records = records_of(input_, "--input")[:limit]
    chosen = mapping_set(named, schema, credentials)
    broken = unusable(chosen.rows)
    if broken:
        lines = "".join(f"\n  {one.destination}: {one.exception}" for one in broken)
        raise InputError("SET", f"{named} has mappings that cannot be compiled:{lines}")
    tracer = Tracer(chosen.rows, chosen.schema, allow_null_values=chosen.allow_null_values, strict=chosen.strict)
    traces = [tracer.trace(Surroundings(record, system_clock(), Budget(), new_uuid)) for record in records]
    if json:
        typer.echo(pretty([_to_json(trace, chosen.schema) for trace in traces]))
    else:
        typer.echo("\n\n".join(_described(at, trace, chosen.schema) for at, trace in enumerate(traces, 1)))


def suggest(
    sample: Annotated[Path, typer.Option(help="Records of the source: JSON, or JSON Lines.")],
    schema: Annotated[str, typer.Option(help="Target: $id of a schema on the server, or a local JSON Schema.")],
    credentials: CredentialsFile = None,
) -> None:
    """Propose a mapping set for records of a source: known Capillary fields first, the others by name and type."""
    sources = leaf_types(schema_of(records_of(sample, "--sample"), sample.name))
    known = target(schema, credentials)
    reference = {"outputSchema": {"schemaRef": {"id": known.id, "contentType": FULL}}} if known.id else {}
    mappings = [
        {"sourceType": "ATTRIBUTE", "source": one.source, "destination": one.destination, "matchScore": one.score}
        for one in propose_for(sources, known)
    ]
    typer.echo(pretty(reference | {"mappings": mappings}))


def _to_json(trace: Trace, schema: Schema | None) -> Json:
    return {
        "record": trace.record,
        "fields": [field.to_json() for field in trace.fields],
        "errors": [problem.to_json() for problem in trace.problems],
        "missing": missing_required(schema, trace.record),
        "silent": [{"destination": row.destination, "source": row.source} for row in trace.silent],
    }


def _described(number: int, trace: Trace, schema: Schema | None) -> str:
    width = max((len(_left(field)) for field in trace.fields), default=0)
    lines = [f"record {number}", *(f"  {_left(field):<{min(width, 60)}}  <- {_right(field)}" for field in trace.fields)]
    lines += [f"  ! {one.destination}: {one.exception} (from {one.source})" for one in trace.problems]
    lines += [f"  ! {path}: required, and no mapping gave it a value" for path in missing_required(schema, trace.record)]
    lines += [f"  . {row.destination}: nothing from {row.source}" for row in trace.silent]
    return "\n".join(lines)


def _left(field: Traced) -> str:
    return f"{field.path} = {_short(field.value)}"


def _right(field: Traced) -> str:
    if field.source_type == "STATIC":
        return f"constant (mapping {field.row})"
    read = ", ".join(f"{one.path} = {_short(one.value)}" for one in field.inputs) or "no field of the record"
    if field.source_type == "ATTRIBUTE":
        same = len(field.inputs) == 1 and field.inputs[0].value == field.value
        return f"{field.inputs[0].path if same else read} (mapping {field.row})"
    return f"{field.source} (mapping {field.row}; {read})"


def _short(value: Json) -> str:
    written = dumps(value).decode()
    return written if len(written) <= 60 else f"{written[:57]}..."
