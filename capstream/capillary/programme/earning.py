"""What a bill earns: points, promotions, longer life of older points, a tier. Source: capillary.md 9.3.1, 9.3.2."""

from decimal import Decimal

from capstream.capillary.programme import days
from capstream.capillary.programme.config import Promotion
from capstream.capillary.programme.events import bill_activity
from capstream.capillary.programme.ledger import ExpiryChange, Lot, LotKind, Member, PromisedLot, Receipt, given
from capstream.capillary.programme.world import Step, World
from capstream.kernel.json import Json

_EARN, _PROMOTION, _EXPIRY, _REPEAT_EXPIRY, _TIER = 500, 700, 800, 815, 900
_EXTENDABLE = (LotKind.REGULAR, LotKind.CONVERTED)


def earn(step: Step, member: Member, receipt: Receipt) -> None:
    world, sums = step.world, step.world.arithmetic
    day = world.calendar.day_of(step.at_ms)
    eligible = sums.eligible(receipt)
    base = sums.base(eligible, receipt.multiplier)
    promised = sums.promised(base)
    regular = base - promised
    earned = [
        (promotion, points)
        for promotion in world.programme.promotions
        if sums.earns(promotion, member, day, eligible) and (points := sums.promotional(promotion, eligible)) > 0
    ]
    if not (regular or promised or earned):
        return
    if regular:
        world.hold(member, _lot(world, regular, sums.lot_expiry(day), LotKind.REGULAR, receipt))
    for promotion, points in earned:
        lot = _lot(world, points, day + promotion.valid_days, LotKind.PROMO, receipt)
        lot.promotion_id = promotion.id
        world.hold(member, lot)
        member.promotion_earns[promotion.id] = member.promotion_earns.get(promotion.id, 0) + 1
    member.lifetime += regular + sum(points for _, points in earned)
    _report_earning(step, member, receipt, (regular, promised), earned)
    if promised:
        due = day + world.programme.earn.promised_delay_days
        member.promised.append(PromisedLot(world.ids.number("lot", 117_600_000), promised, due, receipt, world.writer.log_id))
        world.at_night(due, member)
    for promotion, _ in earned:
        step.emit("promotionEarned", _PROMOTION, _promotion_data(step, member, receipt, promotion), member=member)


def _lot(world: World, points: int, expiry: int, kind: LotKind, receipt: Receipt) -> Lot:
    return Lot(world.ids.number("lot", 117_600_000), points, points, expiry, kind, receipt.transaction_id)


def _report_earning(
    step: Step, member: Member, receipt: Receipt, base: tuple[int, int], earned: list[tuple[Promotion, int]]
) -> None:
    world, sums, number = step.world, step.world.arithmetic, step.world.arithmetic.number
    day = world.calendar.day_of(step.at_ms)
    regular, promised = base
    converts = days.iso(day + world.programme.earn.promised_delay_days)
    data = world.writer.on_program(
        member,
        bill_activity("TransactionAdd", member, receipt, receipt.till),
        **world.writer.balances(member),
        totalPointsIssued=number(regular + sum(points for _, points in earned)),
        regularPointsIssued=number(regular),
        regularPointsBreakup=[{"points": number(regular), "expiryAt": days.iso(sums.lot_expiry(day))}] if regular else [],
        promotionalPointsIssued=[
            {
                "promotionName": promotion.name,
                "promotionIdentifier": str(promotion.id),
                "promotionType": "BILL_PROMOTION",
                "promotionPoints": number(points),
                "promotionPointsExpiryDate": days.iso(day + promotion.valid_days),
            }
            for promotion, points in earned
        ],
        promisedPointsIssued=[
            {
                "promisedPoints": number(promised),
                "isExternalTriggerBased": False,
                "promisedPointsConversionDate": converts,
                "promotionIdentifier": "",
            }
        ]
        if promised
        else [],
    )
    step.emit("pointsIssued", _EARN, data, member=member)


