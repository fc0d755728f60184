"""The log of a member's facts: what makes its ledger independent of the order of arrival.

A fact later than all others is applied at once; one that comes late is put in its place and everything after the checkpoint is
folded again. Facts stay for 30 days after their arrival, at most 512; then they become part of the checkpoint. Of those that left
for want of room the names are kept, so that an even later one still counts, once.

A fact that is later than all others needs none of the log. So whoever keeps states may *seal* a long log, or many names, and keep
that part elsewhere; `wants_log` and `wants_names` tell which events need the parts back. When the log has no room left its oldest
parts alone are needed: `fold_oldest` takes facts out of them.
Source: capillary.md 7.5.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from capstream.capillary.ledger import apply_late, fold
from capstream.capillary.records import Book, Fact, MemberState

LOG_KEPT_MS: Final = 30 * 86_400_000
LOG_LIMIT: Final = 512
_LOG_AFTER_TRIM: Final = 384
_NAMES_LIMIT: Final = 4096
_NAME_BYTES: Final = 16  #: time and digest of one folded fact
_PART_BYTES: Final = 10  #: what a state says of a part of its names: their number and the time of the last

_encode: Final = msgspec.msgpack.Encoder().encode
_facts_decoder: Final = msgspec.msgpack.Decoder(list[Fact])
_book_decoder: Final = msgspec.msgpack.Decoder(Book)


def append(state: MemberState, fact: Fact) -> None:
    """Add a fact that is later than all others."""
    if not state.log_count:
        state.log_since = fact.received
    state.log += _encode(fact)
    state.log_count += 1
    state.log_at = fact.at


def insert(state: MemberState, fact: Fact) -> bool:
    """Put a late fact in its place and fold again; False for an event that is known or too old to tell."""
    if fact.at <= state.base_at:
        return _insert_before_log(state, fact)
    held = facts(state)
    if any(known.event_id == fact.event_id and known.at == fact.at for known in held):
        return False
    store(state, [*held, fact])
    refold(state)
    return True


def _insert_before_log(state: MemberState, fact: Fact) -> bool:
    if state.name_parts:
        raise RuntimeError("names of a member's facts are sealed: a fact before the checkpoint needs them back first")
    name = _name(fact)
    names = _names(state)
    if fact.at <= state.closed_at or name in names:
        return False
    book = base_of(state)
    apply_late(book, fact)
    state.base = _encode(book)
    _set_names(state, sorted([*names, name]))
    refold(state)
    return True


def facts(state: MemberState) -> list[Fact]:
    """Return the facts of a log that is whole."""
    if state.sealed:
        raise RuntimeError("parts of the member's log are sealed: a late event needs them back first")
    return _decoded(state.log, state.log_count)


def _decoded(log: bytes, count: int) -> list[Fact]:
    return _facts_decoder.decode(b"\xdd" + count.to_bytes(4, "big") + log) if count else []


def _encoded(held: Iterable[Fact]) -> bytes:
    return b"".join(map(_encode, held))


def store(state: MemberState, held: list[Fact]) -> None:
    """Let `held` be the whole log."""
    held.sort(key=lambda fact: (fact.at, fact.event_id, fact.owner))
    state.log = _encoded(held)
    state.log_count = len(held)
    state.log_at = held[-1].at if held else 0
    state.log_since = held[0].received if held else 0


def refold(state: MemberState) -> None:
    """Make the ledger anew: the checkpoint, then the log."""
    state.book = fold(base_of(state), facts(state), state.first)


def base_of(state: MemberState) -> Book:
    """Return the checkpoint."""
    return _book_decoder.decode(state.base) if state.base else Book()


def lacks_room(state: MemberState, received: int, coming: int = 0) -> bool:
    """Return whether facts have to leave the log when `coming` more have joined it at `received`."""
    return state.log_count + coming > LOG_LIMIT or received - state.log_since > LOG_KEPT_MS


def trim(state: MemberState, now: int) -> None:
    """Fold the oldest facts into the checkpoint: those that arrived over 30 days ago, and those above the limit."""
    held = facts(state)
    over = len(held) - _LOG_AFTER_TRIM if len(held) > LOG_LIMIT else 0
    count = _leaving(held, over, now)
    if count:
        _fold_into_base(state, held[:count], now)
        store(state, held[count:])
    if not state.log_count:
        state.log_since = now


def _leaving(held: list[Fact], over: int, now: int) -> int:
    """Return how many facts leave: facts of one instant stay together."""
    count = 0
    while count < len(held) and (count < over or now - held[count].received > LOG_KEPT_MS):
        count += 1
    while 0 < count < len(held) and held[count].at == held[count - 1].at:
        count += 1
    return count


def _fold_into_base(state: MemberState, held: list[Fact], now: int) -> None:
    _remember(state, held, now)
    state.base = _encode(fold(base_of(state), held, state.first))
    state.base_at = held[-1].at


def _remember(state: MemberState, held: list[Fact], now: int) -> None:
    """Keep the names of facts that leave for want of room; those that leave for their age close the book before them."""
    aged = [fact.at for fact in held if now - fact.received > LOG_KEPT_MS]
    state.closed_at = max([state.closed_at, *aged])
    names = _names(state) + [_name(fact) for fact in held]
    _set_names(state, [name for name in names if _time(name) > state.closed_at])


def _name(fact: Fact) -> bytes:
    return fact.at.to_bytes(8, "big") + blake2b(fact.event_id.encode(), digest_size=8).digest()


def _time(name: bytes) -> int:
    return int.from_bytes(name[:8], "big")


def _names(state: MemberState) -> list[bytes]:
    folded = state.folded
    return [folded[at : at + _NAME_BYTES] for at in range(0, len(folded), _NAME_BYTES)]


def _set_names(state: MemberState, names: list[bytes]) -> None:
    dropped = names[:-_NAMES_LIMIT]
    if dropped:
        state.closed_at = max(state.closed_at, _time(dropped[-1]))
    state.folded = b"".join(names[-_NAMES_LIMIT:])


def wants_log(state: MemberState, at: int) -> bool:
    """Return whether an event of `at` needs the sealed parts of the log: it is not later than everything known."""
    return at <= state.log_at or at <= max(state.first.values(), default=at)


def wants_names(state: MemberState, at: int) -> bool:
    """Return whether an event of `at` needs the sealed names: it lies before the checkpoint."""
    return at <= state.base_at


def seal(state: MemberState) -> bytes:
    """Take the facts out of a state's log and return them: the next part of its log, to be kept apart."""
    part, state.log = state.log, b""
    if len(state.counts) == state.sealed:  # else older parts were not counted, and only the whole log can be
        state.counts.append(state.log_count - sum(state.counts))
    state.sealed += 1
    return part


