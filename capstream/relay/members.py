"""The member states the courier works on: loaded for a batch at once, kept in memory while there is room.

Two tiers. *At hand* are the objects that the translation reads and changes; of one member they take eight times what its stored
form does. *At rest* are members of earlier batches, in their stored form: bringing one back costs a fourth of a read.

A log that has grown long is kept in parts beside the state, each written once; an event that is late needs them back, one that
finds the log full the oldest of them (ADR 0014).
"""

from collections.abc import Callable, Iterable, Sequence

from capstream.capillary.enrichment import is_answered
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.history import is_imported
from capstream.capillary.member_log import (
    drop_names,
    fold_oldest,
    lacks_room,
    oldest_parts,
    parts_of_names,
    seal,
    seal_names,
    unseal,
    unseal_names,
    wants_log,
    wants_names,
)
from capstream.capillary.members import resolve
from capstream.capillary.records import MemberState
from capstream.capillary.results import Answers
from capstream.capillary.state import dump, load
from capstream.relay.ledger import Ledger, log_part_key, name_part_key
from capstream.relay.settlement import Settlement

_MERGE_DEPTH = 8
_OBJECTS, _GROWTH = 4000, 2  # bytes in memory per state and per stored byte; measured 2,800 and 1, lots are objects beside them
_PART_GONE = 150  # bytes in memory of what a settlement says of a part that goes
_NAMES_SHARE = 5  # of what leaves a log its names stay: a fifth of its bytes
_AT_REST = 350  # bytes in memory beside the stored form: key, names, a place in the table

Key = tuple[str, str]
"""(org id, customer id)"""


def member_name(key: Key) -> str:
    """Return the one text that stands for a member, in keys and lanes."""
    return f"{key[0]}/{key[1]}"


