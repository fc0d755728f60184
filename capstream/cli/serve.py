"""`capstream up`, `relay`, `platform`: start the processes of a data folder."""

from pathlib import Path
from typing import Annotated

import typer

from capstream import app, config
from capstream.kernel import log
from capstream.probe import ask
from capstream.service_manager import Reports, ServiceManager
from capstream.supervisor import supervise

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything; made on first start. Default: .capstream")]
Port = Annotated[int | None, typer.Option(help="The one port to serve. Default: 8787")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1")]


def up(data: Data = None, port: Port = None, host: Host = None) -> None:
    """Start the embedded platform and the relay on one port and one folder."""
    _serve(app.WHOLE, data, port, host)


def relay(data: Data = None, port: Port = None, host: Host = None) -> None:
    """Start the relay alone, to stream into Adobe's real platform."""
    _serve(app.RELAY, data, port, host)


def platform(data: Data = None, port: Port = None, host: Host = None) -> None:
    """Start the embedded Experience Platform alone."""
    _serve(app.PLATFORM, data, port, host)


def _serve(roles: tuple[str, ...], data: Path | None, port: int | None, host: str | None) -> None:
    settings = config.load(data=data, overrides={"server": {"port": port, "host": host}})
    log.configure(settings.server.log_level)
    address, watchdog_s = config.service_manager()
    manager = ServiceManager(address=address, watchdog_s=watchdog_s)
    with manager.extending("preparing the data folder"):
        app.prepare(settings)
    typer.echo(f"capstream on {settings.base_url}, data in {settings.data} (Ctrl-C stops it)")
    reports = Reports(manager, lambda: ask(settings.server))
    supervise(app.with_translators(roles, settings), settings.data, app.child_environment(settings), reports)
