"""The jobs in the org's zone: conversion, expiry and tier check at night; reminders at six. Source: capillary.md 9.3.1, 9.3.2."""

from collections.abc import Callable
from functools import partial

from capstream.capillary.programme import days
from capstream.capillary.programme.earning import expiry_field
from capstream.capillary.programme.events import SimEvent, activity
from capstream.capillary.programme.ledger import Lot, LotKind, Member, PromisedLot, given
from capstream.capillary.programme.returns import fall
from capstream.capillary.programme.world import JOB_GAP_MS, Handler, Step, World
from capstream.kernel.json import Json


def night(day: int) -> Handler:
    """Return the job of 00:05 on `day`."""
    return partial(_night, day=day)


def morning(day: int) -> Handler:
    """Return the job of 06:00 on `day`."""
    return partial(_morning, day=day)


def _night(world: World, _: Member | None, at_ms: int, *, day: int) -> list[SimEvent]:
    request = world.ids.uuid()
    place = 0
    for member in world.night_members(day):
        for is_due, stage in _NIGHT_STAGES:
            if is_due(member, day):
                handler = partial(stage, day=day, request=request)
                world.schedule(at_ms + place, member.customer_id, handler, gap_ms=JOB_GAP_MS)
                place += 1
    return []


def _has_promised_due(member: Member, day: int) -> bool:
    return any(lot.convert_on <= day for lot in member.promised)


def _has_expired(member: Member, day: int) -> bool:
    return bool(member.lots) and member.lots[0].expiry < day


def _has_tier_over(member: Member, day: int) -> bool:
    return member.tier_expiry is not None and member.tier_expiry < day


def _convert(world: World, member: Member | None, at_ms: int, *, day: int, request: str) -> list[SimEvent]:
    if member is None or member.is_gone or not _has_promised_due(member, day):
        return []
    step, number = Step(world, at_ms, request), world.arithmetic.number
    due = [lot for lot in member.promised if lot.convert_on <= day]
    member.promised = [lot for lot in member.promised if lot.convert_on > day]
    expiry = world.arithmetic.lot_expiry(day)
    for promised in due:
        lot_id = world.ids.number("lot", 117_600_000)
        bill_id = promised.receipt.transaction_id
        world.hold(member, Lot(lot_id, promised.points, promised.points, expiry, LotKind.CONVERTED, bill_id))
    total = sum(lot.points for lot in due)
    member.lifetime += total
    data: Json = {
        "customerIdentifiers": member.identifiers,
        "entityInformation": {"entityType": "USER", "entityId": member.customer_id},
        "earningActivityReference": [_earned_by(world, lot) for lot in due],
        "loyaltyProgramDetails": world.writer.program_details,
        "loyaltyProgramId": world.writer.program_id,
        "pointsConverted": number(total),
        "pointsConvertedType": "DELAYED_ACCRUAL",
        **world.writer.balances(member),
        "pointsConversionSource": "systemTrigger",
        "pointsConvertedBreakup": [{"points": number(lot.points), "expiryAt": days.iso(expiry)} for lot in due],
    }
    step.emit("promisedToCurrentPointsConversion", 1, data, member=member)
    return step.events


def _earned_by(world: World, lot: PromisedLot) -> Json:
    return {
        "name": "TransactionAdd",
        "enteredAt": lot.receipt.bill.till_ms,
        "pointsConverted": world.arithmetic.number(lot.points),
        "identifiers": [
            {"key": "billId", "value": str(lot.receipt.transaction_id)},
            {"key": "billNumber", "value": lot.receipt.bill.invoice_id},
            {"key": "EventLogId", "value": str(lot.event_log_id)},
        ],
    }


def _expire(world: World, member: Member | None, at_ms: int, *, day: int, request: str) -> list[SimEvent]:
    if member is None or member.is_gone or not _has_expired(member, day):
        return []
    step = Step(world, at_ms, request)
    points = given(member.take(member.current, lambda lot: lot.expiry < day))
    member.expired += points
    data = world.writer.on_program(member, {}, pointsExpired=world.arithmetic.number(points))
    step.emit("pointsExpired", 1, data, member=member, ref=str(member.customer_id))
    return step.events


