"""One run of a backfill: read, join, send, account. Memory does not grow with the rows. Source: capillary.md 8.3."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from capstream.capillary import cells
from capstream.capillary.cells import BadRow, Row
from capstream.capillary.happenings import SUMMARY_IDS, Happenings, points_group, summary_of
from capstream.capillary.history import Importer, MergedMember, merged_member
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.relay.backfill.book import Book, Rejected, Staged
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import HAPPENINGS, NOTE, Export, Template, portions, rows_of

_STAGED = 10_000  # rows between two commits while reading
_SENT = 200  # events in a request
_REASONS = (f"{NOTE}file", f"{NOTE}line", f"{NOTE}field", f"{NOTE}reason", f"{NOTE}cure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How files are read and sent."""

    importer: Importer
    pace: Pace
    happenings: Happenings | None = None  #: None: their templates are left alone
    aliases: Mapping[str, str] = field(default_factory=dict)
    zip_password: bytes | None = None
    progress: Callable[[str, Mapping[str, int]], None] = lambda _phase, _counts: None
    failed: Callable[[Export, InputError], None] | None = None  #: told of damaged files, the others go on; None: they end the run


class Backfill:
    """Brings exports into the relay. Calling `run` again after a crash, or after all is done, changes nothing that is settled."""

    def __init__(self, book: Book, door: Door, options: Options) -> None:
        self._book = book
        self._door = door
        self._options = options

    def run(self, exports: Sequence[Export]) -> dict[str, int]:
        """Return the counts of the run's rows, its interruptions included; `read` is the sum of the others.

        Errors: InputError for a file that cannot be read, CapstreamError when the relay refuses requests.
        """
        self._book.begin()
        for export in exports:
            if export.template in HAPPENINGS and self._options.happenings is None:
                continue
            try:
                self._take(export)
            except InputError as error:
                if self._options.failed is None:
                    raise
                with self._book.step():
                    self._book.drop(export.key, export.path.name)
                self._options.failed(export, error)
        self._bills()
        self._book.finish()
        return dict(self._book.counts)

    def _take(self, export: Export) -> None:
        importer, happenings = self._options.importer, self._options.happenings
        makers: dict[Template, tuple[Callable[[Row], Json | None], str]] = {
            Template.MEMBERS: (importer.member, "merged"),
            Template.PROFILES: (importer.profile, "merged"),
        }
        if happenings is not None:
            makers |= {
                Template.MERGES: (lambda row: happenings.merge(row, self._book.victims), "later"),
                Template.REMINDERS: (happenings.expiry_reminder, "later"),
                Template.SLABS: (happenings.slab_change, "later"),
                Template.COUPONS: (happenings.coupon, "later"),
            }
        if export.template in makers:
            self._direct(export, *makers[export.template])
        else:
            self._stage(export)

    def _rest(self, export: Export) -> tuple[int, Iterator[tuple[int, dict[str, str]]]]:
        """Return how many rows of a file are settled, and those that follow."""
        done, is_read = self._book.rows_read(export.key)
        if is_read:
            return done, iter(())
        rows = rows_of(export, aliases=self._options.aliases, password=self._options.zip_password)
        return done, islice(rows, done, None)

    def _direct(self, export: Export, make: Callable[[Row], Json | None], left_out: str) -> None:
        """Send the rows of a file one by one; those that make no event are counted as `left_out`."""
        done, rows = self._rest(export)
        for portion in portions(rows, _SENT):
            sent: list[Json] = []
            left, refused, merged = 0, list[Rejected](), list[MergedMember]()
            for line, row in portion:
                try:
                    _check_cells(row)
                    event = make(row)
                    gone = merged_member(row) if event is None and export.template is Template.MEMBERS else None
                except BadRow as bad:
                    refused.append(_refusal(Staged("", export.template, export.path.name, line, row), bad))
                    continue
                if gone is not None:
                    merged.append(gone)
                if event is None:
                    left += 1
                else:
                    sent.append(event)
            verdicts = self._send(sent, rows=len(portion))
            done += len(portion)
            with self._book.step():
                self._count(read=len(portion), rejected=len(refused), **{left_out: left})
                self._count(delivered=sum(verdicts), duplicates=len(verdicts) - sum(verdicts))
                self._book.reject(refused)
                self._book.note_merged(merged)
                self._book.note_file(export.key, export.template, export.path.name, done, is_read=False)
            self._options.progress(export.path.name, self._book.counts)
        self._finish(export, done)

    def _stage(self, export: Export) -> None:
        done, rows = self._rest(export)
        if self._book.rows_read(export.key)[1]:
            return
        self._book.unindex()
        for portion in portions(rows, _STAGED):
            staged, refused = list[Staged](), list[Rejected]()
            for line, row in portion:
                try:
                    group = _group(export.template, row)
                except BadRow as bad:
                    refused.append(_refusal(Staged("", export.template, export.path.name, line, row), bad))
                    continue
                staged.append(Staged(group, export.template, export.path.name, line, row))
            done += len(portion)
            with self._book.step():
                self._count(read=len(portion), rejected=len(refused))
                self._book.stage(staged)
                self._book.reject(refused)
                self._book.note_file(export.key, export.template, export.path.name, done, is_read=False)
            self._options.progress(export.path.name, self._book.counts)
        self._finish(export, done)

    def _finish(self, export: Export, rows: int) -> None:
        with self._book.step():
            self._book.note_file(export.key, export.template, export.path.name, rows, is_read=True)

    def _bills(self) -> None:
        self._book.index()
        while bills := self._book.bills():
            sent: list[tuple[Json, int]] = []
            left, refused = Counter[str](), list[Rejected]()
            redemptions = _Redemptions(self._book, bills)
            for rows in bills:
                try:
                    events = self._events(rows)
                except BadRow as bad:
                    refused += [_refusal(row, bad) for row in rows]
                    continue
                if not events:
                    left["later" if rows[0].template in HAPPENINGS else "anonymous"] += len(rows)
                elif redemptions.is_told(rows):
                    left["duplicates"] += len(rows)
                else:
                    sent += events
            verdicts = self._send([event for event, _ in sent], rows=sum(len(rows) for rows in bills))
            with self._book.step():
                self._count(rejected=len(refused), **left)
                for (_, rows_in), is_new in zip(sent, verdicts, strict=True):
                    self._count(**{"delivered" if is_new else "duplicates": rows_in})
                self._book.reject(refused)
                self._book.note_redemptions(redemptions.new)
                self._book.unstage(rows[0].bill for rows in bills)
            self._options.progress("bills", self._book.counts)

    def _events(self, rows: Sequence[Staged]) -> list[tuple[Json, int]]:
        """Return the events of rows that belong together, with the rows that went into each."""
        template = rows[0].template
        if template not in HAPPENINGS:
            return _events(self._options.importer, rows)
        happenings = self._options.happenings
        if happenings is None:
            raise BadRow("date", "may also have come by webhook", "give --cutover, when the webhook became active")
        make = happenings.points if template is Template.POINTS else happenings.redemption
        event = make(_once(row.cells for row in rows))
        return [] if event is None else [(event, len(rows))]

    def _send(self, events: Sequence[Json], *, rows: int) -> list[bool]:
        self._options.pace.take(rows)
        return [verdict for part in portions(events, _SENT) for verdict in self._door.post(part)]

    def _count(self, **rows: int) -> None:
        self._book.counts.update(rows)


