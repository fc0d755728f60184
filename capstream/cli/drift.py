"""`capstream drift …`: what changed in the form of Capillary's webhooks."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="What changed in the form of webhooks: new kinds, unknown members, other types.", no_args_is_help=True)

Source = Annotated[str, typer.Option(help="Only this source.")]


@app.command("list")
def list_(
    source: Source = "",
    new: Annotated[bool, typer.Option("--new", help="Only what nobody has acknowledged.")] = False,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List the notices: each kind, member and change of type once, with how often it was seen. No values are kept."""
    query: dict[str, Json] = {**({"sourceKey": source} if source else {}), **({"new": "true"} if new else {})}
    with PlatformClient(find(credentials)) as client:
        found: list[Json] = client.relay("GET", "/relay/drift", query=query)["notices"]
    if json:
        typer.echo(pretty(found))
        return
    table = Table()
    for name in ("source", "event", "what", "where", "count", "last seen"):
        table.add_column(name, overflow="fold")
    for notice in found:
        types = f" ({notice['expected']} → {notice['found']})" if "expected" in notice else ""
        where = f"{notice.get('path', '')}{types}"
        cells = (notice["sourceKey"], notice["eventName"], notice["what"], where, str(notice["count"]), notice["lastSeen"][:19])
        table.add_row(*map(Text, cells))
    console().print(table)


@app.command()
def acknowledge(source: Source = "", credentials: CredentialsFile = None) -> None:
    """Say that the notices of now were seen: the alert is over until there is another one."""
    with PlatformClient(find(credentials)) as client:
        body = {"sourceKey": source} if source else {}
        done = client.relay("POST", "/relay/drift/acknowledge", body=body)["acknowledged"]
    typer.echo(f"acknowledged: {', '.join(done)}" if done else "there is nothing to acknowledge")
