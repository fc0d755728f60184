"""Members of an event payload that need more than one value: what the tables cannot say. Source: capillary.md 7.7."""

from collections.abc import Callable
from typing import Final

from capstream.capillary.payloads.draft import objects, section
from capstream.capillary.payloads.forms import (
    Form,
    Record,
    amount,
    code,
    identifier,
    many,
    moment,
    points,
    record,
)
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.tables import (
    ISSUED_COUPON,
    MERGED_PROGRAM,
    PROMOTION_EXPIRY,
    REDEEMED_COUPON,
    REWARD_UPDATE,
    SERIES,
)
from capstream.capillary.values import Unfit, decimal_id, whole
from capstream.kernel.json import Json

Part = Callable[[Draft, dict[str, Json], dict[str, Json]], None]
"""Adds members to the payload's body and to its `capillary` object."""


_MAX_TIER: Final = 2**15 - 1

_id, _number_id = identifier(), identifier(decimal=True)


def read(draft: Draft, name: str, form: Form, source: dict[str, Json] | None = None) -> Json:
    """Return one member of `data` (or of an object in it) in a form. Errors: Unfit with its pointer."""
    value = (draft.data if source is None else source).get(name)
    if value is None:
        return None
    try:
        return form.read(value, draft.scope)
    except Unfit as unfit:
        raise unfit.under("data", name) from None


def loyalty_list(body: dict[str, Json], name: str, item: dict[str, Json]) -> None:
    """Add an element to a list of the payload's `loyalty` object; members without a value are left out."""
    if stated := {key: value for key, value in item.items() if value is not None}:
        body.setdefault("loyalty", {}).setdefault(name, []).append(stated)


