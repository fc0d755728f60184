"""Points as payment, and payment undone. Source: capillary.md 3.6, 4, 9.3.2."""

from capstream.capillary.programme.events import SimEvent, activity
from capstream.capillary.programme.ledger import Member, Receipt, Redemption
from capstream.capillary.programme.world import Step, World

_REDEEM = 200


def pay(step: Step, member: Member, points: int, receipt: Receipt | None) -> Redemption:
    """Take points off the ledger as payment, for a bill or without one."""
    world, writer, number = step.world, step.world.writer, step.world.arithmetic.number
    parts = member.take(points)
    member.redeemed += points
    redemption = Redemption(
        id=world.ids.short(),
        summary_id=world.ids.number("redemption", 9_910_000),
        bill_id=None if receipt is None else receipt.transaction_id,
        bill_number="" if receipt is None else receipt.bill.invoice_id,
        till=member.till if receipt is None else receipt.till,
        points=points,
        parts=parts,
    )
    bill = () if receipt is None else (("billId", str(receipt.transaction_id)),)
    data = writer.on_program(
        member,
        activity("PointsRedemption", member, (*bill, ("redemptionId", redemption.id)), redemption.till),
        totalPointsRedeemed=number(points),
        redemptionSummaryId=redemption.summary_id,
        redeemedPointsCurrencyValue=float(world.arithmetic.worth(points)),
        redemptionNotes="",
        redemptionBillNumber=redemption.bill_number,
        isGroupRedemption=False,
        redemptionFromEarningPrograms=[writer.share(member, points)],
    )
    step.emit("pointsRedeemed", _REDEEM, data, member=member)
    return redemption


def undo(
    world: World, member: Member | None, at_ms: int, *, redemption: Redemption, step: Step | None = None, offset_ms: int = 0
) -> list[SimEvent]:
    """Give a redemption back: what is past its expiry day goes back and expires at once. Undone once only.

    `step` is the step that causes it, when it does not happen by itself.
    """
    if member is None or member.is_gone or redemption.is_reversed:
        return []
    own = step or Step(world, at_ms, world.ids.hex32())
    today, number, writer = world.calendar.day_of(at_ms), world.arithmetic.number, world.writer
    redemption.is_reversed = True
    expired = 0
    for lot, points in reversed(redemption.parts):
        if lot.expiry < today:
            expired += points
        else:
            member.give_back(lot, points)
    member.redeemed -= redemption.points
    member.expired += expired
    details = {"available": number(redemption.points - expired), "expired": number(expired)}
    share = writer.share(member, redemption.points, "redeemedPointsReversed")
    data = writer.on_program(
        member,
        activity("PointsRedemptionReversal", member, (("redemptionId", redemption.id),), redemption.till),
        redeemedPointsReversed=number(redemption.points),
        redeemedPointsReversedDetails=details,
        redemptionSummaryId=redemption.summary_id,
        redemptionReversalToEarningPrograms=[share | {"redeemedPointsReversedDetails": details}],
    )
    own.emit("redeemedPointsReversed", offset_ms, data, member=member)
    return own.events
