"""A purchase, step by step: register, coupon, bill, redeem, earn, promotions, expiry, tier, badge. Source: capillary.md 9.3.1."""

from functools import partial

from capstream.capillary.programme.bills import bill_data, book, plan_delivery, sell_anonymously
from capstream.capillary.programme.customers import register
from capstream.capillary.programme.days import DAY_MS
from capstream.capillary.programme.earning import earn, extend_expiry, upgrade
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.capillary.programme.redemptions import pay, undo
from capstream.capillary.programme.rewards import give_badges, issue_coupon, reward, use_coupon
from capstream.capillary.programme.world import Step, World
from capstream.capillary.retail import Bill

_BILL = 0
_REVERSAL_WITHIN_MS = 10 * DAY_MS


def sell(world: World, member: Member | None, at_ms: int, *, bill: Bill) -> list[SimEvent]:
    """Book a bill of a member, or of somebody who becomes one."""
    if member is not None and member.is_gone:
        return sell_anonymously(world, None, at_ms, bill=bill)
    step = Step(world, at_ms, world.ids.hex32())
    till = world.chain.till(bill.country, bill.customer_ref, bill.invoice_id)
    if member is None:
        member = register(step, bill, till)
    is_online = world.bill_draws.random() < world.programme.shops.online_share
    receipt = book(world, bill, "REGULAR", at_ms, member=member, is_online=is_online)
    receipt.multiplier = world.programme.tier(member.tier).multiplier
    points = _to_redeem(world, member, receipt)
    use_coupon(step, member, receipt)
    coupon = issue_coupon(step, member, receipt) if points else None
    step.emit("transactionAdded", _BILL, bill_data(world, receipt, member), member=member, ref=str(receipt.transaction_id))
    if points:
        _redeem(step, member, receipt, points)
    if coupon is not None:
        reward(step, member, coupon)
    earn(step, member, receipt)
    extend_expiry(step, member, receipt)
    upgrade(step, member, receipt)
    give_badges(step, member, receipt)
    member.has_bought = True
    if is_online:
        plan_delivery(world, member, receipt)
    return step.events


def _to_redeem(world: World, member: Member, receipt: Receipt) -> int:
    wants = world.bill_draws.random() < world.programme.redeem.probability
    return world.arithmetic.redeemable(member.current, receipt.amount_cents) if wants else 0


def _redeem(step: Step, member: Member, receipt: Receipt, points: int) -> None:
    world = step.world
    redemption = pay(step, member, points, receipt)
    receipt.redemption = redemption
    if world.bill_draws.random() < world.programme.redeem.reversal_probability:
        later = step.at_ms + int((0.01 + world.bill_draws.random()) * _REVERSAL_WITHIN_MS)
        world.schedule(later, member.customer_id, partial(undo, redemption=redemption))
