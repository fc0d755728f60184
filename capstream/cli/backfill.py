"""`capstream backfill`: Capillary's CSV exports into the relay."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from capstream import config
from capstream.capillary.history import Importer
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps
from capstream.relay.backfill.book import Book
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import exports_in
from capstream.relay.backfill.run import Backfill, Options, write_rejects
from capstream.relay.backfill.sftp import fetch, place_of

_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


def backfill(
    exports: Annotated[str, typer.Argument(help="Folder of the exports, or sftp://user@host:22/folder.")],
    source: Annotated[str, typer.Option(help="Key of the relay's source.")],
    org: Annotated[str, typer.Option(help="Capillary's org id, as the webhooks state it in orgId.")],
    program: Annotated[
        str | None, typer.Option(help="Id of the programme the balances belong to; default: the default one.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of rows without one of their own.")] = "UTC",
    rate: Annotated[float | None, typer.Option(help="Most rows a second; default: as fast as the relay takes them.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="NAME=THEIRS: the column the export calls THEIRS is NAME.")] = None,
    rate_is_line_total: Annotated[bool, typer.Option(help="The column `rate` is price × quantity.")] = False,
    work: Annotated[
        Path | None, typer.Option(help="Folder for progress, downloads and rejects; default: below the data folder.")
    ] = None,
    identity: Annotated[Path | None, typer.Option(help="Private key for SFTP; else CAPSTREAM_SFTP_PASSWORD is used.")] = None,
    known_hosts: Annotated[Path, typer.Option(help="Host keys that are trusted.")] = _KNOWN_HOSTS,
    zip_password_file: Annotated[Path | None, typer.Option(help="File with the password of the archives.")] = None,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Import history: members as they stand, bills with their lines and payments. Bills meet the stream in the same _id.

    Run it again after an interruption: it goes on where it was. Refused rows are written to `rejects` in the work folder; mend
    them there and import that folder. The webhook's secret is taken from CAPSTREAM_WEBHOOK_SECRET, else from the credentials.
    Exit code 1 when rows were refused.
    """
    who = find(credentials)
    place = (work or config.load().data / "backfill") / source
    folder = _fetched(exports, place, known_hosts, identity) if exports.startswith("sftp://") else Path(exports)
    found, others = exports_in(folder)
    secret = os.environ.get("CAPSTREAM_WEBHOOK_SECRET") or who.webhook_secret
    importer = Importer(_id("--org", org), zone=_zone(zone), program_id=program, rate_is_line_total=rate_is_line_total)
    place.mkdir(parents=True, exist_ok=True)
    book, door = Book(place / "progress.db"), Door(f"{who.relay_url}/webhooks/capillary/{source}", _bearer(secret))
    try:
        with _bar() as bar:
            task = bar.add_task("rows", total=None)

            def show(phase: str, counts: Mapping[str, int]) -> None:
                bar.update(task, description=phase, completed=counts.get("read", 0))

            password = None if zip_password_file is None else zip_password_file.read_bytes().strip()
            options = Options(
                importer=importer, pace=Pace(rate), aliases=_aliases(alias or []), zip_password=password, progress=show
            )
            counts = Backfill(book, door, options).run(found)
        written = write_rejects(book, place / "rejects")
    finally:
        door.close()
        book.close()
    _report(counts, [str(path) for path in written], others, json=json)
    raise typer.Exit(1 if counts.get("rejected") else 0)


def _report(counts: dict[str, int], rejects: list[str], others: list[str], *, json: bool) -> None:
    names = ("read", "delivered", "duplicates", "rejected", "anonymous", "merged")
    rows = {name: counts.get(name, 0) for name in names}
    if json:
        typer.echo(dumps({"rows": rows, "rejectFiles": rejects, "notImported": others}).decode())
        return
    typer.echo(" · ".join(f"{name} {rows[name]:,}" for name in names))
    for path in rejects:
        typer.echo(f"refused rows with their reasons: {path}")
    for name in others:
        typer.echo(f"not imported, the template is not supported: {name}", err=True)


def _fetched(url: str, place: Path, known_hosts: Path, identity: Path | None) -> Path:
    password = os.environ.get("CAPSTREAM_SFTP_PASSWORD")
    there = place_of(url, known_hosts=known_hosts.expanduser(), password=password, identity=identity)
    with _bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, size: int, done: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size)
            bar.update(tasks[name], completed=done)

        fetch(there, place / "fetched", show)
    return place / "fetched"


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def _id(option: str, value: str) -> str:
    if not value.isdecimal():
        raise InputError(option, f"{value!r} is no id", "give the number the webhooks state in orgId")
    return value


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError("--zone", f"{name!r} is no IANA zone", "give one such as Europe/London") from error


def _aliases(given: list[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := next((each for each, pair in zip(given, pairs, strict=True) if not pair[0] or not pair[2]), None):
        raise InputError("--alias", f"{wrong!r} is not NAME=THEIRS", "for example --alias bill_id=invoice_key")
    return {theirs.strip().lower().replace(" ", "_"): name.strip().lower() for name, _, theirs in pairs}
