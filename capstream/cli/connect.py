"""`capstream connect`: provision the source through the public APIs: plan, apply, destroy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import httpx
import typer

from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.cli.yaml_files import load_yaml, yaml_text
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, pretty
from capstream.relay import provision, provision_wanted
from capstream.relay.provision_changes import Change
from capstream.relay.provision_wanted import Wanted

app = typer.Typer(help="Connect a source.", no_args_is_help=True)
_SIGNS = {"create": "+", "update": "~", "delete": "-", "keep": " "}
_Result = TypeVar("_Result")


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("capillary.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the connection's document with what is the default of each member."""
    if file.exists() and not force:
        raise InputError(str(file), "it is there already", "give another name, or --force")
    head = "# A connection of Capillary. Meaning of each member: docs/howto/connect-as-code.md\n"
    file.write_text(head + yaml_text(provision_wanted.default_document()) + "\n", "utf-8")
    typer.echo(f"wrote {file}")


@app.command()
def capillary(
    file: Annotated[Path | None, typer.Argument(help="YAML file of the connection; without it the defaults hold.")] = None,
    credentials: CredentialsFile = None,
    source: Annotated[str, typer.Option(help="Key of the source; the last part of the webhook's address.")] = "capillary",
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Remove what this connection made.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    capillary_api: Annotated[str, typer.Option(help="Base URL of Capillary's API, to enrich from.")] = "",
    capillary_key: Annotated[str, typer.Option(help="API key.", envvar="CAPILLARY_API_KEY")] = "",
    capillary_secret: Annotated[str, typer.Option(help="API secret.", envvar="CAPILLARY_API_SECRET")] = "",
    json: AsJson = False,
) -> None:
    """Create schemas, datasets, connections, mappings and dataflows, and tell the relay where to deliver.

    A run can be repeated: what exists is used. `--plan` together with `--destroy` shows what would be removed.
    """
    account = asdict(find(credentials))
    wanted = read_wanted(file, source)
    if capillary_api:
        api = {"host": capillary_api, "key": capillary_key, "secret": capillary_secret}
        wanted = replace(wanted, settings={**wanted.settings, "capillaryApi": api})
    if destroy:
        _destroy(account, wanted, only_plan=plan, yes=yes, as_json=json)
    elif plan:
        _show(_run(lambda http: provision.plan(account, http=http, wanted=wanted)), as_json=json)
    else:
        _print(_run(lambda http: provision.connect(account, http=http, wanted=wanted)), as_json=json)


def read_wanted(file: Path | None, source: str = "capillary") -> Wanted:
    """Return the connection a file describes, or the default one under the key `source`. Errors: InputError."""
    if file is None:
        return Wanted(source=source)
    return provision_wanted.read(load_yaml(file) or {}, lambda name: load_yaml(file.parent / name))


def _run(act: Callable[[httpx.AsyncClient], Awaitable[_Result]]) -> _Result:
    async def main() -> _Result:
        async with httpx.AsyncClient(timeout=60) as http:
            return await act(http)

    return asyncio.run(main())


def _destroy(account: dict[str, str], wanted: Wanted, *, only_plan: bool, yes: bool, as_json: bool) -> None:
    if only_plan or not yes:
        _show(_run(lambda http: provision.destroy(account, http=http, wanted=wanted, dry=True)), as_json=as_json and only_plan)
    if only_plan:
        return
    if not yes:
        typer.confirm("Remove all this, with the data in the datasets?", abort=True)
    _show(_run(lambda http: provision.destroy(account, http=http, wanted=wanted)), as_json=as_json)


def _show(changes: Sequence[Change], *, as_json: bool) -> None:
    counts = {action: sum(change.action == action for change in changes) for action in _SIGNS}
    if as_json:
        typer.echo(pretty({"changes": [asdict(change) for change in changes], "counts": counts}))
        return
    for change in changes:
        why = f" ({change.why})" if change.why else ""
        typer.echo(f"{_SIGNS[change.action]} {change.action} {change.kind} {change.name}{why}")
    typer.echo(", ".join(f"{count} to {action}" for action, count in counts.items()))


def _print(result: dict[str, Json], *, as_json: bool) -> None:
    if as_json:
        typer.echo(pretty(result))
        return
    table = folded("what", "value")
    for key, value in result.items():
        shown = dict.fromkeys(value, "***") if key == "webhook_headers" else value
        table.add_row(key, str(shown))
    console().print(table)
