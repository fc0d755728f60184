"""Every row of a retail file ends in exactly one bill line or one reject."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from capstream.capillary.programme.synthetic import SyntheticShop, synthetic_bills
from capstream.capillary.retail import Bill, BillLine, Reject, RejectReason, RetailFormat, bills_of, read_rows
from capstream.kernel.errors import InputError

LONDON = RetailFormat(zone=ZoneInfo("Europe/London"))
LINES = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
INVOICES = "InvoiceNo,InvoiceDate,CustomerID,TotalPrice\n"


def outcomes(*rows: str, header: str = LINES) -> list[BillLine | Reject]:
    return list(read_rows([header, *(f"{row}\n" for row in rows)], LONDON))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,X,,-5,2010-12-01 08:26:00,0.0,,United Kingdom", RejectReason.STOCK_WRITE_OFF),
        ("A1,B,Adjust bad debt,1,2010-12-01 08:26:00,-11.5,,United Kingdom", RejectReason.ACCOUNTING_ADJUSTMENT),
        ("1,X,,-5,2010-12-01 08:26:00,2.5,17850.0,United Kingdom", RejectReason.NEGATIVE_QUANTITY),
        ("C1,X,,5,2010-12-01 08:26:00,2.5,17850.0,United Kingdom", RejectReason.POSITIVE_ON_CANCELLATION),
        ("1,X,,0,2010-12-01 08:26:00,2.5,17850.0,United Kingdom", RejectReason.ZERO_QUANTITY),
        ("1,X,,1,2010-12-01 08:26:00,-2.5,17850.0,United Kingdom", RejectReason.NEGATIVE_PRICE),
        ("1,X,,1.5,2010-12-01 08:26:00,2.5,17850.0,United Kingdom", RejectReason.BAD_QUANTITY),
        ("1,X,,1,2010-12-01 08:26:00,NaN,17850.0,United Kingdom", RejectReason.BAD_PRICE),
        ("1,X,,1,yesterday,2.5,17850.0,United Kingdom", RejectReason.BAD_TIME),
        ("1,X,,1,2010-12-01 08:26:00,2.5,somebody,United Kingdom", RejectReason.BAD_CUSTOMER),
        (",X,,1,2010-12-01 08:26:00,2.5,17850.0,United Kingdom", RejectReason.BAD_INVOICE),
        ("1,X,1", RejectReason.BAD_COLUMNS),
    ],
)
def test_a_row_that_is_no_line_says_why(row: str, reason: RejectReason) -> None:
    (outcome,) = outcomes(row)
    assert isinstance(outcome, Reject)
    assert (outcome.row, outcome.reason) == (1, reason)


def test_a_line_is_canonical() -> None:
    (line,) = outcomes("536365,85123A, HEART ,6,2011-07-01 08:26:00,2.55,17850.0,EIRE")
    assert isinstance(line, BillLine)
    assert (line.invoice_id, line.line_no, line.sku, line.description) == ("536365", 1, "85123A", "HEART")
    assert (line.quantity, line.unit_price, line.customer_ref, line.country) == (6, Decimal("2.55"), "17850", "EIRE")
    assert line.invoice_ms == 1_309_505_160_000  # 07:26 UTC: London is an hour ahead in July
    assert line.cents == 1530


@pytest.mark.parametrize("customer", ["", "0", "0.0"])
def test_nobodys_bills_are_anonymous(customer: str) -> None:
    (line,) = outcomes(f"1,X,,1,2010-12-01 08:26:00,0,{customer},United Kingdom")
    assert isinstance(line, BillLine)
    assert line.customer_ref == ""


def test_services_and_discounts() -> None:
    sold, service, discount = outcomes(
        "1,X,,1,12/1/2010 8:26,10,5,EIRE", "1,POST,,1,12/1/2010 8:26,3,5,EIRE", "1,D,,-1,12/1/2010 8:26,2,5,EIRE"
    )
    credit = outcomes("C1,D,,-1,12/1/2010 8:26,2,5,EIRE")[0]
    told = [
        (line.is_points_eligible, line.is_bill_discount)
        for line in (sold, service, discount, credit)
        if isinstance(line, BillLine)
    ]
    assert told == [(True, False), (False, False), (False, True), (False, False)]


def test_an_invoice_is_one_bill_with_the_time_of_its_first_line() -> None:
    rows = outcomes(
        "1,X,,1,2010-12-01 08:26:00,1,5,EIRE",
        "1,Y,,1,2010-12-01 08:27:00,1,5,EIRE",
        "1,Z,,1,2010-12-01 08:27:00,1,6,EIRE",
        "2,X,,1,2010-12-01 08:30:00,1,7,EIRE",
        "1,X,,1,2010-12-01 08:31:00,1,5,EIRE",
    )
    found = list(bills_of(rows))
    bills = [bill for bill in found if isinstance(bill, Bill)]
    assert [(bill.invoice_id, len(bill.lines), bill.till_ms == bill.lines[0].invoice_ms) for bill in bills] == [
        ("1", 2, True),
        ("2", 1, True),
    ]
    assert [one.reason for one in found if isinstance(one, Reject)] == [RejectReason.CUSTOMER_DIFFERS, RejectReason.INVOICE_SPLIT]
    assert sorted(
        [line.row for bill in bills for line in bill.lines] + [one.row for one in found if isinstance(one, Reject)]
    ) == [1, 2, 3, 4, 5]


def test_dates_without_times_are_spread_over_the_opening_hours() -> None:
    found = list(
        bills_of(
            outcomes("1,2010-12-01,5,10.005", "2,2010-12-01,6,20", "C3,2010-12-02,5,-3.5", "4,2010-12-02,5,-1", header=INVOICES)
        )
    )
    bills = [bill for bill in found if isinstance(bill, Bill)]
    assert [bill.till_ms for bill in bills] == [1_291_204_800_000, 1_291_226_400_000, 1_291_302_000_000]  # 12:00, 18:00, 15:00
    assert [(line.sku, line.cents, line.quantity) for bill in bills for line in bill.lines] == [
        ("TOTAL", 1001, 1), ("TOTAL", 2000, 1), ("TOTAL", 350, -1),
    ]  # fmt: skip
    assert [(one.row, one.reason) for one in found if isinstance(one, Reject)] == [(4, RejectReason.NEGATIVE_QUANTITY)]


def test_an_unknown_header_is_refused() -> None:
    with pytest.raises(InputError, match="header"):
        read_rows(["a,b\n"], LONDON)


def test_made_up_bills_repeat_themselves_and_come_in_order() -> None:
    shop = SyntheticShop(start_ms=1_700_000_000_000, end_ms=1_700_000_000_000 + 30 * 86_400_000, customers=50, bills_per_day=20)
    bills = list(synthetic_bills(shop, seed=3))
    assert bills == list(synthetic_bills(shop, seed=3))
    assert bills != list(synthetic_bills(shop, seed=4))
    instants = [bill.till_ms for bill in bills]
    assert instants == sorted(instants)
    assert all(shop.start_ms <= instant < (shop.end_ms or 0) for instant in instants)
    assert 650 < len(bills) < 1000  # 20 a day, more in November
    assert any(bill.is_return for bill in bills)
    assert any(not bill.customer_ref for bill in bills)
    assert all(line.quantity < 0 for bill in bills if bill.is_return for line in bill.lines)
