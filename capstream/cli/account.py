"""`capstream account list|show|create|bind|unbind|add-secret|revoke-secret|revoke`: technical accounts, by our own API."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from capstream import credentials as files
from capstream.aep.ims.model import PRODUCT_PROFILE
from capstream.cli import printing
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import InputError

app = typer.Typer(help="Technical accounts: who may ask for a token, and with which secret.", no_args_is_help=True)

_ACCOUNTS = "/capstream/api/accounts"
_COLUMNS = [("client id", "clientId"), ("name", "name"), ("administrator", "orgAdmin"), ("created", "createdAt")]

Which = Annotated[str, typer.Argument(help="The account's client id.")]

Profile = Annotated[str, typer.Argument(help="The product profile's name.")]


@app.command("list")
def list_(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List all technical accounts."""
    with PlatformClient(find(credentials)) as client:
        printing.table(client.platform("GET", _ACCOUNTS)["items"], _COLUMNS, json=json)


@app.command()
def show(which: Which, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Show an account and the ids of its secrets; a secret itself is never shown again."""
    with PlatformClient(find(credentials)) as client:
        printing.one(client.platform("GET", f"{_ACCOUNTS}/{which}"), json=json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the account is for.")],
    admin: Annotated[bool, typer.Option("--admin", help="It administers the organisation: it may do everything.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a credentials file for it, readable by its owner alone.")] = None,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Create an account without roles; its secret is shown this once."""
    mine = find(credentials)
    if out is not None and os.path.lexists(out):
        raise InputError(str(out), "exists already", "choose another file")
    with PlatformClient(mine) as client:
        made = client.platform("POST", _ACCOUNTS, body={"name": name, "orgAdmin": admin})
    if out is not None:
        secret = made.pop("clientSecret")
        files.write(out, replace(mine, client_id=made["clientId"], client_secret=secret, webhook_secret=""))
    printing.one(made, json=json)


@app.command("bind")
def bind(which: Which, profile: Profile = PRODUCT_PROFILE, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Bind an account to a product profile; without any the platform refuses it (403027)."""
    with PlatformClient(find(credentials)) as client:
        profiles = client.platform("GET", f"{_ACCOUNTS}/{which}")["productProfiles"]
        body = {"productProfiles": [*profiles, profile]}
        printing.one(client.platform("PATCH", f"{_ACCOUNTS}/{which}", body=body), json=json)


@app.command("unbind")
def unbind(which: Which, profile: Profile = PRODUCT_PROFILE, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Take a product profile from an account."""
    with PlatformClient(find(credentials)) as client:
        profiles = client.platform("GET", f"{_ACCOUNTS}/{which}")["productProfiles"]
        if profile not in profiles:
            raise InputError("profile", f"{which} is not bound to {profile}", f"bound: {', '.join(profiles) or 'none'}")
        body = {"productProfiles": [one for one in profiles if one != profile]}
        printing.one(client.platform("PATCH", f"{_ACCOUNTS}/{which}", body=body), json=json)


@app.command("add-secret")
def add_secret(which: Which, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Add the second secret, to rotate: clients change over while both are good; it is shown this once."""
    with PlatformClient(find(credentials)) as client:
        printing.one(client.platform("POST", f"{_ACCOUNTS}/{which}/secrets"), json=json)


@app.command("revoke-secret")
def revoke_secret(
    which: Which,
    secret: Annotated[str, typer.Argument(help="The secret's id, from `capstream account show`.")],
    credentials: CredentialsFile = None,
) -> None:
    """Make a secret invalid, once every client has the other one."""
    with PlatformClient(find(credentials)) as client:
        client.platform("DELETE", f"{_ACCOUNTS}/{which}/secrets/{secret}")
    typer.echo(f"revoked secret {secret}")


@app.command()
def revoke(which: Which, credentials: CredentialsFile = None) -> None:
    """Revoke an account: its secrets and its tokens are good no longer."""
    with PlatformClient(find(credentials)) as client:
        client.platform("DELETE", f"{_ACCOUNTS}/{which}")
    typer.echo(f"revoked {which}")
