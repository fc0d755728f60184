"""Bills as the programme books and reports them. Source: capillary.md 3.3, 3.4, 4, 9.1."""

from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from capstream.capillary.programme.days import DAY_MS
from capstream.capillary.programme.events import SimEvent, transaction
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.capillary.programme.world import Step, World
from capstream.capillary.retail import OUTLIER_QUANTITY, Bill
from capstream.kernel.json import Json


def sell_anonymously(world: World, _: Member | None, at_ms: int, *, bill: Bill) -> list[SimEvent]:
    """Book a bill of a shopper who is no member."""
    step = Step(world, at_ms, world.ids.hex32())
    receipt = book(world, bill, "NOT_INTERESTED_RETURN" if bill.is_return else "NOT_INTERESTED", at_ms)
    data = transaction(receipt, shown_time(world, receipt))
    step.emit("notInterestedBillAdded", 0, data, member=None, ref=str(receipt.transaction_id))
    world.anonymous_bills += 1
    return step.events


def book(
    world: World, bill: Bill, bill_type: str, at_ms: int, *, member: Member | None = None, is_online: bool = False
) -> Receipt:
    """Return the receipt of a bill, kept for the API."""
    discount = sum(line.cents for line in bill.lines if line.is_bill_discount)
    status = "RETURNED" if bill.is_return else "PLACED" if is_online else "DELIVERED"
    receipt = Receipt(
        transaction_id=world.ids.number("bill", 880_100_000),
        first_line_id=world.ids.number("line", 2_153_900_000, count=len(bill.lines)),
        bill=bill,
        bill_type=bill_type,
        customer_id=None if member is None else member.customer_id,
        till=world.chain.till(bill.country, bill.customer_ref, bill.invoice_id),
        created_ms=at_ms,
        gross_cents=sum(line.cents for line in bill.lines if not line.is_bill_discount),
        discount_cents=discount,
        is_online=is_online,
        status=status,
        is_outlier=any(abs(line.quantity) >= OUTLIER_QUANTITY for line in bill.lines),
    )
    world.keep(receipt)
    if member is not None and not bill.is_return:
        member.bills.append(receipt)
    return receipt


def bill_data(world: World, receipt: Receipt, member: Member) -> Json:
    """Return the data of a member's bill event."""
    return transaction(receipt, shown_time(world, receipt)) | {"customerIdentifiers": member.bill_identifiers}


def shown_time(world: World, receipt: Receipt) -> int:
    """Return the till's time as Capillary shows it: at some stores wall clock read in the cluster's zone (7.3)."""
    till_ms = receipt.bill.till_ms
    if not receipt.till.has_wall_clock:
        return till_ms
    instant = datetime.fromtimestamp(till_ms / 1000, UTC)
    there = instant.astimezone(ZoneInfo(receipt.till.zone)).utcoffset()
    read = instant.astimezone(ZoneInfo(world.programme.org.cluster_zone)).utcoffset()
    shift = 0.0 if there is None or read is None else (there - read).total_seconds()
    return till_ms + int(shift * 1000)


def plan_delivery(world: World, member: Member, receipt: Receipt) -> None:
    for status, after_days in (("SHIPPED", 1), ("DELIVERED", 3)):
        handler = partial(_deliver, receipt=receipt, status=status)
        world.schedule(receipt.created_ms + after_days * DAY_MS, member.customer_id, handler)


def _deliver(world: World, member: Member | None, at_ms: int, *, receipt: Receipt, status: str) -> list[SimEvent]:
    if member is None or member.is_gone:
        return []
    step = Step(world, at_ms, world.ids.hex32())
    receipt.status = status
    data = transaction(receipt, shown_time(world, receipt)) | {"customerIdentifiers": member.identifiers}
    step.emit("transactionUpdated", 0, data, member=member, ref=str(receipt.transaction_id))
    return step.events
