"""`capstream connect capillary`: provision the source through the public APIs, idempotently."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.json import Json, pretty
from capstream.relay import provision

app = typer.Typer(help="Connect a source.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `capillary` a command of its own."""


@app.command()
def capillary(
    credentials: CredentialsFile = None,
    source: Annotated[str, typer.Option(help="Key of the source; the last part of the webhook's address.")] = "capillary",
    capillary_api: Annotated[str, typer.Option(help="Base URL of Capillary's API, to enrich from.")] = "",
    capillary_key: Annotated[str, typer.Option(help="API key.", envvar="CAPILLARY_API_KEY")] = "",
    capillary_secret: Annotated[str, typer.Option(help="API secret.", envvar="CAPILLARY_API_SECRET")] = "",
    json: AsJson = False,
) -> None:
    """Create schemas, datasets, connections, mappings and dataflows, and tell the relay where to deliver."""
    api = {"host": capillary_api, "key": capillary_key, "secret": capillary_secret}
    result = asyncio.run(_connect(asdict(find(credentials)), source, {"capillaryApi": api} if capillary_api else {}))
    if json:
        typer.echo(pretty(result))
        return
    table = Table("what", "value")
    for key, value in result.items():
        shown = dict.fromkeys(value, "***") if key == "webhook_headers" else value
        table.add_row(key, str(shown))
    Console().print(table)


async def _connect(credentials: dict[str, str], source: str, settings: dict[str, Json]) -> dict[str, Json]:
    async with httpx.AsyncClient(timeout=60) as http:
        return await provision.connect(credentials, http=http, names=provision.Names(source_key=source), settings=settings)