def unseal(state: MemberState, parts: Iterable[bytes]) -> None:
    """Give a state its log back. `parts` are all that were sealed, oldest first."""
    state.log = b"".join((*parts, state.log))
    state.sealed = state.opened = 0
    state.counts = []


def oldest_parts(state: MemberState) -> int:
    """Return how many sealed parts hold what has to leave before one more fact joins; 0: the whole log is needed."""
    if len(state.counts) != state.sealed:
        return 0
    over, held = _over(state), 0
    for number, count in enumerate(state.counts, 1):
        held += count
        if held > over:
            return number
    return 0


def _over(state: MemberState) -> int:
    return state.log_count + 1 - _LOG_AFTER_TRIM if state.log_count >= LOG_LIMIT else 0


def fold_oldest(state: MemberState, parts: Sequence[bytes], now: int) -> bytes | None:
    """Fold what has to leave before one more fact joins the log, as `trim` does; None: it takes more than these parts.

    Shape: `parts` are the oldest of the sealed ones. Those emptied are no longer counted; what is left of the next one is
    returned, to be kept in its place, empty when that stays as it is.
    """
    counts = state.counts[: len(parts)]
    held = _decoded(b"".join(parts), sum(counts))
    left = _leaving(held, _over(state), now)
    if left == len(held):
        return None
    if left:
        _fold_into_base(state, held[:left], now)
    emptied = 0
    while left and left >= counts[emptied]:
        left -= counts[emptied]
        emptied += 1
    kept = held[sum(counts[:emptied]) + left :]
    state.log_count -= len(held) - len(kept)
    state.log_since = kept[0].received
    state.opened, state.sealed, state.counts = state.opened + emptied, state.sealed - emptied, state.counts[emptied:]
    if not left:
        return b""
    state.counts[0] -= left
    return _encoded(kept[: state.counts[0]])


def seal_names(state: MemberState) -> bytes:
    """Take the names of folded facts out of a state and return them: the next part of them, to be kept apart."""
    part, state.folded = state.folded, b""
    state.name_parts += (len(part) // _NAME_BYTES).to_bytes(2, "big") + part[-_NAME_BYTES:][:8]
    return part


def unseal_names(state: MemberState, parts: Iterable[bytes]) -> None:
    """Give a state the names of its folded facts back. `parts` are all that were sealed, oldest first."""
    state.folded = b"".join((*parts, state.folded))
    state.name_parts, state.names_opened = b"", 0


def parts_of_names(state: MemberState) -> int:
    """Return how many parts of the names were sealed."""
    return len(state.name_parts) // _PART_BYTES


def drop_names(state: MemberState) -> int:
    """Forget the oldest sealed names that are too many, or of a time that is closed; return how many parts are to go."""
    said: bytes = state.name_parts
    parts = [said[at : at + _PART_BYTES] for at in range(0, len(said), _PART_BYTES)]
    total, dropped = sum(int.from_bytes(part[:2], "big") for part in parts), 0
    for part in parts:
        last = _time(part[2:])
        if total <= _NAMES_LIMIT and last > state.closed_at:
            break
        state.closed_at = max(state.closed_at, last)
        total -= int.from_bytes(part[:2], "big")
        dropped += 1
    state.name_parts = said[dropped * _PART_BYTES :]
    state.names_opened += dropped
    return dropped
