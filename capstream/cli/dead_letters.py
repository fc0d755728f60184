"""`capstream dead-letters list|show|replay`: what could not be delivered, and how to send it again."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="What could not be delivered: list, show, replay.", no_args_is_help=True)


@app.command("list")
def list_(
    class_: Annotated[str, typer.Option("--class", help="Only this class, e.g. INVALID_BODY.")] = "",
    limit: Annotated[int, typer.Option(help="Most letters to list.")] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    with PlatformClient(find(credentials)) as client:
        query = {"limit": limit} | ({"class": class_} if class_ else {})
        letters: list[Json] = client.relay("GET", "/relay/dead-letters", query=query)["deadLetters"]
    if json:
        typer.echo(pretty(letters))
        return
    table = Table("id", "class", "event", "event id", "first seen", "reason")
    for letter in letters:
        names = ("id", "class", "eventName", "eventId", "firstSeen", "reason")
        table.add_row(*(Text(str(letter.get(name, ""))) for name in names))
    Console().print(table)


@app.command()
def show(letter: Annotated[str, typer.Argument(help="The letter's id.")], credentials: CredentialsFile = None) -> None:
    """Show one dead letter with its payload, its reason and the platform's answer."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", f"/relay/dead-letters/{letter}")))


@app.command()
def replay(
    letters: Annotated[list[str] | None, typer.Argument(help="Ids of the letters.")] = None,
    class_: Annotated[str, typer.Option("--class", help="All letters of this class.")] = "",
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Send dead letters through translation and delivery again."""
    if not letters and not class_:
        raise typer.BadParameter("name at least one letter, or give --class")
    with PlatformClient(find(credentials)) as client:
        wanted = ({"ids": letters} if letters else {}) | ({"class": class_} if class_ else {})
        answer = client.relay("POST", "/relay/dead-letters/replay", body=wanted)
    typer.echo(pretty(answer) if json else "the dead letters will be sent again")
