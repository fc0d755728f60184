"""One event, the states it concerns and the answers fetched for it, as payloads or as a verdict.

Everything that can fail is read before any state is changed: a refused event leaves no trace but what the programme cache learnt.
States are changed in place. Source: capillary.md 7.
"""

from typing import Final

from capstream.capillary.answers import read_answer
from capstream.capillary.attributes import DELETED, Statement, read_statement, state_it, state_voucher
from capstream.capillary.covering import cover
from capstream.capillary.enrichment import BILLS, answer
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.history import history_name, imported_answers, is_imported
from capstream.capillary.identities import Found, identity_map, read_identities
from capstream.capillary.members import Place, Subject, members_of, resolve, subjects_of, victim_of
from capstream.capillary.movements import code_of, operations_of
from capstream.capillary.payloads.draft import draft_of, section
from capstream.capillary.payloads.profile import awaits_tier_list, profile_body
from capstream.capillary.payloads.records import Draft
from capstream.capillary.payloads.transaction import transaction_body
from capstream.capillary.programs import Programs
from capstream.capillary.records import Fact, MemberState, Operation
from capstream.capillary.results import (
    Answers,
    Key,
    Outcome,
    Payload,
    Reading,
    Refused,
    Skipped,
    States,
    Translated,
)
from capstream.capillary.state import absorb, clear_ledger, meet, name_event, put, put_all, record, snapshot_of
from capstream.capillary.touching import ALWAYS, is_remembered, shows_in_profile
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import Unfit, decimal_id
from capstream.capillary.vocabulary import MAPPED, UNMAPPED
from capstream.kernel.json import Json

__all__ = [
    "Outcome",
    "Payload",
    "Refused",
    "Skipped",
    "Translated",
    "TranslationConfig",
    "awaits_tier_list",
    "members_of",
    "profile_payload",
    "translate",
]


class _Step:
    """What one event means for one member, read but not yet applied."""

    __slots__ = ("body", "customer_id", "draft", "identities", "operations", "place", "statement")

    def __init__(
        self,
        place: Place,
        draft: Draft,
        identities: Found,
        body: dict[str, Json] | None,
        operations: list[Operation],
        statement: Statement | None,
    ) -> None:
        self.place = place
        self.customer_id = place.key[1]
        self.draft = draft
        self.identities = identities
        self.body = body
        self.operations = operations
        self.statement = statement


def translate(event: NormalisedEvent, states: States, programs: Programs, config: TranslationConfig, answers: Answers) -> Outcome:
    """Return the payloads of an event, or why there are none; the states of its members are brought up to date.

    Order: events of a member may come in any order and more than once.
    Errors: as verdicts: UNKNOWN_EVENT, NO_IDENTITY, GROUP_ENTITY, INVALID_FIELD, ENRICHMENT_FAILED.
    """
    verdict = _verdict(event, config)
    if verdict is not None:
        return verdict
    learned = programs.learn(event.org_id, event.data.get("loyaltyProgramDetails"), event.created_at_ms)
    carried = imported_answers(event)
    answers = answers if carried is None else carried
    try:
        steps = [_read(event, subject, states, (programs, config), answers) for subject in _subjects(event)]
        victim = victim_of(event)
    except Unfit as unfit:
        return Refused(_CODES.get(unfit.reason, "INVALID_FIELD"), unfit.reason, unfit.pointer or "/data")
    translated = Translated([], [], learned)
    for step in steps:
        _apply(event, step, victim, states, translated)
        if answers:
            _apply_answers(event, step, states, answers, (programs, translated.notes))
    for step in steps:
        if step.body is not None:
            step.body["identityMap"] = _identities(event, step, states, config)
            if config.field_modes:
                cover(step.body, event.org_id, config.field_modes)
            translated.transactions.append(Payload(step.body["_id"], step.customer_id, step.body))
    return translated


_NO_IDENTITY: Final = "the event names no customer"
_NO_LINES: Final = "the transaction call gave no answer"
_CODES: Final = {_NO_IDENTITY: "NO_IDENTITY", _NO_LINES: "ENRICHMENT_FAILED"}


