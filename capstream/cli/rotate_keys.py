"""`capstream rotate-keys`: a new key for the secrets a stopped server keeps."""

from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.key_change import change_platform_key, change_relay_key
from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay_side import key_file
from capstream.storage.sqlite import SqliteDocuments
from capstream.supervisor import locked


def rotate_keys(
    data: Annotated[Path | None, typer.Option(help="The stopped server's data folder. Default: .capstream")] = None,
) -> None:
    """Seal every stored secret with a new key: those of the relay's sources, and those of the platform's connections.

    Stop the server first. Cut off at any moment, all secrets still open; run it again to finish. Webhook secrets stay valid.
    """
    settings = config.load(data=data)
    layout = Layout(settings.data)
    with locked(settings.data):
        parts: list[tuple[str, int]] = []
        if layout.sources.exists():
            parts.append(("relay", change_relay_key(layout, key_file(settings, layout))))
        if layout.control.exists():
            parts.append(("platform", change_platform_key(layout)))
        office = SqliteDocuments(layout.relay_admin)
        try:
            audit = Audit(office, settings.clock())
            for name, count in parts:
                audit.note(who="command line", address="", act="rotate_keys", target=name, status=200, details={"secrets": count})
        finally:
            office.close()
    for name, count in parts:
        typer.echo(f"{name}: {count} secrets are sealed with a new key")
