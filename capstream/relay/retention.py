"""How long the journal keeps what was delivered: as long as replays and repeats may need it. Source: capillary.md 7.2.

The journal's writer sweeps it once an hour in small slices, so that webhooks between two slices wait a few milliseconds at
most. What is not settled stays, whatever its age; so does the webhook of every dead letter, and what a replay has yet to read.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import loads
from capstream.relay import dead_letters
from capstream.relay.jobs import Range
from capstream.relay.journal import decode
from capstream.relay.ledger import read_cursor, read_jobs, read_positions
from capstream.storage import trimming
from capstream.storage.ports import Documents, Log, Reading, StorageUnavailable

_DAY_MS = 86_400_000
_SWEEP_EVERY_MS = 3_600_000
_PAUSE_S = 0.02
_CALENDAR = "calendar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How much stays."""

    journal_days: float = 30  #: webhooks that were dealt with, for replays
    dedupe_days: float = 30  #: the ids of webhooks, to tell repeats; Capillary repeats for 7 days
    journal_bytes: int = 0  #: above this the oldest that were dealt with go before their time; 0: no bound


def expired_through(journal: Log, settled: int, before_ms: float) -> int:
    """Return the last offset, at most `settled`, of the entries received before `before_ms`; 0 when there is none.

    Entries lie in the order of their receipt, so a handful are looked at. What was trimmed already counts as old.
    """
    low, high = 0, settled
    while low < high:
        middle = (low + high + 1) // 2
        record = journal.get(middle)
        if record is None or decode(record).received_ms < before_ms:
            low = middle
        else:
            high = middle - 1
    return low


def replayed_from(courier: Reading) -> int | None:
    """Return the lowest offset that a replay in progress has yet to read; None when there is none."""
    found: list[int] = []
    for job in read_jobs(courier).values():
        command = loads(job.command)
        if command["command"] == "replay_range":
            wanted = msgspec.convert(command["range"], Range)
            found.append(int(job.position) + 1 if job.position else max(wanted.from_offset, 1))
    return min(found, default=None)


class Retention:
    """Sweeps the journal of one relay. `calendar` remembers how far the journal was at which time."""

    def __init__(self, journal: Log, courier: Documents, calendar: Documents, *, clock: Clock, kept: Callable[[], Kept]) -> None:
        self._journal = journal
        self._courier = courier
        self._calendar = calendar
        self._clock = clock
        self._kept = kept

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep once an hour until `stop` is set."""
        while not stop.is_set():
            try:
                await self.sweep(stop)
            except StorageUnavailable as error:
                log.error("the journal cannot be trimmed", action="retention_failed", reason=str(error))
            try:
                await asyncio.wait_for(stop.wait(), _SWEEP_EVERY_MS / 1000)
            except TimeoutError:
                continue

    async def sweep(self, stop: asyncio.Event) -> int:
        """Forget what is older than it has to be; return how many entries went. Ends early when `stop` is set."""
        kept, now = self._kept(), self._clock()
        settled = self._settled()
        through = expired_through(self._journal, settled, now - int(kept.journal_days * _DAY_MS))
        trimmed = await trimming.trim(self._journal, through, stop, needed=self._needed)
        if kept.journal_bytes:
            trimmed += await trimming.trim(
                self._journal, settled, stop, needed=self._needed, is_enough=lambda: self._used() <= kept.journal_bytes
            )
        forgotten = await self._forget_keys(self._offset_at(now - int(kept.dedupe_days * _DAY_MS)), stop)
        given = await trimming.give_back(self._journal, stop)
        if trimmed or forgotten or given:
            facts = {"entries": trimmed, "keys": forgotten, "given_back": given, "bytes": self._used()}
            log.info("journal trimmed", action="journal_trimmed", **facts)
        return trimmed

    def _settled(self) -> int:
        replayed = replayed_from(self._courier)
        settled = min((read_cursor(self._courier), *read_positions(self._courier).values()))
        return settled if replayed is None else min(settled, replayed - 1)

    def _used(self) -> int:
        return trimming.used_bytes(self._journal)

    def _needed(self, first: int, last: int) -> Iterable[int]:
        return dead_letters.between(self._courier, first, last)

    def _offset_at(self, at_ms: int) -> int:
        """Return how far the journal was at a time; notes how far it is now."""
        now = self._clock()
        marks = self._calendar.scan(_CALENDAR)
        past = [(key, body) for key, body in marks if int(key) <= at_ms]
        with self._calendar.transaction() as transaction:
            transaction.put(_CALENDAR, [(f"{now:013d}", b"%d" % self._journal.end())])
            transaction.delete(_CALENDAR, [key for key, _ in past[:-1]])
        return int(past[-1][1]) if past else 0

    async def _forget_keys(self, through: int, stop: asyncio.Event) -> int:
        forgotten, after = 0, b""
        while through and not stop.is_set():
            gone, after = self._journal.forget_keys(through, after=after)
            forgotten += gone
            await asyncio.sleep(_PAUSE_S)
            if not after:
                break
        return forgotten