def profile_payload(key: Key, state: MemberState, programs: Programs, config: TranslationConfig) -> Payload:
    """Return a member's whole snapshot as the profile payload."""
    org_id, customer_id = key
    body = profile_body(org_id, customer_id, state, programs, config)
    if config.field_modes:
        cover(body, org_id, config.field_modes)
    return Payload(body["_id"], customer_id, body)


def _verdict(event: NormalisedEvent, config: TranslationConfig) -> Outcome | None:
    """Return the verdict on kinds and entities that never become payloads."""
    name = event.event_name
    if name not in MAPPED:
        if name in UNMAPPED:
            return Skipped("UNMAPPED_EVENT")
        return Refused("UNKNOWN_EVENT", f"no event of the name {name[:64]} is documented", "/eventName")
    if name not in config.enabled_kinds:
        return Skipped("skipped_disabled")
    if name == "notInterestedBillAdded":
        if config.anonymous_bills == "dead_letter":
            return Refused("NO_IDENTITY", "an anonymous bill has no customer", "/data/customerIdentifiers")
        return Skipped("anonymous_bill")
    kind = section(event.data, "entityInformation").get("entityType")
    if type(kind) is str and kind != "USER" and kind.strip().upper() not in ("", "USER") and not config.groups_enabled:
        return Refused(
            "GROUP_ENTITY", f"the event is about a group of the type {kind[:64]}", "/data/entityInformation/entityType"
        )
    return None


def _subjects(event: NormalisedEvent) -> list[Subject]:
    subjects = subjects_of(event)
    for subject in subjects:
        if subject.customer_id is None:
            raise Unfit(_NO_IDENTITY, f"{subject.pointer}/customerId")
    if event.event_name == "loyaltyCustomerMerge" and victim_of(event) is None:
        raise Unfit(_NO_IDENTITY, "/data/victimCustomerIdentifiers/customerId")
    return subjects


def _read(
    event: NormalisedEvent, subject: Subject, states: States, known: tuple[Programs, TranslationConfig], answers: Answers
) -> _Step:
    programs, config = known
    place = resolve(states, (event.org_id, subject.customer_id or ""))
    draft = draft_of(event, programs, config, _bill(event, config, answers))
    found = read_identities(subject.identifiers, config, draft.flags)
    body = None
    if _has_transaction(event, config):
        body = transaction_body(draft, place.key[1], {}, subject.about)
    if is_imported(event):
        return _Step(place, draft, found, body, [], None)
    operations, statement = operations_of(draft), read_statement(draft, subject.about)
    return _Step(place, draft, found, body, operations, statement)


def _bill(event: NormalisedEvent, config: TranslationConfig, answers: Answers) -> dict[str, Json] | None:
    if event.event_name not in BILLS or (config.transaction_lines == "off" and not is_imported(event)):
        return None
    transaction = event.data.get("transactionId")
    found = answer(answers, "C7", event.org_id, _bill_id(transaction)) if answers else None
    if found is not None and type(found.body) is dict:
        return found.body
    if config.transaction_lines == "required":
        raise Unfit(_NO_LINES, "/data/transactionId")
    return None


def _bill_id(value: Json) -> str:
    try:
        return decimal_id(value) or ""
    except Unfit:
        return ""


def _has_transaction(event: NormalisedEvent, config: TranslationConfig) -> bool:
    if event.event_name == "customerUpdated":
        return config.emit_customer_updated_event and not is_imported(event)
    return event.event_name != "singlePointsExpiryUpdated"


