"""`capstream replay`: translate webhooks of the journal again and deliver them, or only show what would change."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.times import instant_ms
from capstream.kernel.json import Json, JsonError, dumps, loads, pretty


def replay(
    since: Annotated[str, typer.Option("--from", help="Received since: 2024-09-17, 2024-09-17T15:00:00Z, or 90m, 6h, 2d ago.")],
    until: Annotated[str, typer.Option("--to", help="Received before, in the same forms; default: now.")] = "",
    kind: Annotated[str, typer.Option(help="Only this kind, e.g. pointsIssued.")] = "",
    member: Annotated[str, typer.Option(help="Only events of this Capillary customer id.")] = "",
    source: Annotated[str, typer.Option(help="Only webhooks of this source.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what would come out differently.")] = False,
    translation: Annotated[
        Path | None, typer.Option(help="With --dry-run: translation settings (JSON) to compare the present ones with.")
    ] = None,
    samples: Annotated[int, typer.Option(help="With --dry-run: most events whose differences are shown.")] = 10,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Translate received webhooks again and deliver them, after a mapping or the translation was mended.

    Payloads keep their _id, so nothing counts twice. A dry run compares the settings that held when each event was received
    with the present ones, starting from the member states of now.
    """
    given = {"eventName": kind, "customerId": member, "sourceKey": source}
    wanted: Json = {name: value for name, value in given.items() if value} | {"sinceMs": instant_ms(since)}
    wanted |= {"untilMs": instant_ms(until)} if until else {}
    if until and wanted["untilMs"] <= wanted["sinceMs"]:
        raise typer.BadParameter("--to is not after --from: nothing was received in between")
    if translation and not dry_run:
        raise typer.BadParameter("--translation only shows a difference: give --dry-run, or `capstream sources set` it first")
    with PlatformClient(find(credentials)) as client:
        if not dry_run:
            answer = client.relay("POST", "/relay/replay", body=wanted)
            typer.echo(pretty(answer) if json else "the events will be translated and sent again")
            return
        proposed = {"translation": _settings(translation)} if translation else {}
        found = client.relay("POST", "/relay/replay/preview", body={**wanted, **proposed, "samples": samples})
    typer.echo(pretty(found)) if json else _print(found)


def _settings(file: Path) -> Json:
    try:
        return loads(file.read_bytes())
    except JsonError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error


def _print(found: Json) -> None:
    table = folded("offset", "event", "where", "old", "new")
    for event in found["samples"]:
        for each in event["differences"]:
            cells = (event["offset"], event["eventName"], each["path"], _cell(each, "old"), _cell(each, "new"))
            table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)
    typer.echo(f"{found['changed']} of {found['events']} events would come out differently")
    if not found["complete"]:
        typer.echo(f"only events up to offset {found['lastOffset']} were looked at; narrow the range to see the others")


def _cell(difference: Json, side: str) -> str:
    return dumps(difference[side]).decode()[:120] if side in difference else "(nothing)"
