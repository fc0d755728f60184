"""`capstream status` and `capstream reload`: how the relay is doing, and new settings without a restart."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from capstream import config, supervisor
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, pretty


def status(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 while an alert is raised.")] = False,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Show how the relay is doing: alerts, lag of each dataflow, backlog, dead letters, tokens, disk, and the books."""
    with PlatformClient(find(credentials)) as client:
        found: Json = client.relay("GET", "/relay/status")
    typer.echo(pretty(found)) if json else _print(found)
    if check and found["alerts"]:
        raise typer.Exit(1)


def reload(data: Annotated[Path | None, typer.Option(help="The server's data folder. Default: .capstream")] = None) -> None:
    """Let the server on a data folder read capstream.toml again. The log says what took effect and what needs a restart."""
    settings = config.load(data=data)
    supervisor.reload(settings.data)
    typer.echo("the settings are read again")


def _print(found: Json) -> None:
    out = console()
    alerts = folded("alert", "about", "reason", "cure", title="Alerts")
    for each in found["alerts"]:
        alerts.add_row(*(Text(each[name]) for name in ("name", "about", "reason", "cure")))
    out.print(alerts if found["alerts"] else "health: ok")
    journal, waiting = found["journal"], found["waiting"]
    facts = {
        "not settled": f"{journal['pending']} webhooks, the oldest {found['oldestPendingS']:.1f} s old",
        "parked, held": f"{waiting['parked']} payloads, {waiting['held']} events",
        "in outboxes": f"{waiting['outbox']} payloads of dataflows that are behind",
        "refused (429)": "; ".join(f"{about}: {why}" for about, why in found["refusing"].items()) or "nobody",
        "dead letters": f"{waiting['deadLetters']}",
        "deleted members": "{open} to be erased, {due} of them due; {erased} erased".format(**found["privacy"]),
        "disk": f"{found['disk']['freeBytes']} bytes free",
        "books": "balanced" if found["balanced"] else "not balanced: events are on their way, or report it",
    }
    facts |= {
        f"{name}.db": f"{size['bytes']} bytes, {size['freeBytes']} of them free" for name, size in found["disk"]["stores"].items()
    }
    facts |= {f"token of {client}": _token(token) for client, token in found["tokens"].items()}
    facts |= {
        f"dataflow {key}": f"{flow['state']} for {flow['sinceS']:.0f} s, behind by {found['behind'][key]} events,"
        f" {found['lag'][key]:.1f} s {flow['reason']}"
        for key, flow in found["delivery"].items()
    }
    table = folded("what", "now")
    for name, value in facts.items():
        table.add_row(Text(name), Text(value))
    out.print(table)
    sources = folded("source", "received", "duplicates", "processed", "skipped", "dead letters", "lag p99 ms")
    for key, books in found["sources"].items():
        names = ("received", "duplicates", "processed", "skipped", "deadLettered")
        sources.add_row(Text(key), *(str(books[name]) for name in names), str(books["lagMs"]["p99"]))
    out.print(sources)


def _token(token: Json) -> str:
    failing = f"; none for {token['failingS']:.0f} s: {token['reason']}" if token["failingS"] else ""
    return f"expires in {token['expiresInS']:.0f} s{failing}"
