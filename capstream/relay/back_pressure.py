"""Whether the relay takes more of a source: answered from a look at journal, outboxes and disk once a second, never per request.

Journal and disk are everybody's. A source is refused by itself when the outbox of one of its dataflows takes more of the disk
than it may, or when too much waits in the outboxes of both; one dataflow that is down closes nothing before.

Refusing begins above a high mark and ends at a lower one, for each cause by itself: between them answers stay what they were.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from capstream.kernel.json import Json

_LOOK_EVERY_MS: Final = 1000
_FLOWS: Final = 2  # of a source
EVERYBODY: Final = "*"


@dataclass(frozen=True, kw_only=True)
class HighWater:
    """Where the relay starts to refuse, and where it takes webhooks again."""

    backlog: int = 20_000_000  #: journal entries the courier has not settled, or payloads in the outboxes of a source
    free_bytes: int = 512 * 1024 * 1024  #: disk space that must stay free
    outbox_bytes: int = 0  #: disk that what waits for one dataflow may take, of sources that say nothing else; 0: no bound
    resume_percent: int = 90  #: of a mark that was exceeded: at this share of it webhooks are taken again


@dataclass(frozen=True)
class Level:
    """How full something is: above `high` webhooks are refused, until it is at `low` again."""

    about: str  #: the source that is refused, or `EVERYBODY`
    cause: str
    taken: int
    high: int
    low: int
    reason: str  #: while refused


Cause = tuple[str, str]


def refusals(levels: Iterator[Level], before: Mapping[Cause, str]) -> dict[Cause, str]:
    """Return why webhooks are refused now, by about and cause; `before`: what this returned the last time."""
    found = {}
    for level in levels:
        cause = level.about, level.cause
        if level.taken > (level.low if cause in before else level.high):
            found[cause] = level.reason
    return found


def common_levels(mark: HighWater, *, backlog: int, free_bytes: int) -> Iterator[Level]:
    """Yield the levels of what is everybody's."""
    low = mark.backlog * mark.resume_percent // 100
    told = f"{backlog} webhooks wait for delivery; relay.backlog_limit is {mark.backlog}, {_again(low)}"
    yield Level(EVERYBODY, "backlog", backlog, mark.backlog, low, told)
    enough = mark.free_bytes * 100 // mark.resume_percent
    told = (
        f"only {free_bytes} bytes of disk are free; relay.min_free_bytes is {mark.free_bytes}, with {enough} they are taken again"
    )
    yield Level(EVERYBODY, "disk", -free_bytes, -mark.free_bytes, -enough, told)


def source_levels(mark: HighWater, lanes: Mapping[str, Json], quotas: Mapping[str, int]) -> Iterator[Level]:
    """Yield the levels of sources.

    `lanes`: the dataflows that are behind, under `source/flow`; `quotas`: the bytes a source says for itself.
    """
    waiting: dict[str, list[int]] = {}
    for name, lane in lanes.items():
        source_key, _, kind = name.rpartition("/")
        waiting.setdefault(source_key, []).append(int(lane["waiting"]))
        quota, taken = quotas.get(source_key) or mark.outbox_bytes, int(lane.get("bytes", 0))
        if quota:
            low = quota * mark.resume_percent // 100
            told = f"what waits for its {kind} dataflow takes {taken} bytes of disk; it may take {quota}, {_again(low)}"
            yield Level(source_key, kind, taken, quota, low, told)
    low = mark.backlog * mark.resume_percent // 100
    for source_key, counts in waiting.items():
        if len(counts) == _FLOWS:
            least = min(counts)
            told = f"{least} payloads wait for each of its dataflows; relay.backlog_limit is {mark.backlog}, {_again(low)}"
            yield Level(source_key, "backlog", least, mark.backlog, low, told)


def _again(low: int) -> str:
    return f"at {low} they are taken again"


class Gate:
    """Open while backlog, outboxes and disk are below their marks. One in each process that wants to know."""

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
        self._refusals: dict[Cause, str] = {}
        self._closed: dict[str, str] = {}  #: whom it is closed for, and why

    def move(self, mark: HighWater) -> None:
        """Refuse from other marks on."""
        self._mark = mark

    def is_open(self, now_ms: int, source_key: str) -> bool:
        """Return whether a webhook of a source may be taken, looking again when the last look is a second old."""
        if now_ms >= self._next_look_ms or now_ms < self._next_look_ms - _LOOK_EVERY_MS:
            self._look(now_ms)
        closed = self._closed
        return not closed or (EVERYBODY not in closed and source_key not in closed)

    def refusing(self, now_ms: int) -> dict[str, str]:
        """Return by source why its webhooks are refused; under `*` why everybody's are."""
        self.is_open(now_ms, "")
        return dict(self._closed)

    def _look(self, now_ms: int) -> None:
        self._next_look_ms = now_ms + _LOOK_EVERY_MS
        self._refusals = refusals(self._levels(), self._refusals)
        self._closed = {about: reason for (about, _), reason in reversed(self._refusals.items())}

    def _levels(self) -> Iterator[Level]:
        yield from common_levels(self._mark, backlog=self._backlog(), free_bytes=self._free_bytes())
        yield from source_levels(self._mark, self._lanes(), self._quotas())
