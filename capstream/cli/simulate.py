"""`capstream simulate`: retail transactions through the loyalty programme into a running server; the books are compared."""

import asyncio
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from capstream import config
from capstream.capillary.programme.distort import Malformation
from capstream.cli.live_view import LiveView
from capstream.cli.options import CredentialsFile, find
from capstream.cli.rehearsal import Outcome, rehearse
from capstream.credentials import Credentials
from capstream.kernel.json import Json, dumps
from capstream.relay.faults import Faults
from capstream.relay.sender import Rate, SenderOptions
from capstream.relay.simulate import SimulationOptions

MALFORMED_SHARE = 0.0005


def simulate(
    transactions: Annotated[
        Path | None,
        typer.Option(help="CSV of retail transactions, one row a line item or one row an invoice. Default: made-up ones."),
    ] = None,
    rate: Annotated[str, typer.Option(help="`max`, events per second such as `200/s`, or `realtime×N`.")] = "max",
    seconds: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    connections: Annotated[int, typer.Option(help="Parallel webhook connections (maxAllowedConnections).")] = 10,
    source: Annotated[str, typer.Option(help="Key of the relay's source.")] = "capillary",
    seed: Annotated[int, typer.Option(help="Same seed and input, same events.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for events, deliveries, rejects, truth and summary.")] = None,
    exports: Annotated[Path | None, typer.Option(help="Folder for the CSV exports Capillary would have made of the run.")] = None,
    credentials: CredentialsFile = None,
) -> None:
    """Stream a loyalty programme into a running server and compare the outcome; prints one JSON summary line last."""
    who = find(credentials)
    options = SimulationOptions(
        sender=sender(who, source, rate, connections=connections, seed=seed),
        faults=faults(),
        transactions=transactions,
        seconds=seconds,
        seed=seed,
        out=out,
        exports=exports,
    )
    data = str((credentials or config.load().data / "credentials.json").parent)
    raise typer.Exit(asyncio.run(_run(who, options, source=source, data=data)))


def sender(who: Credentials, source: str, rate: str, *, connections: int, seed: int) -> SenderOptions:
    """Return the webhook registration that `connect capillary` prints for this server."""
    return SenderOptions(
        url=f"{who.relay_url}/webhooks/capillary/{source}",
        headers={"Authorization": f"Bearer {who.webhook_secret}", "Content-Type": "application/json"},
        rate=Rate.of(rate),
        connections=connections,
        seed=seed,
    )


def faults() -> Faults:
    """Return the ordinary imperfections of a webhook feed, and a few malformed bodies among them."""
    kinds = (Malformation.TRUNCATED, Malformation.NOT_JSON, Malformation.MISSING_CUSTOMER_ID, Malformation.UNKNOWN_EVENT_NAME)
    return Faults(malformed=dict.fromkeys(kinds, MALFORMED_SHARE))


async def _run(who: Credentials, options: SimulationOptions, *, source: str, data: str) -> int:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    with LiveView(who, data) as show:
        outcome = await rehearse(who, options, source=source, show=show, stop=stop)
    return report(outcome)


def report(outcome: Outcome) -> int:
    """Print what differs and then the summary line; return the exit code."""
    for difference in outcome.findings.differences:
        typer.echo(f"DIFFERENCE {difference}", err=True)
    typer.echo(dumps(_summary(outcome)).decode())
    return 0 if outcome.findings.count == 0 else 1


def _summary(outcome: Outcome) -> dict[str, Json]:
    summary, books = outcome.summary, outcome.relay["sources"][outcome.connection["source_key"]]
    p50, p99 = (outcome.view.latency_ms(share) for share in (0.5, 0.99))
    rows: dict[str, Any] = asdict(summary.rows)
    return {
        "ok": outcome.findings.count == 0,
        "seconds": round(summary.elapsed_s, 1),
        "events": summary.events,
        "eventsPerSecond": round(summary.events / max(summary.elapsed_s, 0.001)),
        "kinds": summary.kinds,
        "rows": rows,
        "sent": summary.sent,
        "relay": {
            name: books[name]
            for name in ("received", "processed", "duplicates", "deadLettered", "skipped", "flows", "deadByClass")
        },
        "lake": outcome.findings.lake,
        "membersCompared": outcome.findings.members,
        "differences": outcome.findings.count,
        "latencyMs": {"p50": p50 and round(p50), "p99": p99 and round(p99)},
    }
