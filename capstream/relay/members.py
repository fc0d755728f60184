"""The member states the courier works on: loaded for a batch at once, kept in memory while there is room."""

from collections.abc import Iterable

from capstream.capillary.records import MemberState
from capstream.capillary.state import dump, load
from capstream.relay.ledger import Ledger

_MERGE_DEPTH = 8
_OBJECTS, _GROWTH = 4000, 2  # bytes in memory per state and per stored byte; measured 2,800 and 1, lots are objects beside them

Key = tuple[str, str]
"""(org id, customer id)"""


def member_name(key: Key) -> str:
    """Return the one text that stands for a member, in keys and lanes."""
    return f"{key[0]}/{key[1]}"


class Members:
    """A cache of member states over the ledger. `states` is what the translation reads and changes.

    `capacity` is in bytes of memory, as far as they can be told from the length of a stored state.
    """

    def __init__(self, ledger: Ledger, capacity: int) -> None:
        self._ledger = ledger
        self._capacity = capacity
        self._weights: dict[Key, int] = {}
        self._held = 0
        self.states: dict[Key, MemberState] = {}

    def load(self, keys: Iterable[Key]) -> None:
        """Bring the states under `keys` into memory, with those of the members they were merged into."""
        states = self.states
        wanted = set(keys)
        for _ in range(_MERGE_DEPTH):
            self._fetch([key for key in wanted if key not in states])
            survivors: set[Key] = set()
            for key in wanted:
                state = states.get(key)
                if state is not None:
                    states[key] = states.pop(key)  # used last, dropped last
                    if state.merged_into is not None:
                        survivors.add((key[0], str(state.merged_into[0])))
            if not survivors:
                return
            wanted = survivors

    def _fetch(self, missing: list[Key]) -> None:
        names = {member_name(key): key for key in missing}
        for name, body in self._ledger.states(list(names)).items():
            self.states[names[name]] = load(body)
            self._weigh(names[name], body)

    def dumps(self, keys: Iterable[Key]) -> list[tuple[str, bytes]]:
        """Return the states under `keys` as they are now, for the ledger."""
        states = self.states
        found: list[tuple[str, bytes]] = []
        for key in keys:
            if key in states:
                body = dump(states[key])
                self._weigh(key, body)
                found.append((member_name(key), body))
        return found

    def _weigh(self, key: Key, body: bytes) -> None:
        weight = _OBJECTS + _GROWTH * len(body)
        self._held += weight - self._weights.get(key, 0)
        self._weights[key] = weight

    def shrink(self, pinned: Iterable[set[Key]]) -> None:
        """Drop the states used longest ago while they hold too much, but none of `pinned`: the store does not have those yet."""
        if self._held <= self._capacity:
            return
        kept = set().union(*pinned)
        for key in list(self.states):
            if self._held <= self._capacity:
                return
            if key not in kept:
                del self.states[key]
                self._held -= self._weights.pop(key, 0)

    def forget(self) -> None:
        """Drop everything: what is not settled did not happen."""
        self.states.clear()
        self._weights.clear()
        self._held = 0
