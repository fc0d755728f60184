"""The member states the courier works on: loaded for a batch at once, kept in memory while there is room."""

from collections.abc import Iterable

from capstream.capillary.records import MemberState
from capstream.capillary.state import dump, load
from capstream.relay.ledger import Ledger

_MERGE_DEPTH = 8

Key = tuple[str, str]
"""(org id, customer id)"""


def member_name(key: Key) -> str:
    """Return the one text that stands for a member, in keys and lanes."""
    return f"{key[0]}/{key[1]}"


class Members:
    """A cache of member states over the ledger. `states` is what the translation reads and changes."""

    def __init__(self, ledger: Ledger, capacity: int) -> None:
        self._ledger = ledger
        self._capacity = capacity
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

    def dumps(self, keys: Iterable[Key]) -> list[tuple[str, bytes]]:
        """Return the states under `keys` as they are now, for the ledger."""
        states = self.states
        return [(member_name(key), dump(states[key])) for key in keys if key in states]

    def shrink(self, pinned: Iterable[Key]) -> None:
        """Drop the states used longest ago when there are too many, but none of `pinned`: the store does not have those yet."""
        surplus = len(self.states) - self._capacity
        if surplus <= 0:
            return
        kept = set(pinned)
        for key in list(self.states):
            if surplus <= 0:
                return
            if key not in kept:
                del self.states[key]
                surplus -= 1

    def forget(self) -> None:
        """Drop everything: what is not settled did not happen."""
        self.states.clear()
