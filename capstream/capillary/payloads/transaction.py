"""The transaction payload: what every event says about itself, then the kind's tables and parts.

Source: capillary.md 7.2, 7.6, 7.7.
"""

from typing import Final

from capstream.capillary.history import history_name
from capstream.capillary.payloads.bills import RETURNS, bill_name, bill_type, needed_id, write_bill
from capstream.capillary.payloads.draft import section
from capstream.capillary.payloads.forms import Record, record
from capstream.capillary.payloads.names import MAX_ID, payload_id
from capstream.capillary.payloads.parts import PARTS, issued_coupon, reward_update
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.tables import SECTIONS
from capstream.capillary.payloads.timing import event_ms
from capstream.capillary.times import rfc3339, rfc3339_shared
from capstream.capillary.values import Unfit, text
from capstream.kernel.json import Json

_BILLS: Final = frozenset({"transactionAdded", "transactionUpdated", "retroBillAdded"})

EVENT_TYPES: Final[dict[str, str]] = {
    "pointsIssued": "loyalty.pointsIssued",
    "pointsRedeemed": "loyalty.pointsRedeemed",
    "pointsExpired": "loyalty.pointsExpired",
    "pointsExpiryReminder": "loyalty.pointsExpiryReminder",
    "pointsExpiryChange": "loyalty.pointsExpiryChanged",
    "tierUpgraded": "loyalty.tierUpgraded",
    "tierDowngraded": "loyalty.tierDowngraded",
    "tierRenewed": "loyalty.tierRenewed",
    "tierDowngradeReminder": "loyalty.tierDowngradeReminder",
    "customerAdded": "loyalty.customerAdded",
    "customerUpdated": "loyalty.customerUpdated",
    "transactionAdded": "commerce.purchases",
    "transactionUpdated": "commerce.orderUpdated",
    "promotionEarned": "loyalty.promotionEarned",
    "rewardIssued": "loyalty.rewardIssued",
    "updateRewardTransaction": "loyalty.rewardUpdated",
    "CouponIssue": "loyalty.couponIssued",
    "CouponRedeem": "loyalty.couponRedeemed",
    "badgeEarned": "loyalty.badgeEarned",
    "issuedPointsReversed": "loyalty.pointsReversed",
    "redeemedPointsReversed": "loyalty.redemptionReversed",
    "promisedToCurrentPointsConversion": "loyalty.pointsConverted",
    "manualPointsAdjustment": "loyalty.pointsAdjusted",
    "pointsTransferredInitiated": "loyalty.pointsTransferredOut",
    "pointsTransferredReceived": "loyalty.pointsTransferredIn",
    "loyaltyCustomerMerge": "loyalty.customerMerged",
    "promotionIssued": "loyalty.promotionIssued",
    "retroBillAdded": "commerce.purchases",
    "customerSubscription": "loyalty.subscriptionChanged",
}
"""Kind -> `eventType`; a returned bill is `commerce.returns`. Source: capillary.md 7.6."""


def transaction_body(draft: Draft, customer_id: str, identities: dict[str, Json], subject: dict[str, Json]) -> dict[str, Json]:
    """Return the transaction payload of one event for one member.

    Shape: `subject` is the event's `data`, or the one coupon or reward update of it that this payload is about.
    Errors: Unfit with a pointer when a member has a type that cannot be read.
    """
    event = draft.event
    happened_ms = event_ms(draft, subject)
    timestamp = rfc3339(happened_ms)
    created = timestamp if event.created_at_ms == happened_ms else rfc3339(event.created_at_ms)
    capillary = _facts(draft, customer_id, created)
    body: dict[str, Json] = {
        "_id": _id(draft, subject),
        "timestamp": timestamp,
        "eventType": _event_type(draft),
        "producedBy": "system",
        "identityMap": identities,
    }
    _place(draft, body, capillary)
    _kind(draft, body, capillary, subject)
    if event.event_name in _BILLS:
        write_bill(draft, body, capillary, timestamp)
        if event.event_name == "retroBillAdded":
            capillary["retro"] = True
    _extra(draft, capillary)
    if draft.flags:
        capillary["quality"] = list(draft.flags)
    body["capillary"] = capillary
    return body


def _id(draft: Draft, subject: dict[str, Json]) -> str:
    event = draft.event
    name = event.event_name
    if name in ("transactionAdded", "retroBillAdded"):
        return bill_name(event.org_id, event.data)
    imported = history_name(event)
    if imported is not None:
        return payload_id(event.org_id, "hist", *imported)
    if name in _SUBJECT_IDS:
        listed, member = _SUBJECT_IDS[name]
        return payload_id(event.org_id, name, event.event_id, needed_id(subject, member, listed))
    return payload_id(event.org_id, name, event.event_id)


