"""`capstream compact`: free pages of the files back to the disk, while the server is stopped."""

from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.cli.options import AsJson
from capstream.kernel.json import dumps
from capstream.layout import Layout
from capstream.storage.sqlite_files import compact as compacted
from capstream.supervisor import locked


def compact(
    data: Annotated[Path | None, typer.Option(help="The stopped server's data folder. Default: .capstream")] = None,
    json: AsJson = False,
) -> None:
    """Make the relay's files as small as what they hold. A running server gives space back by itself, but keeps a reserve;
    files that an older capstream made have to be compacted once for that.

    Stop the server first. Needs as much free disk as the largest file takes afterwards. Interrupted, it changes nothing.
    """
    folder = config.load(data=data).data
    layout, sizes = Layout(folder), dict[str, tuple[int, int]]()
    with locked(folder):
        for path in (layout.journal, layout.courier, layout.event_index):
            if path.exists():
                sizes[path.name] = compacted(path, shrinks=True)
    if json:
        found = {name: {"bytesBefore": before, "bytesAfter": after} for name, (before, after) in sizes.items()}
        typer.echo(dumps(found).decode())
        return
    for name, (before, after) in sizes.items():
        typer.echo(f"{name}: {before:,} bytes before, {after:,} after")
