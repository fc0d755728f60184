"""What the sender posts, in which order: the engine's events with duplicates, late ones and spoilt ones mixed in.

Delays are in virtual time, the time of the programme: a receiver's windows (days of de-duplication, of delta logs) are in that
time too, however fast the run is. Source: capillary.md 9.4.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from types import MappingProxyType

from capstream.capillary.programme.distort import Envelope, Malformation, malform, wrap
from capstream.capillary.programme.events import SimEvent
from capstream.kernel.json import Json, dumps

_MEAN_DUPLICATE_S, _MEAN_HELD_S, _LONGEST_HELD_S = 60.0, 20.0, 600.0
_DAY_S = 86_400.0
_WITHOUT_ID = frozenset({"promotionEarned", "promotionIssued", "rewardIssued", "loyaltyCustomerMerge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Shares of events to which something happens; `malformed` by kind of malformation."""

    duplicates: float = 0.005
    late_duplicates: float = 0.0005
    out_of_order: float = 0.01
    missing_event_id: float = 0.1
    envelopes: Mapping[Envelope, float] = field(default_factory=lambda: MappingProxyType({Envelope.FLAT: 1.0}))
    malformed: Mapping[Malformation, float] = field(default_factory=lambda: MappingProxyType({}))


NO_FAULTS = Faults(duplicates=0, late_duplicates=0, out_of_order=0, missing_event_id=0)


@dataclass(slots=True)
class Posting:
    """One webhook to deliver."""

    event: SimEvent
    raw: bytes
    virtual_ms: int
    headers: Mapping[str, str] = field(default_factory=dict)
    is_duplicate: bool = False
    is_spoilt: bool = False  #: unreadable, and additional to the event itself
    is_accepted: bool = False

    @property
    def is_first(self) -> bool:
        """Return whether this is the event itself, not a copy of it."""
        return not (self.is_duplicate or self.is_spoilt)


class Feed:
    """Hands out postings one by one. The engine takes its next step only when somebody asks for a posting."""

    def __init__(
        self, steps: Iterator[list[SimEvent]], faults: Faults, *, seed: int, on_event: Callable[[SimEvent], None] | None = None
    ) -> None:
        self._steps = steps
        self._faults = faults
        self._chance = Random(f"{seed}:feed")  # noqa: S311 - faults must repeat themselves
        self._on_event = on_event
        self._ready: deque[Posting] = deque()
        self._held: list[tuple[int, int, Posting]] = []
        self._holds = 0
        self._is_open = True
        self.events = 0
        self._last_ms = 0
        self._envelopes = list(faults.envelopes)
        self._weights = [faults.envelopes[envelope] for envelope in self._envelopes]

    def close(self) -> None:
        """Take no further step: what has happened is still handed out, held postings at once."""
        self._is_open = False

    async def take(self) -> Posting | None:
        """Return the next posting, None when there are no more."""
        return self.next()

    def next(self) -> Posting | None:
        """Return the next posting, None when there are no more."""
        while not self._ready:
            step = next(self._steps, None) if self._is_open else None
            if step is None:
                return self._flushed()
            for event in step:
                self._release(event.created_at_ms)
                self._plan(event)
        return self._ready.popleft()

    def _flushed(self) -> Posting | None:
        if not self._held:
            return None
        posting = heappop(self._held)[2]
        posting.virtual_ms = self._last_ms  # its own time will not come any more
        return posting

    def _release(self, until_ms: int) -> None:
        while self._held and self._held[0][0] <= until_ms:
            self._ready.append(heappop(self._held)[2])

    def _plan(self, event: SimEvent) -> None:
        self.events += 1
        self._last_ms = event.created_at_ms
        if self._on_event is not None:
            self._on_event(event)
        faults, chance, created_ms = self._faults, self._chance.random, event.created_at_ms
        posting = self._posting(event)
        if chance() < faults.out_of_order:
            self._hold(posting, min(self._chance.expovariate(1 / _MEAN_HELD_S), _LONGEST_HELD_S))
        else:
            self._ready.append(posting)
        if chance() < faults.duplicates:
            self._hold(_copy(posting, created_ms), self._chance.expovariate(1 / _MEAN_DUPLICATE_S))
        if chance() < faults.late_duplicates:
            self._hold(_copy(posting, created_ms), (1 + 5 * chance()) * _DAY_S)

    def _hold(self, posting: Posting, delay_s: float) -> None:
        posting.virtual_ms += int(delay_s * 1000)
        self._holds += 1
        heappush(self._held, (posting.virtual_ms, self._holds, posting))

    def _posting(self, event: SimEvent) -> Posting:
        body: Json = event.body
        if event.kind in _WITHOUT_ID and self._chance.random() < self._faults.missing_event_id:
            body = {key: value for key, value in body.items() if key != "eventId"}
        for how, share in self._faults.malformed.items():
            if self._chance.random() >= share or not how.fits(event.kind):
                continue
            if how.is_readable and "eventId" in body:
                spoilt = malform(body, how)
                return Posting(event, spoilt.raw, event.created_at_ms, spoilt.headers)
            if not how.is_readable:
                spoilt = malform(event.body, how)
                self._ready.append(Posting(event, spoilt.raw, event.created_at_ms, spoilt.headers, is_spoilt=True))
        if len(self._envelopes) > 1 or self._envelopes != [Envelope.FLAT]:
            body = wrap(body, self._chance.choices(self._envelopes, self._weights)[0])
        return Posting(event, dumps(body), event.created_at_ms)


def _copy(posting: Posting, created_ms: int) -> Posting:
    return Posting(posting.event, posting.raw, created_ms, posting.headers, is_duplicate=True)
