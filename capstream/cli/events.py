"""`capstream events list|show`: the webhooks that were received, and what became of each."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.times import bounds
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Received webhooks: find them, and see what became of each.", no_args_is_help=True)

Source = Annotated[str, typer.Option(help="Only webhooks of this source.")]
Kind = Annotated[str, typer.Option(help="Only this kind, e.g. pointsIssued.")]
Member = Annotated[str, typer.Option(help="Only events of this Capillary customer id.")]
Org = Annotated[str, typer.Option(help="Only events of this Capillary org id: each org has its own customer ids.")]
Since = Annotated[str, typer.Option(help="Received since: 2024-09-17, 2024-09-17T15:00:00Z, or 90m, 6h, 2d ago.")]
Until = Annotated[str, typer.Option(help="Received before, in the same forms.")]


@app.command("list")
def list_(
    event_id: Annotated[str, typer.Option("--id", help="Only the event with this eventId.")] = "",
    kind: Kind = "",
    member: Member = "",
    org: Org = "",
    source: Source = "",
    outcome: Annotated[str, typer.Option(help="pending, held, parked, dead, discarded, skipped, erased or processed.")] = "",
    since: Since = "",
    until: Until = "",
    before: Annotated[int, typer.Option(help="Only offsets below this one: the `next` of the last page.")] = 0,
    limit: Annotated[int, typer.Option(help="Most events to list.")] = 50,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List received webhooks, newest first."""
    wanted = {"eventId": event_id, "eventName": kind, "customerId": member, "orgId": org, "sourceKey": source, "outcome": outcome}
    query = {name: value for name, value in wanted.items() if value} | bounds(since, until) | {"limit": limit}
    with PlatformClient(find(credentials)) as client:
        page: Json = client.relay("GET", "/relay/events", query=query | ({"before": before} if before else {}))
    if json:
        typer.echo(pretty(page))
        return
    table = folded("offset", "received", "source", "event", "event id", "member", "outcome")
    for event in page["events"]:
        names = ("offset", "receivedAt", "sourceKey", "eventName", "eventId", "customerId", "outcome")
        table.add_row(*(Text(str(event.get(name, ""))) for name in names))
    console().print(table)
    if "next" in page:
        typer.echo(f"older ones: --before {page['next']}")
    if page["indexedThrough"] < page["journalEnd"]:
        typer.echo(f"{page['journalEnd'] - page['indexedThrough']} webhooks are not in the index yet")


@app.command()
def show(
    offset: Annotated[int, typer.Argument(help="The webhook's offset in the journal.")], credentials: CredentialsFile = None
) -> None:
    """Show one webhook as it was received, and what became of it. The body holds personal data."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", f"/relay/events/{offset}")))
