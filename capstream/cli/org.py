"""`capstream org show`: the organisation the account belongs to."""

import typer

from capstream.cli import printing
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find

app = typer.Typer(help="The organisation.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own."""


@app.command()
def show(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Show the organisation's id, name, tenant and sandboxes."""
    with PlatformClient(find(credentials)) as client:
        found = client.platform("GET", "/capstream/api/organization")
        mine = client.platform("GET", "/data/foundation/sandbox-management/")["sandboxes"]
    printing.one(found | {"sandboxes": [each["name"] for each in mine]}, json=json)
