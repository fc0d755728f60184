"""What waits in the ledger for its time, parked payloads and held events: the index of due times in memory."""

from collections.abc import Callable

_AT_ONCE = 500


class Waiting:
    """Due times by key. What is taken is out of the index until its batch is settled."""

    def __init__(self, due: Callable[[], dict[str, int]]) -> None:
        self._read = due
        self.due = due()

    def __contains__(self, key: object) -> bool:
        return key in self.due

    def reload(self) -> None:
        """Read the index again from the ledger."""
        self.due = self._read()

    def take(self, now_ms: int, limit: int = _AT_ONCE) -> list[str]:
        """Return keys that are due, those that waited longest first; they are out of the index."""
        if not self.due or limit <= 0:
            return []
        ready = sorted((at, key) for key, at in self.due.items() if at <= now_ms)[:limit]
        for _, key in ready:
            del self.due[key]
        return [key for _, key in ready]
