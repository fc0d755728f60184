"""What one batch of the courier changes in the ledger, all at once."""

from capstream.relay.dead_letters import DeadLetter, Discarded
from capstream.relay.records import Held, Job, LaneKey, Parked, Stored

_DAY_MS = 86_400_000

CountKey = tuple[str, int]
"""(source key, day since 1970 UTC)"""


class Tally:
    """What is counted of one source and day, by the counter's name."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] = self.counts.get(name, 0) + count


class Settlement:
    """What one batch changes."""

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.states: list[tuple[str, bytes]] = []
        self.log_parts: dict[str, bytes] = {}  #: parts of member logs that are kept beside the states
        self.joined_parts: set[str] = set()  #: those that are part of a state's log again
        self.programs: bytes | None = None
        self.dead: dict[str, DeadLetter] = {}
        self.revived: set[str] = set()  #: dead letters that are none any more
        self.discarded: dict[str, Discarded] = {}  #: those of them that a person gave up
        self.parked: dict[str, Parked] = {}
        self.unparked: set[str] = set()
        self.outbox: dict[LaneKey, dict[str, Stored]] = {}  #: what a dataflow that is behind has yet to deliver
        self.sent: dict[LaneKey, dict[str, int]] = {}  #: segments of it that are dealt with, and how many payloads they held
        self.lanes: dict[str, bytes] = {}  #: how far a dataflow is behind; empty: it is not
        self.held: dict[str, Held] = {}
        self.released: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.jobs_done: set[str] = set()
        self.awaiting: dict[str, bool] = {}  #: `source/org/customer` waits for a tier list, or no more
        self.privacy: list[tuple[str, bytes]] = []  #: members whose data has to be deleted
        self.late: set[int] = set()  #: entries about members who were taken out before they came
        self.late_gone: set[int] = set()  #: those whose bodies are out of the journal
        self.counts: dict[CountKey, Tally] = {}
        self._counted: tuple[str, int, Tally] | None = None  # the one asked for last: most events ask for the same

    def is_empty(self) -> bool:
        """Return whether the batch changes nothing."""
        changes = (self.states, self.dead, self.revived, self.parked, self.unparked, self.held, self.released, self.jobs)
        more = (self.jobs_done, self.awaiting, self.privacy, self.counts, self.outbox, self.sent, self.late, self.late_gone)
        return self.cursor is None and self.programs is None and not any(changes) and not any(more)

    def count(self, source_key: str, at_ms: int) -> Tally:
        """Return the counters of a source and the day of `at_ms`."""
        day, last = at_ms // _DAY_MS, self._counted
        if last is not None and last[1] == day and last[0] == source_key:
            return last[2]
        found = self.count_of_day(source_key, day)
        self._counted = (source_key, day, found)
        return found

    def count_of_day(self, source_key: str, day: int) -> Tally:
        """Return the counters of a source and a day since 1970."""
        found = self.counts.get((source_key, day))
        if found is None:
            found = self.counts[(source_key, day)] = Tally()
        return found