class Members:
    """A cache of member states over the ledger. `states` is what the translation reads and changes.

    `capacity` is in bytes of memory, half of it for each tier. What a batch in the making changed stays at hand beyond that, up
    to `capacity`; then the batch has to end. A log of `log_bytes` and more is sealed when its state is written.
    """

    def __init__(self, ledger: Ledger, capacity: int, log_bytes: int) -> None:
        self._ledger = ledger
        self._log_bytes = log_bytes
        self._parts: dict[str, bytes] = {}  # sealed, and not settled yet; they count as held
        self._rewritten: set[str] = set()  # of them those that `write` has yet to add: facts were taken out
        self._joined: set[str] = set()  # stored parts that are in a state's log again, or in its checkpoint
        self._moved = 0  # bytes the next settlement takes for what left logs, or came back to them
        self._in_use: set[Key] = set()  # members of events that are being translated
        self._capacity = capacity // 2
        self._weights: dict[Key, int] = {}
        self._held = 0
        self._resting: dict[Key, bytes] = {}
        self._held_at_rest = 0
        self.states: dict[Key, MemberState] = {}

    def is_full(self) -> bool:
        """Return whether so much is at hand that the batch in the making may grow no further."""
        return self._held >= 2 * self._capacity or self._moved >= self._capacity // 4

    def hold(self, keys: Iterable[Key]) -> None:
        """Bring states to hand as `load` does, to stay there until `release`: others let go of states meanwhile."""
        self.load(keys, self._in_use)

    def release(self) -> None:
        """Note that what was held is translated: what changed is in the batch now."""
        self._in_use.clear()

    def load(self, keys: Iterable[Key], used: set[Key] | None = None) -> None:
        """Bring the states under `keys` to hand, with those of the members they were merged into; `used` gets all of them."""
        states = self.states
        wanted = set(keys)
        in_order = self._held > self._capacity // 2  # while there is much room nothing is dropped, and the order tells nothing
        for _ in range(_MERGE_DEPTH):
            if used is not None:
                used.update(wanted)
            self._fetch([key for key in wanted if key not in states])
            survivors: set[Key] = set()
            for key in wanted:
                state = states.get(key)
                if state is not None:
                    if in_order:
                        states[key] = states.pop(key)  # used last, dropped last
                    if state.merged_into is not None:
                        survivors.add((key[0], str(state.merged_into[0])))
            if not survivors:
                return
            wanted = survivors

    def _fetch(self, missing: list[Key]) -> None:
        names: dict[str, Key] = {}
        for key in missing:
            body = self._resting.pop(key, None)
            if body is None:
                names[member_name(key)] = key
            else:
                self._held_at_rest -= _AT_REST + len(body)
                self.states[key] = load(body)
                self._weigh(key, body)
        for name, body in self._ledger.states(list(names)).items():
            self.states[names[name]] = load(body)
            self._weigh(names[name], body)

    def recall(self, event: NormalisedEvent, keys: Sequence[Key], answers: Answers) -> list[Key]:
        """Bring back what is sealed of members where an event may need it; return whose: their states have to be written."""
        found: list[Key] = []
        is_special = len(keys) > 1 or is_imported(event)
        at, received = event.created_at_ms, event.received_ms
        for key in keys:
            state = self.states.get(key)
            if state is None:
                continue
            if state.merged_into is not None:
                place = resolve(self.states, key)
                if place.state is not None and _has_parts(place.state):
                    self._unseal(place.key, place.state)
                    found.append(place.key)
            if not _has_parts(state):
                continue
            is_late = wants_log(state, at) or wants_names(state, at)
            if is_special or is_late or (bool(answers) and is_answered(answers, event.org_id, key[1])):
                self._unseal(key, state, with_names=is_special or bool(answers) or wants_names(state, at))
                found.append(key)
            elif lacks_room(state, received, 1):
                if not self._make_room(key, state, received):
                    self._unseal(key, state, with_names=False)
                found.append(key)
        return found

    def _unseal(self, key: Key, state: MemberState, *, with_names: bool = True) -> None:
        whole = len(state.log) + len(state.folded)
        if state.sealed:
            names = _log_names(key, state, state.sealed)
            unseal(state, self._read(names))
            self._forget_parts(names)
        if with_names and state.name_parts:
            names = _name_names(key, state, parts_of_names(state))
            unseal_names(state, self._read(names))
            self._forget_parts(names)
        brought = len(state.log) + len(state.folded) - whole
        self._held += brought
        self._weights[key] = self._weights.get(key, 0) + brought

    def _make_room(self, key: Key, state: MemberState, now: int) -> bool:
        """Let the oldest facts leave a log that is full, without the rest of it; return whether that was possible."""
        count = oldest_parts(state)
        while count:
            names = _log_names(key, state, count)
            parts = self._read(names)
            rest = fold_oldest(state, parts, now)
            if rest is not None:
                self._moved += len(rest) + sum(map(len, parts)) // _NAMES_SHARE
                emptied = state.opened - int(names[0].rpartition("/")[2])
                self._forget_parts(names[: emptied + bool(rest)])
                if rest:
                    self._keep_part(names[emptied], rest)
                    self._rewritten.add(names[emptied])
                return True
            count = min(2 * count, state.sealed) if count < state.sealed else 0
        return False

    def _read(self, names: list[str]) -> list[bytes]:
        stored = self._ledger.log_parts([name for name in names if name not in self._parts])
        return [self._parts[name] if name in self._parts else stored[name] for name in names]

    def _forget_parts(self, names: list[str]) -> None:
        """Note that parts are in a state again, or gone: what is stored of them goes with the next batch."""
        for name in names:
            self._drop_part(name)
        self._joined.update(names)
        self._moved += _PART_GONE * len(names)
        self._rewritten.difference_update(names)

    def _keep_part(self, name: str, part: bytes) -> None:
        self._drop_part(name)
        self._parts[name] = part
        self._held += len(part)

    def write(self, settlement: Settlement, keys: Iterable[Key]) -> None:
        """Add the states under `keys`, as they are now, to a settlement. Those there is no room for are at rest then."""
        states = self.states
        settlement.joined_parts |= self._joined
        self._joined.clear()
        self._moved = 0
        settlement.log_parts.update({name: self._parts[name] for name in self._rewritten})
        self._rewritten.clear()
        found: dict[Key, bytes] = {}
        for key in keys:
            state = states.get(key)
            if state is not None:
                if len(state.log) >= self._log_bytes or len(state.folded) >= self._log_bytes:
                    self._seal(settlement, key, state)
                body = found[key] = dump(state)
                self._weigh(key, body)
        if self._held > self._capacity:
            for key in list(states):
                if self._held <= self._capacity:
                    break
                if key in found:
                    self._rest(key, found[key])
        settlement.states = [(member_name(key), body) for key, body in found.items()]

    def _seal(self, settlement: Settlement, key: Key, state: MemberState) -> None:
        member = member_name(key)
        if len(state.log) >= self._log_bytes:
            name = log_part_key(member, state.opened + state.sealed)
            settlement.log_parts[name] = part = seal(state)
            self._keep_part(name, part)
        if len(state.folded) >= self._log_bytes:
            name = name_part_key(member, state.names_opened + parts_of_names(state))
            settlement.log_parts[name] = part = seal_names(state)
            self._keep_part(name, part)
        opened = state.names_opened
        for number in range(opened, opened + drop_names(state)):
            name = name_part_key(member, number)
            self._drop_part(name)
            settlement.log_parts.pop(name, None)
            settlement.joined_parts.add(name)

    def settled(self, settlement: Settlement) -> None:
        """Note that a settlement is written: its parts of logs need not be kept here any more."""
        for name, part in settlement.log_parts.items():
            if self._parts.get(name) is part:
                self._drop_part(name)

    def _drop_part(self, name: str) -> None:
        self._held -= len(self._parts.pop(name, b""))

    def _weigh(self, key: Key, body: bytes) -> None:
        weight = _OBJECTS + _GROWTH * len(body)
        self._held += weight - self._weights.get(key, 0)
        self._weights[key] = weight

    def _rest(self, key: Key, body: bytes) -> None:
        del self.states[key]
        self._held -= self._weights.pop(key, 0)
        self._resting[key] = body
        self._held_at_rest += _AT_REST + len(body)

    def shrink(self, pinned: Iterable[set[Key]]) -> None:
        """Let go of the states used longest ago while they hold too much, but of none held or in `pinned`: not stored yet."""
        if self._held <= self._capacity and self._held_at_rest <= self._capacity:
            return
        kept: set[Key] = set().union(self._in_use, *pinned)
        if self._held > self._capacity:
            for key in list(self.states):
                if self._held <= self._capacity:
                    break
                if key not in kept:
                    self._rest(key, dump(self.states[key]))
        if self._held_at_rest > self._capacity:
            for key in list(self._resting):
                if self._held_at_rest <= self._capacity:
                    break
                if key not in kept:
                    self._held_at_rest -= _AT_REST + len(self._resting.pop(key))

    def let_go(self, is_others: Callable[[str], bool]) -> None:
        """Drop the states of members (by customer id) that another process changes from now on. Everything is settled."""
        for key in [key for key in self.states if is_others(key[1])]:
            del self.states[key]
            self._held -= self._weights.pop(key, 0)
        for key in [key for key in self._resting if is_others(key[1])]:
            self._held_at_rest -= _AT_REST + len(self._resting.pop(key))

    def forget(self) -> None:
        """Drop everything: what is not settled did not happen."""
        self.states.clear()
        self._weights.clear()
        self._held = 0
        self._resting.clear()
        self._held_at_rest = 0
        self._parts.clear()
        self._rewritten.clear()
        self._joined.clear()
        self._moved = 0
        self._in_use.clear()


def _has_parts(state: MemberState) -> bool:
    return bool(state.sealed) or bool(state.name_parts)


def _log_names(key: Key, state: MemberState, count: int) -> list[str]:
    """Return the names of the oldest sealed parts of a log."""
    member = member_name(key)
    return [log_part_key(member, state.opened + number) for number in range(count)]


def _name_names(key: Key, state: MemberState, count: int) -> list[str]:
    member = member_name(key)
    return [name_part_key(member, state.names_opened + number) for number in range(count)]
