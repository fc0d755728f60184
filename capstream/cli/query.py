"""`capstream query`: SQL over the datasets."""

import csv
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.json import Json, dumps, pretty


class Format(StrEnum):
    """How the rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over datasets by their table names, nested fields included.")],
    output: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
    limit: Annotated[int, typer.Option(help="Most rows to fetch.")] = 1000,
    credentials: CredentialsFile = None,
) -> None:
    """Run SQL over the datasets of the sandbox."""
    with PlatformClient(find(credentials)) as client:
        answer = client.platform("POST", "/capstream/query", body={"sql": sql, "limit": limit})
    columns = [column["name"] for column in answer["columns"]]
    rows = [[row[name] for name in columns] for row in answer["rows"]]
    if output is Format.JSON:
        typer.echo(pretty(answer["rows"]))
    elif output is Format.CSV:
        csv.writer(sys.stdout).writerows([columns, *([_text(value) for value in row] for row in rows)])
    else:
        table = folded(*columns)
        for row in rows:
            table.add_row(*(Text(_text(value)) for value in row))
        console().print(table)


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value).decode()
