"""Whether the relay takes more of a source: answered from a look at journal, outboxes and disk once a second, never per request.

Journal and disk are everybody's. A source is refused by itself when the outbox of one of its dataflows takes more of the disk
than it may, or when too much waits in the outboxes of both; one dataflow that is down closes nothing before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capstream.kernel.json import Json

_LOOK_EVERY_MS = 1000
_FLOWS = 2  # of a source


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """Where the relay starts to refuse."""

    backlog: int = 20_000_000  #: journal entries the courier has not settled, or payloads in the outboxes of a source
    free_bytes: int = 512 * 1024 * 1024  #: disk space that must stay free
    outbox_bytes: int = 0  #: disk that what waits for one dataflow may take, of sources that say nothing else; 0: no bound


def refused_by_all(mark: HighWater, *, backlog: int, free_bytes: int) -> str:
    """Return why nobody's webhooks are taken; empty while they are."""
    if backlog > mark.backlog:
        return f"{backlog} webhooks wait for delivery, more than relay.backlog_limit"
    if free_bytes < mark.free_bytes:
        return f"only {free_bytes} bytes of disk are free, fewer than relay.min_free_bytes"
    return ""


def refused_sources(mark: HighWater, lanes: Mapping[str, Json], quotas: Mapping[str, int]) -> dict[str, str]:
    """Return by source why its webhooks are not taken, though others' are.

    `lanes`: the dataflows that are behind, under `source/flow`; `quotas`: the bytes a source says for itself.
    """
    found: dict[str, str] = {}
    waiting: dict[str, list[int]] = {}
    for name, lane in lanes.items():
        source_key, _, kind = name.rpartition("/")
        waiting.setdefault(source_key, []).append(int(lane["waiting"]))
        quota, taken = quotas.get(source_key) or mark.outbox_bytes, int(lane.get("bytes", 0))
        if quota and taken > quota:
            found[source_key] = f"what waits for its {kind} dataflow takes {taken} bytes of disk, more than the {quota} it may"
    for source_key, counts in waiting.items():
        if len(counts) == _FLOWS and min(counts) > mark.backlog:
            found.setdefault(source_key, f"{min(counts)} payloads wait for each of its dataflows, more than relay.backlog_limit")
    return found


class Gate:
    """Open while backlog and disk are below the high-water mark."""

    def __init__(
        self,
        backlog: Callable[[], int],
        free_bytes: Callable[[], int],
        mark: HighWater | None = None,
        *,
        lanes: Callable[[], Mapping[str, Json]] = dict,
        quotas: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._backlog = backlog
        self._lanes = lanes
        self._quotas = quotas
        self._free_bytes = free_bytes
        self._mark = mark or HighWater()
        self._next_look_ms = 0
        self.reason = ""  #: why it is closed for everybody; empty while open
        self._closed: dict[str, str] = {}  #: sources it is closed for, and why

    def move(self, mark: HighWater) -> None:
        """Refuse from another mark on."""
        self._mark = mark

    def is_open(self, now_ms: int, source_key: str) -> bool:
        """Return whether a webhook of a source may be taken, looking again when the last look is a second old."""
        if now_ms >= self._next_look_ms or now_ms < self._next_look_ms - _LOOK_EVERY_MS:
            self._next_look_ms = now_ms + _LOOK_EVERY_MS
            self.reason = refused_by_all(self._mark, backlog=self._backlog(), free_bytes=self._free_bytes())
            self._closed = refused_sources(self._mark, self._lanes(), self._quotas())
        return not self.reason and source_key not in self._closed
