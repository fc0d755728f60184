"""A translator: a process beside the courier that translates the webhooks of some of the members while a backlog waits.

It holds the states of its members, reads `courier.db` and writes nothing: what it makes goes to the courier, which posts and
settles it with its own part. Without a translator the courier does everything itself. Source: docs/adr/0018.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from capstream.kernel.clock import Clock
from capstream.relay import part, wire
from capstream.relay.arrival import Arrival
from capstream.relay.draft import Draft
from capstream.relay.journal import decode
from capstream.relay.ledger import Ledger
from capstream.relay.part import Part, part_of, pieces_of
from capstream.relay.settlement import Settlement
from capstream.relay.shares import Shares, names_others
from capstream.relay.sources import Sources
from capstream.relay.translation import Translation
from capstream.relay.wire import Opening, Order
from capstream.storage.ports import Shreddable

_BUFFER = 4 * 1024 * 1024
_SLICE = 64  # as the courier's: their objects fit the processor's cache


class Translator:
    """Answers one courier at a time."""

    def __init__(
        self, documents: Shreddable, sources: Sources, clock: Clock, *, checkpoint: Callable[[str], None] = lambda _name: None
    ) -> None:
        self._ledger = Ledger(documents, clock)
        self._sources = sources
        self._clock = clock
        self._checkpoint = checkpoint

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what the courier orders until it hangs up."""
        share: _Share | None = None
        writer.transport.set_write_buffer_limits(0)
        while (frame := await wire.read(reader)) is not None:
            order, content = frame
            if order is Order.OPEN:
                share = _Share(self._ledger, self._sources, self._clock, wire.opening(content))
            elif order is Order.REST:
                share = None
            elif share is None:
                raise ValueError(f"{order.name} came before {Order.OPEN.name}")
            elif order is Order.SETTLED:
                share.settled()
            else:
                made = await share.take(wire.entries(content)) if order is Order.TAKE else share.end(is_begun=order is Order.MORE)
                self._checkpoint("translated")
                await wire.send(writer, order, part.encode(made))


async def serve_courier(translator: Translator, path: Path) -> None:
    """Go to the courier's socket and do what it orders; return when it hangs up, or where there is none."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_BUFFER)
    except OSError:
        return
    try:
        await translator.serve(reader, writer)
    except ConnectionError:
        return
    finally:
        writer.close()


class _Share:
    """The members of one translator, as long as the courier shares its batches."""

    def __init__(self, ledger: Ledger, sources: Sources, clock: Clock, opening: Opening) -> None:
        self._sources = sources
        self._shares = Shares(opening.translators)
        self._number = opening.number
        self._translation = Translation(
            ledger, sources, clock=clock, member_bytes=opening.member_bytes, log_bytes=opening.log_bytes
        )
        self._translation.know(opening.programs)
        self._learned = self._translation.programs.revision
        self._draft = Draft()
        self._unsettled: deque[tuple[Draft, Settlement]] = deque()
        self._pieces: deque[Part] = deque()  #: of the end of a batch

    async def take(self, entries: Sequence[tuple[int, bytes]]) -> Part:
        """Translate webhooks into the batch; return what came of them."""
        draft, translation = self._draft, self._translation
        self._sources.refresh()
        for first in range(0, len(entries), _SLICE):
            ready = translation.readable(draft, _arrivals(draft, entries[first : first + _SLICE]))
            if names_others(ready, translation.members.states, self._shares, self._number):
                return Part(refusal="a webhook is about a member of another translator")
            await translation.translate(draft, ready, {})
        if translation.programs.revision != self._learned:
            return Part(refusal="a webhook says something new about a programme")
        return part_of(draft, is_full=translation.members.is_full())

    def end(self, *, is_begun: bool) -> Part:
        """End the batch, unless that is begun; return the next piece of the snapshots and states of its members."""
        if not is_begun:
            self._close()
        return self._pieces.popleft()

    def _close(self) -> None:
        draft, self._draft = self._draft, Draft()
        self._translation.snapshots(draft, lambda _: (False, ()))
        settlement = draft.settlement
        self._pieces.extend(pieces_of(part_of(draft, is_full=self._translation.members.is_full())))
        settlement.states, settlement.joined_parts = [], set()  # they are in the pieces
        self._unsettled.append((draft, settlement))

    def settled(self) -> None:
        """Note that the oldest batch is settled."""
        members = self._translation.members
        members.settled(self._unsettled.popleft()[1])
        members.shrink([draft.dirty for draft in (*(each for each, _ in self._unsettled), self._draft)])


def _arrivals(draft: Draft, entries: Sequence[tuple[int, bytes]]) -> list[Arrival]:
    arrivals: list[Arrival] = []
    for offset, record in entries:
        entry = decode(record)
        draft.settlement.count(entry.source_key, entry.received_ms).add("journalled")
        arrivals.append(Arrival(offset, entry.source_key, entry.received_ms, entry.body))
    return arrivals
