"""`capstream map`: test, explain, try, suggest, import and export mappings."""

from pathlib import Path
from typing import Annotated

import typer

from capstream.aep.data_prep.cases import Surroundings, run_lines
from capstream.cli import mapping_files, mapping_try
from capstream.cli.options import AsJson
from capstream.kernel.clock import system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import pretty
from capstream.lang.explain import Explanation, explain, pointed

app = typer.Typer(help="Mappings: test, explain, try, suggest, import, export.", no_args_is_help=True)
app.command("try")(mapping_try.try_)
app.command("suggest")(mapping_try.suggest)
app.command("import")(mapping_files.import_)
app.command("export")(mapping_files.export)


@app.command("test")
def run_cases(
    file: Annotated[Path, typer.Argument(help="Mapping cases, one JSON object a line.")],
    json: AsJson = False,
) -> None:
    """Run mapping cases; print each failure as a diff, then how many passed. Exit code 1 when one failed."""
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("FILE", f"{file} cannot be read: {error}", "name a file of JSON Lines in UTF-8") from error
    passed, failures = 0, []
    for result in run_lines(lines, Surroundings(system_clock(), new_uuid)):
        if result.passed:
            passed += 1
            continue
        failures.append(result)
        if not json:
            typer.echo(result.describe())
    if passed + len(failures) == 0:
        raise InputError("FILE", f"{file} holds no case", "write one JSON object a line")
    if json:
        typer.echo(pretty({"passed": passed, "failed": len(failures), "failures": [one.to_json() for one in failures]}))
    else:
        typer.echo(f"{passed} passed, {len(failures)} failed")
    raise typer.Exit(1 if failures else 0)


@app.command("explain")
def explain_(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="The text of a calculated field.")],
    json: AsJson = False,
) -> None:
    """Show what an expression is read as, its types and the code it becomes. Exit code 1 when it is not valid."""
    found = explain(expression)
    typer.echo(pretty(found.to_json()) if json else _described(found))
    raise typer.Exit(1 if found.diagnostics else 0)


def _described(found: Explanation) -> str:
    parts = [pointed(found.expression, finding) for finding in found.diagnostics]
    if found.tree:
        parts.append(_part("tree (node : type)", found.tree))
        parts.append(f"result\n  {found.type}")
        parts.append(_part("reads", found.reads or ["nothing of the record"]))
    if found.code:
        parts.append(f"code\n  {found.code}")
        parts.append(_part("where", [f"{name} = {meaning}" for name, meaning in found.names] or ["no names"]))
    return "\n".join(parts)


def _part(title: str, lines: tuple[str, ...] | list[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)])
