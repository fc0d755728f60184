"""`capstream sandbox list|show|create|rename|reset|delete`, through the Sandbox API."""

import time
from typing import Annotated

import typer

from capstream.cli import printing
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import CapstreamError
from capstream.kernel.json import Json

app = typer.Typer(help="Sandboxes: list, show, create, rename, reset, delete.", no_args_is_help=True)

_SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
_PAGE = 50
_POLL_S = 0.2
_COLUMNS = [("name", "name"), ("title", "title"), ("type", "type"), ("state", "state"), ("default", "isDefault")]

Name = Annotated[str, typer.Argument(help="The sandbox's name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: everything in the sandbox is deleted.")]


@app.command("list")
def list_(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List all sandboxes of the organisation."""
    found: list[Json] = []
    with PlatformClient(find(credentials)) as client:
        while len(page := _page(client, len(found))) == _PAGE:
            found += page
    printing.table([*found, *page], _COLUMNS, json=json)


def _page(client: PlatformClient, offset: int) -> list[Json]:
    page: list[Json] = client.platform("GET", _SANDBOXES, query={"limit": _PAGE, "offset": offset})["sandboxes"]
    return page


@app.command()
def show(name: Name, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Show one sandbox."""
    with PlatformClient(find(credentials)) as client:
        printing.one(client.platform("GET", f"{_SANDBOXES}/{name}"), json=json)


@app.command()
def create(
    name: Name,
    title: Annotated[str, typer.Option(help="Title; default: the name.")] = "",
    kind: Annotated[str, typer.Option("--type", help="development or production.")] = "development",
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Create an empty sandbox. Roles include it when an administrator says so."""
    body = {"name": name, "title": title or name, "type": kind}
    with PlatformClient(find(credentials)) as client:
        made = client.platform("POST", _SANDBOXES, body=body)
    printing.one(made, json=json, line=f"created {name}")


@app.command()
def rename(
    name: Name,
    title: Annotated[str, typer.Argument(help="The new title; a name never changes.")],
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Give a sandbox another title."""
    with PlatformClient(find(credentials)) as client:
        changed = client.platform("PATCH", f"{_SANDBOXES}/{name}", body={"title": title})
    printing.one(changed, json=json, line=f"{name} is now titled {title}")


@app.command()
def reset(
    name: Name,
    yes: Yes = False,
    wait: Annotated[float, typer.Option(help="How long to wait until everything is gone, in seconds.")] = 60.0,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Delete everything in a sandbox and keep the sandbox."""
    _confirm(name, yes)
    with PlatformClient(find(credentials)) as client:
        client.platform("PUT", f"{_SANDBOXES}/{name}", body={"action": "reset"})
        end = time.monotonic() + wait
        while (found := client.platform("GET", f"{_SANDBOXES}/{name}"))["state"] != "active":
            if time.monotonic() > end:
                raise CapstreamError(f"sandbox {name} is still {found['state']}; see `capstream sandbox show {name}`")
            time.sleep(_POLL_S)
    printing.one(found, json=json, line=f"reset {name}")


@app.command()
def delete(name: Name, yes: Yes = False, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Delete a sandbox with everything in it; its name stays taken."""
    _confirm(name, yes)
    with PlatformClient(find(credentials)) as client:
        gone = client.platform("DELETE", f"{_SANDBOXES}/{name}")
    printing.one(gone, json=json, line=f"deleted {name}")


def _confirm(name: str, yes: bool) -> None:
    if not yes:
        typer.confirm(f"Delete all schemas, datasets, dataflows and profiles of sandbox {name}?", abort=True)