class _Redemptions:
    """Tells redemptions that another template already brought: Points and Points Redemption Summary both list them."""

    def __init__(self, book: Book, groups: Sequence[Sequence[Staged]]) -> None:
        found = [summary for rows in groups if (summary := _summary(rows[0])) is not None]
        self._told = book.redemptions(found)
        self.new: dict[str, str] = {}

    def is_told(self, rows: Sequence[Staged]) -> bool:
        """Return whether the redemption the rows are about came from the other template; if not, it counts as theirs."""
        summary, template = _summary(rows[0]), rows[0].template
        if summary is None:
            return False
        if self._told.get(summary, template) != template:
            return True
        self._told[summary] = self.new[summary] = template
        return False


def _summary(row: Staged) -> str | None:
    if row.template is Template.POINTS and not row.bill.startswith("points:redeemed:"):
        return None
    if row.template not in (Template.POINTS, Template.REDEMPTIONS):
        return None
    try:
        return summary_of(row.cells)
    except BadRow:
        return None


def _check_cells(row: Row) -> None:
    if "" in row:
        raise BadRow("(row)", row[""], "quote cells that hold commas or line breaks")


def _group(template: Template, row: Row) -> str:
    """Return the key of the rows that a row belongs with: its bill, or its happening. Errors: BadRow."""
    _check_cells(row)
    if template is Template.POINTS:
        return f"points:{points_group(row)}"
    if template is Template.REDEMPTIONS:
        return f"redemption:{cells.needed_id(row, SUMMARY_IDS)}"  # behind `points:`, so those go first
    bill = row.get("bill_id", "").strip()
    if not bill:
        raise BadRow("bill_id", "is missing", "export the column and keep every row's value")
    return bill


