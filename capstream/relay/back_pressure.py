"""Whether the relay takes more of a source: answered from a look at journal, outboxes and disk once a second, never per request.

Journal and disk are everybody's. A source is refused by itself when as much waits in the outboxes of both its dataflows; one
dataflow that is down closes nothing while there is room on the disk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

_LOOK_EVERY_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """Where the relay starts to refuse."""

    backlog: int = 20_000_000  #: journal entries the courier has not settled, or payloads in the outboxes of a source
    free_bytes: int = 512 * 1024 * 1024  #: disk space that must stay free


class Gate:
    """Open while backlog and disk are below the high-water mark."""

    def __init__(
        self,
        backlog: Callable[[], int],
        free_bytes: Callable[[], int],
        mark: HighWater | None = None,
        *,
        waiting: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._backlog = backlog
        self._waiting = waiting
        self._free_bytes = free_bytes
        self._mark = mark or HighWater()
        self._next_look_ms = 0
        self.reason = ""  #: why it is closed for everybody; empty while open
        self._closed: frozenset[str] = frozenset()  #: sources it is closed for

    def move(self, mark: HighWater) -> None:
        """Refuse from another mark on."""
        self._mark = mark

    def is_open(self, now_ms: int, source_key: str) -> bool:
        """Return whether a webhook of a source may be taken, looking again when the last look is a second old."""
        if now_ms >= self._next_look_ms or now_ms < self._next_look_ms - _LOOK_EVERY_MS:
            self._next_look_ms = now_ms + _LOOK_EVERY_MS
            self.reason = self._look()
            self._closed = frozenset(key for key, waiting in self._waiting().items() if waiting > self._mark.backlog)
        return not self.reason and source_key not in self._closed

    def _look(self) -> str:
        if (waiting := self._backlog()) > self._mark.backlog:
            return f"{waiting} webhooks wait for delivery"
        if (free := self._free_bytes()) < self._mark.free_bytes:
            return f"only {free} bytes of disk are free"
        return ""
