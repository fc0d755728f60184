"""Retail transactions as the loyalty programme takes them in: readers of two CSV layouts.

Nothing is dropped silently: every row of the input becomes exactly one `BillLine` or one `Reject`, in the order of the
input. Source: capillary.md 9.1.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache

from capstream.kernel.errors import InputError

LINES_HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
INVOICES_HEADER = ("InvoiceNo", "InvoiceDate", "CustomerID", "TotalPrice")
SERVICE_CODES = frozenset({"POST", "DOT", "M", "m", "D", "S", "B", "C2", "BANK CHARGES", "AMAZONFEE"})
DISCOUNT_CODE = "D"
OUTLIER_QUANTITY = 10_000
_OPENS, _CLOSES = time(9), time(21)
_CENT = Decimal(1)


class RejectReason(StrEnum):
    """Why a row is no bill line."""

    STOCK_WRITE_OFF = "stock_write_off"  #: negative quantity, price 0, nobody's, no cancellation
    ACCOUNTING_ADJUSTMENT = "accounting_adjustment"  #: invoice A…: bad debt
    NEGATIVE_QUANTITY = "negative_quantity"  #: goods come back on an invoice that is no cancellation
    POSITIVE_ON_CANCELLATION = "positive_on_cancellation"  #: a cancellation that sells
    ZERO_QUANTITY = "zero_quantity"
    NEGATIVE_PRICE = "negative_price"
    BAD_COLUMNS = "bad_columns"  #: not as many cells as the header, or not CSV at all
    BAD_QUANTITY = "bad_quantity"
    BAD_PRICE = "bad_price"
    BAD_TIME = "bad_time"
    BAD_CUSTOMER = "bad_customer"
    BAD_INVOICE = "bad_invoice"
    CUSTOMER_DIFFERS = "customer_differs"  #: one invoice, two customers
    INVOICE_SPLIT = "invoice_split"  #: the invoice went on after another one had begun


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line item, in canonical form. `customer_ref` is "" for an anonymous shopper."""

    row: int  #: data row in the input, from 1
    invoice_id: str
    line_no: int
    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    invoice_ms: int
    customer_ref: str
    country: str
    currency: str

    @property
    def is_return(self) -> bool:
        """Return whether the line belongs to a cancellation."""
        return self.invoice_id.startswith("C")

    @property
    def is_points_eligible(self) -> bool:
        """Return whether the line earns points: services do not."""
        return self.sku not in SERVICE_CODES

    @property
    def is_bill_discount(self) -> bool:
        """Return whether the line takes money off the whole bill.

        ASSUMPTION: on a cancellation every quantity is negative, so there a D line is a plain line without points.
        """
        return self.sku == DISCOUNT_CODE and self.quantity < 0 and not self.is_return

    @property
    def cents(self) -> int:
        """Return the line's amount in hundredths, never negative; half a cent goes up."""
        return int((abs(self.quantity) * self.unit_price * 100).quantize(_CENT, ROUND_HALF_UP))


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that is no bill line. `text` is the row as read."""

    row: int
    reason: RejectReason
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines of one invoice."""

    invoice_id: str
    customer_ref: str
    till_ms: int
    is_return: bool
    country: str
    currency: str
    lines: tuple[BillLine, ...]


Outcome = BillLine | Reject


@dataclass(frozen=True, slots=True, kw_only=True)
class RetailFormat:
    """What the files do not say themselves."""

    zone: tzinfo = UTC  #: local time of the shop
    currency: str = "GBP"
    country: str = "United Kingdom"  #: of one-row-per-invoice files


def read_rows(lines: Iterable[str], form: RetailFormat) -> Iterator[Outcome]:
    """Return one outcome for each data row; the header decides the layout.

    Errors: InputError when the header belongs to neither layout.
    """
    rows = _numbered(csv.reader(_without_bom(lines)))
    _, header, _ = next(rows, (0, [], ""))
    names = tuple(cell.strip() for cell in header)
    at = {name: index for index, name in enumerate(names)}
    outcomes: Iterator[Outcome]
    if set(LINES_HEADER) <= at.keys():
        outcomes = (_line_row(number, cells, text, at, form) for number, cells, text in rows if cells or text)
    elif set(INVOICES_HEADER) <= at.keys():
        invoices = (_invoice_row(number, cells, text, at, form) for number, cells, text in rows if cells or text)
        outcomes = _spread(invoices, form.zone)
    else:
        raise InputError(
            "transactions file, header row",
            f"the columns are {', '.join(names) or 'none'}",
            f"give it {','.join(LINES_HEADER)} or {','.join(INVOICES_HEADER)}",
        )
    return _consistent(outcomes)


