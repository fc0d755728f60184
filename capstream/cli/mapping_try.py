"""`capstream map try` and `capstream map suggest`: real records through a mapping set, and a first mapping set from records."""

from pathlib import Path
from typing import Annotated

import typer

from capstream.aep.data_prep.cases import missing_required
from capstream.aep.data_prep.provenance import Trace, Traced, Tracer
from capstream.aep.data_prep.resolving import Surroundings
from capstream.aep.data_prep.rules import unusable
from capstream.cli.client import PlatformClient
from capstream.cli.mapping_source import SETS, mapping_set, records_of
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.clock import system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json, dumps, pretty
from capstream.lang.hierarchy_functions import Budget
from capstream.xdm.schema import Schema

_SAMPLES = "/data/foundation/conversion/samples"


def try_(
    named: Annotated[str, typer.Argument(metavar="SET", help="Id of a mapping set on the server, or a local file of mappings.")],
    input_: Annotated[Path, typer.Option("--input", help="Records: JSON, or JSON Lines.")],
    schema: Annotated[str, typer.Option(help="Target: $id of a schema on the server, or a local JSON Schema.")] = "",
    limit: Annotated[int, typer.Option(help="Most records to map.", min=1)] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Map real records and show for each field where its value came from. Nothing is stored."""
    chosen = mapping_set(named, schema, credentials)
    records = records_of(input_, "--input")[:limit]
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
    schema: Annotated[str, typer.Option(help="$id of the target schema on the server.")],
    credentials: CredentialsFile = None,
) -> None:
    """Propose a mapping set for records of a source: known Capillary fields first, the others by name and type."""
    body = {"sampleData": dumps(records_of(sample, "--sample")).decode(), "sampleType": "JSON"}
    with PlatformClient(find(credentials)) as client:
        stored = client.platform("POST", _SAMPLES, body=body)
        query = {"schemaId": schema, "sampleId": stored["id"]}
        found = client.platform("GET", f"{SETS}/suggestion", query=query)
    mappings = [
        {"sourceType": "ATTRIBUTE", **{name: one[name] for name in ("source", "destination", "matchScore")}}
        for one in found["mappings"]
    ]
    typer.echo(pretty({"outputSchema": {"schemaRef": found["schemaRef"]}, "mappings": mappings}))


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
