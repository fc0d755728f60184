"""`capstream dead-letters …`: what could not be delivered, how to mend it, send it again or give it up."""

import sys
from pathlib import Path
from typing import Annotated

import click
import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.times import bounds
from capstream.kernel.json import Json, JsonError, loads, pretty

app = typer.Typer(help="What could not be delivered: list, show, edit, replay, discard.", no_args_is_help=True)

Letters = Annotated[list[str] | None, typer.Argument(help="Ids of the letters.")]
Class = Annotated[str, typer.Option("--class", help="Only this class, e.g. INVALID_BODY.")]
Kind = Annotated[str, typer.Option(help="Only this kind of event, e.g. pointsIssued.")]
Member = Annotated[str, typer.Option(help="Only this Capillary customer id.")]
Source = Annotated[str, typer.Option(help="Only this source.")]
Since = Annotated[str, typer.Option(help="First seen since: 2024-09-17, 2024-09-17T15:00:00Z, or 90m, 6h, 2d ago.")]
Until = Annotated[str, typer.Option(help="First seen before, in the same forms.")]
_TIMES = ("sinceMs", "untilMs")


def _wanted(class_: str, kind: str, member: str, source: str, since: str, until: str) -> dict[str, Json]:
    given = {"class": class_, "eventName": kind, "customerId": member, "sourceKey": source}
    return {name: value for name, value in given.items() if value} | bounds(since, until)


def _named(letters: list[str] | None, wanted: dict[str, Json], *, everything: bool) -> dict[str, Json]:
    if not letters and not wanted and not everything:
        raise typer.BadParameter("name at least one letter, or say which: --class, --kind, --member, --source, --since, --all")
    return wanted | ({"ids": letters} if letters else {}) or {"sinceMs": 0}


@app.command("list")
def list_(
    class_: Class = "",
    kind: Kind = "",
    member: Member = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    discarded: Annotated[bool, typer.Option("--discarded", help="Those that were given up, with who and why.")] = False,
    limit: Annotated[int, typer.Option(help="Most letters to list.")] = 100,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    with PlatformClient(find(credentials)) as client:
        if discarded:
            letters: list[Json] = client.relay("GET", "/relay/dead-letters/discarded")["discarded"]
        else:
            query = {"limit": limit} | _wanted(class_, kind, member, source, since, until)
            letters = client.relay("GET", "/relay/dead-letters", query=query)["deadLetters"]
    if json:
        typer.echo(pretty(letters))
        return
    names: tuple[str, ...] = ("id", "class", "eventName", "eventId", "firstSeen", "attempts", "reason")
    names = (*names, "discardedBy", "discardReason") if discarded else names
    table = folded(*names)
    for letter in letters:
        table.add_row(*(Text(str(letter.get(name, ""))) for name in names))
    console().print(table)


@app.command()
def show(letter: Annotated[str, typer.Argument(help="The letter's id.")], credentials: CredentialsFile = None) -> None:
    """Show one dead letter with its payload, its reason and the platform's answer. The payload holds personal data."""
    with PlatformClient(find(credentials)) as client:
        typer.echo(pretty(client.relay("GET", f"/relay/dead-letters/{letter}")))


@app.command()
def edit(
    letter: Annotated[str, typer.Argument(help="The letter's id.")],
    payload: Annotated[Path | None, typer.Option(help="The mended payload; - reads it, default: opens $EDITOR.")] = None,
    credentials: CredentialsFile = None,
) -> None:
    """Mend the payload of a dead letter and send it again."""
    with PlatformClient(find(credentials)) as client:
        held = pretty(client.relay("GET", f"/relay/dead-letters/{letter}")["payload"])
        if payload is None:
            text = click.edit(held, extension=".json")
        else:
            text = sys.stdin.read() if str(payload) == "-" else payload.read_text("utf-8", errors="replace")
        if text is None or text.strip() == held.strip():
            typer.echo("nothing was changed, nothing is sent")
            return
        try:
            mended = loads(text.removeprefix("\ufeff"))
        except JsonError as error:
            raise typer.BadParameter(f"the payload is not JSON: {error}") from error
        client.relay("POST", f"/relay/dead-letters/{letter}/replay", body={"payload": mended})
    typer.echo("the mended payload will be sent")


@app.command()
def replay(
    letters: Letters = None,
    class_: Class = "",
    kind: Kind = "",
    member: Member = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Send dead letters through translation and delivery again."""
    wanted = _named(letters, _wanted(class_, kind, member, source, since, until), everything=everything)
    with PlatformClient(find(credentials)) as client:
        answer = client.relay("POST", "/relay/dead-letters/replay", body=wanted)
    typer.echo(pretty(answer) if json else "the dead letters will be sent again")


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why nobody needs them; it is kept with them.")],
    letters: Letters = None,
    class_: Class = "",
    kind: Kind = "",
    member: Member = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    credentials: CredentialsFile = None,
) -> None:
    """Give dead letters up; `list --discarded` shows them, and their webhooks can be replayed while the journal has them."""
    wanted = _named(letters, _wanted(class_, kind, member, source, since, until), everything=everything)
    with PlatformClient(find(credentials)) as client:
        client.relay("POST", "/relay/dead-letters/discard", body={**wanted, "reason": reason})
    typer.echo("the dead letters will be discarded")


@app.command()
def export(
    output: Annotated[Path, typer.Option(help="The file to write: one letter a line, with payload.")],
    class_: Class = "",
    kind: Kind = "",
    member: Member = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    credentials: CredentialsFile = None,
) -> None:
    """Write dead letters with their payloads as JSON Lines. The file holds personal data."""
    with PlatformClient(find(credentials)) as client:
        wanted = _wanted(class_, kind, member, source, since, until)
        lines: str = client.relay("GET", "/relay/dead-letters/export", query=wanted)
    output.write_text(lines, "utf-8")
    typer.echo(f"wrote {len(lines.splitlines())} dead letters")
