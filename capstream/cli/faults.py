"""`capstream faults …`: let calls of the embedded platform fail on purpose."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.assignments import assigned
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.faults.api import PATH
from capstream.faults.model import KINDS
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Faults of the embedded platform, set on purpose; none unless you set one.", no_args_is_help=True)

Route = Annotated[str, typer.Argument(help="A service (inlet, ims, profile, …) or 'METHOD /path' with * in either.")]
Kind = Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")]
Members = Annotated[
    list[str] | None,
    typer.Argument(help="share=0.2 count=10 seconds=60 status=429 retryAfterS=5 delayS=2 handled=true bytes=16 records=0.5"),
]


@app.command("list")
def list_(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List the faults that are set and how often each struck."""
    with PlatformClient(find(credentials)) as client:
        found: list[Json] = client.administration("GET", PATH)["faults"]
    if json:
        typer.echo(pretty(found))
        return
    table = folded("id", "route", "kind", "share", "strikes", "count", "seconds", "since")
    for each in found:
        table.add_row(*(Text(str(each[name])) for name in ("id", "route", "kind", "share", "hits", "count", "seconds", "since")))
    console().print(table if found else "no fault is set")


@app.command("set")
def set_(route: Route, kind: Kind, members: Members = None, credentials: CredentialsFile = None) -> None:
    """Set one more fault, e.g. `capstream faults set inlet status status=429 retryAfterS=5 share=0.2 seconds=60`."""
    with PlatformClient(find(credentials)) as client:
        made = client.administration("POST", PATH, body=assigned({"route": route, "kind": kind}, members or []))
    typer.echo(pretty(made))


@app.command()
def clear(
    fault: Annotated[str, typer.Argument(help="Id of the fault; all of them unless one is named.")] = "",
    credentials: CredentialsFile = None,
) -> None:
    """Clear one fault, or all."""
    with PlatformClient(find(credentials)) as client:
        client.administration("DELETE", f"{PATH}/{fault}" if fault else PATH)
    typer.echo(f"{fault or 'every fault'} is cleared")
