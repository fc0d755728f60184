"""The `capstream` command. Each group lives in a module of its own; here they are put together."""

import sys
from typing import ClassVar

import typer

from capstream import __version__
from capstream.cli.lazy import LazyGroup
from capstream.kernel.errors import CapstreamError


class Commands(LazyGroup):
    """Every command: where its function or its group is."""

    places: ClassVar[dict[str, str]] = {
        "up": "capstream.cli.serve:up",
        "relay": "capstream.cli.serve:relay",
        "platform": "capstream.cli.serve:platform",
        "demo": "capstream.cli.demo:demo",
        "simulate": "capstream.cli.simulate:simulate",
        "simulator": "capstream.cli.simulator:simulator",
        "status": "capstream.cli.status:status",
        "health": "capstream.cli.health:health",
        "reload": "capstream.cli.status:reload",
        "compact": "capstream.cli.compact:compact",
        "erase": "capstream.cli.erase:erase",
        "privacy": "capstream.cli.privacy:app",
        "rotate-keys": "capstream.cli.rotate_keys:rotate_keys",
        "replay": "capstream.cli.replay:replay",
        "coverage": "capstream.cli.coverage:coverage",
        "doctor": "capstream.cli.doctor:doctor",
        "backfill": "capstream.cli.backfill:backfill",
        "reconcile": "capstream.cli.reconcile:reconcile",
        "query": "capstream.cli.query:query",
        "connect": "capstream.cli.connect:app",
        "profile": "capstream.cli.profile:app",
        "map": "capstream.cli.mapping:app",
        "rejected": "capstream.cli.rejected:app",
        "schema": "capstream.cli.schema:app",
        "sources": "capstream.cli.sources:app",
        "events": "capstream.cli.events:app",
        "faults": "capstream.cli.faults:app",
        "drift": "capstream.cli.drift:app",
        "audit": "capstream.cli.audit:app",
        "parked": "capstream.cli.parked:app",
        "dead-letters": "capstream.cli.dead_letters:app",
        "alerts": "capstream.cli.alerts:app",
        "org": "capstream.cli.org:app",
        "sandbox": "capstream.cli.sandbox:app",
        "role": "capstream.cli.role:app",
        "account": "capstream.cli.account:app",
    }


app = typer.Typer(
    cls=Commands,
    name="capstream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Streams a loyalty programme (Capillary) into a customer data platform (Adobe Experience Platform, real or embedded)."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def run() -> None:
    """Run the command line; a foreseen failure is one line on standard error and exit code 2."""
    try:
        app()
    except CapstreamError as error:
        typer.echo(f"capstream: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"capstream: {error.filename}: {error.strerror}; name a file that can be read or written", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
