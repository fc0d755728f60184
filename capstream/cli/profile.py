"""`capstream profile show`: one merged profile, as the platform sees it now."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient, Refused
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Real-time customer profiles.", no_args_is_help=True)
_ENTITIES = "/data/core/ups/access/entities"


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own."""


@app.command()
def show(
    identity: Annotated[str, typer.Option("--id", help="E-mail address, Capillary customer id, or NAMESPACE:VALUE.")],
    events: Annotated[int, typer.Option(help="How many recent events to show.")] = 10,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Show the merged profile: identities, loyalty state, recent events."""
    namespace, value = _identity(identity)
    with PlatformClient(find(credentials)) as client:
        found = _profile(client, namespace, value)
        history = _events(client, namespace, value, events)
    if json:
        typer.echo(pretty({"profile": found, "events": history}))
    else:
        _print(found, history)


def _identity(text: str) -> tuple[str, str]:
    if "@" in text:
        return "Email", text
    namespace, colon, value = text.partition(":")
    return (namespace, value) if colon else ("capillaryUserId", text)


def _profile(client: PlatformClient, namespace: str, value: str) -> Json:
    query = {"schema.name": "_xdm.context.profile", "entityId": value, "entityIdNS": namespace}
    try:
        answer = client.platform("GET", _ENTITIES, query=query)
    except Refused as error:
        if error.status != 404:
            raise
        cure = "check the identity, or that its events arrived"
        raise InputError("--id", f"no profile under {namespace} {value}", cure) from error
    return next(iter(answer.values()))


def _events(client: PlatformClient, namespace: str, value: str, limit: int) -> Json:
    query = {
        "schema.name": "_xdm.context.experienceevent",
        "relatedSchema.name": "_xdm.context.profile",
        "relatedEntityId": value,
        "relatedEntityIdNS": namespace,
        "orderby": "-timestamp",
        "limit": limit,
    }
    return [child["entity"] for child in client.platform("GET", _ENTITIES, query=query)["children"]]


def _print(found: Json, history: Json) -> None:
    out, entity = console(), found["entity"]
    identities = folded("namespace", "identity", "primary", title="Identities")
    for each in entity.get("identities", []):
        identities.add_row(each["namespace"]["code"], each["id"], "yes" if each.get("primary") else "")
    loyalty = folded("field", "value", title="Loyalty")
    for name, value in entity.get("loyalty", {}).items():
        loyalty.add_row(name, Text(str(value)))
    recent = folded("timestamp", "event type", "_id", title="Recent events")
    for event in history:
        recent.add_row(event.get("timestamp", ""), event.get("eventType", ""), event.get("_id", ""))
    for table in (identities, loyalty, recent):
        out.print(table)
