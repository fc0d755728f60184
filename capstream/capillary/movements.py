"""What each kind of event does to a member's ledger, as operations. Source: capillary.md 7.5 (table, 5, 9, 10), 7.7."""

from collections.abc import Callable
from typing import Final

from capstream.capillary import times
from capstream.capillary.ledger import ADJUSTED, BALANCES, EXPIRED, LIFETIME, POINTS, PROMISED, REDEEMED, RETURNED, Op
from capstream.capillary.payloads.bills import RETURNS, bill_type, money
from capstream.capillary.payloads.draft import objects, section
from capstream.capillary.payloads.forms import last_day, sum_of
from capstream.capillary.payloads.parts import tier_number
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.timing import registration_ms
from capstream.capillary.records import Operation
from capstream.capillary.values import Unfit, decimal_id, milli, opaque_id
from capstream.kernel.json import Json

_DAY_MS: Final = times.DAY_MS
_INDEX: Final = {name: index for index, name in enumerate(BALANCES)}

Movement = Callable[[Draft], list[Operation]]


def operations_of(draft: Draft) -> list[Operation]:
    """Return what an event does to its member's ledger, in phase order. Errors: Unfit with a pointer."""
    movement = MOVEMENTS.get(draft.event.event_name)
    if movement is None:
        return []
    operations = movement(draft)
    if len(operations) > 1:
        operations.sort(key=code_of)
    return operations


def code_of(operation: Operation) -> int:
    """Return an operation's code, which orders it among others of its event."""
    return operation[0]  # type: ignore[no-any-return]


def program_of(draft: Draft) -> str:
    """Return the programme an event is about: its own, else the organisation's default, else the unnamed one."""
    return draft.program_id or draft.programs.default(draft.event.org_id) or ""


def amount(source: dict[str, Json], name: str, *under: str | int) -> int | None:
    """Return one member in thousandths. Errors: Unfit with its pointer."""
    try:
        return milli(source.get(name))
    except Unfit as unfit:
        raise unfit.under("data", *under, name) from None


def _day(source: dict[str, Json], name: str, *under: str | int) -> str | None:
    try:
        return times.day_of(source.get(name))
    except Unfit as unfit:
        raise unfit.under("data", *under, name) from None


def _sum(draft: Draft, name: str, member: str) -> int:
    try:
        return sum_of(draft.data.get(name), member)
    except Unfit as unfit:
        raise unfit.under("data", name) from None


def _set(program: str, balance: str, value: int | None) -> list[Operation]:
    return [] if value is None else [[Op.SET, program, _INDEX[balance], value]]


def _add(program: str, balance: str, change: int | None) -> list[Operation]:
    return [[Op.ADD, program, _INDEX[balance], change]] if change else []


def _bill(draft: Draft) -> str | None:
    return draft.trigger.get("billId") or draft.trigger.get("billNumber")


def _points_issued(draft: Draft) -> list[Operation]:
    program, bill = program_of(draft), _bill(draft)
    lots: list[Json] = _dated(draft, "regularPointsBreakup", bill)
    name = "promotionalPointsIssued"
    for index, item in enumerate(objects(draft.data, name)):
        day, held = _day(item, "promotionPointsExpiryDate", name, index), amount(item, "promotionPoints", name, index)
        if day is not None and held:
            lots.append([day, held, bill, opaque_id(item.get("promotionIdentifier"))])
    moves: list[Operation] = [[Op.LOTS_ADD, program, lots]] if lots else []
    moves += _add(program, PROMISED, _sum(draft, "promisedPointsIssued", "promisedPoints"))
    return moves + _after(draft, program)


def _dated(draft: Draft, name: str, bill: str | None) -> list[Json]:
    lots: list[Json] = []
    for index, item in enumerate(objects(draft.data, name)):
        day, held = _day(item, "expiryAt", name, index), amount(item, "points", name, index)
        if day is not None and held:
            lots.append([day, held, bill, None])
    return lots


def _after(draft: Draft, program: str) -> list[Operation]:
    current, lifetime = amount(draft.data, "programCurrentPoints"), amount(draft.data, "programLifetimePoints")
    return _set(program, POINTS, current) + _set(program, LIFETIME, lifetime)


def _points_redeemed(draft: Draft) -> list[Operation]:
    redemption = draft.trigger.get("redemptionId") or decimal_id(draft.data.get("redemptionSummaryId"))
    return _spent(draft, amount(draft.data, "totalPointsRedeemed") or 0, redemption, counts=True)


def _transferred_out(draft: Draft) -> list[Operation]:
    return _spent(draft, amount(draft.data, "totalPointsTransferred") or 0, None, counts=False)


