"""`capstream schema`: look at schemas, compare them, draft them, test records against them, and make them from a file."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.registry import Registry
from capstream.cli.schema_apply import Application, Step
from capstream.cli.schema_cases import Judge, Verdict, cases
from capstream.cli.schema_source import composed, read_schema
from capstream.cli.yaml_files import load_yaml, yaml_text
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads, pretty
from capstream.xdm import blueprint
from capstream.xdm.diff import Change, changes
from capstream.xdm.drawing import tree
from capstream.xdm.infer import Note, infer
from capstream.xdm.render import full

app = typer.Typer(help="Schemas: show, compare, draft, test, apply.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="`$id`, `meta:altId` or title on the server; a standard component; a .json file.")]


@app.command("test")
def run_cases(
    file: Annotated[Path, typer.Argument(help="Cases, one JSON object a line: schema, instance, valid, keyword, pointer.")],
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Run validation cases; exit code 1 when one fails."""
    judge = Judge(lambda references: composed(references, credentials))
    verdicts = [judge.verdict(name, case) for name, case in cases(file)]
    counts = {outcome: sum(1 for one in verdicts if one.outcome == outcome) for outcome in ("passed", "failed", "skipped")}
    failed = [one for one in verdicts if one.outcome == "failed"]
    if json:
        typer.echo(pretty(counts | {"failures": [asdict(one) for one in failed]}))
    else:
        _print_verdicts(verdicts, counts)
    raise typer.Exit(1 if failed else 0)


def _print_verdicts(verdicts: Sequence[Verdict], counts: dict[str, int]) -> None:
    for one in verdicts:
        if one.outcome == "failed":
            typer.echo(f"{one.id}: {one.reason}")
    modes = sorted({one.reason for one in verdicts if one.outcome == "skipped"})
    for mode in modes:
        count = sum(1 for one in verdicts if one.outcome == "skipped" and one.reason == mode)
        typer.echo(f"{count} skipped: mode {mode}, not the platform's rules")
    typer.echo(f"{counts['passed']} passed, {counts['failed']} failed")


@app.command()
def show(
    name: Name,
    depth: Annotated[int, typer.Option(help="Levels to draw; 0 draws all.")] = 0,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Draw the fields of a schema or component, with types, rules and identities. `*` marks required fields."""
    found = read_schema(name, credentials)
    if json:
        typer.echo(pretty({"$id": found.uri, "title": found.title, **full(found.root)}))
        return
    typer.echo(f"{found.title or name}  {found.uri}".rstrip())
    for line in tree(found.root, depth=depth, marks=_identities(found.descriptors)):
        typer.echo(line)


def _identities(descriptors: Sequence[Json]) -> dict[str, str]:
    marks: dict[str, str] = {}
    for one in descriptors:
        if one.get("@type") == "xdm:descriptorIdentity" and isinstance(one.get("xdm:sourceProperty"), str):
            kind = "primary identity" if one.get("xdm:isPrimary") else "identity"
            marks[one["xdm:sourceProperty"].replace("[*]", "")] = f"{kind} {one.get('xdm:namespace')}"
    return marks


@app.command()
def diff(old: Name, new: Name, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Compare two schemas; exit code 1 when a change breaks what depends on the old one."""
    found = list(changes(read_schema(old, credentials).root, read_schema(new, credentials).root))
    breaking = [change for change in found if change.breaking]
    if json:
        typer.echo(pretty({"breaking": len(breaking), "changes": [asdict(change) for change in found]}))
    else:
        _print_changes(found, len(breaking))
    raise typer.Exit(1 if breaking else 0)


def _print_changes(found: Sequence[Change], breaking: int) -> None:
    for change in sorted(found, key=lambda change: not change.breaking):
        typer.echo(f"{'breaks ' if change.breaking else 'allowed'}  {change.path}: {change.text}")
    typer.echo(f"{len(found)} {'change' if len(found) == 1 else 'changes'}, {breaking} breaking")


@app.command("infer")
def infer_(
    sample: Annotated[Path, typer.Option(help="Payloads: a JSON value, a JSON list, or one JSON object a line.")],
    title: Annotated[str, typer.Option(help="Title of the field group.")] = "Drafted fields",
    class_: Annotated[str, typer.Option("--class", help="Class the group is for: profile, experienceevent, or an `$id`.")] = (
        "experienceevent"
    ),
    json: AsJson = False,
) -> None:
    """Draft a field group from real payloads, as a file for `capstream schema apply`; notes go to standard error."""
    properties, notes = infer(_payloads(sample))
    if not properties:
        raise InputError(str(sample), "no usable field in it", "see the notes" if notes else "")
    group = {"title": title, "description": f"Drafted from {sample.name}.", "classes": [class_], "fields": properties}
    document = {"fieldGroups": [group]}
    blueprint.read(document)
    typer.echo(pretty(document) if json else yaml_text(document))
    _print_notes(notes)


def _payloads(path: Path) -> list[Json]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), "it cannot be read", error.strerror or "") from error
    try:
        whole = loads(text)
        records = whole if isinstance(whole, list) else [whole]
    except JsonError:
        records = _lines(path, text)
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, payload {number}", "it is no JSON object")
    return records


def _lines(path: Path, text: bytes) -> list[Json]:
    records: list[Json] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records += [loads(line)] if line.strip() else []
        except JsonError as error:
            raise InputError(f"{path}:{number}", f"not JSON: {error}") from error
    return records


def _print_notes(notes: Sequence[Note]) -> None:
    for note in notes:
        typer.echo(f"note: {note.path}: {note.text}", err=True)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML or JSON with namespaces, dataTypes, classes, fieldGroups and schemas.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Create what a file describes, or bring it up to date; a second run changes nothing. Works at Adobe, too."""
    plan = blueprint.read(load_yaml(file))
    with PlatformClient(find(credentials)) as client:
        steps = list(Application(Registry(client), dry_run).run(plan))
    if json:
        typer.echo(pretty([asdict(step) for step in steps]))
    else:
        _print_steps(steps, dry_run=dry_run)


def _print_steps(steps: Sequence[Step], *, dry_run: bool) -> None:
    table = folded("what", "name", "would be" if dry_run else "result", "id")
    for step in steps:
        table.add_row(*(Text(cell) for cell in (step.kind, step.name, step.action, step.id)))
    console().print(table)
