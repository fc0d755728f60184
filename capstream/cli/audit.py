"""`capstream audit list`: who administered the relay."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.times import bounds
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Who administered the relay, what and when.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own."""


@app.command("list")
def list_(
    since: Annotated[str, typer.Option(help="Since: 2024-09-17, 2024-09-17T15:00:00Z, or 90m, 6h, 2d ago.")] = "",
    limit: Annotated[int, typer.Option(help="Most acts to list.")] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List administrative acts and readings of personal data, oldest first."""
    with PlatformClient(find(credentials)) as client:
        found: list[Json] = client.relay("GET", "/relay/audit", query={"limit": limit} | bounds(since, ""))["acts"]
    if json:
        typer.echo(pretty(found))
        return
    table = folded("at", "who", "address", "act", "target", "status")
    for act in found:
        table.add_row(*(Text(str(act[name])) for name in ("at", "who", "address", "act", "target", "status")))
    console().print(table)
