"""Short ways to write bills and programmes in tests."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from capstream.capillary.programme.config import Customers, Programme, Redeem, Shops
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.retail import Bill, BillLine

LONDON = ZoneInfo("Europe/London")
QUIET = Programme(
    redeem=Redeem(probability=0.0, reversal_probability=0.0),
    customers=Customers(
        update_probability_per_month=0, merge_probability=0, deletion_probability=0, missing_email=0, missing_mobile=0
    ),
    shops=Shops(online_share=0.0),
)
PAYING = replace(QUIET, redeem=Redeem(probability=1.0, reversal_probability=0.0))


def instant(text: str) -> int:
    """Return the instant of a London wall time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp() * 1000)


def bill(number: str, when: str, *lines: tuple[str, int, str], customer: str = "101") -> Bill:
    """Return a bill of (sku, quantity, price) lines."""
    till_ms = instant(when)
    made = tuple(
        BillLine(place, number, place, sku, sku.lower(), quantity, Decimal(price), till_ms, customer, "EIRE", "GBP")
        for place, (sku, quantity, price) in enumerate(lines, 1)
    )
    return Bill(number, customer, till_ms, number.startswith("C"), "EIRE", "GBP", made)


def run(engine: Engine, *bills: Bill, until: str | None = None) -> list[SimEvent]:
    """Return all events of these bills, and of what happens before `until`."""
    events = [event for step in engine.run(bills) for event in step]
    if until is not None:
        events += [event for step in engine.advance(instant(until)) for event in step]
    return events


def only(events: list[SimEvent], kind: str) -> SimEvent:
    """Return the one event of that kind."""
    (event,) = [event for event in events if event.kind == kind]
    return event