def _spent(draft: Draft, total: int, redemption: str | None, *, counts: bool) -> list[Operation]:
    """Return the operations of points that leave: per earning programme, what is not assigned to one from the event's own."""
    name, moves, rest = "redemptionFromEarningPrograms", [], total
    for index, item in enumerate(objects(draft.data, name)):
        program = decimal_id(item.get("programId")) or program_of(draft)
        part = amount(item, "pointsRedeemed", name, index) or 0
        rest -= part
        after = amount(item, "programCurrentPoints", name, index)
        moves += _spend(program, part, redemption, after, counts=counts)
    return moves + (_spend(program_of(draft), rest, redemption, None, counts=counts) if rest > 0 else [])


def _spend(program: str, part: int, redemption: str | None, after: int | None, *, counts: bool) -> list[Operation]:
    """Return one programme's share. ASSUMPTION: where the event states no balance, the points are subtracted."""
    return [
        *([[Op.LOTS_TAKE, program, part, redemption]] if part > 0 else []),
        *(_add(program, REDEEMED, part) if counts else []),
        *(_set(program, POINTS, after) if after is not None else _add(program, POINTS, -part)),
    ]


def _points_expired(draft: Draft) -> list[Operation]:
    program, gone = program_of(draft), amount(draft.data, "pointsExpired")
    if not gone:
        return []
    today = times.day_in(draft.event.created_at_ms, draft.config.org_zone)
    return [[Op.LOTS_EXPIRE, program, gone, today], *_add(program, POINTS, -gone), *_add(program, EXPIRED, gone)]


def _expiry_reminder(draft: Draft) -> list[Operation]:
    held, day = amount(draft.data, "pointsScheduledForExpiry"), _day(draft.data, "scheduledExpiryDate")
    return [] if held is None or day is None else [[Op.LOTS_STATE, program_of(draft), day, held]]


def _expiry_change(draft: Draft) -> list[Operation]:
    if draft.config.expiry_change_source != "pointsExpiryChange":
        return []
    name, moves = "updatedPointsExpiryBreakup", []
    for index, item in enumerate(objects(draft.data, name)):
        source, target = _day(item, "pointsPreviousExpiryDate", name, index), _day(item, "newExpiryDate", name, index)
        moved = amount(item, "points", name, index)
        if source is not None and moved:
            moves.append([moved, source, target, decimal_id(item.get("promotionId"))])
    return [[Op.LOTS_MOVE, program_of(draft), moves]] if moves else []


def _single_expiry(draft: Draft) -> list[Operation]:
    if draft.config.expiry_change_source != "singlePointsExpiryUpdated":
        return []
    name, moves = "updatedPointsExpiry", []
    for index, item in enumerate(objects(draft.data, name)):
        source, target = _day(item, "oldExpiryDate", name, index), _day(item, "newExpiryDate", name, index)
        moved = amount(item, "points", name, index)
        if source is not None and moved:
            moves.append([Op.LOTS_MOVE, decimal_id(item.get("programId")) or program_of(draft), [[moved, source, target, None]]])
    return moves


def _tier_change(member: str) -> Movement:
    def movement(draft: Draft) -> list[Operation]:
        number = tier_number(draft.data, member, needed=True)
        try:
            value = draft.data.get("tierExpiryDate")
            expiry = None if value is None else last_day(value, draft.scope.zone)
        except Unfit as unfit:
            raise unfit.under("data", "tierExpiryDate") from None
        upgraded = times.rfc3339(draft.event.created_at_ms) if draft.event.event_name == "tierUpgraded" else None
        return [[Op.TIER, program_of(draft), number, expiry, upgraded]]

    return movement


def _downgrade_reminder(draft: Draft) -> list[Operation]:
    return [[Op.TIER_NUMBER, program_of(draft), tier_number(draft.data, "currentTierNumber", needed=True)]]


def _customer_added(draft: Draft) -> list[Operation]:
    return [[Op.ZERO_SEED, ""]] if seeds_zero(draft) else []


def seeds_zero(draft: Draft) -> bool:
    """Say whether a registration starts a member at zero, as far as the event itself can tell."""
    kind = draft.data.get("loyaltyType") or section(draft.data, "customerIdentifiers").get("loyaltyType")
    enrolled = type(kind) is str and kind.strip().lower() == "loyalty"
    return enrolled and abs(registration_ms(draft) - draft.event.created_at_ms) <= _DAY_MS


def _bill_added(draft: Draft) -> list[Operation]:
    value = money(draft.data, "amount", needed=True)
    spent = milli(value) or 0
    return [[Op.ADD_PURCHASES, "", -abs(spent) if bill_type(draft.data) in RETURNS else spent]] if spent else []


