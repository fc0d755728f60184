"""`capstream doctor`: what is wrong with a connection, and what to do about it."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import httpx
import typer

from capstream import config
from capstream.cli.connect import read_wanted
from capstream.cli.options import AsJson, CredentialsFile
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads, pretty
from capstream.relay import doctor as relay_doctor
from capstream.relay.doctor import CHECKS, Finding, Report
from capstream.relay.provision_wanted import Wanted


def doctor(
    file: Annotated[Path | None, typer.Argument(help="YAML file of the connection; without it the defaults hold.")] = None,
    credentials: CredentialsFile = None,
    source: Annotated[str, typer.Option(help="Key of the source.")] = "capillary",
    json: AsJson = False,
) -> None:
    """Look at credentials, token, sandbox, permissions, schemas, datasets, mappings, dataflows and endpoint, one by one.

    Says with each finding what to do about it. Exit code 1 when there is one.
    """
    wanted = read_wanted(file, source)
    report = _examined(credentials or config.load().data / "credentials.json", wanted)
    if json:
        typer.echo(pretty({"ok": not report.findings, **asdict(report)}))
    else:
        _print(report)
    raise typer.Exit(1 if report.findings else 0)


def _examined(path: Path, wanted: Wanted) -> Report:
    """Return the report; a file that cannot be read is itself a finding."""
    try:
        account = _read(path)
    except InputError as error:
        finding = Finding("credentials", f"{error.path}: {error.reason}", error.cure)
        return Report(findings=[finding], skipped=list(CHECKS[1:]))

    async def main() -> Report:
        async with httpx.AsyncClient(timeout=30) as http:
            return await relay_doctor.examine(account, http=http, wanted=wanted)

    return asyncio.run(main())


def _read(path: Path) -> dict[str, Json]:
    """Return the document as it is: what is missing in it is for the checks to say."""
    try:
        document = loads(path.read_bytes())
    except OSError as error:
        cure = "start the server with `capstream up`, or give --credentials FILE"
        raise InputError(str(path), error.strerror or "it cannot be read", cure) from error
    except JsonError as error:
        raise InputError(str(path), f"not JSON: {error}", "take the file of the platform's first start") from error
    if not isinstance(document, dict):
        raise InputError(str(path), "it is no JSON object", "see docs/reference/credentials.md for every key")
    return document


def _print(report: Report) -> None:
    for check in CHECKS:
        found = [finding for finding in report.findings if finding.check == check]
        state = "FOUND" if found else "ok" if check in report.passed else "not looked at"
        typer.echo(f"{check:<12} {state}")
        for finding in found:
            typer.echo(f"  - {finding.finding}\n    what to do: {finding.cure}")
