"""`capstream health`: whether the server of this data folder is ready, for probes of containers and service managers."""

from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.probe import ask, health_url


def health(
    data: Annotated[Path | None, typer.Option(help="The server's data folder. Default: .capstream")] = None,
    port: Annotated[
        int | None, typer.Option(help="Its port, where it was given at the start. Default: that of the settings")
    ] = None,
) -> None:
    """Exit with 0 when the server on this machine is ready, with 1 when it is not, saying why.

    It asks the port and address of the server's own settings, not the address others use.
    """
    server = config.load(data=data, overrides={"server": {"port": port}}).server
    found = ask(server)
    if not found.has_answered:
        typer.echo(f"{health_url(server)} does not answer: {found.text}", err=True)
        raise typer.Exit(1)
    typer.echo(found.text)
    if not found.is_ready:
        raise typer.Exit(1)