def _issue_reversed(draft: Draft) -> list[Operation]:
    program, name = program_of(draft), "promotionalPointsReversed"
    regular = amount(draft.data, "regularPointsReversed") or 0
    promotional: list[Json] = [
        [opaque_id(item.get("promotionIdentifier")), amount(item, "promotionPoints", name, index) or 0]
        for index, item in enumerate(objects(draft.data, name))
    ]
    promised = amount(draft.data, "promisedPointsReversed") or 0
    return [
        *([[Op.LOTS_REVERSE, program, _bill(draft), regular, promotional]] if regular or promotional else []),
        *_add(program, RETURNED, amount(draft.data, "totalIssuedPointsReversed")),
        *_add(program, PROMISED, -promised),
        *_after(draft, program),
    ]


def _redemption_reversed(draft: Draft) -> list[Operation]:
    redemption = draft.trigger.get("redemptionId") or decimal_id(draft.data.get("redemptionSummaryId"))
    name = "redemptionReversalToEarningPrograms"
    shares = objects(draft.data, name) or [draft.data]
    moves: list[Operation] = []
    for index, item in enumerate(shares):
        under = () if item is draft.data else (name, index)
        program = decimal_id(item.get("programId")) or program_of(draft)
        details = section(item, "redeemedPointsReversedDetails") or (
            section(draft.data, "redeemedPointsReversedDetails") if len(shares) == 1 else {}
        )
        back, total = amount(details, "available", *under), amount(item, "redeemedPointsReversed", *under) or 0
        gone, after = amount(details, "expired", *under) or 0, amount(item, "programCurrentPoints", *under)
        back = total - gone if back is None else back
        moves += [[Op.LOTS_GIVE_BACK, program, redemption, back]] if back > 0 else []
        moves += _add(program, REDEEMED, -total) + _add(program, EXPIRED, gone)
        moves += _set(program, POINTS, after) if after is not None else _add(program, POINTS, back)
    return moves


def _converted(draft: Draft) -> list[Operation]:
    program = program_of(draft)
    lots = _dated(draft, "pointsConvertedBreakup", _bill(draft))
    return [
        *([[Op.LOTS_ADD, program, lots]] if lots else []),
        *_add(program, PROMISED, -(amount(draft.data, "pointsConverted") or 0)),
        *_after(draft, program),
    ]


def _adjusted(draft: Draft) -> list[Operation]:
    name, rest = "programPointsSplit", amount(draft.data, "totalPoinstDeducted") or 0
    moves: list[Operation] = []
    for index, item in enumerate(objects(draft.data, name)):
        part = amount(item, "points", name, index) or 0
        rest -= part
        moves += _deduct(decimal_id(item.get("programId")) or program_of(draft), part)
    return moves + _deduct(program_of(draft), rest)


def _deduct(program: str, part: int) -> list[Operation]:
    return (
        [[Op.LOTS_TAKE, program, part, None], *_add(program, POINTS, -part), *_add(program, ADJUSTED, part)] if part > 0 else []
    )


def _transferred_in(draft: Draft) -> list[Operation]:
    return _add(program_of(draft), POINTS, amount(draft.data, "totalPointsTransferred"))


def _merged(draft: Draft) -> list[Operation]:
    name, moves = "survivorCustomerLoyaltySummary", []
    for index, item in enumerate(objects(draft.data, name)):
        program = decimal_id(item.get("loyaltyProgramId")) or program_of(draft)
        moves += _set(program, POINTS, amount(item, "currentPoints", name, index))
        moves += _set(program, LIFETIME, amount(item, "lifetimePoints", name, index))
        moves += _set(program, PROMISED, amount(item, "promisedPoints", name, index))
        tier = tier_number(item, "tierNumber")
        moves += [] if tier is None else [[Op.TIER_NUMBER, program, tier]]
    victim = decimal_id(section(draft.data, "victimCustomerIdentifiers").get("customerId"))
    return [*moves, [Op.ABSORB, "", victim]]


MOVEMENTS: Final[dict[str, Movement]] = {
    "customerAdded": _customer_added,
    "transactionAdded": _bill_added,
    "retroBillAdded": _bill_added,
    "pointsIssued": _points_issued,
    "pointsRedeemed": _points_redeemed,
    "pointsExpired": _points_expired,
    "pointsExpiryReminder": _expiry_reminder,
    "pointsExpiryChange": _expiry_change,
    "singlePointsExpiryUpdated": _single_expiry,
    "tierUpgraded": _tier_change("upgradedTierNumber"),
    "tierDowngraded": _tier_change("downgradedTierNumber"),
    "tierRenewed": _tier_change("currentTierNumber"),
    "tierDowngradeReminder": _downgrade_reminder,
    "issuedPointsReversed": _issue_reversed,
    "redeemedPointsReversed": _redemption_reversed,
    "promisedToCurrentPointsConversion": _converted,
    "manualPointsAdjustment": _adjusted,
    "pointsTransferredInitiated": _transferred_out,
    "pointsTransferredReceived": _transferred_in,
    "loyaltyCustomerMerge": _merged,
}
"""Kind -> what it moves. Kinds that are missing here move nothing countable."""
