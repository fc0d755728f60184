"""What a replay would change: events translated as they were before and as they would be now, side by side. Sends nothing.

Both sides start from the member states of now, so that a difference comes from the translation alone. Line items and other
answers of Capillary's API are left out: they are fetched when the replay is done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.results import Refused, Skipped
from capstream.capillary.translate import members_of, profile_payload, translate
from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.json import Json
from capstream.relay import dead_letters
from capstream.relay.dead_letters import DeadClass
from capstream.relay.jobs import Range
from capstream.relay.journal import Entry, decode
from capstream.relay.ledger import Ledger
from capstream.relay.members import Key, Members
from capstream.relay.sources import Sources
from capstream.storage.ports import Log, Shreddable

_MOST_EVENTS = 2000
_MOST_READ = 200_000
_PAGE = 500
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """Compares translations. Reads only."""

    journal: Log
    courier: Shreddable
    sources: Sources

    def compare(self, wanted: Range, proposed: Mapping[str, Json] | None, samples: int) -> Json:
        """Return how many events of a range would come out differently, and the first `samples` differences.

        With `proposed` translation settings the present ones are compared with them; else those in force when each event was
        received with the present ones. `complete` says whether the whole range was looked at.
        """
        counts = {"events": 0, "changed": 0, "refusedBefore": 0, "refusedNow": 0}
        found: list[Json] = []
        complete, last = True, 0
        for offset, entry, event in self._matching(wanted):
            if counts["events"] == _MOST_EVENTS:
                complete = False
                break
            last = offset
            before, after = self._both(entry, event, proposed)
            differences = [*_differences(before, after, "")]
            counts["events"] += 1
            counts["changed"] += bool(differences)
            counts["refusedBefore"] += "refused" in before
            counts["refusedNow"] += "refused" in after
            if differences and len(found) < samples:
                named = {"offset": offset, "eventName": event.event_name, "eventId": event.event_id}
                found.append({**named, "deadLetters": self._letters(offset), "differences": differences})
        return {**counts, "complete": complete, "lastOffset": last, "samples": found}

    def _matching(self, wanted: Range) -> Iterator[tuple[int, Entry, NormalisedEvent]]:
        position, last = max(wanted.from_offset, 1) - 1, min(wanted.to_offset or self.journal.end(), self.journal.end())
        end = position + _MOST_READ
        while position < min(last, end) and (entries := self.journal.read(position, _PAGE)):
            for offset, record in entries:
                position = offset
                entry = decode(record)
                if offset > last or not wanted.covers(entry) or entry.source_key not in self.sources.table:
                    continue
                event = normalise(entry.body, entry.received_ms)
                if not isinstance(event, Unreadable) and wanted.means(event):
                    yield offset, entry, event

    def _both(self, entry: Entry, event: NormalisedEvent, proposed: Mapping[str, Json] | None) -> tuple[Json, Json]:
        present = self.sources.translations[entry.source_key]
        if proposed is not None:
            return self._payloads(event, present), self._payloads(event, TranslationConfig.from_settings(dict(proposed)))
        then = self.sources.translation_at(entry.source_key, entry.received_ms)
        return self._payloads(event, then), self._payloads(event, present)

    def _payloads(self, event: NormalisedEvent, config: TranslationConfig) -> Json:
        """Return what an event becomes: its payloads by `_id`, or why there are none."""
        config = replace(config, transaction_lines="off")
        ledger = Ledger(self.courier)
        keys = members_of(event)
        members = _members(ledger, event, keys)
        stored = ledger.programs()
        programs = Programs.load(stored) if stored else Programs()
        try:
            outcome = translate(event, members.states, programs, config, {})
            if isinstance(outcome, Refused):
                return {"refused": {"class": outcome.code, "reason": outcome.reason}}
            if isinstance(outcome, Skipped):
                return {"skipped": outcome.reason}
            payloads = [*outcome.transactions]
            payloads += [profile_payload(key, members.states[key], programs, config) for key in keys if key in members.states]
        except Exception as error:  # noqa: BLE001 - as in the feed: one event must not hide what becomes of the others
            return {"refused": {"class": DeadClass.TRANSLATION_BUG, "reason": f"the translation raised {type(error).__name__}"}}
        return {"payloads": {payload.id: payload.body for payload in payloads}}

    def _letters(self, offset: int) -> list[Json]:
        keys = dead_letters.between(self.courier, offset, offset).get(offset, [])
        letters = [letter for key in keys if (letter := dead_letters.get(self.courier, key))]
        return [{"id": letter.id, "class": letter.class_, "reason": letter.reason} for letter in letters]


def _members(ledger: Ledger, event: NormalisedEvent, keys: list[Key]) -> Members:
    """Return the members of an event as they are now. The courier writes meanwhile: parts that a state names may be gone."""
    for _ in range(_TRIES):
        try:
            return _recalled(ledger, event, keys)
        except KeyError:  # the state is another one by now
            continue
    return _recalled(ledger, event, keys)


def _recalled(ledger: Ledger, event: NormalisedEvent, keys: list[Key]) -> Members:
    members = Members(ledger, capacity=0, log_bytes=0)
    members.load(keys)
    members.recall(event, keys, {})
    return members


def _differences(before: Json, after: Json, path: str) -> Iterator[Json]:
    """Yield `{path, old, new}` of every leaf that differs; a side that lacks it has no such member."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in (*before, *(name for name in after if name not in before)):
            place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _differences(before.get(name, msgspec.UNSET), after.get(name, msgspec.UNSET), place)
    elif before != after:
        found = {"path": path or "/", "old": before, "new": after}
        yield {name: value for name, value in found.items() if value is not msgspec.UNSET}
