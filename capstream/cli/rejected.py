"""`capstream rejected list`: records the platform accepted and could not use, with field, reason, cure and payload."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, loads, pretty
from capstream.xdm.advice import cure

app = typer.Typer(help="Records the platform could not use.", no_args_is_help=True)
_FAILED = "/data/foundation/export/batches/{}/failed"


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own."""


@app.command("list")
def list_(
    dataset: Annotated[str, typer.Option(help="Only records of this dataset id.")] = "",
    limit: Annotated[int, typer.Option(help="Most records to list.")] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List rejected records through the documented error diagnostics: failed batches and their files."""
    with PlatformClient(find(credentials)) as client:
        records = _records(client, dataset, limit)
    if json:
        typer.echo(pretty(records))
        return
    table = folded("batch", "field", "reason", "how to mend it", "record")
    for record in records:
        for reason in record["reasons"]:
            cells = (record["batch"], reason["field"], reason["reason"], reason["hint"], str(record["id"]))
            table.add_row(*(Text(cell) for cell in cells))
    console().print(table)


def _records(client: PlatformClient, dataset: str, limit: int) -> list[Json]:
    query = {"status": "failed", "orderBy": "desc:created", "limit": 100} | ({"dataSet": dataset} if dataset else {})
    found: list[Json] = []
    for batch in client.platform("GET", "/data/foundation/catalog/batches", query=query):
        path = _FAILED.format(batch)
        for file in client.platform("GET", path)["data"]:
            if file["name"] != "_SUCCESS":
                lines = client.text(path, {"path": file["name"]}).splitlines()
                found += [_record(batch, loads(line)) for line in lines]
            if len(found) >= limit:
                return found[:limit]
    return found


def _record(batch: str, line: Json) -> Json:
    """Return one rejected record: its reasons apart from its payload. Source: streaming-ingestion.md 11 (error keys)."""
    errors = line.get("_errors", {})
    every = [*line.get("_validationErrors", []), *errors.get("_streamingValidation", []), *errors.get("_mapper", [])]
    reasons = [{"field": _field(each), "reason": each.get("message", ""), "hint": _hint(each)} for each in every]
    payload = {key: value for key, value in line.items() if key not in {"_validationErrors", "_errors"}}
    body = payload.get("body", payload)
    entity = body.get("xdmEntity", body) if isinstance(body, dict) else {}
    record_id = entity.get("_id", "") if isinstance(entity, dict) else ""
    return {"batch": batch, "id": record_id, "reasons": reasons, "payload": payload}


def _field(error: Json) -> str:
    return error.get("pointerToViolation") or error.get("destinationXdmPath") or error.get("sourceAttribute") or ""


def _hint(error: Json) -> str:
    """Return how to mend the record: what the platform says, or what the keyword or the code tells where it says nothing."""
    if error.get("hint") or error.get("keyword"):
        return str(error.get("hint") or cure(error["keyword"]))
    if str(error.get("code", "")).startswith("MAPPER"):
        return "try the record with `capstream map try`, and mend the expression or the payload"
    return "send the message in the form the endpoint documents"
