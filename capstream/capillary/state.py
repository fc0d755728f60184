"""Everything the relay remembers about one member: registers, the ledger, and the log that makes it independent of arrival order.

*Registers* (identities, attributes) keep the newest value with its stamp, so any order of arrival gives the same one. The
*ledger* is the fold of all facts in the order of `createdAt` (`member_log.py`); one whose event id is known has no effect.
Source: capillary.md 7.5.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from capstream.capillary import member_log
from capstream.capillary.ledger import apply_alone
from capstream.capillary.records import Book, Entry, Fact, MemberState, Register
from capstream.kernel.json import Json

_LIST_LIMIT: Final = 50


_state_encoder: Final = msgspec.msgpack.Encoder()
_state_decoder: Final = msgspec.msgpack.Decoder(MemberState)

dump = _state_encoder.encode
"""Return the bytes of a MemberState."""

load = _state_decoder.decode
"""Return the MemberState of its bytes, of this version or another."""


def record(state: MemberState, fact: Fact) -> bool:
    """Add a fact to the ledger; True when it was new.

    Order: any; the ledger afterwards is that of all facts in the order of time.
    """
    at = fact.at
    if at > state.log_at and at > state.base_at:
        member_log.append(state, fact)
        apply_alone(state.book, fact, state.first)
    elif not member_log.insert(state, fact):
        return False
    state.version += 1
    if member_log.lacks_room(state, fact.received):
        member_log.trim(state, fact.received)
    return True


def name_event(state: MemberState, at: int, name: str, event_id: str) -> None:
    """Let an event be the snapshot's last one when it is the newest; of one instant the larger id is."""
    last_at: int = state.last_at
    if at > last_at or (at == last_at and event_id > state.last_id):
        state.last_at, state.last_name, state.last_id = at, name, event_id
    if at > state.as_of:
        state.as_of = at


def meet(state: MemberState, at: int, owner: str = "") -> None:
    """Remember that an event of `at` exists; when it is the earliest, a zero seed that it disproves is withdrawn."""
    first: dict[str, int] = state.first
    known = first.get(owner)
    if known is None or at < known:
        first[owner] = at
        if known is not None and state.log_count:
            member_log.refold(state)


def put(registers: dict[str, Register], key: str, value: Json, at: int, event_id: str) -> bool:
    """Set a register unless it holds something newer; True when its value changed."""
    held = registers.get(key)
    if held is None:
        registers[key] = (value, at, event_id)
        return True
    known, stamp, source = held
    if stamp > at or (stamp == at and source >= event_id):
        return False
    registers[key] = (value, at, event_id)
    return known is not value and known != value


def put_all(registers: dict[str, Register], stated: Mapping[str, Json], at: int, event_id: str) -> bool:
    """Set every register of `stated`; True when one value changed."""
    changed = False
    for key, value in stated.items():
        changed = put(registers, key, value, at, event_id) or changed
    return changed


def put_coupon(state: MemberState, code: str, at: int, facts: Mapping[str, Register], *, redeemed: bool) -> bool:
    """Merge what one event says about a coupon: each fact keeps its newest statement, and redeemed beats issued.

    Shape: True when the coupon is different afterwards.
    """
    return _put_entry(state.coupons, Entry(code, at, dict(facts), redeemed))


def put_badge(state: MemberState, badge: str, at: int, facts: Mapping[str, Register]) -> bool:
    """Merge what one event says about a badge; earned again, it keeps the newest date. True when it is different afterwards."""
    return _put_entry(state.badges, Entry(badge, at, dict(facts)))


def absorb(survivor: MemberState, victim: MemberState, victim_id: str) -> None:
    """Take over the log and checkpoint of a merged member as facts of that owner, its identities, coupons and badges.

    The fold of the merge itself (operation ABSORB) brings the two ledgers together at its place in time.
    """
    _adopt_base(survivor, victim, victim_id)
    for owner, at in victim.first.items():
        name = owner or victim_id
        survivor.first[name] = min(at, survivor.first.get(name, at))
    taken = [msgspec.structs.replace(fact, owner=fact.owner or victim_id) for fact in member_log.facts(victim)]
    member_log.store(survivor, member_log.facts(survivor) + taken)
    survivor.version += victim.version
    survivor.merged.setdefault(victim_id, {}).update(victim.identities)
    for owner, identities in victim.merged.items():
        survivor.merged.setdefault(owner, {}).update(identities)
    _merge_entries(survivor, victim)
    if victim.last_id:
        name_event(survivor, victim.last_at, victim.last_name, victim.last_id)
    survivor.as_of = max(survivor.as_of, victim.as_of)
    member_log.refold(survivor)


def clear_ledger(state: MemberState) -> None:
    """Forget the ledger of a member that was merged: the survivor has it now."""
    state.book, state.log, state.log_count, state.log_at, state.base = Book(), b"", 0, 0, b""
    state.coupons, state.badges, state.folded = [], [], b""


def _adopt_base(survivor: MemberState, victim: MemberState, victim_id: str) -> None:
    if not victim.base:
        return
    book, taken = member_log.base_of(survivor), member_log.base_of(victim)
    for owner, ledger in taken.ledgers.items():
        book.ledgers.setdefault(owner or victim_id, ledger)
    for owner, into in taken.absorbed.items():
        if owner != victim_id:  # merged into each other: a ledger does not go into itself
            book.absorbed.setdefault(owner, into or victim_id)
    survivor.base = _state_encoder.encode(book)


def _merge_entries(survivor: MemberState, victim: MemberState) -> None:
    for coupon in victim.coupons:
        _put_entry(survivor.coupons, coupon)
    for badge in victim.badges:
        _put_entry(survivor.badges, badge)


def _put_entry(entries: list[Entry], new: Entry) -> bool:
    known = next((entry for entry in entries if entry.id == new.id), None)
    if known is None:
        entries.append(new)
        changed = True
    else:
        changed = new.redeemed and not known.redeemed
        known.redeemed = known.redeemed or new.redeemed
        known.at = max(known.at, new.at)
        for field, (value, stamp, event_id) in new.facts.items():
            changed = put(known.facts, field, value, stamp, event_id) or changed
    entries.sort(key=lambda entry: (entry.at, entry.id))
    del entries[:-_LIST_LIMIT]
    return changed


def snapshot_of(state: MemberState) -> bytes:
    """Return bytes that are equal when two states show the same in a profile payload, apart from version and times."""
    registers = [_values(state.identities), _values(state.attributes), _values(state.custom), _values(state.extended)]
    registers += [_values(held) for held in state.merged.values()]
    entries = [(entry.id, entry.redeemed, _values(entry.facts)) for entry in (*state.coupons, *state.badges)]
    return _state_encoder.encode((registers, entries, state.joined, state.book))


def _values(registers: Mapping[str, Register]) -> dict[str, Json]:
    return {name: register[0] for name, register in registers.items()}
