"""Members that were taken out stay out: webhooks from before the erasure, which come late, are not translated (ADR 0015).

The list of requests that were met is the list of tombstones.
"""

from collections.abc import Sequence

from capstream.relay import privacy
from capstream.relay.members import Key, member_name
from capstream.storage.ports import Reading


class Tombstones:
    """Who was taken out, and when. Memory holds hashes alone: the few events they may be about are looked up."""

    def __init__(self, store: Reading) -> None:
        self._store = store
        self.hashes: set[int] = set()
        self.reload()

    def reload(self) -> None:
        """Read the list again."""
        self.hashes = {hash(name) for name in privacy.names_met(self._store)}

    def cover(self, keys: Sequence[Key], created_ms: int) -> bool:
        """Return whether something that was created then is about a member who was taken out later."""
        names = [name for key in keys if hash(name := member_name(key)) in self.hashes]
        return bool(names) and any(created_ms < met["erasedAtMs"] for met in privacy.read_met(self._store, keys=names))
