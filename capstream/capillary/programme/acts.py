"""Acts that are asked for from outside: redeem, adjust, transfer, merge, delete, force a tier. Source: capillary.md 9.5."""

from collections.abc import Mapping
from functools import partial

from capstream.capillary.programme.customers import delete, merge_with
from capstream.capillary.programme.earning import expiry_field
from capstream.capillary.programme.events import SimEvent, activity, entity
from capstream.capillary.programme.ledger import Lot, LotKind, Member, given
from capstream.capillary.programme.redemptions import pay
from capstream.capillary.programme.world import BILL_GAP_MS, Handler, Step, World
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json


def redeem(world: World, member: Member | None, at_ms: int, *, points: int) -> list[SimEvent]:
    """Redeem without a bill, at most what there is; nothing held, no event."""
    if member is None or member.is_gone or min(points, member.current) <= 0:
        return []
    step = Step(world, at_ms, world.ids.hex32())
    pay(step, member, min(points, member.current), None)
    return step.events


def adjust(world: World, member: Member | None, at_ms: int, *, points: int) -> list[SimEvent]:
    """Deduct points by hand, at most what there is; nothing held, no event."""
    if member is None or member.is_gone or min(points, member.current) <= 0:
        return []
    step = Step(world, at_ms, world.ids.hex32())
    parts = member.take(points)
    member.adjusted += given(parts)
    number = world.arithmetic.number
    split = [
        {
            "pointsAwardedId": lot.id,
            "programId": world.writer.program_id,
            "points": f"{number(taken):.3f}",
            "pointsType": "bill_regular",
        }
        for lot, taken in parts
    ]
    data: Json = {
        "customerIdentifiers": member.identifiers,
        "triggeringActivity": activity("ManualPointsAdjustment", member, (("CustomerId", str(member.customer_id)),), member.till),
        "totalPoinstDeducted": f"{number(given(parts)):.3f}",
        "programPointsSplit": split,
        "reason": "Corrected by hand",
    }
    step.emit("manualPointsAdjustment", 0, data, member=member)
    return step.events


def transfer(world: World, giver: Member | None, at_ms: int, *, points: int, receiver_id: int) -> list[SimEvent]:
    """Move points to another member, at most what there is; waits while the receiver has newer events."""
    receiver = world.member(receiver_id)
    if giver is None or receiver is None or giver.is_gone or receiver.is_gone or giver is receiver:
        return []
    if receiver.newest_ms + BILL_GAP_MS > at_ms:
        later = partial(transfer, points=points, receiver_id=receiver_id)
        world.schedule(receiver.newest_ms + BILL_GAP_MS, giver.customer_id, later)
        return []
    parts = giver.take(points)
    total = given(parts)
    if not total:
        return []
    giver.transferred_out += total
    for lot, taken in parts:
        lot_id = world.ids.number("lot", 117_600_000)
        world.hold(receiver, Lot(lot_id, taken, taken, lot.expiry, LotKind.TRANSFER, None))
    receiver.transferred_in += total
    step = Step(world, at_ms, world.ids.hex32())
    _report_transfer(step, giver, receiver, total)
    return step.events


def _report_transfer(step: Step, giver: Member, receiver: Member, total: int) -> None:
    writer, points = step.world.writer, step.world.arithmetic.number(total)
    out = writer.on_program(
        giver,
        activity("PointsTransfer", giver, (), giver.till),
        totalPointsTransferred=points,
        transferReceivingCustomerIdentifiers=receiver.identifiers,
        transferReceivingEntityInformation=entity(receiver),
        redemptionFromEarningPrograms=[writer.share(giver, total)],
    )
    step.emit("pointsTransferredInitiated", 0, out, member=giver)
    into = writer.on_program(
        receiver,
        activity("PointsTransfer", receiver, (), giver.till),
        totalPointsTransferred=points,
        transferInitiatingCustomerIdentifiers=giver.identifiers,
        transferInitiatingEntityInformation=entity(giver),
    )
    step.emit("pointsTransferredReceived", 5, into, member=receiver)


def force_tier(world: World, member: Member | None, at_ms: int, *, tier: int) -> list[SimEvent]:
    """Put a member into another tier by hand, for a full period."""
    if member is None or member.is_gone or member.tier == tier:
        return []
    step, previous = Step(world, at_ms, world.ids.hex32()), member.tier
    wanted = world.programme.tier(tier)
    world.set_tier(member, tier, at_ms, world.arithmetic.tier_expiry(world.calendar.day_of(at_ms), wanted))
    is_up = tier > previous
    facts: dict[str, Json] = {"previousTierNumber": previous, "upgradedTierNumber" if is_up else "downgradedTierNumber": tier}
    facts |= expiry_field(member)
    if is_up:
        facts |= {"notes": f"Upgrading to Slab : Slab[{tier}]: Name {wanted.name} , Criteria: Manual", "upgradeType": "MANUAL"}
    data = world.writer.on_program(member, activity("ManualSlabAdjustment", member, (), member.till), **facts)
    step.emit("tierUpgraded" if is_up else "tierDowngraded", 0, data, member=member)
    return step.events


def act_of(name: str, arguments: Mapping[str, Json], *, tiers: int, scale: int) -> Handler:
    """Return the act a control request names: redeem, adjust, transfer, merge, delete, force-tier.

    Errors: InputError naming the argument.
    """
    if name == "delete":
        return delete
    if name == "merge":
        return partial(merge_with, victim_id=_whole(arguments, "victim"))
    if name == "force-tier":
        tier = _whole(arguments, "tier")
        if not 1 <= tier <= tiers:
            raise InputError("tier", f"{tier} is no tier of the programme", f"give 1 to {tiers}")
        return partial(force_tier, tier=tier)
    if name not in ("redeem", "adjust", "transfer"):
        raise InputError("act", f"{name!r} is unknown", "use redeem, adjust, transfer, merge, delete or force-tier")
    points = _whole(arguments, "points") * scale
    if points <= 0:
        raise InputError("points", "is not above 0", "give how many points")
    if name == "transfer":
        return partial(transfer, points=points, receiver_id=_whole(arguments, "to"))
    return partial(redeem if name == "redeem" else adjust, points=points)


def _whole(arguments: Mapping[str, Json], name: str) -> int:
    value = arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(name, f"is {value!r}", "give a whole number")
    return value
