"""Whether the relay takes more: answered from a look at journal and disk once a second, never per request."""

from collections.abc import Callable
from dataclasses import dataclass

_LOOK_EVERY_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """Where the relay starts to refuse."""

    backlog: int = 5_000_000  #: journal entries the courier has not settled
    free_bytes: int = 512 * 1024 * 1024  #: disk space that must stay free


class Gate:
    """Open while backlog and disk are below the high-water mark."""

    def __init__(self, backlog: Callable[[], int], free_bytes: Callable[[], int], mark: HighWater | None = None) -> None:
        self._backlog = backlog
        self._free_bytes = free_bytes
        self._mark = mark or HighWater()
        self._next_look_ms = 0
        self.reason = ""  #: why it is closed; empty while open

    def move(self, mark: HighWater) -> None:
        """Refuse from another mark on."""
        self._mark = mark

    def is_open(self, now_ms: int) -> bool:
        """Return whether a webhook may be taken, looking again when the last look is a second old."""
        if now_ms >= self._next_look_ms or now_ms < self._next_look_ms - _LOOK_EVERY_MS:
            self._next_look_ms = now_ms + _LOOK_EVERY_MS
            self.reason = self._look()
        return not self.reason

    def _look(self) -> str:
        if (waiting := self._backlog()) > self._mark.backlog:
            return f"{waiting} webhooks wait for delivery"
        if (free := self._free_bytes()) < self._mark.free_bytes:
            return f"only {free} bytes of disk are free"
        return ""
