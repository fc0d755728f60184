"""`capstream sources …`: the webhooks the relay takes, each a brand or region with a key, a secret and a way to the platform."""

import secrets
from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.assignments import assigned
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Sources: the webhooks the relay takes, one for each brand or region.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="The source's key: the last part of the webhook's address.")]
Members = Annotated[
    list[str] | None, typer.Argument(help="Members of the source, e.g. preset=adobe-ready limits.records=200; see its reference.")
]


@app.command("list")
def list_(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List the sources; secrets are masked."""
    with PlatformClient(find(credentials)) as client:
        found: list[Json] = client.relay("GET", "/relay/sources")["sources"]
    if json:
        typer.echo(pretty(found))
        return
    table = folded("key", "preset", "enabled", "authentication", "live secrets", "sandbox", "delivers to")
    for each in found:
        auth = each["auth"]
        shown = (
            each["key"],
            each["preset"],
            each["enabled"],
            auth["form"],
            len(auth["secrets"]),
            each["sandbox"],
            each["inletUrl"],
        )
        table.add_row(*(Text(str(value)) for value in shown))
    console().print(table)


@app.command()
def show(key: Key, credentials: CredentialsFile = None) -> None:
    """Show one source; secrets are masked."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", f"/relay/sources/{key}")))


@app.command()
def add(key: Key, members: Members = None, credentials: CredentialsFile = None) -> None:
    """Add a source and print what Capillary has to send. The account is that of credentials.json unless members say otherwise."""
    known = find(credentials)
    source: Json = {
        "orgId": known.org_id,
        "sandbox": known.sandbox,
        "ims": {"url": known.ims_url, "clientId": known.client_id, "clientSecret": known.client_secret},
        "auth": {"form": "bearer"},
    }
    source = assigned(source, members or [])
    with PlatformClient(known) as client:
        if any(each["key"] == key for each in client.relay("GET", "/relay/sources")["sources"]):
            raise typer.BadParameter(f"there is a source {key} already; `capstream sources set` changes it")
        source["auth"].setdefault("secrets", [f"capillary:{secrets.token_urlsafe(32)}"])
        client.relay("PUT", f"/relay/sources/{key}", body=source)
        made = client.relay("POST", f"/relay/sources/{key}/rotate", body={"secret": source["auth"]["secrets"][0]})
        client.relay("POST", f"/relay/sources/{key}/retire")
    typer.echo(pretty({"webhookUrl": f"{known.relay_url}/webhooks/capillary/{key}", "webhookHeaders": made["webhookHeaders"]}))
    if not source.get("inletUrl"):
        typer.echo(
            f"It delivers nowhere yet: `capstream connect capillary --source {key}`, or set inletUrl and flow ids.", err=True
        )


@app.command("set")
def set_(key: Key, members: Members = None, credentials: CredentialsFile = None) -> None:
    """Change members of a source. Running deliveries take the change up at once."""
    with PlatformClient(find(credentials)) as client:
        source = client.relay("GET", f"/relay/sources/{key}")
        source.pop("key")
        client.relay("PUT", f"/relay/sources/{key}", body=assigned(source, members or []))
        typer.echo(pretty(client.relay("GET", f"/relay/sources/{key}")))


@app.command()
def remove(key: Key, credentials: CredentialsFile = None) -> None:
    """Remove a source: its webhooks are answered 404, what is not delivered yet becomes dead letters."""
    with PlatformClient(find(credentials)) as client:
        client.relay("DELETE", f"/relay/sources/{key}")
    typer.echo(f"source {key} is removed")


@app.command()
def rotate(
    key: Key,
    finish: Annotated[bool, typer.Option("--finish", help="Take the old secret out of use.")] = False,
    credentials: CredentialsFile = None,
) -> None:
    """Make a new secret live beside the old one and print it, once. Then change Capillary, then rotate with --finish."""
    with PlatformClient(find(credentials)) as client:
        step = "retire" if finish else "rotate"
        typer.echo(pretty(client.relay("POST", f"/relay/sources/{key}/{step}")))
