"""What people ask the courier to do, in slices: replay or discard dead letters, replay a range of the journal, erase members.

A command in the journal becomes a job in the ledger with the batch that reads it. Each batch then does one slice of one job
and settles the job's progress with it, so a job of any size survives a crash and never keeps live events waiting.
"""

from collections.abc import Callable, Iterable

import msgspec

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.members import members_of
from capstream.capillary.normalise import normalise
from capstream.kernel import log
from capstream.kernel.json import Json, dumps, loads
from capstream.relay import journal
from capstream.relay.answers import Rejected
from capstream.relay.arrival import Arrival
from capstream.relay.book_erasure import BookErasure
from capstream.relay.dead_letters import DeadClass, DeadLetter, Discarded, Filter, of_payload
from capstream.relay.draft import Draft
from capstream.relay.journal import Entry, Flag
from capstream.relay.ledger import Ledger
from capstream.relay.records import Job, Kind, Parked, Record
from capstream.storage.ports import Log

_SLICE = 200
LATE_GONE = "late_gone"
"""The command that tells courier and clerk which late webhooks have no body any more."""
_COMMANDS = ("replay_letters", "discard_letters", "replay_range", "discard_parked", "erase_members")


class Range(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Which journal entries are replayed; what is not given does not matter."""

    from_offset: int = 1
    to_offset: int | None = None  #: absent: up to the newest entry of now
    source_key: str | None = None
    event_name: str | None = None
    customer_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def covers(self, entry: Entry) -> bool:
        """Return whether the entry itself is meant; its event is looked at later."""
        return (
            not entry.flags & (Flag.COMMAND | Flag.TALLY | Flag.TOO_LARGE | Flag.ERASED | Flag.PACKED)
            and self.source_key in (None, entry.source_key)
            and (self.since_ms is None or entry.received_ms >= self.since_ms)
            and (self.until_ms is None or entry.received_ms < self.until_ms)
        )

    def means(self, event: NormalisedEvent) -> bool:
        """Return whether the event is of the kind and the member that are meant."""
        customers = {customer for _, customer in members_of(event)}
        return self.event_name in (None, event.event_name) and (self.customer_id is None or self.customer_id in customers)

    def covers_event(self, entry: Entry) -> bool:
        """Return whether the event in an entry is meant; what is no event is, unless a kind or member is asked for."""
        if self.event_name is None and self.customer_id is None:
            return True
        event = normalise(entry.body, entry.received_ms)
        return not isinstance(event, Unreadable) and self.means(event)


class ParkedFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Which parked payloads are meant; what is not given does not matter."""

    ids: list[str] | None = None
    source_key: str | None = None
    flow: Kind | None = None
    customer_id: str | None = None

    def gives_up(self, key: str, parked: Parked) -> bool:
        """Return whether a payload is to be given up: one that waits behind another only when it is named."""
        return self.means(key, parked) and (self.ids is not None or parked.record.attempts > 0)

    def means(self, key: str, parked: Parked) -> bool:
        """Return whether a payload is meant."""
        return (
            (self.ids is None or key in self.ids)
            and self.source_key in (None, parked.source_key)
            and self.flow in (None, parked.kind)
            and self.customer_id in (None, parked.record.member)
        )


Withdraw = Callable[[Iterable[str]], set[str]]
"""Takes parked payloads out of what waits; returns the keys of those that were not being posted."""

Wanted = tuple[str | None, str | None]
"""(event name, customer id) an event must have to be replayed; None does not matter."""


class Jobs:
    """The jobs of the ledger, oldest first."""

    def __init__(self, ledger: Ledger, source: Log) -> None:
        self._ledger = ledger
        self._journal = source
        self._open: dict[str, Job] = {}
        self._erasures: dict[str, BookErasure] = {}
        self.reload()

    def reload(self) -> None:
        """Read the open jobs again from the ledger."""
        self._open = self._ledger.jobs()

    def accept(self, draft: Draft, offset: int, entry: Entry) -> None:
        """Make a job of a command. A command nobody knows is logged and dropped."""
        body = loads(entry.body)
        if body.get("command") == LATE_GONE:
            draft.settlement.late_gone.update(body["offsets"])
            return
        if body.get("command") not in _COMMANDS:
            log.error("unknown command", action="command_unknown", offset=offset, command=str(body.get("command")))
            return
        job = Job(command=entry.body, asked_ms=entry.received_ms, position="")
        self._keep(draft, f"{offset:016d}", job)

    def work(self, draft: Draft, withdraw: Withdraw) -> list[tuple[Arrival, Wanted]]:
        """Do a slice of the oldest job: return the webhooks to translate again, put payloads to repeat into the batch."""
        if not self._open:
            return []
        key, job = next(iter(self._open.items()))
        command = loads(job.command)
        if command["command"] == "replay_range":
            return self._replay_range(draft, key, job, msgspec.convert(command["range"], Range))
        if command["command"] == "discard_parked":
            self._give_up(draft, key, job, withdraw)
            return []
        if command["command"] == "erase_members":
            self._erasure(key, command).survey()
            return []
        return self._letters(draft, key, job, command)

    def is_idle(self) -> bool:
        """Return whether there is no job."""
        return not self._open

    def is_erasing(self) -> bool:
        """Return whether an erasure is what has to be done next."""
        return bool(self._open) and b'"erase_members"' in next(iter(self._open.values())).command

    def is_ready_to_erase(self) -> bool:
        """Return whether all that is left of an erasure is what may only be done with nothing on its way."""
        if not self.is_erasing():
            return False
        key = next(iter(self._open))
        return key in self._erasures and self._erasures[key].is_surveyed and key in self._ledger.jobs()

    def erase(self, now_ms: int) -> None:
        """Do the erasure that is ready; only with nothing on its way. Errors: StorageUnavailable."""
        key = next(iter(self._open))
        self._erasures.pop(key).erase(int(key), now_ms, job=key)
        self.reload()

    def _erasure(self, key: str, command: Json) -> BookErasure:
        if key not in self._erasures:
            members = [(str(org), str(customer)) for org, customer in command["members"]]
            self._erasures = {key: BookErasure(self._ledger.documents, members, int(command.get("sweep", 0)))}
        return self._erasures[key]

    def _give_up(self, draft: Draft, key: str, job: Job, withdraw: Withdraw) -> None:
        """Discard parked payloads; those that are being posted are looked at again when they are back."""
        command = loads(job.command)
        wanted = msgspec.convert(command["filter"], ParkedFilter)
        page = self._ledger.parked_page(after=job.position, limit=_SLICE)
        meant = {
            each: parked for each, parked in page if parked.record.first_ms <= job.asked_ms and wanted.gives_up(each, parked)
        }
        taken = withdraw(meant)
        for each in taken:
            parked = meant[each]
            verdict = Rejected(0, parked.reason, code=DeadClass.GIVEN_UP)
            letter = of_payload(
                parked.record, verdict, source_key=parked.source_key, kind=parked.kind, now_ms=parked.record.first_ms
            )
            said = {"reason": command["reason"], "who": command["by"], "at_ms": job.asked_ms}
            draft.settlement.unparked.add(each)
            draft.settlement.discarded[letter.id] = Discarded(letter=letter, **said)
            draft.settlement.revived |= {parked.record.dead_id} - {""}
            draft.settlement.count(parked.source_key, parked.record.first_ms).add(f"discarded.{parked.kind}")
        if len(taken) == len(meant):
            self._progress(draft, key, job, page[-1][0] if len(page) == _SLICE else None)

    def _letters(self, draft: Draft, key: str, job: Job, command: Json) -> list[tuple[Arrival, Wanted]]:
        wanted = msgspec.convert(command["filter"], Filter)
        until = min(wanted.until_ms or job.asked_ms + 1, job.asked_ms + 1)
        wanted = msgspec.structs.replace(wanted, until_ms=until)
        letters = self._ledger.dead(wanted, after=job.position, limit=_SLICE)
        found: list[tuple[Arrival, Wanted]] = []
        if command["command"] == "discard_letters":
            said = {"reason": command.get("reason", ""), "who": command.get("by", ""), "at_ms": job.asked_ms}
            draft.settlement.revived |= {letter.id for letter in letters}
            draft.settlement.discarded |= {letter.id: Discarded(letter=letter, **said) for letter in letters}
        else:
            edited = dumps(command["payload"]) if "payload" in command else None
            found += [(arrival, (None, None)) for letter in letters if (arrival := self._again(draft, letter, edited))]
        position = letters[-1].id if len(letters) == _SLICE else None
        self._progress(draft, key, job, position)
        return found

    def _again(self, draft: Draft, letter: DeadLetter, edited: bytes | None) -> Arrival | None:
        """Return the webhook of a dead letter for another translation, or put its payload into the batch as it is.

        A payload is translated again when nobody edited it and the journal still has its webhook: a mended translation
        then mends it.
        """
        if letter.flow is None:
            return Arrival(
                offset=letter.journal_offset,
                source_key=letter.source_key,
                received_ms=letter.first_seen,
                body=edited or letter.payload,
                dead_id=letter.id,
                attempts=letter.attempts,
                first_ms=letter.first_seen,
                is_replay=True,
            )
        record = Record(
            id=letter.payload_id or "",
            member=letter.member or "",
            body=edited or letter.payload,
            offset=letter.journal_offset,
            attempts=letter.attempts,
            first_ms=letter.first_seen,
            dead_id=letter.id,
        )
        original = None if edited else self._webhook(letter.journal_offset)
        if original is None:
            draft.out(letter.source_key).of(letter.flow).append(record)
            return None
        return Arrival(
            offset=letter.journal_offset,
            source_key=letter.source_key,
            received_ms=original.received_ms,
            body=original.body,
            is_replay=True,
            only=(letter.flow, record),
        )

    def _webhook(self, offset: int) -> Entry | None:
        record = self._journal.get(offset)
        entry = journal.decode(record) if record else None
        return None if entry is None or entry.flags & (Flag.COMMAND | Flag.TALLY | Flag.ERASED) else entry

    def _replay_range(self, draft: Draft, key: str, job: Job, wanted: Range) -> list[tuple[Arrival, Wanted]]:
        last = wanted.to_offset or 0
        position = int(job.position) if job.position else max(wanted.from_offset, 1) - 1
        entries = [(offset, journal.decode(record)) for offset, record in self._journal.read(position, _SLICE) if offset <= last]
        found = [
            (
                Arrival(offset, entry.source_key, entry.received_ms, entry.body, is_replay=True),
                (wanted.event_name, wanted.customer_id),
            )
            for offset, entry in entries
            if wanted.covers(entry) and wanted.covers_event(entry)
        ]
        is_done = not entries or entries[-1][0] >= last
        self._progress(draft, key, job, None if is_done else str(entries[-1][0]))
        return found

    def _progress(self, draft: Draft, key: str, job: Job, position: str | None) -> None:
        if position is None:
            del self._open[key]
            draft.settlement.jobs.pop(key, None)
            draft.settlement.jobs_done.add(key)
        else:
            self._keep(draft, key, msgspec.structs.replace(job, position=position))

    def _keep(self, draft: Draft, key: str, job: Job) -> None:
        self._open[key] = job
        draft.settlement.jobs[key] = job
