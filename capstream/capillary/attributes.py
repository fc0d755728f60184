"""What events say about a member apart from points: attributes, status, coupons, badges.

Source: capillary.md 7.7 (profile column).
"""

from typing import Final

from capstream.capillary.payloads.draft import section
from capstream.capillary.payloads.forms import amount, code, identifier, moment, named_values, text
from capstream.capillary.payloads.parts import read
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.timing import registration_ms
from capstream.capillary.records import MemberState, Register
from capstream.capillary.state import put, put_all, put_badge, put_coupon
from capstream.kernel.json import Json

_word, _name, _note = text(64), text(255), text(1024)
_id, _number_id = identifier(), identifier(decimal=True)

DELETED: Final = "deleted"
_PERSONAL: Final[tuple[str, ...]] = ("first_name", "last_name")


class Statement:
    """What one event states about one member, read before anything is changed."""

    __slots__ = ("attributes", "badge", "coupon", "custom", "extended", "facts", "joined", "redeemed")

    def __init__(self) -> None:
        self.attributes: dict[str, Json] = {}
        self.custom: dict[str, str | None] = {}
        self.extended: dict[str, str | None] = {}
        self.joined: int | None = None
        self.coupon: str | None = None
        self.badge: str | None = None
        self.redeemed = False
        self.facts: dict[str, Register] = {}


def read_statement(draft: Draft, subject: dict[str, Json]) -> Statement | None:
    """Return what an event states about a member; None for kinds that state nothing. Errors: Unfit with a pointer."""
    reader = _READERS.get(draft.event.event_name)
    if reader is None:
        return None
    statement = Statement()
    reader(draft, subject, statement)
    return statement


def state_it(state: MemberState, statement: Statement, at: int, event_id: str) -> bool:
    """Put a statement into a member's state; True when something became different."""
    changed = put_all(state.attributes, statement.attributes, at, event_id)
    changed = put_all(state.custom, statement.custom, at, event_id) or changed
    changed = put_all(state.extended, statement.extended, at, event_id) or changed
    if statement.joined is not None and (state.joined is None or statement.joined < state.joined):
        state.joined, changed = statement.joined, True
    changed = state_voucher(state, statement, at) or changed
    status = state.attributes.get("status")
    if status is not None and str(status[0]).lower() == DELETED:
        _forget_person(state, status[1], status[2])
    return changed


def state_voucher(state: MemberState, statement: Statement, at: int) -> bool:
    """Put only the coupon or badge of a statement into a state: all that a merged member's later events say of its survivor."""
    changed = False
    if statement.coupon is not None:
        changed = put_coupon(state, statement.coupon, at, statement.facts, redeemed=statement.redeemed)
    if statement.badge is not None:
        changed = put_badge(state, statement.badge, at, statement.facts) or changed
    return changed


def _forget_person(state: MemberState, at: int, event_id: str) -> None:
    for name in _PERSONAL:
        put(state.attributes, name, None, at, event_id)
    for registers in (state.custom, state.extended):
        for name in list(registers):
            put(registers, name, None, at, event_id)


def _customer(draft: Draft, _subject: dict[str, Json], statement: Statement) -> None:
    stated = statement.attributes
    source = read(draft, "source", _word)
    if source is not None:
        stated["source"] = source
        stated["account"] = read(draft, "accountId", _id)
    kind = read(draft, "loyaltyType", _word) or read(draft, "loyaltyType", _word, section(draft.data, "customerIdentifiers"))
    if kind is not None:
        stated["loyalty_type"] = kind
    if draft.config.pii_names:
        for name, member in (("first_name", "firstName"), ("last_name", "lastName")):
            found = read(draft, member, _name) or read(draft, member, _name, section(draft.data, "customerIdentifiers"))
            if found is not None:
                stated[name] = found
    statement.custom.update(read(draft, "customFields", named_values) or {})
    statement.extended.update(read(draft, "extendedFields", named_values) or {})
    if draft.event.event_name == "customerAdded":
        statement.joined = registration_ms(draft)
    else:
        _customer_update(draft, statement)


def _customer_update(draft: Draft, statement: Statement) -> None:
    """Add the status, and fields that only the list of changes names; a change to blank removes the field."""
    status = section(draft.data, "customerStatus")
    label = read(draft, "currentLabel", _name, status) or read(draft, "currentStatus", _name, status)
    if label is not None:
        statement.attributes["status"] = label.strip()
    changes = draft.data.get("updatedFields")
    for change in changes if type(changes) is list else ():
        if type(change) is not dict:
            continue
        kind = str(change.get("fieldType") or "").lower()
        target = {"customfield": statement.custom, "extendedfield": statement.extended}.get(kind)
        name = read(draft, "fieldName", _name, change)
        if target is not None and name is not None and name not in target:
            target[name] = read(draft, "currentValue", _note, change)


def _issued(draft: Draft, coupon: dict[str, Json], statement: Statement) -> None:
    statement.coupon = read(draft, "code", code, coupon)
    start, end = read(draft, "issued_on", moment, coupon), read(draft, "valid_till", moment, coupon)
    statement.facts = _stamped(draft, {**_series(draft, section(draft.data, "series_info")), "start": start, "end": end})


def _used(draft: Draft, _subject: dict[str, Json], statement: Statement) -> None:
    coupon = section(draft.data, "coupon")
    statement.coupon = read(draft, "code", code, coupon)
    statement.redeemed = True
    statement.facts = _stamped(draft, _series(draft, section(coupon, "series_info")))


def _series(draft: Draft, series: dict[str, Json]) -> dict[str, Json]:
    described = {"name": read(draft, "description", _note, series), "series": read(draft, "id", _number_id, series)}
    return {**described, "value": read(draft, "discount_value", amount, series)}


def _stamped(draft: Draft, facts: dict[str, Json]) -> dict[str, Register]:
    return {name: (value, draft.event.created_at_ms, draft.event.event_id) for name, value in facts.items() if value is not None}


def _reward(draft: Draft, _subject: dict[str, Json], statement: Statement) -> None:
    """A reward's code is a coupon too. What it says about the dates gives way to the coupon's own event, hence the stamp 0."""
    own = section(draft.data, "intouchRewardDetails")
    found = read(draft, "intouchCouponCode", code, own)
    if found is None:
        found = read(draft, "vendorVoucher", code, section(draft.data, "vendorRewardDetails"))
    statement.coupon = found
    facts = {
        "series": read(draft, "intouchSeriesId", _number_id),
        "start": read(draft, "issueDateTime", moment),
        "end": read(draft, "codeExpiry", moment, own),
    }
    statement.facts = {name: (value, 0, draft.event.event_id) for name, value in facts.items() if value is not None}


def _badge(draft: Draft, _subject: dict[str, Json], statement: Statement) -> None:
    statement.badge = read(draft, "badgeId", _id)
    statement.facts = _stamped(draft, {"start": read(draft, "earnedOn", moment)})


_READERS: Final = {
    "customerAdded": _customer,
    "customerUpdated": _customer,
    "CouponIssue": _issued,
    "CouponRedeem": _used,
    "rewardIssued": _reward,
    "badgeEarned": _badge,
}
