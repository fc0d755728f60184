"""`capstream health`: whether the server of this data folder is ready, for probes of containers and service managers."""

from pathlib import Path
from typing import Annotated

import httpx
import typer

from capstream import config

_TIMEOUT_S = 3.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - where one is asked that listens everywhere


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
    host = _ANY.get(server.host, f"[{server.host}]" if ":" in server.host else server.host)
    url = f"http://{host}:{server.port}/health"
    try:
        answer = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        typer.echo(f"{url} does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from error
    typer.echo(answer.text)
    if answer.status_code != httpx.codes.OK:
        raise typer.Exit(1)
