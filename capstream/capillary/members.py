"""Whom an event is about, and under which state a member is found after merges. Source: capillary.md 4, 7.4, 7.5 (9)."""

from typing import Final

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.payloads.draft import section
from capstream.capillary.records import MemberState
from capstream.capillary.results import Key, States
from capstream.capillary.values import Unfit, decimal_id
from capstream.kernel.json import Json

_OF_SEVERAL: Final = frozenset({"CouponIssue", "updateRewardTransaction", "loyaltyCustomerMerge"})
"""Kinds that can name several members."""


class Subject:
    """One member an event speaks about. `about` is the event's data, or the one element of it that concerns the member."""

    def __init__(self, customer_id: str | None, identifiers: Json, about: dict[str, Json], pointer: str) -> None:
        self.customer_id = customer_id
        self.identifiers = identifiers
        self.about = about
        self.pointer = pointer  #: where the customer id stands


class Place:
    """Where a member's state is: under its own key, or under its survivor's, then `owner` is the member's own id."""

    def __init__(self, key: Key, state: MemberState | None, owner: str) -> None:
        self.key = key
        self.state = state
        self.owner = owner


def subjects_of(event: NormalisedEvent) -> list[Subject]:
    """Return the members an event makes payloads for, in the order of the event. Errors: Unfit for an id that is no id."""
    data = event.data
    if event.event_name == "CouponIssue":
        return [_coupon_subject(data, item, index) for index, item in enumerate(_elements(data, "coupons"))]
    if event.event_name == "updateRewardTransaction":
        listed = enumerate(_elements(data, "transactionUpdates"))
        return [
            Subject(_id(item, f"/data/transactionUpdates/{index}"), None, item, f"/data/transactionUpdates/{index}")
            for index, item in listed
        ]
    name = "survivorCustomerIdentifiers" if event.event_name == "loyaltyCustomerMerge" else "customerIdentifiers"
    identifiers = section(data, name)
    return [Subject(_id(identifiers, f"/data/{name}"), identifiers, data, f"/data/{name}")]


def _coupon_subject(data: dict[str, Json], coupon: dict[str, Json], index: int) -> Subject:
    identifiers, pointer = coupon.get("customerIdentifiers"), f"/data/coupons/{index}/customerIdentifiers"
    if type(identifiers) is not dict:
        identifiers, pointer = section(data, "customerIdentifiers"), "/data/customerIdentifiers"
    return Subject(_id(identifiers, pointer), identifiers, coupon, pointer)


def _elements(data: dict[str, Json], name: str) -> list[dict[str, Json]]:
    listed = data.get(name)
    if type(listed) is not list:
        raise Unfit("must be a list").under("data", name)
    return [item for item in listed if type(item) is dict]


def _id(source: Json, pointer: str) -> str | None:
    try:
        found = decimal_id(source.get("customerId"))
        if found is not None and len(found) > 255:
            raise Unfit("is longer than 255 characters")
    except Unfit as unfit:
        raise Unfit(unfit.reason, f"{pointer}/customerId") from None
    return found


def victim_of(event: NormalisedEvent) -> str | None:
    """Return the member that a merge ends; None for other kinds. Errors: Unfit for an id that is no id."""
    if event.event_name != "loyaltyCustomerMerge":
        return None
    return _id(section(event.data, "victimCustomerIdentifiers"), "/data/victimCustomerIdentifiers")


def members_of(event: NormalisedEvent) -> list[Key]:
    """Return the keys of all members whose state an event reads or changes, each once; a merge names survivor, then victim."""
    try:
        if event.event_name not in _OF_SEVERAL:
            customer = _id(section(event.data, "customerIdentifiers"), "/data/customerIdentifiers")
            return [] if customer is None else [(event.org_id, customer)]
        found = [subject.customer_id for subject in subjects_of(event)]
        found.append(victim_of(event))
    except Unfit:
        return []
    return [(event.org_id, customer) for customer in dict.fromkeys(found) if customer is not None]


def resolve(states: States, key: Key) -> Place:
    """Return where a member's state is now; merges are followed to their end."""
    state = states.get(key)
    if state is None or state.merged_into is None:
        return Place(key, state, "")
    owner, first, seen = "", key[1], {key}
    while state is not None and state.merged_into is not None:
        key = (key[0], str(state.merged_into[0]))
        if key in seen:
            break
        seen.add(key)
        owner, state = first, states.get(key)
    return Place(key, state, owner)
