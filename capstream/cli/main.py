"""The `capstream` command. Each group lives in a module of its own; here they are put together."""

import sys

import typer

from capstream import __version__
from capstream.cli import (
    account,
    alerts,
    audit,
    backfill,
    compact,
    connect,
    coverage,
    dead_letters,
    demo,
    doctor,
    events,
    faults,
    mapping,
    org,
    profile,
    query,
    reconcile,
    rejected,
    replay,
    role,
    sandbox,
    schema,
    serve,
    simulate,
    sources,
    status,
)
from capstream.kernel.errors import CapstreamError

app = typer.Typer(
    name="capstream",
    help="Streams a loyalty programme (Capillary) into a customer data platform (Adobe Experience Platform, real or embedded).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(serve.up)
app.command("relay")(serve.relay)
app.command("platform")(serve.platform)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("status")(status.status)
app.command("reload")(status.reload)
app.command("compact")(compact.compact)
app.command("replay")(replay.replay)
app.command("coverage")(coverage.coverage)
app.command("doctor")(doctor.doctor)
app.command("backfill")(backfill.backfill)
app.command("reconcile")(reconcile.reconcile)
app.command("query")(query.query)
app.add_typer(connect.app, name="connect")
app.add_typer(profile.app, name="profile")
app.add_typer(mapping.app, name="map")
app.add_typer(rejected.app, name="rejected")
app.add_typer(schema.app, name="schema")
app.add_typer(sources.app, name="sources")
app.add_typer(events.app, name="events")
app.add_typer(faults.app, name="faults")
app.add_typer(audit.app, name="audit")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(alerts.app, name="alerts")
app.add_typer(org.app, name="org")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(role.app, name="role")
app.add_typer(account.app, name="account")


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


if __name__ == "__main__":
    run()
