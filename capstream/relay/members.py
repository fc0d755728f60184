"""The member states the courier works on: loaded for a batch at once, kept in memory while there is room.

Two tiers. *At hand* are the objects that the translation reads and changes; of one member they take eight times what its stored
form does. *At rest* are members of earlier batches, in their stored form: bringing one back costs a fourth of a read.
"""

from collections.abc import Iterable

from capstream.capillary.records import MemberState
from capstream.capillary.state import dump, load
from capstream.relay.ledger import Ledger

_MERGE_DEPTH = 8
_OBJECTS, _GROWTH = 4000, 2  # bytes in memory per state and per stored byte; measured 2,800 and 1, lots are objects beside them
_AT_REST = 350  # bytes in memory beside the stored form: key, names, a place in the table

Key = tuple[str, str]
"""(org id, customer id)"""


def member_name(key: Key) -> str:
    """Return the one text that stands for a member, in keys and lanes."""
    return f"{key[0]}/{key[1]}"


class Members:
    """A cache of member states over the ledger. `states` is what the translation reads and changes.

    `capacity` is in bytes of memory, half of it for each tier. What a batch in the making changed stays at hand beyond that, up
    to `capacity`; then the batch has to end.
    """

    def __init__(self, ledger: Ledger, capacity: int) -> None:
        self._ledger = ledger
        self._capacity = capacity // 2
        self._weights: dict[Key, int] = {}
        self._held = 0
        self._resting: dict[Key, bytes] = {}
        self._held_at_rest = 0
        self.states: dict[Key, MemberState] = {}

    def is_full(self) -> bool:
        """Return whether so much is at hand that the batch in the making may grow no further."""
        return self._held >= 2 * self._capacity

    def load(self, keys: Iterable[Key]) -> None:
        """Bring the states under `keys` to hand, with those of the members they were merged into."""
        states = self.states
        wanted = set(keys)
        in_order = self._held > self._capacity // 2  # while there is much room nothing is dropped, and the order tells nothing
        for _ in range(_MERGE_DEPTH):
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

    def dumps(self, keys: Iterable[Key]) -> list[tuple[str, bytes]]:
        """Return the states under `keys` as they are now, for the ledger. Those there is no room for are at rest then."""
        states = self.states
        found: dict[Key, bytes] = {}
        for key in keys:
            if key in states:
                body = found[key] = dump(states[key])
                self._weigh(key, body)
        if self._held > self._capacity:
            for key in list(states):
                if self._held <= self._capacity:
                    break
                if key in found:
                    self._rest(key, found[key])
        return [(member_name(key), body) for key, body in found.items()]

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
        """Let go of the states used longest ago while they hold too much, but of none in `pinned`: the store lacks those yet."""
        if self._held <= self._capacity and self._held_at_rest <= self._capacity:
            return
        kept: set[Key] = set().union(*pinned)
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

    def forget(self) -> None:
        """Drop everything: what is not settled did not happen."""
        self.states.clear()
        self._weights.clear()
        self._held = 0
        self._resting.clear()
        self._held_at_rest = 0