def points_issued(draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add `loyalty.pointsGained[]`, and the expiry of promotional points beside that of regular ones (already in the table)."""
    ids: dict[str, Json] = {}
    if draft.program_id is not None:
        ids["loyaltyProgramId"] = draft.program_id
    origin = draft.trigger.get("billId") or draft.trigger.get("billNumber") or draft.event.api_request_id
    if origin is not None:
        ids["transactionId"] = origin
    section_read: dict[str, Json] = capillary.setdefault("points", {})
    regular = section_read.get("regular")
    gained: list[Json] = [{"value": regular, **ids}] if regular is not None and regular > 0 else []
    promotional = read(draft, "promotionalPointsIssued", _PROMOTION_EXPIRIES) or ()
    for item in promotional:
        gain: dict[str, Json] = {"value": item["points"]} if "points" in item else {}
        if "promotionId" in item:
            gain["promotionId"] = item["promotionId"]
        gain.update(ids)
        gained.append(gain)
    if gained:
        body["loyalty"] = {"pointsGained": gained}
    if promotional:
        section_read["expiry"] = [*section_read.get("expiry", ()), *promotional]
    if not section_read:
        del capillary["points"]


_PROMOTION_EXPIRIES: Final = many(record(*PROMOTION_EXPIRY))


def points_redeemed(draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the redemption, the discount it gave and the bill it paid."""
    redemption = draft.trigger.get("redemptionId") or read(draft, "redemptionSummaryId", _number_id)
    total = read(draft, "totalPointsRedeemed", points)
    if total is not None:
        loyalty_list(
            body, "pointsRedemption", {"value": total, "loyaltyProgramId": draft.program_id, "transactionId": redemption}
        )
    value = read(draft, "redeemedPointsCurrencyValue", amount)
    if value is not None:
        loyalty_list(body, "discounts", {"value": value, "source": "pointsRedemption", "scope": "total"})
    _purchase(body, read(draft, "redemptionBillNumber", _id))
    if (bill := draft.trigger.get("billId")) is not None:
        capillary.setdefault("redemption", {})["billId"] = bill


def _purchase(body: dict[str, Json], bill_number: str | None) -> None:
    if bill_number is not None:
        body.setdefault("commerce", {})["order"] = {"purchaseID": bill_number}


def promotion(_draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the promotion's id where the platform looks for it."""
    found = capillary.get("promotion", {}).get("id")
    if found is not None:
        body.setdefault("commerce", {})["promotionID"] = found


def tier(draft: Draft, _body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the tiers an event names by number, with their names; an imported change has the names alone."""
    for target, name in section(section(draft.data, "history"), "tier").items():
        capillary.setdefault("tier", {})[target] = {"name": name[:255]}
    for target, source in _TIER_MEMBERS[draft.event.event_name]:
        number_read = tier_number(draft.data, source)
        if number_read is not None:
            step = {"number": number_read, "name": tier_name(draft, number_read)}
            capillary.setdefault("tier", {})[target] = step


_TIER_MEMBERS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "tierUpgraded": (("from", "previousTierNumber"), ("to", "upgradedTierNumber")),
    "tierDowngraded": (("from", "previousTierNumber"), ("to", "downgradedTierNumber")),
    "tierRenewed": (("current", "currentTierNumber"),),
    "tierDowngradeReminder": (("current", "currentTierNumber"),),
}


def tier_number(data: dict[str, Json], name: str, *, needed: bool = False) -> int | None:
    """Return a tier number. Errors: Unfit with its pointer; also when it is needed and missing."""
    try:
        found = whole(data.get(name))
        if found is None and needed:
            raise Unfit("is missing")
        if found is not None and found > _MAX_TIER:
            raise Unfit("is no tier number")
    except Unfit as unfit:
        raise unfit.under("data", name) from None
    return None if found is None or found < 0 else found


def tier_name(draft: Draft, tier: int) -> str:
    """Return the name of a tier: as the event lists it (already in the cache), else `tier-{n}` with a flag."""
    program = draft.programs.get(draft.event.org_id, draft.program_id) if draft.program_id is not None else None
    name = None if program is None else program.tier_name(tier)
    if name is None:
        draft.flag("tier_name_unknown")
        return f"tier-{tier}"
    return name[:255]


def balance_after(draft: Draft, _body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the balance the event states for the selected programme."""
    listed = objects(draft.data, "redemptionReversalToEarningPrograms") or objects(draft.data, "redemptionFromEarningPrograms")
    select = draft.config.program_select
    selected = draft.programs.default(draft.event.org_id) if select == "default" else select
    for wanted in (selected, draft.program_id):
        for item in listed:
            if (
                decimal_id(item.get("programId")) == wanted
                and (found := read(draft, "programCurrentPoints", points, item)) is not None
            ):
                capillary.setdefault("points", {})["balanceAfter"] = found
                return


def transfer(draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the other side of a transfer."""
    balance_after(draft, body, capillary)
    for name in ("transferReceivingCustomerIdentifiers", "transferInitiatingCustomerIdentifiers"):
        if (other := decimal_id(section(draft.data, name).get("customerId"))) is not None:
            capillary.setdefault("points", {})["counterpartCustomerId"] = other


def reward(draft: Draft, _body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the codes a reward came with."""
    own, vendor = section(draft.data, "intouchRewardDetails"), section(draft.data, "vendorRewardDetails")
    codes = {
        "couponCode": read(draft, "intouchCouponCode", code, own),
        "codeExpiry": read(draft, "codeExpiry", moment, own),
        "vendorVoucher": read(draft, "vendorVoucher", code, vendor),
    }
    if found := {name: value for name, value in codes.items() if value is not None}:
        capillary.setdefault("reward", {}).update(found)


def issued_coupon(draft: Draft, coupon: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add one coupon of an issue."""
    capillary["coupon"] = _coupon(draft, coupon, _ISSUED_COUPON, section(draft.data, "series_info"))


def coupon_redeemed(draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add the coupon that was used, what it was worth and the bill it was used on."""
    used, bill = section(draft.data, "coupon"), section(draft.data, "transaction")
    series = section(used, "series_info")
    coupon = _coupon(draft, used, _REDEEMED_COUPON, series)
    bill_id = read(draft, "bill_id", _number_id, bill)
    if bill_id not in (None, "0"):
        coupon["billId"] = bill_id
    if coupon:
        capillary["coupon"] = coupon
    described = coupon.get("series", {})
    redemption = {"id": coupon.get("code"), "series": described.get("id"), "seriesName": described.get("description")}
    loyalty_list(body, "couponRedemption", redemption)
    if described.get("discountType", "").upper() == "ABS" and "discountValue" in described:
        loyalty_list(body, "discounts", {"value": described["discountValue"], "source": "coupon", "scope": "total"})
    _purchase(body, read(draft, "number", _id, bill))


_REWARD_UPDATE: Final = record(*REWARD_UPDATE)
_ISSUED_COUPON: Final = record(*ISSUED_COUPON)
_REDEEMED_COUPON: Final = record(*REDEEMED_COUPON)
_SERIES: Final = record(*SERIES)


def reward_update(draft: Draft, update: dict[str, Json]) -> dict[str, Json]:
    """Return the fulfilment of one reward. Errors: Unfit with a pointer."""
    try:
        return _REWARD_UPDATE.members(update, draft.scope)
    except Unfit as unfit:
        raise unfit.under("data", "transactionUpdates") from None


def _coupon(draft: Draft, coupon: dict[str, Json], form: Record, series: dict[str, Json]) -> dict[str, Json]:
    try:
        read_coupon = form.members(coupon, draft.scope)
        if described := _SERIES.members(series, draft.scope):
            read_coupon["series"] = described
    except Unfit as unfit:
        raise unfit.under("data", "coupon") from None
    return read_coupon


def merge(draft: Draft, _body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add who was merged and the balances the survivor has now."""
    victim = decimal_id(section(draft.data, "victimCustomerIdentifiers").get("customerId"))
    programs = read(draft, "survivorCustomerLoyaltySummary", _MERGED_PROGRAMS)
    merged = {"victimCustomerId": victim, "programs": programs}
    capillary["merge"] = {name: value for name, value in merged.items() if value is not None}


_MERGED_PROGRAMS: Final = many(record(*MERGED_PROGRAM))

PARTS: Final[dict[str, Part]] = {
    "pointsIssued": points_issued,
    "pointsRedeemed": points_redeemed,
    "tierUpgraded": tier,
    "tierDowngraded": tier,
    "tierRenewed": tier,
    "tierDowngradeReminder": tier,
    "promotionEarned": promotion,
    "promotionIssued": promotion,
    "rewardIssued": reward,
    "CouponRedeem": coupon_redeemed,
    "redeemedPointsReversed": balance_after,
    "pointsTransferredInitiated": transfer,
    "pointsTransferredReceived": transfer,
    "loyaltyCustomerMerge": merge,
}
"""Kind -> what is added after its tables."""
