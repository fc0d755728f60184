"""`capstream backfill`: Capillary's CSV exports into the relay."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from capstream import config
from capstream.capillary.happenings import Happenings
from capstream.capillary.history import Importer
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.json import Json, dumps
from capstream.relay.backfill.book import Book
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import HAPPENINGS, Export, template_of
from capstream.relay.backfill.intake import Intake, Steady
from capstream.relay.backfill.pgp import Keys
from capstream.relay.backfill.run import Backfill, Options, write_rejects
from capstream.relay.backfill.sftp import Place, place_of
from capstream.relay.webhook_auth import Form, webhook_header

_COUNTED = ("read", "delivered", "duplicates", "rejected", "anonymous", "merged", "later")
_USELESS = "its name states no template that is imported (…_Members_2024-11-08-00-00-00.csv, or Members.csv)"
_UNTIMED = "say with --cutover when the webhook became active"
_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


Exports = Annotated[str, typer.Argument(help="Folder of the exports, or sftp://user@host:22/folder.")]
Source = Annotated[str, typer.Option(help="Key of the relay's source.")]
Org = Annotated[str, typer.Option(help="Capillary's org id, as the webhooks state it in orgId.")]
Program = Annotated[str | None, typer.Option(help="Id of the programme the balances belong to; default: the default one.")]
Zone = Annotated[str, typer.Option(help="Time zone of rows without one of their own.")]
Rate = Annotated[float | None, typer.Option(help="Most rows a second; default: as fast as the relay takes them.")]
Alias = Annotated[list[str] | None, typer.Option(help="NAME=THEIRS: the column the export calls THEIRS is NAME.")]
LineTotal = Annotated[bool, typer.Option(help="The column `rate` is price × quantity.")]
Work = Annotated[Path | None, typer.Option(help="Folder for progress, downloads and rejects; default: below the data folder.")]
Identity = Annotated[Path | None, typer.Option(help="Private key for SFTP; else CAPSTREAM_SFTP_PASSWORD is used.")]
KnownHosts = Annotated[Path, typer.Option(help="Host keys that are trusted.")]
ZipPassword = Annotated[Path | None, typer.Option(help="File with the password of the archives.")]
GpgHome = Annotated[
    Path | None, typer.Option(help="GnuPG folder whose key opens .pgp files; its passphrase: CAPSTREAM_PGP_PASSPHRASE.")
]
Cutover = Annotated[
    str | None, typer.Option(help="When the webhook became active (ISO 8601): points, tiers, coupons, merges until then come in.")
]
Auth = Annotated[str, typer.Option(help="How the secret travels: bearer, basic (user:password) or header.")]
AuthHeader = Annotated[str, typer.Option(help="Name of the header, for --auth header.")]
Move = Annotated[bool, typer.Option(help="Move files that were read to processed/, damaged ones to failed/.")]
Watch = Annotated[
    float | None, typer.Option(help="Look for new files every so many seconds (300 suits Capillary); implies --move.")
]


def backfill(
    exports: Exports,
    source: Source,
    org: Org,
    program: Program = None,
    zone: Zone = "UTC",
    rate: Rate = None,
    alias: Alias = None,
    rate_is_line_total: LineTotal = False,
    work: Work = None,
    identity: Identity = None,
    known_hosts: KnownHosts = _KNOWN_HOSTS,
    zip_password_file: ZipPassword = None,
    gpg_home: GpgHome = None,
    cutover: Cutover = None,
    auth: Auth = "bearer",
    auth_header: AuthHeader = "Authorization",
    move: Move = False,
    watch: Watch = None,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Import history: members as they stand, bills with their lines and payments. Bills meet the stream in the same _id.

    Run it again after an interruption: it goes on where it was. Refused rows are written to `rejects` in the work folder; mend
    them there and import that folder. The webhook's secret is taken from CAPSTREAM_WEBHOOK_SECRET, else from the credentials.
    Exit code 1 when rows were refused or files could not be read.
    """
    who, at = find(credentials), _zone(zone)
    place, org_id = _folder(work, source), _id("--org", org)
    importer = Importer(org_id, zone=at, program_id=program, rate_is_line_total=rate_is_line_total)
    happenings = None if cutover is None else _happenings(org_id, at, cutover, program)
    options = _options(importer, happenings, rate, alias, zip_password_file)
    intake = _intake(exports, place, known_hosts, identity, gpg_home, is_moved=move, is_watched=watch is not None)
    header = webhook_header(_form(auth), auth_header, os.environ.get("CAPSTREAM_WEBHOOK_SECRET") or who.webhook_secret)
    rounds = Rounds(place, f"{who.relay_url}/webhooks/capillary/{source}", header, options, intake, is_json=json)
    if watch is not None:
        rounds.watch(_interval(watch))
    raise typer.Exit(0 if rounds.once() else 1)


def _folder(work: Path | None, source: str) -> Path:
    place = (work or config.load().data / "backfill") / source
    place.mkdir(parents=True, exist_ok=True)
    return place


def _options(
    importer: Importer, happenings: Happenings | None, rate: float | None, alias: list[str] | None, zip_password: Path | None
) -> Options:
    return Options(
        importer=importer,
        happenings=happenings,
        pace=Pace(rate),
        aliases=_aliases(alias or []),
        zip_password=None if zip_password is None else zip_password.read_bytes().strip(),
    )


