"""Leads the erasure of members: begins sweeps when requests are due, takes bodies out of the journal, says when it is done.

It runs in the gateway, the journal's writer, in slices of a few milliseconds beside the webhooks. Source: capillary.md 7.8.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.relay import journal, privacy
from capstream.relay.audit import Audit
from capstream.relay.jobs import LATE_GONE
from capstream.relay.late_webhooks import read_late
from capstream.relay.ledger import read_cursor
from capstream.relay.sought import redacted
from capstream.relay.sweep import Asked, Find, Step, Sweep, ask, end, keep, last_begun_ms, read_asked, read_find, read_sweep
from capstream.storage import trimming
from capstream.storage.ports import Documents, Log, Reading, StorageUnavailable

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_EVERY_S, _PAUSE_S = 1.0, 0.02
_LOOK_EVERY_MS = 60_000
_SLICES = (1, 16)  # entries in one commit: each rewrites the group that came with it
_MEMBERS = 500  # in a sweep
_LATE_AT_ONCE = 500
_AFTER_GRACE = "its time after the deletion is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When members are taken out whose status became Deleted."""

    grace_days: float = 7
    every_hours: float = 6  #: between two sweeps: each reads the whole journal


class Eraser:
    """`entries` (the journal) and `office` are the gateway's own, `courier` and `finds` are read only.

    `digest` makes what stands for a member in the audit log.
    """

    def __init__(
        self,
        entries: Log,
        office: Documents,
        *,
        courier: Reading,
        finds: Reading,
        clock: Clock,
        pace: Callable[[], Pace],
        digest: Callable[[bytes], bytes],
        audit: Audit,
    ) -> None:
        self._journal = entries
        self._office = office
        self._courier = courier
        self._finds = finds
        self._clock = clock
        self._pace = pace
        self._digest = digest
        self._audit = audit
        self._next_look_ms = 0
        self._redacted: tuple[int, str] | None = None  #: the step whose bodies this process has taken out
        self._late_out: list[int] = []  #: late webhooks whose bodies it has taken out last
        self._told: set[int] = set()  #: those the courier was told of, and may not have read of yet

    async def run(self, stop: asyncio.Event) -> None:
        """Do what there is to do until `stop` is set."""
        while not stop.is_set():
            try:
                if await self.turn(stop):
                    continue
            except StorageUnavailable as error:
                log.error("members cannot be erased now", action="erasure_failed", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _EVERY_S)

    def ask(self, asked: Asked) -> None:
        """Take a member out as soon as possible. Errors: StorageUnavailable."""
        with self._office.transaction() as transaction:
            ask(transaction, asked)

    def order(self, sweep: Sweep) -> int:
        """Order the courier to clear its books; return the order's offset."""
        members: Json = [[each.org_id, each.customer_id] for each in sweep.members]
        return self._journal.append([journal.command("erase_members", self._clock(), members=members, sweep=sweep.id)])

    async def turn(self, stop: asyncio.Event) -> bool:
        """Bring the sweep underway one step on, or begin one; return whether anything could be done."""
        sweep = read_sweep(self._office)
        if sweep is None:
            return self._begin() or await self._take_out_late(stop)
        if sweep.step == "books":
            return self._after_books(sweep)
        find = read_find(self._finds, sweep)
        if find is None or not find.is_done:
            return False
        if sweep.step in ("search", "search_rest"):
            step: Step = "redact" if sweep.step == "search" else "redact_rest"
            return self._go_on(msgspec.structs.replace(sweep, step=step))
        return await self._redact(sweep, find, stop)

    def _begin(self) -> bool:
        now, pace = self._clock(), self._pace()
        chosen = {each.name: each for each in read_asked(self._office, _MEMBERS)}
        is_time = now >= last_begun_ms(self._office) + pace.every_hours * _HOUR_MS
        if not chosen and (now < self._next_look_ms or not is_time):
            return False
        self._next_look_ms = now + _LOOK_EVERY_MS
        for name in privacy.due(self._courier, now - pace.grace_days * _DAY_MS, _MEMBERS - len(chosen)):
            org_id, _, customer_id = name.partition("/")
            chosen.setdefault(name, Asked(org_id=org_id, customer_id=customer_id, reason=_AFTER_GRACE, at_ms=now))
        if not chosen:
            return False
        log.info("members are being erased", action="erasure_begun", members=len(chosen))
        return self._go_on(Sweep(id=now, members=list(chosen.values()), step="search", through=self._journal.end()))

    def _go_on(self, sweep: Sweep) -> bool:
        with self._office.transaction() as transaction:
            keep(transaction, sweep)
        return True

    async def _redact(self, sweep: Sweep, find: Find, stop: asyncio.Event) -> bool:
        """Take out the bodies that were found. What is not settled yet has to be delivered first."""
        if read_cursor(self._courier) < sweep.through:
            return False
        if self._redacted != (sweep.id, sweep.step):
            if not await self._take_out(find.offsets, stop):
                return False
            self._redacted = (sweep.id, sweep.step)
        if not self._journal.clear_wal():
            return False
        sums = {"journal": _added(sweep.journal, find.counts), "index_rows": _added(sweep.index_rows, find.index_rows)}
        sweep = msgspec.structs.replace(sweep, **sums)
        if sweep.step == "redact":
            return self._go_on(msgspec.structs.replace(sweep, step="books", command=self.order(sweep)))
        self._finish(sweep)
        return True

    async def _take_out(self, offsets: list[int], stop: asyncio.Event) -> bool:
        """Put empty entries in place of those at the offsets, in slices; return whether all of it is done."""
        loop, start, slice_ = asyncio.get_running_loop(), 0, _SLICES[0]
        while start < len(offsets):
            if stop.is_set():
                return False
            began = loop.time()
            self._journal.redact(offsets[start : start + slice_], redacted)
            start, slice_ = start + slice_, trimming.next_slice(slice_, loop.time() - began, _SLICES)
            await asyncio.sleep(_PAUSE_S)
        return True

    async def _take_out_late(self, stop: asyncio.Event) -> bool:
        """Take out the bodies of webhooks that came after their member had gone; the courier has noted them."""
        offsets = [offset for offset in read_late(self._courier, _LATE_AT_ONCE) if offset not in self._told]
        if not offsets:
            return False
        if self._late_out != offsets:
            if not await self._take_out(offsets, stop):
                return False
            self._late_out = offsets
        if not self._journal.clear_wal():
            return False
        self._journal.append([journal.command(LATE_GONE, self._clock(), offsets=list[Json](offsets))])
        self._told = set(offsets)
        self._audit.note(who="capstream", address="", act="erase_late", target="", status=200, details={"journal": len(offsets)})
        return True

    def _after_books(self, sweep: Sweep) -> bool:
        met = self._met(sweep)
        if len(met) < len(sweep.members) or any(each["command"] < sweep.command for each in met):
            return False
        through = max(int(each["through"]) for each in met)
        return self._go_on(msgspec.structs.replace(sweep, step="search_rest", after=sweep.through, through=through))

    def _met(self, sweep: Sweep) -> list[Json]:
        found = privacy.read_met(self._courier, keys=[each.name for each in sweep.members])
        return [each for each in found if "command" in each]

    def _finish(self, sweep: Sweep) -> None:
        books = {each["id"]: each["erased"] for each in self._met(sweep)}
        acts: list[Json] = []
        for each in sweep.members:
            counts = {"journal": sweep.journal.get(each.name, 0), "index_rows": sweep.index_rows.get(each.name, 0)}
            target = self._digest(each.name.encode()).hex()[:12]
            details = {**counts, **books.get(each.name, {}), "reason": each.reason}
            acts.append({"who": each.who or "capstream", "address": each.address, "target": target, "details": details})

        self._audit.note_all("erase_member", acts, beside=end)
        log.info("members are erased", action="erasure_done", members=len(sweep.members))


def _added(sums: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return dict(Counter(sums) + Counter(more))
