"""Everything the relay remembers about one member: registers, the ledger, and the log that makes it independent of arrival order.

*Registers* (identities, attributes) keep the newest value with its stamp, so any order of arrival gives the same one.

The *ledger* is the fold of all facts in the order of `createdAt`. A fact later than all others is applied at once; one that comes
late is put in its place and everything after the checkpoint is folded again; one whose event id is known has no effect. Facts
stay in the log for 30 days after their arrival, at most 512; then they become part of the checkpoint. Of those that left for want
of room the ids are kept, so that an even later one still counts, once; what comes 30 days late cannot move the ledger.

A fact that is later than all others needs none of the log. So whoever keeps states may `seal` a long log and keep that part
elsewhere; `wants_log` tells which events need it back.
Source: capillary.md 7.5.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from capstream.capillary.ledger import apply_alone, apply_late, fold
from capstream.capillary.records import Book, Entry, Fact, MemberState, Register
from capstream.kernel.json import Json

LOG_KEPT_MS: Final = 30 * 86_400_000
LOG_LIMIT: Final = 512
_LOG_AFTER_TRIM: Final = 384
_FOLDED_LIMIT: Final = 4096
_FOLDED_BYTES: Final = 16  #: time and digest of one folded fact
_LIST_LIMIT: Final = 50


_state_encoder: Final = msgspec.msgpack.Encoder()
_state_decoder: Final = msgspec.msgpack.Decoder(MemberState)
_fact_encoder: Final = msgspec.msgpack.Encoder()
_facts_decoder: Final = msgspec.msgpack.Decoder(list[Fact])
_book_decoder: Final = msgspec.msgpack.Decoder(Book)

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
        _append(state, fact)
        apply_alone(state.book, fact, state.first)
    elif not _insert(state, fact):
        return False
    state.version += 1
    if state.log_count > LOG_LIMIT or fact.received - state.log_since > LOG_KEPT_MS:
        _trim(state, fact.received)
    return True


def seal(state: MemberState) -> bytes:
    """Take the facts out of a state's log and return them: the next part of its log, to be kept apart."""
    part, state.log = state.log, b""
    state.sealed += 1
    return part


def unseal(state: MemberState, parts: Iterable[bytes]) -> None:
    """Give a state its log back. `parts` are all that were sealed, oldest first."""
    state.log = b"".join((*parts, state.log))
    state.sealed = 0


def wants_log(state: MemberState, at: int, received: int) -> bool:
    """Return whether an event of `at` needs the sealed parts of the log.

    It does when it is not later than everything known, and when the log is about to be trimmed.
    """
    is_late = at <= state.log_at or at <= max(state.first.values(), default=at)
    return is_late or state.log_count >= LOG_LIMIT or received - state.log_since > LOG_KEPT_MS


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
            _refold(state)


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
    facts = _facts(survivor) + [msgspec.structs.replace(fact, owner=fact.owner or victim_id) for fact in _facts(victim)]
    _store(survivor, facts)
    survivor.version += victim.version
    survivor.merged.setdefault(victim_id, {}).update(victim.identities)
    for owner, identities in victim.merged.items():
        survivor.merged.setdefault(owner, {}).update(identities)
    _merge_entries(survivor, victim)
    if victim.last_id:
        name_event(survivor, victim.last_at, victim.last_name, victim.last_id)
    survivor.as_of = max(survivor.as_of, victim.as_of)
    _refold(survivor)


def clear_ledger(state: MemberState) -> None:
    """Forget the ledger of a member that was merged: the survivor has it now."""
    state.book, state.log, state.log_count, state.log_at, state.base = Book(), b"", 0, 0, b""
    state.coupons, state.badges, state.folded = [], [], b""


def _append(state: MemberState, fact: Fact) -> None:
    if not state.log_count:
        state.log_since = fact.received
    state.log += _fact_encoder.encode(fact)
    state.log_count += 1
    state.log_at = fact.at


