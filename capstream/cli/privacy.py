"""`capstream privacy …`: members whose data has to go, and how far that is."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Members whose data has to go: who, since when, and how far it is.", no_args_is_help=True)


@app.command("list")
def list_(
    erased: Annotated[
        bool, typer.Option("--erased", help="Those whose data is gone, instead of those where it still is.")
    ] = False,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List members that were deleted in Capillary. `--json` has their identities, for a work order on the platform.

    `capstream erase` takes one out before its time.
    """
    found: list[Json] = []
    query = {"state": "erased" if erased else "open"}
    with PlatformClient(find(credentials)) as client:
        page: Json = {"next": ""}
        while "next" in page:
            page = client.relay("GET", "/relay/privacy-requests", query=query | {"after": page["next"]})
            found += page["privacyRequests"]
    if json:
        typer.echo(pretty(found))
        return
    table = folded("org", "member", "state", "erased" if erased else "due", "what went" if erased else "source")
    for each in found:
        went = ", ".join(f"{name} {count}" for name, count in each.get("erased", {}).items() if count)
        facts = (each.get("erasedAt") or each["dueAt"], went if erased else each.get("sourceKey", ""))
        table.add_row(*(Text(str(value)) for value in (each["orgId"], each["customerId"], each["state"], *facts)))
    console().print(table)


@app.command()
def show(
    member: Annotated[str, typer.Argument(help="Capillary's customer id.")],
    org: Annotated[str, typer.Option(help="Capillary's org id.")],
    credentials: CredentialsFile = None,
) -> None:
    """Show how far the request of one member is: none, asked, waiting, due, erasing or erased."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", f"/relay/privacy-requests/{org}/{member}")))
