"""`capstream erase`: a member's data out of the relay's stores, while the server is stopped."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps
from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay.erasure import Erased, Erasure
from capstream.relay.event_index import FACETS
from capstream.relay.vault import Vault
from capstream.relay_side import key_file
from capstream.storage.key_file import read_keys
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite import compact as compacted
from capstream.storage.sqlite_index import SqliteIndex
from capstream.supervisor import locked


def erase(
    member: Annotated[str, typer.Argument(help="Capillary's customer id.")],
    org: Annotated[str, typer.Option(help="Capillary's org id, as the webhooks state it in orgId.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log, so name no person.")],
    compact: Annotated[
        bool, typer.Option(help="Rewrite the files, so that nothing is left in their free space; needs as much free disk.")
    ] = True,
    data: Annotated[Path | None, typer.Option(help="The stopped server's data folder. Default: .capstream")] = None,
) -> None:
    """Take a member out of the relay: bodies in the journal, state, dead letters, parked and held payloads, index.

    Stop the server first. The journal keeps an empty entry, so that repeats are still told. Nothing is deleted on the platform:
    that is a work order there. Exit code 1 when something of the member still waits for delivery.
    """
    for name, value in (("member", member), ("--org", org)):
        if not value.isdecimal():
            raise InputError(name, f"{value[:20]!r} is no id", "give the number Capillary uses")
    settings = config.load(data=data)
    layout = Layout(settings.data)
    with locked(settings.data):
        found = _erased(layout, org, member, settings.clock()())
        if compact:
            for path in (layout.journal, layout.courier, layout.event_index):
                compacted(path, shrinks=True)
        digest = Vault(*read_keys(key_file(settings, layout))).digest(f"{org}/{member}".encode()).hex()[:12]
        office = SqliteDocuments(layout.relay_admin)
        facts = {name: value for name, value in asdict(found).items() if name != "linked"}
        details = {**facts, "reason": reason}
        Audit(office, settings.clock()).note(
            who="command line", address="", act="erase_member", target=digest, status=200, details=details
        )
        office.close()
    typer.echo(dumps({**facts, "linked": found.linked}).decode())
    if found.linked:
        typer.echo(f"merged with {', '.join(found.linked)}: erase them too, if they are the same person", err=True)
    if found.left:
        typer.echo("something still waits for delivery: let it be delivered or give it up, then run this again", err=True)
        raise typer.Exit(1)


def _erased(layout: Layout, org: str, member: str, now_ms: int) -> Erased:
    journal, index = SqliteLog(layout.journal), SqliteIndex(layout.event_index, FACETS)
    courier = SqliteDocuments(layout.courier)
    try:
        return Erasure(journal, courier, index, org_id=org, customer_id=member).run(now_ms)
    finally:
        for store in (journal, courier, index):
            store.close()
