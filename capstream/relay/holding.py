"""Events that wait for the Capillary API: asked for in the background, handed back when answered or given up.

The courier never waits for them: their effect on the profile is applied at once, only what needs the answer comes later.
Source: capillary.md 5.4 (repeats, `required` for 15 minutes, `best_effort` without).
"""

import asyncio
from collections.abc import Sequence

import msgspec

from capstream.capillary.results import ApiCall, Failed
from capstream.relay.arrival import Arrival
from capstream.relay.delivery import Timing
from capstream.relay.draft import Draft
from capstream.relay.enrichment import Enrichment, Found
from capstream.relay.ledger import Ledger, held_key
from capstream.relay.records import Held, Part
from capstream.relay.retry import GiveUp, next_enrichment
from capstream.relay.waiting import Waiting

_HELD_AT_MOST_MS = 15 * 60_000
_LAST_WAIT_MS = 60_000
_UNTRIED_WAIT_MS = 250  # a call on its way, or kept back by our own limits, costs no try
_AT_ONCE = 64


class Holding:
    """The held events of the ledger."""

    def __init__(self, ledger: Ledger, enrichment: Enrichment, timing: Timing) -> None:
        self._ledger = ledger
        self._enrichment = enrichment
        self._timing = timing
        self._waiting = Waiting(ledger.held_due)
        self._asking: dict[str, asyncio.Task[Found]] = {}
        self._asked: dict[str, tuple[Held, Sequence[ApiCall]]] = {}

    def hold(self, draft: Draft, arrival: Arrival, calls: Sequence[ApiCall]) -> None:
        """Keep an event whose calls have no answer yet; it is due again after the first wait."""
        now = self._timing.clock()
        what: Part = "transactions" if any(call.kind == "C7" for call in calls) else "profile"
        if any(call.required for call in calls):
            what = "event"
        due = next_enrichment(1, now_ms=now, jitter=self._timing.jitter())
        due_ms = now if isinstance(due, GiveUp) else due.at_ms
        held = Held(arrival.source_key, arrival.offset, arrival.received_ms, arrival.body, what, now, due_ms)
        self._put(draft, held_key(arrival.offset), held)

    def due(self) -> dict[str, Held]:
        """Return the held events whose time has come; each has to be passed to `ask`."""
        keys = self._waiting.take(self._timing.clock(), _AT_ONCE - len(self._asking))
        return self._ledger.held(keys) if keys else {}

    def ask(self, key: str, held: Held, calls: Sequence[ApiCall]) -> None:
        """Make the calls a held event needs now, in the background."""
        self._asked[key] = (held, calls)
        self._asking[key] = asyncio.create_task(self._enrichment.ask(held.source_key, calls))

    def is_asking(self) -> bool:
        """Return whether calls are being made."""
        return bool(self._asking)

    def is_empty(self) -> bool:
        """Return whether nothing is held."""
        return not self._asking and not self._waiting.due

    def answered(self, draft: Draft) -> list[tuple[Held, Found]]:
        """Return the events that wait no longer, with what is known; the others are put back with a later time."""
        ripe: list[tuple[Held, Found]] = []
        for key in [key for key, task in self._asking.items() if task.done()]:
            found = self._asking.pop(key).result()
            held, calls = self._asked.pop(key)
            missing = [call for call in calls if call.key not in found]
            if missing and (again := self._again(held, missing)) is not None:
                self._put(draft, key, again)
                continue
            draft.settlement.released.add(key)
            ripe.append((held, {**found, **{call.key: Failed("no answer after all tries") for call in missing}}))
        return ripe

    async def start_over(self) -> None:
        """Forget what is not settled."""
        tasks = list(self._asking.values())
        self._asking.clear()
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waiting.reload()

    def _again(self, held: Held, missing: Sequence[ApiCall]) -> Held | None:
        """Return the event with its next time, None when it is given up."""
        now = self._timing.clock()
        is_young = now - held.first_ms < _HELD_AT_MOST_MS
        if is_young and not any(self._enrichment.has_failed(call) for call in missing):
            return msgspec.structs.replace(held, due_ms=now + _UNTRIED_WAIT_MS)
        due = next_enrichment(held.tries + 1, now_ms=now, jitter=self._timing.jitter())
        if not isinstance(due, GiveUp):
            due_ms = due.at_ms
        elif is_young and any(call.required for call in missing):
            due_ms = now + _LAST_WAIT_MS
        else:
            return None
        return msgspec.structs.replace(held, tries=held.tries + 1, due_ms=due_ms)

    def _put(self, draft: Draft, key: str, held: Held) -> None:
        draft.settlement.held[key] = held
        draft.on_settled.append(lambda: self._waiting.due.__setitem__(key, held.due_ms))
