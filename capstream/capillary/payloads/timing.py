"""Which instant an event belongs to. Source: capillary.md 7.3."""

from typing import Final

from capstream.capillary import times
from capstream.capillary.payloads.draft import section
from capstream.capillary.payloads.records import Draft
from capstream.capillary.values import instant
from capstream.kernel.json import Json

_FUTURE_MS: Final = 5 * 60_000
_LATE_MS: Final = 30 * times.DAY_MS


def event_ms(draft: Draft, subject: dict[str, Json]) -> int:
    """Return when the event happened: the kind's own time, else `createdAt`. `subject` is `data`, or one coupon of it."""
    name = draft.event.event_name
    if name in ("transactionAdded", "retroBillAdded"):
        return bill_ms(draft)
    if name == "customerAdded":
        return registration_ms(draft)
    if name == "CouponRedeem":
        subject = dict(section(draft.data, "coupon"))
    own = instant(subject.get(_OWN_TIMES[name])) if name in _OWN_TIMES else None
    return draft.event.created_at_ms if own is None else _guarded(own, draft)


_OWN_TIMES: Final = {
    "rewardIssued": "issueDateTime",
    "CouponIssue": "issued_on",
    "CouponRedeem": "redemptionDate",
    "badgeEarned": "earnedOn",
}


def bill_ms(draft: Draft) -> int:
    """Return when a bill was made: the API's time, else `billDate`, else `enteredAt`; a kept wall clock is put right."""
    billing = section(draft.bill, "billDetails").get("billingTime") if draft.bill is not None else None
    candidate = times.iso_instant(billing, draft.config.cluster_zone)
    if candidate is None:
        candidate = instant(draft.data.get("billDate"))
    if candidate is None:
        candidate = instant(draft.data.get("enteredAt"))
    if candidate is None:
        return draft.event.created_at_ms
    result = _guarded(_from_wall_clock(candidate, draft), draft)
    if result < draft.event.created_at_ms - _LATE_MS:
        draft.flag("late_bill")
    return result


def registration_ms(draft: Draft) -> int:
    """Return when a customer was registered."""
    candidate = instant(draft.data.get("enteredAt"))
    return draft.event.created_at_ms if candidate is None else _guarded(_from_wall_clock(candidate, draft), draft)


def _from_wall_clock(candidate: int, draft: Draft) -> int:
    config, created = draft.config, draft.event.created_at_ms
    if config.bill_time == "instant" or (config.bill_time == "auto" and not times.looks_shifted(candidate, created)):
        return candidate
    store = section(draft.entered_by, "store").get("code")
    zone = config.store_zones.get(store, config.default_store_zone) if type(store) is str else config.default_store_zone
    if zone is not None:
        return times.reinterpreted(candidate, config.cluster_zone, zone)
    draft.flag("tz_suspect")
    return created if config.bill_time == "auto" else candidate


def _guarded(result: int, draft: Draft) -> int:
    if result > draft.event.received_ms + _FUTURE_MS and result != draft.event.created_at_ms:
        draft.flag("future_time")
        return draft.event.created_at_ms
    return result
