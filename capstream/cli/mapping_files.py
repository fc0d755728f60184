"""`capstream map import` and `capstream map export`: the files users exchange. Source: data-prep.md 1.10."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from capstream.aep.data_prep.interchange import NotImported, check, write_csv
from capstream.cli.client import PlatformClient
from capstream.cli.mapping_source import FULL, SETS, mappings_of, not_imported, target
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, pretty


def import_(
    file: Annotated[Path, typer.Argument(help="Mappings: CSV, JSON or XLSX.")],
    schema: Annotated[str, typer.Option(help="$id of the target schema on the server.")],
    name: Annotated[str, typer.Option(help="Name of the new mapping set.")] = "",
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Make a mapping set of a file. Wrong rows are told by line, and then nothing is imported."""
    found = mappings_of(file, "FILE")
    try:
        check(found, target(schema, credentials))
    except NotImported as error:
        raise not_imported(file, "FILE", error) from error
    reference = {"id": schema, "contentType": FULL}
    body: dict[str, Json] = {"outputSchema": {"schemaRef": reference}, "mappings": [one.mapping for one in found]}
    with PlatformClient(find(credentials)) as client:
        made = client.platform("POST", SETS, body=body | ({"name": name} if name else {}))
    typer.echo(pretty(made) if json else f"{len(found)} mappings imported as mapping set {made['id']}")


def export(
    set_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a mapping set on the server.")],
    output: Annotated[Path, typer.Option(help="The CSV to write.")],
    credentials: CredentialsFile = None,
) -> None:
    """Write the mappings of a set as CSV; importing the file again gives the same mappings."""
    with PlatformClient(find(credentials)) as client:
        stored = client.platform("GET", f"{SETS}/{quote(set_id, safe='')}")
    try:
        output.write_text(write_csv(stored["mappings"]), "utf-8", newline="")
    except OSError as error:
        raise InputError(
            "--output", f"{output} cannot be written: {error.strerror}", "name a file in a folder that exists"
        ) from error
    typer.echo(f"{len(stored['mappings'])} mappings written to {output}")
