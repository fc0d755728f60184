"""Export files: their names, their rows, read as a stream whatever their size. Source: capillary.md 8.1, 8.2."""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from capstream.capillary.happenings import EXPIRING, EXPIRY_DAYS, REDEEMED, SUMMARY_IDS
from capstream.capillary.history import UPDATED
from capstream.kernel.errors import InputError
from capstream.relay.backfill.pgp import ENCRYPTED, Keys

_NAME = re.compile(
    r"^(?P<schedule>.+?)_{1,2}(?P<template>[A-Za-z ]+?)_{1,2}(?P<ts>\d{4}(-\d\d){5})(_{1,2}(?P<ms>\d{13}))?\.(zip|csv)$"
)
_QUALIFIED = {"points_event_type.type": "points_event_type", "deduction_type.type": "deduction_type"}
"""Columns whose last part alone would say too little."""
_FIELD_LIMIT = 10 * 1024 * 1024  #: characters of a field, and of a line: a packed line of gigabytes must not get into memory
NOTE = "reject_"
"""Columns of a reject file start with this; they are left out when it is read again."""

csv.field_size_limit(_FIELD_LIMIT)


_T = TypeVar("_T")

IsSteady = Callable[[str, int], bool]
"""Whether a file of this name and size is complete, as far as can be told."""


class Template(StrEnum):
    """The templates that are imported; the value is the name in a file's name, without blanks."""

    MEMBERS = "Members"
    PROFILES = "Profiles"
    MERGES = "CustomerMergeEventLog"
    TRANSACTIONS = "Transactions"
    RETURNS = "ReturnTransactions"
    PAYMENTS = "PaymentMode"
    POINTS = "Points"
    REDEMPTIONS = "PointsRedemptionSummary"
    REMINDERS = "PointsExpiryReminderInfo"
    SLABS = "SlabChangeLog"
    COUPONS = "Coupons"


HAPPENINGS = frozenset(
    {Template.MERGES, Template.POINTS, Template.REDEMPTIONS, Template.REMINDERS, Template.SLABS, Template.COUPONS}
)
"""Templates of what the stream knows by other ids, so they need a cutover. Source: capillary.md 8.3."""


_BY_NAME = {each.value.lower(): each for each in Template}
_FACTS = {
    "customer_summary": Template.MEMBERS,
    "bill_lineitems": Template.TRANSACTIONS,
    "return_bill_lineitems": Template.RETURNS,
    "payment_details": Template.PAYMENTS,
    "points": Template.POINTS,
    "points_redemption_summary": Template.REDEMPTIONS,
    "points_expiry_reminder_info": Template.REMINDERS,
    "slab_change_log": Template.SLABS,
    "customer_merge_event_log": Template.MERGES,
}
_NEEDED: dict[Template, tuple[tuple[str, ...], ...]] = {
    Template.MEMBERS: (("user_id", "dim_event_user_id"), ("auto_update_time_loyalty", "auto_update_time_cps")),
    Template.PROFILES: (("user_id", "id_unique"), (*UPDATED, "date")),
    Template.MERGES: (
        ("merge_event_id",),
        ("user_id", "survivor_user_id"),
        ("victim_user_id", "victim_external_id", "victim_mobile"),
        ("date",),
    ),
    Template.TRANSACTIONS: (("bill_id",), ("user_id",), ("date",)),
    Template.RETURNS: (("bill_id",), ("user_id",), ("date",)),
    Template.PAYMENTS: (("bill_id",), ("payment_mode_amount",)),
    Template.POINTS: (("event_id",), ("user_id",), ("date",), ("allocated_points", "deducted_points")),
    Template.REDEMPTIONS: (SUMMARY_IDS, ("user_id",), ("date",), REDEEMED),
    Template.REMINDERS: (("user_id",), ("date",), EXPIRING, EXPIRY_DAYS),
    Template.SLABS: (("user_id",), ("slab_name",), ("slab_change_action",), ("event_date_time",)),
    Template.COUPONS: (("user_id",), ("issual_coupon_id",), ("coupon_event_type",)),
}


@dataclass(frozen=True, slots=True)
class Export:
    """One file of a known template."""

    path: Path
    template: Template
    digest: str  #: SHA-256 of the file
    size: int  #: in bytes
    origin: Path  #: the file as it came: encrypted, where `path` is not

    @property
    def key(self) -> str:
        """Return the name under which its progress is kept: same name, size and content, same file."""
        return f"{self.path.name}/{self.size}/{self.digest}"