def _events(importer: Importer, rows: Sequence[Staged]) -> list[tuple[Json, int]]:
    """Return the events of the rows that share a bill id, with the rows that went into each; none: nobody's bill."""
    tenders = [row.cells for row in rows if row.template is Template.PAYMENTS]
    events: list[tuple[Json, int]] = []
    kinds = [(template, _once(row.cells for row in rows if row.template is template)) for template in _BILLS]
    if not any(lines for _, lines in kinds):
        cure = "import the Transactions of the same days in the same run"
        raise BadRow("bill_id", "no bill of this id is among the files", cure)
    left = len(rows)
    for template, lines in kinds:
        if not lines:
            continue
        event = importer.bill(lines, _once(tenders), is_return=template is Template.RETURNS)
        if event is not None:
            counted = sum(row.template is template for row in rows)
            events.append((event, counted))
            left -= counted
    if events and left:
        events[0] = (events[0][0], events[0][1] + left)
    return events


_BILLS = (Template.TRANSACTIONS, Template.RETURNS)


def _once(rows: Any) -> list[dict[str, str]]:
    """Return the rows without repeats: the same line may stand in two files whose days overlap."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        name = row.get("line_item_id") or row.get("payment_mode_details_id")
        found[(name,) if name else tuple(row.values())] = row
    return list(found.values())


def _refusal(row: Staged, bad: BadRow) -> Rejected:
    return Rejected(row.template, row.name, row.line, bad.field, bad.reason, bad.cure, row.cells)


def write_rejects(book: Book, folder: Path) -> dict[Path, int]:
    """Write one CSV file a template into `folder` and return its rows; mended, the folder can be imported as it is.

    The files of an earlier run are removed.
    """
    written: dict[Path, int] = {}
    for stale in (folder / f"{template}.csv" for template in Template):
        stale.unlink(missing_ok=True)
    columns: dict[Template, dict[str, None]] = {}
    for row in book.rejects():
        columns.setdefault(row.template, {}).update(dict.fromkeys(name for name in row.cells if name))
    with ExitStack() as files:
        writers: dict[Template, Any] = {}
        for template, names in columns.items():
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{template}.csv"
            file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
            writers[template] = (path, csv.DictWriter(file, [*_REASONS, *names], extrasaction="ignore"))
            writers[template][1].writeheader()
        for row in book.rejects():
            path, writer = writers[row.template]
            reasons = (row.name, row.line, row.field, row.reason, row.cure)
            writer.writerow({**dict(zip(_REASONS, reasons, strict=True)), **row.cells})
            written[path] = written.get(path, 0) + 1
    return written