def _check_tier(world: World, member: Member | None, at_ms: int, *, day: int, request: str) -> list[SimEvent]:
    """Renew or lower a tier whose last day is over."""
    if member is None or member.is_gone or member.tier_expiry is None or member.tier_expiry >= day:
        return []
    step, over, tier = Step(world, at_ms, request), member.tier_expiry, world.programme.tier(member.tier)
    spend = _period_spend(world, member, over)
    if spend < tier.renew_spend * 100:
        fall(step, member, spend, over, offset_ms=1)
        return step.events
    world.set_tier(member, tier.n, member.tier_since_ms, world.arithmetic.tier_expiry(over, tier))
    data = world.writer.on_program(
        member,
        activity("TierReassessment", member),
        currentTierNumber=tier.n,
        **expiry_field(member),
        notes=f"Renewing to Slab : Slab[{tier.n}]: Name {tier.name}",
        renewType="STRATEGY",
    )
    step.emit("tierRenewed", 1, data, member=member)
    return step.events


def _period_spend(world: World, member: Member, last_day: int) -> int:
    """Return the spend of the tier's period up to the end of `last_day`, in hundredths."""
    months = world.programme.tier(member.tier).validity_months
    calendar = world.calendar
    return member.spend.between(calendar.start_of(days.add_months(last_day + 1, -months)), calendar.start_of(last_day + 1))


def _morning(world: World, _: Member | None, at_ms: int, *, day: int) -> list[SimEvent]:
    job = world.ids.uuid()
    place = 0
    for member in world.morning_members(day):
        for ahead in sorted(world.programme.expiry.reminder_days, reverse=True):
            if any(lot.expiry == day + ahead for lot in member.lots):
                handler = partial(_remind_of_expiry, last_day=day + ahead, job=job)
                world.schedule(at_ms + place, member.customer_id, handler, gap_ms=JOB_GAP_MS)
                place += 1
        if member.tier_expiry is not None and member.tier_expiry - day in world.programme.downgrade.reminder_days:
            handler = partial(_remind_of_downgrade, last_day=member.tier_expiry, job=job)
            world.schedule(at_ms + place, member.customer_id, handler, gap_ms=JOB_GAP_MS)
            place += 1
    return []


def _remind_of_expiry(world: World, member: Member | None, at_ms: int, *, last_day: int, job: str) -> list[SimEvent]:
    points = 0 if member is None or member.is_gone else sum(lot.remaining for lot in member.lots if lot.expiry == last_day)
    if member is None or not points:
        return []
    step, number = Step(world, at_ms, job), world.arithmetic.number
    facts = {"pointsScheduledForExpiry": number(points), "scheduledExpiryDate": days.iso(last_day)}
    data = world.writer.on_program(member, {}, **facts)
    del data["triggeringActivity"]
    step.emit("pointsExpiryReminder", 1, data, member=member, ref=job)
    return step.events


def _remind_of_downgrade(world: World, member: Member | None, at_ms: int, *, last_day: int, job: str) -> list[SimEvent]:
    if member is None or member.is_gone or member.tier_expiry != last_day:
        return []
    if _period_spend(world, member, last_day) >= world.programme.tier(member.tier).renew_spend * 100:
        return []
    step = Step(world, at_ms, job)
    data = world.writer.on_program(member, {}, currentTierNumber=member.tier, scheduledDowngradeDate=days.iso(last_day))
    step.emit("tierDowngradeReminder", 1, data, member=member, ref=job)
    return step.events


_NIGHT_STAGES: tuple[tuple[Callable[[Member, int], bool], Callable[..., list[SimEvent]]], ...] = (
    (_has_promised_due, _convert),
    (_has_expired, _expire),
    (_has_tier_over, _check_tier),
)
