"""Coupons, rewards and badges: what a bill brings besides points. Source: capillary.md 4, 9.2, 9.3.1."""

from capstream.capillary.programme.events import bill_activity
from capstream.capillary.programme.ledger import Coupon, Member, Receipt
from capstream.capillary.programme.world import Step, World
from capstream.kernel.json import Json

_COUPON, _REWARD, _BADGE = -50, 300, 1100


def use_coupon(step: Step, member: Member, receipt: Receipt) -> None:
    member.coupons = [coupon for coupon in member.coupons if coupon.valid_till_ms >= step.at_ms]
    coupon = next((coupon for coupon in member.coupons if coupon.will_be_used), None)
    if coupon is None:
        return
    member.coupons.remove(coupon)
    redemption_id = step.world.ids.number("coupon use", 990_000)
    used_ms = step.at_ms + _COUPON
    data: Json = {
        "addedAt": used_ms,
        "addedBy": receipt.till.entered_by,
        "coupon": {
            "id": coupon.id,
            "code": coupon.code,
            "redemptionId": redemption_id,
            "redemptionDate": used_ms // 1000 * 1000,
            "series_info": _series(step.world),
        },
        "customerIdentifiers": member.identifiers,
        "transaction": {"bill_id": receipt.transaction_id, "number": receipt.bill.invoice_id},
    }
    step.emit("CouponRedeem", _COUPON, data, member=member, ref=f"{_series(step.world)['id']}_{redemption_id}")


def issue_coupon(step: Step, member: Member, receipt: Receipt) -> Coupon | None:
    world, rules = step.world, step.world.programme.rewards
    is_due, is_used = world.bill_draws.random() < rules.issue_probability_on_redeem, world.bill_draws.random()
    if not is_due:
        return None
    issued_ms = (step.at_ms + _COUPON) // 1000 * 1000
    last_day = world.calendar.day_of(step.at_ms) + rules.coupon.valid_days
    coupon = Coupon(
        id=world.ids.number("coupon", 41_770_000),
        code=f"CS{world.ids.short()}{world.ids.number('code', 100)}",
        issued_ms=issued_ms,
        valid_till_ms=world.calendar.start_of(last_day + 1) - 1000,
        will_be_used=is_used < rules.coupon.redeem_probability,
    )
    member.coupons.append(coupon)
    given_out = {"id": coupon.id, "code": coupon.code, "valid_till": coupon.valid_till_ms, "issued_on": issued_ms}
    data: Json = {
        "addedAt": step.at_ms + _COUPON,
        "addedBy": receipt.till.entered_by,
        "coupons": [{**given_out, "customerIdentifiers": member.identifiers}],
        "series_info": _series(world),
        "issualType": "SINGLE",
    }
    step.emit("CouponIssue", _COUPON, data, member=member, ref=f"{rules.coupon.series}_{coupon.id}:{coupon.id}")
    return coupon


def _series(world: World) -> Json:
    series = world.programme.rewards.coupon
    return {
        "id": series.series,
        "description": "Coffee voucher",
        "seriesType": "LOYALTY",
        "clientHandlingType": "DISC_CODE",
        "valid_till": 4_102_444_799_000,
        "discount_code": "NO_VALUE",
        "discount_type": "ABS",
        "discount_value": float(series.value),
    }


def reward(step: Step, member: Member, coupon: Coupon) -> None:
    """Report the voucher as a reward; it cost nothing beyond what was redeemed on the bill."""
    issued_ms = step.at_ms + _REWARD - 100
    data = {
        "customerIdentifiers": member.identifiers,
        "rewardId": 868,
        "type": "VOUCHER",
        "redemptionType": "INTOUCH_REWARD",
        "startDate": coupon.issued_ms,
        "endDate": coupon.valid_till_ms,
        "intouchPoints": 0,
        "intouchSeriesId": str(step.world.programme.rewards.coupon.series),
        "priority": 1,
        "tier": step.world.programme.tier(member.tier).name,
        "group": "food-and-drink",
        "label": "coffee",
        "issueDateTime": issued_ms,
        "eventDateTime": issued_ms,
        "transactionId": str(step.world.ids.number("reward", 5_100)),
        "intouchRewardDetails": {"intouchCouponCode": coupon.code, "codeExpiry": coupon.valid_till_ms},
        "vendorRewardDetails": {"vendorVoucher": ""},
    }
    step.emit("rewardIssued", _REWARD, data, member=member, ref="868")


def give_badges(step: Step, member: Member, receipt: Receipt) -> None:
    world = step.world
    wanted = [badge for badge in world.programme.badges if badge.id not in member.badges]
    if not wanted:
        member.skus.clear()
        return
    member.skus.update(line.sku for line in receipt.bill.lines if line.is_points_eligible)
    for badge in wanted:
        if len(member.skus) < badge.distinct_skus:
            continue
        member.badges.add(badge.id)
        earn_id = world.ids.hex32()[:24]
        data = {
            "customerIdentifiers": member.identifiers,
            "badgeId": badge.id,
            "issualId": world.ids.hex32()[:24],
            "issuedOn": step.at_ms,
            "earnId": earn_id,
            "earnedOn": step.at_ms + _BADGE - 1,
            "earnConstraints": [],
            "triggeringActivity": bill_activity("TransactionAdd", member, receipt, receipt.till),
        }
        step.emit("badgeEarned", _BADGE, data, member=member, ref=earn_id)