def _apply(event: NormalisedEvent, step: _Step, victim: str | None, states: States, translated: Translated) -> None:
    """Bring the member's state up to date. Nothing here can fail."""
    config, at, event_id = step.draft.config, event.created_at_ms, event.event_id
    key, owner = step.place.key, step.place.owner
    state = states.get(key)
    if state is None:
        state = states[key] = MemberState()
    shows = shows_in_profile(event.event_name, config)
    is_told = event.event_name in ALWAYS and history_name(event) is None
    before = snapshot_of(state) if shows and not is_told else None
    imported = is_imported(event)
    if not imported:
        meet(state, at, owner)
    registers = state.merged.setdefault(owner, {}) if owner else state.identities
    for kind, value in step.identities.items():
        put(registers, kind, value, at, event_id)
    if victim is not None:
        _merge(event, key, victim, states, translated, config)
    if is_remembered(event.event_name, config) and not imported:
        fact = Fact(at, event.event_log_id, event_id, owner, event.received_ms, step.operations)
        record(state, fact)
        name_event(state, at, event.event_name, event_id)
        if step.statement is not None:
            if owner:
                state_voucher(state, step.statement, at)
            else:
                state_it(state, step.statement, at, event_id)
    if shows and (before is None or before != snapshot_of(state)) and key not in translated.touched:
        translated.touched.append(key)
    if event.event_name == "customerUpdated":
        status = state.attributes.get("status")
        if status is not None and str(status[0]).lower() == DELETED:
            translated.deleted.append(key)


def _merge(
    event: NormalisedEvent, survivor: Key, victim_id: str, states: States, translated: Translated, config: TranslationConfig
) -> None:
    """Let the survivor's state take over the victim's; the victim's last payload goes first, so the survivor's is the newer."""
    victim_key = (event.org_id, victim_id)
    if victim_key == survivor:
        return
    state, victim = states[survivor], states.get(victim_key) or MemberState()
    found = read_identities(event.data.get("victimCustomerIdentifiers"), config, [])
    for kind, value in found.items():
        put(victim.identities, kind, value, event.created_at_ms, event.event_id)
    if victim.merged_into is None:
        meet(victim, event.created_at_ms)
        absorb(state, victim, victim_id)
        clear_ledger(victim)
        victim.merged_into = (survivor[1], event.created_at_ms, event.event_id)
        victim.version += 1
        name_event(victim, event.created_at_ms, event.event_name, event.event_id)
    states[victim_key] = victim
    if victim_key not in translated.touched:
        translated.touched.append(victim_key)


def _apply_answers(
    event: NormalisedEvent, step: _Step, states: States, answers: Answers, known: tuple[Programs, list[str]]
) -> None:
    """Put what Capillary's API answered into the member's state, as of the time of the answer."""
    programs, notes = known
    key = step.place.key
    for kind in ("C2", "C3", "C5", "C6"):
        found = answer(answers, kind, event.org_id, key[1])
        if found is None:
            continue
        try:
            reading = read_answer(kind, found.body, step.draft.scope, programs, step.draft.config)
        except Unfit as unfit:
            notes.append(f"{kind}: {unfit.pointer or '/'} {unfit.reason}")
            continue
        for program, tier, name in reading.tier_names:
            programs.learn_tier(event.org_id, program, tier, name, found.as_of_ms)
        _apply_reading(states[key], reading, kind, (found.as_of_ms, event.received_ms))


def _apply_reading(state: MemberState, reading: Reading, kind: str, stamps: tuple[int, int]) -> None:
    as_of, received = stamps
    event_id = f"api:{kind}:{as_of}"
    if reading.operations:
        record(state, Fact(as_of, None, event_id, "", received, sorted(reading.operations, key=code_of)))
    put_all(state.identities, reading.identities, as_of, event_id)
    put_all(state.attributes, reading.attributes, as_of, event_id)
    put_all(state.custom, reading.custom, as_of, event_id)
    put_all(state.extended, reading.extended, as_of, event_id)
    if reading.joined is not None and (state.joined is None or reading.joined < state.joined):
        state.joined = reading.joined
    state.as_of = max(state.as_of, as_of)


def _identities(event: NormalisedEvent, step: _Step, states: States, config: TranslationConfig) -> dict[str, Json]:
    """Return the identities of the event, with those of the state unless the source wants the event's alone."""
    state = states[step.place.key] if config.event_identities == "state" else None
    return identity_map(event.org_id, step.customer_id, step.identities, state, config)
