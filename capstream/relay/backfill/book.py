"""What a backfill remembers on disk: files read, rows waiting for their bill, what was sent, what was refused.

One SQLite file. Everything that belongs together is committed together, so a process killed at any moment goes on where the last
commit left it; what was sent after that commit is sent again and answered as a repeat.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from capstream.capillary.history import MergedMember
from capstream.kernel.json import Json, dumps, loads
from capstream.relay.backfill.files import Template

_SCHEMA = """
create table if not exists files (key text primary key, template text, name text, rows integer, is_read integer);
create table if not exists stage (bill text, template text, name text, line integer, cells blob);
create table if not exists rejects (template text, name text, line integer, field text, reason text, cure text, cells blob);
create table if not exists merged (victim text primary key, survivor text, external text, mobile text);
create index if not exists merged_external on merged (external);
create index if not exists merged_mobile on merged (mobile);
create table if not exists redemptions (summary text primary key, template text) without rowid;
create table if not exists facts (name text primary key, value text);
"""
_BILLS = 200


@dataclass(frozen=True, slots=True)
class Staged:
    """One row that waits for the others of its bill."""

    bill: str
    template: Template
    name: str
    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be imported, and why."""

    template: Template
    name: str
    line: int
    field: str
    reason: str
    cure: str
    cells: Mapping[str, str]


class Book:
    """The progress of one source. `counts` are rows: read, delivered, duplicates, rejected, anonymous, merged, later."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode=wal; pragma synchronous=full; pragma cache_size=-16000;" + _SCHEMA)
        self.counts: Counter[str] = Counter(loads(self._fact("counts", "{}").encode()))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Commit what the block does as one; nothing of it is kept when it raises."""
        before = Counter(self.counts)
        self._db.execute("begin immediate")
        try:
            yield
            self._put("counts", dumps(dict(self.counts)).decode())
            self._db.execute("commit")
        except BaseException:
            self._db.execute("rollback")
            self.counts = before
            raise

    def begin(self) -> None:
        """Start a run: counts and refusals of the last one are forgotten, unless it was interrupted and now goes on."""
        if self._fact("run", "") == "open":
            return
        with self.step():
            self.counts.clear()
            self._db.execute("delete from rejects")
            self._put("run", "open")

    def finish(self) -> None:
        """End a run: whatever it read is settled."""
        self._db.execute("drop index if exists by_bill")
        with self.step():
            self._put("run", "done")

    def rows_read(self, key: str) -> tuple[int, bool]:
        """Return how many rows of a file are settled, and whether that is all of it."""
        found = self._db.execute("select rows, is_read from files where key = ?", (key,)).fetchone()
        return (int(found[0]), bool(found[1])) if found else (0, False)

    def note_file(self, key: str, template: Template, name: str, rows: int, *, is_read: bool) -> None:
        """Remember how far a file is settled."""
        self._db.execute("insert or replace into files values (?, ?, ?, ?, ?)", (key, template, name, rows, is_read))

    def stage(self, rows: Iterable[Staged]) -> None:
        """Keep rows until the bills are made of them."""
        values = ((row.bill, row.template, row.name, row.line, dumps(row.cells)) for row in rows)
        self._db.executemany("insert into stage values (?, ?, ?, ?, ?)", values)

    def drop(self, key: str, name: str) -> None:
        """Forget the rows of a file that turned out to be damaged, as if it had not been read."""
        self.counts["read"] -= self._db.execute("delete from stage where name = ?", (name,)).rowcount
        gone = self._db.execute("delete from rejects where name = ?", (name,)).rowcount
        self.counts.subtract({"read": gone, "rejected": gone})
        self._db.execute("delete from files where key = ?", (key,))

    def index(self) -> None:
        """Prepare `bills`: an index made once over everything costs a fraction of one kept up to date."""
        self._db.execute("create index if not exists by_bill on stage (bill)")

    def unstage(self, bills: Iterable[str]) -> None:
        """Forget the rows of settled bills."""
        self._db.executemany("delete from stage where bill = ?", ((bill,) for bill in bills))

    def bills(self) -> list[list[Staged]]:
        """Return the rows of the next bills, bill by bill; empty when all are settled."""
        names = self._db.execute("select distinct bill from stage order by bill limit ?", (_BILLS,)).fetchall()
        if not names:
            return []
        sql = "select bill, template, name, line, cells from stage where bill between ? and ? order by bill, template, name, line"
        grouped: dict[str, list[Staged]] = {}
        for bill, template, name, line, cells in self._db.execute(sql, (names[0][0], names[-1][0])):
            grouped.setdefault(bill, []).append(Staged(bill, Template(template), name, line, loads(cells)))
        return list(grouped.values())

    def waiting(self) -> int:
        """Return how many rows wait for their bill."""
        return int(self._db.execute("select count(*) from stage").fetchone()[0])

    def unindex(self) -> None:
        """Drop the index while rows are staged."""
        self._db.execute("drop index if exists by_bill")

    def note_merged(self, members: Iterable[MergedMember]) -> None:
        """Remember members that Members marks as merged, for the rows of merges that leave their ids out."""
        values = ((each.victim, each.survivor, each.external_id, each.mobile) for each in members)
        self._db.executemany("insert or replace into merged values (?, ?, ?, ?)", values)

    def victims(self, survivor: str, external_id: str | None, mobile: str | None) -> list[str]:
        """Return the merged members of an external id, else of a mobile number; those of the survivor, when any are."""
        for column, value in (("external", external_id), ("mobile", mobile)):
            if value is None:
                continue
            sql = f"select victim, survivor from merged where {column} = ?"
            found = self._db.execute(sql, (value,)).fetchall()
            if found:
                return [victim for victim, into in found if into == survivor] or [victim for victim, _ in found]
        return []

    def redemptions(self, summaries: Iterable[str]) -> dict[str, str]:
        """Return of those redemptions that were imported the template that brought each."""
        sql = "select summary, template from redemptions where summary in (select value from json_each(?))"
        return dict(self._db.execute(sql, (dumps(list(summaries)).decode(),)).fetchall())

    def note_redemptions(self, found: Mapping[str, str]) -> None:
        """Remember which template brought a redemption: Points and Points Redemption Summary both tell of it."""
        self._db.executemany("insert or ignore into redemptions values (?, ?)", found.items())

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Keep refused rows for the reject files."""
        values = ((r.template, r.name, r.line, r.field, r.reason, r.cure, dumps(dict(r.cells))) for r in rows)
        self._db.executemany("insert into rejects values (?, ?, ?, ?, ?, ?, ?)", values)

    def rejects(self) -> Iterator[Rejected]:
        """Yield the refused rows, template by template."""
        sql = "select template, name, line, field, reason, cure, cells from rejects order by template, name, line"
        for template, name, line, field, reason, cure, cells in self._db.execute(sql):
            yield Rejected(Template(template), name, line, field, reason, cure, loads(cells))

    def report(self, keys: Iterable[str]) -> list[dict[str, Json]]:
        """Return name, template, rows read and rows refused of each of the files that were read."""
        refused = dict(self._db.execute("select name, count(*) from rejects group by name").fetchall())
        found = (self._db.execute("select name, template, rows from files where key = ?", (key,)).fetchone() for key in keys)
        return [
            {"name": row[0], "template": row[1], "rows": row[2], "rejected": refused.get(row[0], 0)}
            for row in found
            if row is not None
        ]

    def _fact(self, name: str, default: str) -> str:
        found = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return str(found[0]) if found else default

    def _put(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into facts values (?, ?)", (name, value))