_SUBJECT_IDS: Final = {"CouponIssue": ("coupons", "id"), "updateRewardTransaction": ("transactionUpdates", "transactionId")}


def _event_type(draft: Draft) -> str:
    name = draft.event.event_name
    configured = draft.config.event_types.get(name)
    if configured is not None:
        return configured
    if name in ("transactionAdded", "retroBillAdded") and bill_type(draft.data) in RETURNS:
        return "commerce.returns"
    return EVENT_TYPES[name]


def _facts(draft: Draft, customer_id: str, created: str) -> dict[str, Json]:
    event = draft.event
    facts: dict[str, Json] = {
        "eventName": event.event_name,
        "eventId": _short("eventId", event.event_id),
        "orgId": event.org_id,
        "customerId": customer_id,
        "createdAt": created,
        "receivedAt": rfc3339_shared(event.received_ms),
    }
    if event.event_log_id is not None:
        facts["eventLogId"] = event.event_log_id
    if event.ref_id is not None:
        facts["refId"] = _short("refId", event.ref_id)
    if event.api_request_id is not None:
        facts["apiRequestId"] = _short("apiRequestId", event.api_request_id)
    if event.loyalty_event_id is not None:
        facts["loyaltyEventId"] = _short("loyaltyEventId", event.loyalty_event_id)
    if draft.trigger_name is not None or draft.trigger:
        trigger: dict[str, Json] = {}
        facts["trigger"] = trigger
        if draft.trigger_name is not None:
            trigger["name"] = draft.trigger_name
        if draft.trigger:
            trigger["identifiers"] = draft.trigger
    if draft.program_id is not None:
        facts["program"] = program = {"id": draft.program_id}
        if draft.program_name is not None:
            program["name"] = draft.program_name[:255]
    return facts


def _short(name: str, value: str) -> str:
    if len(value) > MAX_ID:
        raise Unfit(f"is longer than {MAX_ID} characters").under(name)
    return value


def _place(draft: Draft, body: dict[str, Json], capillary: dict[str, Json]) -> None:
    """Add store and till. The store's code is also where the platform looks for it; a till's code stands in with a flag."""
    store = _named(section(draft.entered_by, "store"), ("code", "name", "externalId"))
    till = _named(section(draft.entered_by, "till"), ("code", "name"))
    if store:
        capillary["store"] = store
    if till:
        capillary["till"] = till
    code = store.get("code")
    if code is None and draft.bill is not None:
        billing = section(section(draft.bill, "billDetails"), "billingStore").get("code")
        code = billing[:255] if type(billing) is str and billing.strip() else None
    if code is None and (code := till.get("code")) is not None:
        draft.flag("till_as_store")
    if code is not None:
        body["commerce"] = {"commerceScope": {"storeCode": code}}


def _named(source: dict[str, Json], names: tuple[str, ...]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name in names:
        value = source.get(name)
        if type(value) is str and value and not value.isspace():
            found[name] = value[:255]
        elif type(value) is int:
            found[name] = str(value)
    return found


class _Section:
    """A member below `capillary` and its form."""

    def __init__(self, target: str, record: Record) -> None:
        self.target = target
        self.record = record


_NONE: Final[list[_Section]] = []
_SECTIONS: Final = {kind: [_Section(target, record(*rows)) for target, rows in listed] for kind, listed in SECTIONS.items()}


def _kind(draft: Draft, body: dict[str, Json], capillary: dict[str, Json], subject: dict[str, Json]) -> None:
    name = draft.event.event_name
    try:
        for section_read in _SECTIONS.get(name, _NONE):
            target = section_read.target
            found = section_read.record.members(draft.data, draft.scope)
            if not target:
                capillary.update(found)
            elif found:
                capillary[target] = found
    except Unfit as unfit:
        raise unfit.under("data") from None
    part = PARTS.get(name)
    if part is not None:
        part(draft, body, capillary)
    elif name == "CouponIssue":
        issued_coupon(draft, subject, capillary)
    elif name == "updateRewardTransaction":
        capillary["reward"] = reward_update(draft, subject)


def _extra(draft: Draft, capillary: dict[str, Json]) -> None:
    if not draft.config.extra_fields:
        return
    extra: dict[str, Json] = {}
    for name in sorted(draft.config.extra_fields):
        value = draft.data.get(name)
        if type(value) not in (dict, list) and (found := text(value)) is not None:
            extra[name] = found
    if extra:
        capillary["extra"] = extra
