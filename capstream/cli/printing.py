"""How the administrative commands print: a table for people, JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from capstream.kernel.json import Json, pretty

_WIDE = 250


def table(items: Iterable[Mapping[str, Json]], columns: Sequence[tuple[str, str]], *, json: bool) -> None:
    """Print objects, one a row; `columns` are (heading, member)."""
    rows = list(items)
    if json:
        typer.echo(pretty(rows))
        return
    made = folded(*(heading for heading, _ in columns))
    for row in rows:
        made.add_row(*(Text(_cell(row.get(member))) for _, member in columns))
    console().print(made)


def console() -> Console:
    """Return where people read; what goes to a file or a pipe has wide lines, so that a line stays one."""
    made = Console()
    return made if made.is_terminal else Console(width=_WIDE)


def folded(*headings: str, title: str | None = None) -> Table:
    """Return a table whose cells are broken where they are too long, so that ids and addresses can be copied."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), title=title)


def one(item: Json, *, json: bool, line: str = "") -> None:
    """Print one object: as JSON, or `line`, or its members in two columns."""
    if json:
        typer.echo(pretty(item))
    elif line:
        typer.echo(line)
    else:
        made = folded("", "")
        made.show_header = False
        for name, value in item.items():
            made.add_row(Text(name), Text(_cell(value)))
        console().print(made)


def _cell(value: Json) -> str:
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(_cell(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(each)}" for name, each in value.items())
    return str(value)
