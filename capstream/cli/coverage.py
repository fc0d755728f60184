"""`capstream coverage`: what of Adobe's services answers, and which clients have seen it answer."""

import typer

from capstream.cli.options import AsJson
from capstream.cli.printing import console, folded
from capstream.kernel.json import pretty


def coverage(json: AsJson = False) -> None:
    """Print, per service, the operations built, those in the specification, and how many each client has verified.

    A client has verified an operation when a run of its test suite was answered with success.
    """
    from capstream import coverage as measured  # noqa: PLC0415 - it loads every service, and every other command would wait

    found = measured.services()
    if json:
        rows = [
            {
                "service": each.name,
                "built": [operation.id for operation in each.built],
                "missing": [operation.id for operation in each.missing],
                "verified": {client: sorted(ids) for client, ids in each.verified.items()},
            }
            for each in found
        ]
        typer.echo(pretty({"services": rows}))
        return
    table = folded("service", "built", "in the specification", *measured.CLIENTS.values())
    for each in found:
        counts = [len(each.built), len(each.built) + len(each.missing), *(len(each.verified[name]) for name in measured.CLIENTS)]
        table.add_row(each.title, *(f"{count}" for count in counts))
    console().print(table)