def _intake(
    exports: str,
    place: Path,
    known_hosts: Path,
    identity: Path | None,
    gpg_home: Path | None,
    *,
    is_moved: bool,
    is_watched: bool,
) -> Intake:
    is_remote = exports.startswith("sftp://")
    return Intake(
        folder=place / "fetched" if is_remote else Path(exports),
        place=_place(exports, known_hosts, identity) if is_remote else None,
        keys=None if gpg_home is None else _keys(gpg_home, place),
        is_moved=is_moved or is_watched,
        steady=Steady() if is_watched else None,
    )


@dataclass(frozen=True, slots=True)
class Rounds:
    """Runs of one source, one after the other."""

    work: Path
    url: str
    header: Mapping[str, str]
    options: Options
    intake: Intake
    is_json: bool

    def watch(self, every_s: float) -> None:
        """Import what comes until the process is stopped. Rejects of each round get a folder of their own."""
        known: set[str] = set()
        while True:
            try:
                found, others = self._ready()
            except CapstreamError as error:
                if isinstance(error, InputError):
                    raise
                typer.echo(f"{error}; trying again in {every_s:g} s", err=True)
                found, others = [], []
            others = [name for name in others if name not in known]  # each is told once
            known.update(others)
            if found or others or self.intake.failures:
                self._run(found, others, self.work / "rejects" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}")
            time.sleep(every_s)

    def once(self) -> bool:
        """Import what there is; return whether all of it could be."""
        found, others = self._ready()
        return self._run(found, others, self.work / "rejects")

    def _ready(self) -> tuple[list[Export], list[str]]:
        with _bar() as bar:
            tasks: dict[str, TaskID] = {}

            def show(name: str, size: int, done: int) -> None:
                if name not in tasks:
                    tasks[name] = bar.add_task(name, total=size)
                bar.update(tasks[name], completed=done)

            found, others = self.intake.ready(show)
        if self.options.happenings is None:
            others += [export.origin.name for export in found if export.template in HAPPENINGS]
            found = [export for export in found if export.template not in HAPPENINGS]
        return found, others

    def _run(self, found: list[Export], others: list[str], rejects: Path) -> bool:
        book, door = Book(self.work / "progress.db"), Door(self.url, self.header)
        try:
            with _bar() as bar:
                task = bar.add_task("rows", total=None)

                def show(phase: str, counts: Mapping[str, int]) -> None:
                    bar.update(task, description=phase, completed=counts.get("read", 0))

                failed = self.intake.fail if self.intake.is_moved else None
                counts = Backfill(book, door, replace(self.options, progress=show, failed=failed)).run(found)
            failures = self.intake.settle(found)  # first: what was read may be the rejects of the last run
            written = write_rejects(book, rejects)
            files = book.report(export.key for export in found)
        finally:
            door.close()
            book.close()
        _report(Report(counts, files, [str(path) for path in written], others, failures), json=self.is_json)
        return not counts.get("rejected") and not failures


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run."""

    counts: Mapping[str, int]
    files: list[dict[str, Json]]
    rejects: list[str]
    others: list[str]  #: files that were left alone
    failures: Mapping[str, str]  #: files that could not be read, and why


def _report(report: Report, *, json: bool) -> None:
    rows = {name: report.counts.get(name, 0) for name in _COUNTED}
    if json:
        body = {"rows": rows, "files": report.files, "rejectFiles": report.rejects, "notImported": report.others}
        typer.echo(dumps({**body, "failed": dict(report.failures)}).decode())
        return
    typer.echo(" · ".join(f"{name} {rows[name]:,}" for name in _COUNTED))
    for path in report.rejects:
        typer.echo(f"refused rows with their reasons: {path}")
    for name in report.others:
        typer.echo(f"not imported, {_USELESS if template_of(name) is None else _UNTIMED}: {name}", err=True)
    if not (report.files or report.others or report.failures):
        typer.echo("there is no export: files named as Capillary names them, .zip or .csv", err=True)
    for reason in report.failures.values():
        typer.echo(f"failed: {reason}", err=True)


def _place(url: str, known_hosts: Path, identity: Path | None) -> Place:
    password = os.environ.get("CAPSTREAM_SFTP_PASSWORD")
    return place_of(url, known_hosts=known_hosts.expanduser(), password=password, identity=identity)


def _keys(home: Path, work: Path) -> Keys:
    return Keys(home=home.expanduser(), into=work / "opened", passphrase=os.environ.get("CAPSTREAM_PGP_PASSPHRASE"))


def _happenings(org_id: str, zone: ZoneInfo, cutover: str, program: str | None) -> Happenings:
    try:
        at = datetime.fromisoformat(cutover)
    except ValueError as error:
        raise InputError("--cutover", f"{cutover[:40]!r} is no time", "for example 2026-03-01T09:00:00+00:00") from error
    at_ms = int(at.replace(tzinfo=at.tzinfo or zone).timestamp() * 1000)
    return Happenings(org_id, zone=zone, cutover_ms=at_ms, program_id=program)


def _form(stated: str) -> Form:
    for form in get_args(Form):
        if stated == form:
            return cast(Form, stated)
    raise InputError("--auth", f"{stated[:40]!r} is no way to authenticate", "one of bearer, basic, header")


def _interval(seconds: float) -> float:
    if seconds < 1:
        raise InputError("--watch", f"{seconds:g} is too short", "give seconds, 1 or more; 300 suits Capillary")
    return seconds


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


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
