"""`capstream simulator`: a Capillary of one's own to test any receiver with; webhooks are registered through its API."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from capstream.kernel.json import Json, dumps
from capstream.relay.facade import FacadeOptions
from capstream.relay.sender import Rate, SenderOptions
from capstream.relay.simulate import Progress, Simulation, SimulationOptions, SimulationSummary


def simulator(
    port: Annotated[int, typer.Option(help="Port of its API on the loopback address; 0: any free one.")] = 8790,
    transactions: Annotated[Path | None, typer.Option(help="CSV of retail transactions. Default: made-up ones.")] = None,
    rate: Annotated[str, typer.Option(help="`max`, events per second such as `20/s`, or `realtime×N`.")] = "20/s",
    seconds: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and input, same events.")] = 1,
    paused: Annotated[bool, typer.Option("--paused", help="Begin with `POST /_sim/start`.")] = False,
    key: Annotated[
        str, typer.Option(envvar="CAPSTREAM_SIMULATOR_KEY", help="The key its API wants. Default: any key is good.")
    ] = "",
    secret: Annotated[str, typer.Option(envvar="CAPSTREAM_SIMULATOR_SECRET", help="The secret that belongs to the key.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for events, rejects, truth and summary.")] = None,
) -> None:
    """Serve Capillary's API and let a loyalty programme happen, until stopped; prints its address first, a summary line last."""
    options = SimulationOptions(
        sender=SenderOptions(url="", rate=Rate.of(rate), connections=1, seed=seed),
        facade=FacadeOptions(key=key, secret=secret, seed=seed),
        facade_port=port,
        transactions=transactions,
        seconds=seconds,
        seed=seed,
        is_paused=paused,
        out=out,
    )
    typer.echo(dumps(_told(asyncio.run(_run(options)))).decode())


async def _run(options: SimulationOptions) -> SimulationSummary:
    """Return the summary once it was stopped; when the bills are used up the API stays."""
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with Simulation(options) as simulation:
        typer.echo(dumps({"api": simulation.api_url}).decode())
        summary = await simulation.send(_silent, stop)
        if options.seconds is None:
            await stop.wait()
        return summary


def _silent(_: Progress) -> None:
    """Show nothing: the output is for programs, `GET /_sim/state` has the state."""


def _told(summary: SimulationSummary) -> Json:
    return {
        "seconds": round(summary.elapsed_s, 1),
        "events": summary.events,
        "kinds": summary.kinds,
        "members": len(summary.truth),
        "virtualTime": summary.virtual_ms,
    }