def template_of(name: str) -> Template | None:
    """Return the template that a file's name states, None when it states none that is imported."""
    name = _plain(name)
    found = _NAME.match(name)
    stated = (found["template"] if found else Path(name).stem).replace(" ", "").lower()
    return _BY_NAME.get(stated) or _FACTS.get(stated)


def is_export(name: str) -> bool:
    """Say whether a file's name is that of an archive or a table, encrypted or not."""
    return Path(_plain(name)).suffix.lower() in (".zip", ".csv")


def exports_in(
    folder: Path,
    *,
    keys: Keys | None = None,
    is_steady: IsSteady = lambda _name, _size: True,
    failed: Callable[[Path, InputError], None] | None = None,
) -> tuple[list[Export], list[str]]:
    """Return the files to import, members first, then by name; and the names of those of another template.

    A file that is not steady is still being written and stays for the next time. Encrypted ones are opened with `keys`.
    Errors: InputError when the folder cannot be read; when a file cannot be decrypted it is told to `failed`, else raised.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "is no folder", "give the folder the exports lie in, or sftp://user@host/folder")
    found, others = [], []
    for origin in sorted(folder.iterdir()):
        if not is_export(origin.name) or not origin.is_file() or not is_steady(origin.name, origin.stat().st_size):
            continue
        template = template_of(origin.name)
        if template is None:
            others.append(origin.name)
            continue
        try:
            path = origin if _plain(origin.name) == origin.name else _opened(origin, keys)
        except InputError as error:
            if failed is None:
                raise
            failed(origin, error)
            continue
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        found.append(Export(path, template, digest, path.stat().st_size, origin))
    order = list(Template)
    return sorted(found, key=lambda export: (order.index(export.template), export.path.name)), others


def _plain(name: str) -> str:
    """Return a name without the ending of an encrypted file."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending.lower() in ENCRYPTED else name


def _opened(origin: Path, keys: Keys | None) -> Path:
    if keys is None:
        raise InputError(origin.name, "is encrypted", "give --gpg-home, the folder of the keyring that opens it")
    return keys.open(origin, _plain(origin.name))


def rows_of(export: Export, *, aliases: Mapping[str, str], password: bytes | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a file with the line each ends on, one in memory at a time.

    Shape: keys as `capillary.history` names columns. A row with too many cells has the key `""`, one with too few lacks keys.
    Errors: InputError when the file is damaged, encrypted in a way that cannot be opened, or lacks a column that must be there.
    """
    try:
        with _text(export.path, password) as text:
            reader = csv.reader(_lines(text), strict=True)
            names = [_column(cell, aliases) for cell in next(reader, [])]
            _check(export, names)
            kept = [(place, name) for place, name in enumerate(names) if not name.startswith(NOTE)]
            for cells in reader:
                if cells:
                    row = {name: cells[place] for place, name in kept if place < len(cells)}
                    if len(cells) != len(names):
                        row[""] = f"{len(cells)} cells under {len(names)} columns"
                    yield reader.line_num, row
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(export.path.name, f"is damaged: {error}", "export it again, or remove it") from error
    except (RuntimeError, NotImplementedError) as error:  # what zipfile raises about passwords and methods
        raise InputError(export.path.name, f"cannot be opened: {error}", "give --zip-password-file") from error


@contextmanager
def _text(path: Path, password: bytes | None) -> Generator[IO[str]]:
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        inner = [each for each in archive.infolist() if not each.is_dir()]
        if len(inner) != 1:
            raise InputError(path.name, f"holds {len(inner)} files", "Capillary puts one CSV file into an archive")
        with archive.open(inner[0], pwd=password) as packed, io.TextIOWrapper(packed, "utf-8-sig", newline="") as file:
            yield file


def _lines(text: IO[str]) -> Iterator[str]:
    while line := text.readline(_FIELD_LIMIT + 1):
        if len(line) > _FIELD_LIMIT:
            raise csv.Error(f"a line is longer than {_FIELD_LIMIT} characters")
        yield line


def _column(cell: str, aliases: Mapping[str, str]) -> str:
    """Return a column's name: lower case, blanks as underscores, without its dimension, renamed by the aliases."""
    plain = "_".join(cell.strip().lower().split())
    last = _QUALIFIED.get(plain) or plain.rpartition(".")[2]
    return aliases.get(plain) or aliases.get(last) or last


def _check(export: Export, names: list[str]) -> None:
    for one_of in _NEEDED[export.template]:
        if not any(name in names for name in one_of):
            cure = "export the column, or name the one that holds it with --alias NAME=THEIRS"
            raise InputError(export.path.name, f"has no column {' or '.join(one_of)}", cure)


def portions(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield lists of up to `size` items."""
    left = iter(items)
    while portion := list(islice(left, size)):
        yield portion