def bills_of(outcomes: Iterable[Outcome]) -> Iterator[Bill | Reject]:
    """Return the invoices, each from its consecutive lines, and the rejects between them."""
    held: list[BillLine] = []
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            yield outcome
            continue
        if held and held[0].invoice_id != outcome.invoice_id:
            yield _bill(held)
            held = []
        held.append(outcome)
    if held:
        yield _bill(held)


def _bill(lines: list[BillLine]) -> Bill:
    first = lines[0]  # one invoice with two times: the time of its first line
    return Bill(
        first.invoice_id, first.customer_ref, first.invoice_ms, first.is_return, first.country, first.currency, tuple(lines)
    )


def _without_bom(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line


def _numbered(reader: "Iterator[list[str]]") -> Iterator[tuple[int, list[str], str]]:
    """Return (data row, cells, text); a row that is no CSV has no cells and its fault as text."""
    number = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [], f"not CSV: {error}"
        else:
            yield number, cells, ",".join(cells)
        number += 1


def _line_row(number: int, cells: list[str], text: str, at: Mapping[str, int], form: RetailFormat) -> Outcome:
    if len(cells) != len(at):
        return Reject(number, RejectReason.BAD_COLUMNS, f"{len(cells)} cells instead of {len(at)}", text)
    value = {name: cells[at[name]].strip() for name in LINES_HEADER}
    quantity, price = _whole(value["Quantity"]), _decimal(value["UnitPrice"])
    customer, instant = _customer(value["CustomerID"]), _instant(value["InvoiceDate"], form.zone)
    for found, reason, column in (
        (value["InvoiceNo"] or None, RejectReason.BAD_INVOICE, "InvoiceNo"),
        (quantity, RejectReason.BAD_QUANTITY, "Quantity"),
        (price, RejectReason.BAD_PRICE, "UnitPrice"),
        (customer, RejectReason.BAD_CUSTOMER, "CustomerID"),
        (instant, RejectReason.BAD_TIME, "InvoiceDate"),
    ):
        if found is None:
            return Reject(number, reason, f"{column} is {value[column]!r}", text)
    assert quantity is not None  # noqa: S101 - refused above
    assert price is not None  # noqa: S101
    assert customer is not None  # noqa: S101
    assert instant is not None  # noqa: S101
    line = BillLine(
        number, value["InvoiceNo"], 0, value["StockCode"], value["Description"], quantity, price, instant, customer,
        value["Country"] or form.country, form.currency,
    )  # fmt: skip
    reason_why = _unsaleable(line)
    return line if reason_why is None else Reject(number, reason_why, f"quantity {quantity}, price {price}", text)


def _unsaleable(line: BillLine) -> RejectReason | None:
    if line.invoice_id.startswith("A"):
        return RejectReason.ACCOUNTING_ADJUSTMENT
    if line.unit_price < 0:
        return RejectReason.NEGATIVE_PRICE
    if line.quantity == 0:
        return RejectReason.ZERO_QUANTITY
    if line.is_return:
        return RejectReason.POSITIVE_ON_CANCELLATION if line.quantity > 0 else None
    if line.quantity > 0 or line.is_bill_discount:
        return None
    written_off = line.unit_price == 0 and not line.customer_ref
    return RejectReason.STOCK_WRITE_OFF if written_off else RejectReason.NEGATIVE_QUANTITY


def _invoice_row(number: int, cells: list[str], text: str, at: Mapping[str, int], form: RetailFormat) -> Outcome:
    if len(cells) != len(at):
        return Reject(number, RejectReason.BAD_COLUMNS, f"{len(cells)} cells instead of {len(at)}", text)
    value = {name: cells[at[name]].strip() for name in INVOICES_HEADER}
    total = _decimal(value["TotalPrice"])
    credit = total is not None and total < 0
    quantity = "-1" if credit or value["InvoiceNo"].startswith("C") else "1"
    price = value["TotalPrice"].removeprefix("-") if quantity == "-1" else value["TotalPrice"]
    row = [value["InvoiceNo"], "TOTAL", "", quantity, value["InvoiceDate"], price, value["CustomerID"], form.country]
    return _line_row(number, row, text, _LINE_COLUMNS, form)


_LINE_COLUMNS = {name: index for index, name in enumerate(LINES_HEADER)}


def _spread(outcomes: Iterable[Outcome], zone: tzinfo) -> Iterator[Outcome]:
    """Return the outcomes of a file that gives dates only, each day's invoices spread evenly over the opening hours.

    ASSUMPTION: the order of the file is the order of the day. Holds one day at a time.
    """
    day: list[Outcome] = []
    held: int | None = None
    for outcome in outcomes:
        instant = outcome.invoice_ms if isinstance(outcome, BillLine) else held
        if day and instant != held:
            yield from _timed(day, held, zone)
            day = []
        held = instant
        day.append(outcome)
    yield from _timed(day, held, zone)


def _timed(day: list[Outcome], midnight_ms: int | None, zone: tzinfo) -> Iterator[Outcome]:
    if midnight_ms is None:
        yield from day
        return
    today = datetime.fromtimestamp(midnight_ms / 1000, zone)
    if today.time() != time(0):  # the file does give times
        yield from day
        return
    opens = _millis(datetime.combine(today.date(), _OPENS, zone))
    closes = _millis(datetime.combine(today.date(), _CLOSES, zone))
    sold = sum(isinstance(outcome, BillLine) for outcome in day)
    place = 0
    for outcome in day:
        if isinstance(outcome, Reject):
            yield outcome
            continue
        instant = opens + (closes - opens) * (2 * place + 1) // (2 * sold) // 1000 * 1000
        place += 1
        yield _with(outcome, invoice_ms=instant, line_no=outcome.line_no)


def _consistent(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Return the outcomes with lines numbered, refusing what contradicts the invoice it belongs to."""
    begun: set[str] = set()
    first: BillLine | None = None
    line_no = 0
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            yield outcome
            continue
        if first is None or outcome.invoice_id != first.invoice_id:
            if outcome.invoice_id in begun:
                yield _refused(outcome, RejectReason.INVOICE_SPLIT, "other invoices lie between its lines: sort the file")
                continue
            begun.add(outcome.invoice_id)
            first, line_no = outcome, 0
        elif outcome.customer_ref != first.customer_ref:
            yield _refused(outcome, RejectReason.CUSTOMER_DIFFERS, f"the invoice began in row {first.row} for another customer")
            continue
        line_no += 1
        yield _with(outcome, invoice_ms=outcome.invoice_ms, line_no=line_no)


def _with(line: BillLine, *, invoice_ms: int, line_no: int) -> BillLine:
    """Return the line with another time and number (dataclasses.replace costs ten times as much)."""
    return BillLine(
        line.row, line.invoice_id, line_no, line.sku, line.description, line.quantity, line.unit_price, invoice_ms,
        line.customer_ref, line.country, line.currency,
    )  # fmt: skip


def _refused(line: BillLine, reason: RejectReason, detail: str) -> Reject:
    text = f"{line.invoice_id},{line.sku},{line.description},{line.quantity},{line.unit_price},{line.customer_ref},{line.country}"
    return Reject(line.row, reason, detail, text)


def _whole(text: str) -> int | None:
    number = _decimal(text)
    return int(number) if number is not None and number == number.to_integral_value() and abs(number) < 10**9 else None


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**12 else None


def _customer(text: str) -> str | None:
    """Return the customer's number as text, "" for an anonymous shopper, None when it is no number (`17850.0` is one)."""
    if not text:
        return ""
    number = _whole(text)
    if number is None or number < 0:
        return None
    return str(number) if number else ""


@lru_cache(maxsize=64)
def _instant(text: str, zone: tzinfo) -> int | None:
    for parse in (datetime.fromisoformat, _american):
        try:
            wall = parse(text)
        except ValueError:
            continue
        return _millis(wall if wall.tzinfo else wall.replace(tzinfo=zone))
    return None


def _american(text: str) -> datetime:
    return datetime.strptime(text, "%m/%d/%Y %H:%M")  # noqa: DTZ007 - the shop's zone is added by the caller


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _millis(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def local_midnight(day: date, zone: tzinfo) -> int:
    """Return the instant at which `day` begins in `zone`, in epoch milliseconds."""
    return _millis(datetime.combine(day, time(0), zone))