def _promotion_data(step: Step, member: Member, receipt: Receipt, promotion: Promotion) -> Json:
    world = step.world
    day = world.calendar.day_of(step.at_ms)
    limits = {"limitOn": "CUSTOMER", "kpi": "MAX_NUMBER_OF_EARNS_PER_CUSTOMER", "maxLimit": promotion.max_earns}
    return {
        "customerIdentifiers": member.identifiers,
        "triggeringActivity": bill_activity("TransactionAdd", member, receipt, receipt.till),
        "loyaltyProgramId": world.writer.program_id,
        "promotionId": promotion.id,
        "promotionName": promotion.name,
        "promotionDescription": promotion.description,
        "promotionStartDate": promotion.starts,
        "promotionEndDate": promotion.ends,
        "promotionEarnedDate": days.iso(day),
        "promotionEarnedExpiryDate": days.iso(day + promotion.valid_days),
        "pointsOfferType": "GENERIC",
        "promotionEarnSource": "WORKFLOW",
        "earnCriteria": "ACTIVITY",
        "issualId": world.ids.number("issual", 3_300),
        "earnedId": world.ids.number("earned", 3_500),
        "customFields": [],
        "earnRestrictions": [limits],
        "redemptionRestrictions": [],
        "linkedTargetGroupVsTargetRuleIdMap": {},
    }


def extend_expiry(step: Step, member: Member, receipt: Receipt) -> None:
    world, rule = step.world, step.world.programme.expiry
    if receipt.amount_cents <= rule.extend_if_purchase_above * 100:
        return
    older = (lot for lot in member.lots if lot.kind in _EXTENDABLE and lot.bill_id != receipt.transaction_id)
    earliest = next(older, None)
    if earliest is None:
        return
    old_day, new_day = earliest.expiry, world.arithmetic.extended(earliest.expiry)
    moved = [lot for lot in (earliest, *older) if lot.expiry == old_day and not lot.is_extended]
    if not moved:
        return
    member.move_expiry(moved, new_day)
    world.watch_expiry(member, new_day)
    number = world.arithmetic.number
    total = given((lot, lot.remaining) for lot in moved)
    data = world.writer.on_program(
        member,
        bill_activity("TransactionAdd", member, receipt, receipt.till),
        updatedPointsExpiryBreakup=[
            _moved(lot.id, number(lot.remaining), old_day, new_day, rule.extend_if_purchase_above) for lot in moved
        ],
    )
    del data["loyaltyProgramId"]
    event = step.emit("pointsExpiryChange", _EXPIRY, data, member=member)
    member.expiry_changes.append(ExpiryChange(event.created_at_ms, total, old_day, new_day, event.event_id))
    change = {"programId": world.writer.program_id, "points": number(total), "pointsType": "billRegular"}
    repeat = {
        "customerIdentifiers": member.identifiers,
        "entityInformation": data["entityInformation"],
        "updatedPointsExpiry": [{**change, "oldExpiryDate": days.iso(old_day), "newExpiryDate": days.iso(new_day)}],
    }
    step.emit("singlePointsExpiryUpdated", _REPEAT_EXPIRY, repeat, member=member)


def _moved(lot_id: int, points: float, old_day: int, new_day: int, above: Decimal) -> Json:
    return {
        "pointAwardedRefID": lot_id,
        "pointsAwardedRefType": "POINT_AWARDED",
        "promotionID": -1,
        "points": points,
        "pointsPreviousExpiryDate": days.iso(old_day),
        "expiryUpdateReasonType": "EXTEND_EXPIRY",
        "expiryUpdateReasonNote": f"Purchase above {above}",
        "newExpiryDate": days.iso(new_day),
        "newExpirySetType": "FIXED_DATE",
    }


def upgrade(step: Step, member: Member, receipt: Receipt) -> None:
    world = step.world
    member.purchases_cents += receipt.amount_cents
    member.spend.add(step.at_ms, receipt.amount_cents)
    reached = world.arithmetic.reached(member, world.rolling_spend(member, step.at_ms))
    if reached == member.tier:
        return
    tier, previous = world.programme.tier(reached), member.tier
    day = world.calendar.day_of(step.at_ms)
    world.set_tier(member, reached, step.at_ms, world.arithmetic.tier_expiry(day, tier))
    data = world.writer.on_program(
        member,
        bill_activity("TransactionAdd", member, receipt, receipt.till),
        previousTierNumber=previous,
        upgradedTierNumber=reached,
        **expiry_field(member),
        notes=f"Upgrading to Slab : Slab[{reached}]: Name {tier.name} , Criteria: Primary",
        upgradeType="STRATEGY",
    )
    step.emit("tierUpgraded", _TIER, data, member=member)


def expiry_field(member: Member) -> Json:
    """Return tierExpiryDate, left out when the tier never ends."""
    return {} if member.tier_expiry is None else {"tierExpiryDate": days.iso(member.tier_expiry)}
