"""A return: the bill comes back, and with it what it earned. Source: capillary.md 9.1, 9.3.1, 9.3.2."""

from dataclasses import dataclass, field
from decimal import Decimal

from capstream.capillary.programme.bills import bill_data, book, sell_anonymously
from capstream.capillary.programme.customers import register
from capstream.capillary.programme.earning import expiry_field
from capstream.capillary.programme.events import SimEvent, activity
from capstream.capillary.programme.ledger import LotKind, Member, Receipt, given
from capstream.capillary.programme.redemptions import undo
from capstream.capillary.programme.world import Step, World
from capstream.capillary.retail import Bill, BillLine
from capstream.kernel.json import Json

_BILL, _POINTS, _REDEMPTION, _TIER = 0, 300, 400, 900


@dataclass(slots=True)
class _Taken:
    """What a return took back, in parts."""

    promised: int = 0
    regular: int = 0
    promotional: list[tuple[int, int]] = field(default_factory=list)  #: (promotion, points)

    @property
    def total(self) -> int:
        return self.regular + sum(points for _, points in self.promotional)


def give_back_goods(world: World, member: Member | None, at_ms: int, *, bill: Bill) -> list[SimEvent]:
    """Book a return. Each line goes to the newest earlier bill with enough of the article left; none: no parent."""
    if member is not None and member.is_gone:
        return sell_anonymously(world, None, at_ms, bill=bill)
    step = Step(world, at_ms, world.ids.hex32())
    if member is None:
        till = world.chain.till(bill.country, bill.customer_ref, bill.invoice_id)
        member = register(step, bill, till)
    receipt = book(world, bill, "RETURN", at_ms, member=member)
    parents = _match(member, bill)
    _link(receipt, [parent for parent, _ in parents if parent is not None])
    step.emit("transactionAdded", _BILL, bill_data(world, receipt, member), member=member, ref=str(receipt.transaction_id))
    for parent, lines in parents:
        _take_points(step, member, parent or receipt, lines, is_full=parent is not None and parent.is_fully_returned)
    for parent, _ in parents:
        if parent is not None and parent.redemption is not None and parent.is_fully_returned:
            undo(world, member, at_ms, redemption=parent.redemption, step=step, offset_ms=_REDEMPTION)
    _downgrade(step, member, receipt)
    return step.events


def _match(member: Member, bill: Bill) -> list[tuple[Receipt | None, list[BillLine]]]:
    """Return the lines grouped by the bill they come from."""
    groups: dict[int, tuple[Receipt | None, list[BillLine]]] = {}
    for line in bill.lines:
        quantity = abs(line.quantity)
        parent = next((sold for sold in reversed(member.bills) if sold.has_left(line.sku, quantity)), None)
        if parent is not None:
            parent.take_back(line.sku, quantity)
        groups.setdefault(0 if parent is None else parent.transaction_id, (parent, []))[1].append(line)
    return list(groups.values())


def _link(receipt: Receipt, parents: list[Receipt]) -> None:
    """Name the bill that came back. ASSUMPTION: of several the first, since a return has one parent."""
    if parents:
        receipt.parent_id = parents[0].transaction_id
        receipt.return_type = "FULL" if all(parent.is_fully_returned for parent in parents) else "LINE_ITEM"
    else:
        receipt.return_type = "AMOUNT"


def _take_points(step: Step, member: Member, source: Receipt, lines: list[BillLine], *, is_full: bool) -> None:
    """Take back what the lines earned, never more than there is. `source` is the bill sold, else the return itself."""
    eligible = Decimal(sum(line.cents for line in lines if line.is_points_eligible)) / 100
    taken = _take(member, source, step.world.arithmetic.base(eligible, source.multiplier), is_full=is_full)
    if taken.total == 0 and taken.promised == 0:
        return
    member.lifetime -= taken.total
    member.returned += taken.total
    step.emit("issuedPointsReversed", _POINTS, _reversal_data(step, member, source, taken), member=member)


def _take(member: Member, source: Receipt, back: int, *, is_full: bool) -> _Taken:
    taken = _Taken()
    bill_id = source.transaction_id
    for held in member.promised:
        if held.receipt is source and back > 0:
            points = min(back, held.points)
            held.points -= points
            taken.promised += points
            back -= points
    member.promised = [held for held in member.promised if held.points]
    own = member.take(back, lambda lot: lot.bill_id == bill_id and lot.kind is LotKind.REGULAR)
    others = member.take(back - given(own))
    taken.regular = given(own) + given(others)
    if is_full:
        promotional = member.take(member.current, lambda lot: lot.bill_id == bill_id and lot.kind is LotKind.PROMO)
        taken.promotional = [(lot.promotion_id or 0, points) for lot, points in promotional]
    return taken


def _reversal_data(step: Step, member: Member, source: Receipt, taken: _Taken) -> Json:
    writer, number = step.world.writer, step.world.arithmetic.number
    promotional = [
        {"promotionIdentifier": str(promotion), "promotionType": "BILL", "promotionPoints": number(points)}
        for promotion, points in taken.promotional
    ]
    identifiers = (("billId", str(source.transaction_id)), ("billNumber", source.bill.invoice_id))
    return writer.on_program(
        member,
        activity("ReturnBill", member, identifiers, source.till),
        **writer.balances(member),
        totalIssuedPointsReversed=number(taken.total),
        regularPointsReversed=number(taken.regular),
        promisedPointsReversed=number(taken.promised),
        promotionalPointsReversed=promotional,
        currentEventPromisedPointsReturned=number(taken.promised),
        currentEventRegularPointsReturned=number(taken.regular),
        currentEventTotalPointsReturned=number(taken.total),
        currentEventPromotionPointsReturnedDetails=promotional,
    )


def _downgrade(step: Step, member: Member, receipt: Receipt) -> None:
    world, cents = step.world, receipt.amount_cents
    before = world.rolling_spend(member, step.at_ms)
    member.spend.add(step.at_ms, -cents)
    member.purchases_cents -= cents
    renew = world.programme.tier(member.tier).renew_spend * 100
    if member.tier > 1 and world.programme.downgrade.on_return and before >= renew > before - cents:
        fall(step, member, before - cents, world.calendar.day_of(step.at_ms), offset_ms=_TIER)


def fall(step: Step, member: Member, spend_cents: int, day: int, *, offset_ms: int) -> None:
    """Move a member to a lower tier, whose period counts from `day`."""
    world, previous = step.world, member.tier
    lower = world.arithmetic.below(previous, spend_cents)
    world.set_tier(member, lower, step.at_ms, world.arithmetic.tier_expiry(day, world.programme.tier(lower)))
    data = world.writer.on_program(
        member,
        activity("TierReassessment", member),
        previousTierNumber=previous,
        downgradedTierNumber=lower,
        **expiry_field(member),
    )
    step.emit("tierDowngraded", offset_ms, data, member=member)
