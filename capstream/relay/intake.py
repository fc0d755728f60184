"""The way of webhooks into the journal: what arrives in one turn of the loop is told apart from repeats and shares one commit.

Compiled, as is what leads here: every webhook passes (docs/adr/0004).
"""

from hashlib import blake2b
from typing import Final

import msgspec

from capstream.capillary.envelope import Unreadable
from capstream.capillary.normalise import normalise
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import canonical
from capstream.relay.entries import Entries
from capstream.relay.journal import NO_KEY, Flag, decode, tally
from capstream.serving.exchange import Reply
from capstream.storage.group_commit import GroupCommit
from capstream.storage.ports import Log

_TALLY_EVERY_MS: Final = 1000
_UNAVAILABLE: Final = b'{"status":"unavailable","reason":"the journal cannot be written; send the event again"}'
_CONFLICT: Final = int(Flag.CONFLICT)

_text: Final = msgspec.json.Encoder().encode


class Pending:
    """A webhook between its arrival and its commit."""

    def __init__(self, reply: Reply, source_key: str, received_ms: int, headers: bytes, body: bytes) -> None:
        self.reply = reply
        self.source_key: Final = source_key
        self.received_ms: Final = received_ms
        self.headers: Final = headers
        self.body = body
        self.flags = 0
        self.key: bytes = NO_KEY  #: what repeats have in common; NO_KEY when nothing is known
        self.event_id: str | None = None
        self.offset = 0  #: in the journal, once it is there


class Intake:
    """Journals webhooks in groups and answers their senders."""

    def __init__(self, journal: Log, clock: Clock) -> None:
        self._journal: Final = journal
        self._clock: Final = clock
        self._group: Final[GroupCommit[Pending]] = GroupCommit(self._commit)
        self._entries: Final = Entries()
        self._repeats: dict[str, int] = {}
        self._next_tally_ms = 0
        self.turn_ms = 0  #: when the first webhook of the next commit came; 0 while there is none

    def add(self, pending: Pending) -> None:
        """Journal a webhook with the others of this turn, then answer it."""
        if not self.turn_ms:
            self.turn_ms = pending.received_ms
        self._group.add(pending)

    def flush(self) -> None:
        """Journal the counts of repeats that are not there yet; call it before the process ends."""
        if self._repeats:
            self._append([], at_once=True)

    def unwritten_repeats(self) -> dict[str, int]:
        """Return, by source key, how many repeats have been answered but not counted in the journal yet."""
        return dict(self._repeats)

    def _commit(self, group: list[Pending]) -> None:
        self.turn_ms = 0
        try:
            twins = self._store(group)
        except Exception as error:  # noqa: BLE001 - the commit of a group must not raise; every sender gets its answer
            log.error("journal unavailable", action="journal_unavailable", exc=error, webhooks=len(group))
            for pending in group:
                pending.reply.give(503, _UNAVAILABLE, b"")
            return
        for index, pending in enumerate(group):
            twin = twins.get(index) if twins else None
            pending.reply.give(200, _accepted(pending) if twin is None else _duplicate(pending, twin), b"")

    def _store(self, group: list[Pending]) -> dict[int, Pending]:
        """Append what is new; return the repeats: their place in the group and the entry they repeat.

        Errors: what the journal raises; nothing was stored then.
        """
        firsts: dict[bytes, Pending] = {}
        twins: dict[int, Pending] = {}
        fresh: list[Pending] = []
        known = self._journal.seen([pending.key for pending in group if pending.key])
        for index, pending in enumerate(group):
            key = pending.key
            if key:
                first = firsts.get(key)
                if first is None and known and key in known:
                    first = self._earlier(known[key])
                twin = None if first is None else self._twin(pending, first, firsts)
                if twin is not None:
                    twins[index] = twin
                    continue
                firsts[pending.key] = pending
            fresh.append(pending)
        self._append(fresh)
        for index in twins:
            source_key = group[index].source_key
            self._repeats[source_key] = self._repeats.get(source_key, 0) + 1
        return twins

    def _twin(self, pending: Pending, first: Pending, firsts: dict[bytes, Pending]) -> Pending | None:
        """Return the entry that `pending` repeats.

        None when it only shares the id of `first`: it is then marked as a conflict, and known by id and data from now on.
        """
        if not first.body or pending.body == first.body:
            return first
        mine = _data(pending.body)
        if mine is not None and mine == _data(first.body):
            return first
        key = blake2b(pending.key + (mine or pending.body), digest_size=24).digest()
        known = self._journal.seen([key])
        if key in known:
            return self._earlier(known[key])
        if key in firsts:
            return firsts[key]
        pending.key, pending.flags = key, pending.flags | _CONFLICT
        return None

    def _earlier(self, offset: int) -> Pending:
        """Return the journalled entry as a Pending; without a body when it was trimmed after its delivery."""
        record = self._journal.get(offset)
        earlier = Pending(Reply(), "", 0, b"", decode(record).body if record else b"")
        earlier.offset = offset
        return earlier

    def _append(self, fresh: list[Pending], *, at_once: bool = False) -> None:
        records = [self._entries.encode(p.source_key, p.received_ms, p.flags, p.headers, p.body) for p in fresh]
        keys = [p.key for p in fresh]
        now = self._clock()
        counting = bool(self._repeats) and (at_once or now >= self._next_tally_ms)
        if counting:
            records.append(tally(self._repeats, now))
            keys.append(NO_KEY)
        if not records:
            return
        offset = self._journal.append(records, keys=keys)
        for pending in fresh:
            pending.offset = offset
            offset += 1
        if counting:
            self._repeats.clear()
            self._next_tally_ms = now + _TALLY_EVERY_MS


def _accepted(pending: Pending) -> bytes:
    event_id: bytes = _text(pending.event_id)
    return b'{"status":"accepted","eventId":%b,"journalOffset":%b}' % (event_id, str(pending.offset).encode("ascii"))


def _duplicate(pending: Pending, first: Pending) -> bytes:
    event_id: bytes = _text(pending.event_id)
    return b'{"status":"duplicate","eventId":%b,"journalOffset":%b}' % (event_id, str(first.offset).encode("ascii"))


def _data(body: bytes) -> bytes | None:
    """Return what makes an event the same event, whatever envelope is around it; None when it is none."""
    event = normalise(body, 0)
    return None if isinstance(event, Unreadable) else canonical(event.data)