def _insert(state: MemberState, fact: Fact) -> bool:
    """Put a late fact in its place and fold again; False for an event that is known or too old to tell."""
    if fact.at <= state.base_at:
        return _insert_before_log(state, fact)
    facts = _facts(state)
    if any(known.event_id == fact.event_id and known.at == fact.at for known in facts):
        return False
    _store(state, [*facts, fact])
    _refold(state)
    return True


def _insert_before_log(state: MemberState, fact: Fact) -> bool:
    name = _folded_name(fact)
    size = _FOLDED_BYTES
    if fact.at <= state.closed_at or any(state.folded[at : at + size] == name for at in range(0, len(state.folded), size)):
        return False
    book = _book_decoder.decode(state.base) if state.base else Book()
    apply_late(book, fact)
    state.base = _state_encoder.encode(book)
    names = [state.folded[at : at + size] for at in range(0, len(state.folded), size)]
    _set_folded(state, sorted([*names, name]))
    _refold(state)
    return True


def _folded_name(fact: Fact) -> bytes:
    return fact.at.to_bytes(8, "big") + blake2b(fact.event_id.encode(), digest_size=8).digest()


def _set_folded(state: MemberState, names: list[bytes]) -> None:
    dropped = names[:-_FOLDED_LIMIT]
    if dropped:
        state.closed_at = max(state.closed_at, int.from_bytes(dropped[-1][:8], "big"))
    state.folded = b"".join(names[-_FOLDED_LIMIT:])


def _facts(state: MemberState) -> list[Fact]:
    if state.sealed:
        raise RuntimeError("parts of the member's log are sealed: a late event needs them back first")
    return _facts_decoder.decode(b"\xdd" + state.log_count.to_bytes(4, "big") + state.log) if state.log_count else []


def _store(state: MemberState, facts: list[Fact]) -> None:
    facts.sort(key=lambda fact: (fact.at, fact.event_id, fact.owner))
    state.log = b"".join(map(_fact_encoder.encode, facts))
    state.log_count = len(facts)
    state.log_at = facts[-1].at if facts else 0
    state.log_since = facts[0].received if facts else 0


def _refold(state: MemberState) -> None:
    book = _book_decoder.decode(state.base) if state.base else Book()
    state.book = fold(book, _facts(state), state.first)


def _trim(state: MemberState, now: int) -> None:
    """Fold the oldest facts into the checkpoint: those that arrived over 30 days ago, and those above the limit."""
    facts = _facts(state)
    over = len(facts) - _LOG_AFTER_TRIM if len(facts) > LOG_LIMIT else 0
    count = 0
    while count < len(facts) and (count < over or now - facts[count].received > LOG_KEPT_MS):
        count += 1
    while 0 < count < len(facts) and facts[count].at == facts[count - 1].at:
        count += 1
    if count:
        _remember_folded(state, facts[:count], now)
        book = _book_decoder.decode(state.base) if state.base else Book()
        state.base = _state_encoder.encode(fold(book, facts[:count], state.first))
        state.base_at = facts[count - 1].at
        _store(state, facts[count:])
    if not state.log_count:
        state.log_since = now


def _remember_folded(state: MemberState, facts: list[Fact], now: int) -> None:
    """Keep the names of facts that leave for want of room; those that leave for their age close the book before them."""
    aged = [fact.at for fact in facts if now - fact.received > LOG_KEPT_MS]
    state.closed_at = max([state.closed_at, *aged])
    names = [state.folded[at : at + _FOLDED_BYTES] for at in range(0, len(state.folded), _FOLDED_BYTES)]
    names += [_folded_name(fact) for fact in facts]
    _set_folded(state, [name for name in names if int.from_bytes(name[:8], "big") > state.closed_at])


def _adopt_base(survivor: MemberState, victim: MemberState, victim_id: str) -> None:
    if not victim.base:
        return
    book = _book_decoder.decode(survivor.base) if survivor.base else Book()
    taken = _book_decoder.decode(victim.base)
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
