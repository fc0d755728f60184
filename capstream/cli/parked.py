"""`capstream parked …`: payloads that only were refused for now, and giving them up."""

from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Payloads that wait because only they were refused for now: list, show, discard.", no_args_is_help=True)

Source = Annotated[str, typer.Option(help="Only this source.")]
Flow = Annotated[str, typer.Option(help="Only this dataflow: event or profile.")]
Member = Annotated[str, typer.Option(help="Only this Capillary customer id.")]


def _given(source: str, flow: str, member: str) -> dict[str, Json]:
    return {name: value for name, value in (("sourceKey", source), ("flow", flow), ("customerId", member)) if value}


@app.command("list")
def list_(
    source: Source = "",
    flow: Flow = "",
    member: Member = "",
    limit: Annotated[int, typer.Option(help="Most payloads to list.")] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List parked payloads. Those without attempts wait behind an earlier one of the same member."""
    with PlatformClient(find(credentials)) as client:
        found: list[Json] = client.relay("GET", "/relay/parked", query={"limit": limit, **_given(source, flow, member)})["parked"]
    if json:
        typer.echo(pretty(found))
        return
    names = ("id", "customerId", "attempts", "firstRefused", "nextTry", "reason")
    table = folded(*names)
    for each in found:
        table.add_row(*(Text(str(each.get(name, ""))) for name in names))
    console().print(table)


@app.command()
def show(payload: Annotated[str, typer.Argument(help="The id as listed.")], credentials: CredentialsFile = None) -> None:
    """Show one parked payload with its body. It holds personal data."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", "/relay/parked/payload", query={"id": payload})))


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why nobody needs them; it is kept with them.")],
    payloads: Annotated[list[str] | None, typer.Argument(help="Ids as listed.")] = None,
    source: Source = "",
    flow: Flow = "",
    member: Member = "",
    credentials: CredentialsFile = None,
) -> None:
    """Give parked payloads up: what waits behind them goes on. Without ids those that wait behind others are left alone.

    `dead-letters list --discarded` shows what was given up, with who and why.
    """
    wanted = _given(source, flow, member) | ({"ids": payloads} if payloads else {})
    if not wanted:
        raise typer.BadParameter("name at least one payload, or say which: --source, --flow, --member")
    with PlatformClient(find(credentials)) as client:
        client.relay("POST", "/relay/parked/discard", body={**wanted, "reason": reason})
    typer.echo("the parked payloads will be discarded")
