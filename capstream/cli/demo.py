"""`capstream demo`: everything at once on a fresh folder: server, source, simulator, live view, comparison."""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer

from capstream import app, config, credentials
from capstream.cli.live_view import LiveView
from capstream.cli.rehearsal import Outcome, rehearse
from capstream.cli.simulate import faults, report, sender
from capstream.config import Settings
from capstream.kernel import log
from capstream.kernel.errors import CapstreamError, InputError
from capstream.relay.simulate import SimulationOptions
from capstream.supervisor import Supervisor

_SOURCE = "capillary"
_READY_WITHIN_S = 60.0
_MARK = "demo"
_CUSTOMERS = 500
_BILLS_PER_DAY = 8.0  # few, so that a short run covers months: tiers move, points expire


def demo(
    seconds: Annotated[float | None, typer.Option(help="Stop by itself after this time; default: on Ctrl-C.")] = None,
    rate: Annotated[str, typer.Option(help="Webhooks per second, or `max`.")] = "200/s",
    data: Annotated[Path, typer.Option(help="Folder of the demo; emptied at every start.")] = Path(".capstream-demo"),
    port: Annotated[int, typer.Option(help="Port to serve; another one is taken when it is busy.")] = 8787,
    seed: Annotated[int, typer.Option(help="Same seed, same programme.")] = 1,
) -> None:
    """Stream a made-up loyalty programme through relay and platform, show it live, and compare every profile with the ledger."""
    _empty(data)
    overrides = {"server": {"port": _free(port), "log_level": "warning"}}
    settings = config.load(data=data, overrides=overrides)
    log.configure(settings.server.log_level)
    outcome = asyncio.run(_run(settings, seconds, rate, seed=seed))
    raise typer.Exit(report(outcome) if outcome else 0)


def _empty(data: Path) -> None:
    """Remove what an earlier demo left; a folder that no demo made is not touched."""
    if data.exists() and any(data.iterdir()) and not (data / _MARK).exists():
        raise InputError(str(data), "it is not empty and no demo made it", "choose another --data")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    (data / _MARK).touch()


def _free(port: int) -> int:
    for wanted in (port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise CapstreamError("no port is free")


async def _run(settings: Settings, seconds: float | None, rate: str, *, seed: int) -> Outcome | None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    app.prepare(settings)
    who = credentials.read(settings.data / "credentials.json")
    async with _serving(settings):
        if not await _ready(settings, stop):
            return None
        options = SimulationOptions(
            sender=sender(who, _SOURCE, rate, connections=10, seed=seed),
            faults=faults(),
            customers=_CUSTOMERS,
            bills_per_day=_BILLS_PER_DAY,
            seconds=seconds,
            seed=seed,
        )
        with LiveView(who, str(settings.data)) as show:
            return await rehearse(who, options, source=_SOURCE, show=show, stop=stop)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[None]:
    async def watch(server: Supervisor) -> None:
        while True:
            server.tick()
            await asyncio.sleep(0.1)

    with Supervisor(app.with_translators(app.WHOLE, settings), settings.data, app.child_environment(settings)) as server:
        watching = asyncio.create_task(watch(server))
        try:
            yield
        finally:
            watching.cancel()


async def _ready(settings: Settings, stop: asyncio.Event) -> bool:
    """Return True once the server answers, False when it was stopped before."""
    async with httpx.AsyncClient() as http:
        for _ in range(int(_READY_WITHIN_S / 0.05)):
            if stop.is_set():
                return False
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{settings.base_url}/health")).status_code == 200:
                    return True
            await asyncio.sleep(0.05)
    raise CapstreamError(f"the server did not become ready within {_READY_WITHIN_S:.0f} s")
