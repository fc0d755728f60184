"""`capstream erase`: a member's data out of the relay's stores, whether the server runs or not."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.cli.client import PlatformClient
from capstream.cli.options import CredentialsFile, find
from capstream.config import Settings
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, dumps
from capstream.layout import Layout
from capstream.member_erasure import erase_stopped
from capstream.relay.sweep import Asked
from capstream.storage.sqlite_files import compact as compacted
from capstream.supervisor import locked, runs

_POLL_S = 0.5


def erase(
    member: Annotated[str, typer.Argument(help="Capillary's customer id.")],
    org: Annotated[str, typer.Option(help="Capillary's org id, as the webhooks state it in orgId.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log, so name no person.")],
    compact: Annotated[
        bool, typer.Option(help="Of a stopped server: rewrite the files, so that no older copy is left; needs as much free disk.")
    ] = True,
    wait_s: Annotated[float, typer.Option(help="Of a running server: how long to wait until it is done.")] = 600,
    data: Annotated[Path | None, typer.Option(help="The server's data folder. Default: .capstream")] = None,
    credentials: CredentialsFile = None,
) -> None:
    """Take a member out of the relay: bodies in the journal, state, dead letters, parked and waiting payloads, index.

    A running server does it itself, beside its work. The journal keeps an empty entry, so that repeats are still told. Nothing is
    deleted on the platform: that is a work order there. Exit code 1 when it is not done yet: the server goes on with it.
    """
    for name, value in (("member", member), ("--org", org)):
        if not (value.isascii() and value.isdigit()):
            raise InputError(name, f"{value[:20]!r} is no id", "give the number Capillary uses")
    settings = config.load(data=data)
    if credentials is not None or runs(settings.data):
        found = _asked_for(credentials or Layout(settings.data).credentials, org, member, reason, wait_s)
    else:
        found = _stopped(settings, Asked(org_id=org, customer_id=member, reason=reason, who="command line"), compact=compact)
    typer.echo(dumps({**found.get("erased", {}), "linked": found.get("linked", [])}).decode())
    if found.get("linked"):
        typer.echo(f"merged with {', '.join(found['linked'])}: erase them too, if they are the same person", err=True)
    if found["state"] != "erased":
        typer.echo("it is not done yet: what waits has to be delivered first; the server goes on with it", err=True)
        raise typer.Exit(1)


def _asked_for(credentials: Path, org: str, member: str, reason: str, wait_s: float) -> Json:
    until = time.monotonic() + wait_s
    with PlatformClient(find(credentials)) as client:
        client.relay("POST", "/relay/privacy-requests", body={"orgId": org, "customerId": member, "reason": reason})
        while (found := client.relay("GET", f"/relay/privacy-requests/{org}/{member}"))["state"] != "erased":
            if time.monotonic() >= until:
                break
            time.sleep(_POLL_S)
    return found


def _stopped(settings: Settings, asked: Asked, *, compact: bool) -> Json:
    layout = Layout(settings.data)
    with locked(settings.data):
        found = asyncio.run(erase_stopped(config.Live(settings), layout, asked))
        if compact and found["state"] == "erased":
            for path in (layout.journal, layout.courier, layout.event_index):
                compacted(path, shrinks=True)
    return found
