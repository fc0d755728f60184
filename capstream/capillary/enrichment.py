"""Which calls of Capillary's API an event needs before it is translated.

Pure: `plan` names the calls, the relay makes them, `translate` is given the answers. Source: capillary.md 5.2, 5.4, 7.5 (4, 5).
"""

from typing import Final

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.history import is_imported
from capstream.capillary.identities import read_identities
from capstream.capillary.ledger import ZERO_SEED_SLACK_MS, ledger_of
from capstream.capillary.members import members_of, resolve
from capstream.capillary.movements import seeds_zero
from capstream.capillary.payloads.bills import bill_type
from capstream.capillary.payloads.draft import draft_of, section
from capstream.capillary.payloads.profile import selected_program
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Answered, Answers, ApiCall, Key, Kind, States, answer_key
from capstream.capillary.touching import shows_in_profile
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import Unfit, decimal_id, whole
from capstream.kernel.json import Json

BILLS: Final = frozenset({"transactionAdded", "transactionUpdated", "retroBillAdded"})
REPAIRED: Final = frozenset({"pointsExpired", "manualPointsAdjustment", "loyaltyCustomerMerge"})
RESCHEDULED: Final = frozenset({"pointsExpiryChange", "singlePointsExpiryUpdated"})

_EMBED: Final = "points,mlp,subscriptions,expirySchedules,expiredPoints,customerStatus"


def answer(answers: Answers, kind: str, org_id: str, subject: str) -> Answered | None:
    """Return the answer to a call, None when it failed or was not made."""
    found = answers.get(answer_key(kind, org_id, subject))
    return found if isinstance(found, Answered) else None


def bill_call(org_id: str, customer_id: str, data: dict[str, Json], *, required: bool) -> ApiCall | None:
    """Return the transaction call (C7) of a bill, None without an id. ASSUMPTION: a MIXED bill is asked for as REGULAR."""
    try:
        transaction = decimal_id(data.get("transactionId"))
    except Unfit:
        return None
    if transaction is None:
        return None
    kind = bill_type(data)
    asked = kind if kind in ("RETURN", "NOT_INTERESTED", "NOT_INTERESTED_RETURN") else "REGULAR"
    return ApiCall("C7", org_id, customer_id, f"/v2/transactions/{transaction}", (("type", asked), ("tenders", "true")), required)


def member_call(kind: Kind, org_id: str, customer_id: str) -> ApiCall:
    """Return one of the calls about a member."""
    tail, query = _MEMBER_CALLS[kind]
    return ApiCall(kind, org_id, customer_id, f"/v2/customers/{customer_id}{tail}", query)


_ALL_PROGRAMS: Final = (("fetchDataForAllPrograms", "true"),)
_MEMBER_CALLS: Final[dict[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "C2": ("", (("source", "INSTORE"), ("embed", _EMBED))),
    "C3": ("/loyaltyDetails", ()),
    "C5": ("/tierDetails", _ALL_PROGRAMS),
    "C6": ("/pointsExpirySchedule", _ALL_PROGRAMS),
}


def is_answered(answers: Answers, org_id: str, customer_id: str) -> bool:
    """Return whether Capillary's API told something about a member."""
    return any(answer(answers, kind, org_id, customer_id) is not None for kind in _MEMBER_CALLS)


def plan(event: NormalisedEvent, states: States, programs: Programs, config: TranslationConfig) -> list[ApiCall]:
    """Return the calls to make before this event is translated, in no particular order.

    Shape: empty for kinds that are off or unknown; at most one call of a kind per member. Debouncing is the caller's.
    """
    if event.event_name not in config.enabled_kinds or is_imported(event):
        return []
    calls: dict[str, ApiCall] = {}
    members = members_of(event)
    if event.event_name in BILLS and config.transaction_lines != "off" and members:
        call = bill_call(event.org_id, members[0][1], event.data, required=config.transaction_lines == "required")
        if call is not None:
            calls[call.key] = call
    if config.member_state:
        for key in members:
            for kind in _member_calls(event, key, states, (programs, config)):
                call = member_call(kind, *resolve(states, key).key)
                calls[call.key] = call
    return list(calls.values())


def _member_calls(event: NormalisedEvent, key: Key, states: States, known: tuple[Programs, TranslationConfig]) -> list[Kind]:
    programs, config = known
    place = resolve(states, key)
    if place.owner or (event.event_name == "loyaltyCustomerMerge" and key != members_of(event)[0]):
        return []
    name, state = event.event_name, place.state
    kinds: list[Kind] = []
    if _is_unseeded(event, state, programs, config):
        kinds.append("C3")
        if not (state and state.identities) and not _identifies(event, config):
            kinds.append("C2")
    if name == "customerUpdated" and "C2" not in kinds:
        kinds.append("C2")
    if name in REPAIRED and config.repair and "C3" not in kinds:
        kinds.append("C3")
    if name in RESCHEDULED and name == config.expiry_change_source:
        kinds.append("C6")
    if "C3" not in kinds and _lacks_tier(event, state, programs, config):
        kinds.append("C5")
    return kinds


def _is_unseeded(event: NormalisedEvent, state: MemberState | None, programs: Programs, config: TranslationConfig) -> bool:
    """Say whether the event shows in a profile whose counters rest on nothing, and is not itself the start from zero."""
    if not shows_in_profile(event.event_name, config) or (state is not None and ledger_of(state.book).seeded):
        return False
    if event.event_name != "customerAdded":
        return True
    try:
        granted = seeds_zero(draft_of(event, programs, config, None))
    except Unfit:
        return False
    first = state.first.get("", event.created_at_ms) if state is not None else event.created_at_ms
    return not granted or event.created_at_ms - first > ZERO_SEED_SLACK_MS


def _identifies(event: NormalisedEvent, config: TranslationConfig) -> bool:
    return bool(read_identities(event.data.get("customerIdentifiers"), config, []))


_TIER_NUMBERS: Final[tuple[str, ...]] = ("upgradedTierNumber", "downgradedTierNumber", "currentTierNumber")


def _lacks_tier(event: NormalisedEvent, state: MemberState | None, programs: Programs, config: TranslationConfig) -> bool:
    """Say whether the event names a tier whose name nobody has told yet, or starts a member whose base tier is unknown."""
    own_list = section(event.data, "loyaltyProgramDetails").get("tiers")
    if own_list:
        return False
    if event.event_name == "customerAdded":
        if state is None:
            selected = programs.default(event.org_id)
        else:
            selected = selected_program(event.org_id, ledger_of(state.book), programs, config)
        program = None if selected is None else programs.get(event.org_id, selected)
        return program is None or program.base_tier() is None
    for name in _TIER_NUMBERS:
        try:
            number = whole(event.data.get(name))
            program_id = decimal_id(event.data.get("loyaltyProgramId")) or programs.default(event.org_id)
        except Unfit:
            return False
        if number is not None:
            program = programs.get(event.org_id, program_id) if program_id is not None else None
            return program is None or program.tier_name(number) is None
    return False
