"""A batch in the making: what is to be posted, and what will be settled once it is."""

from collections.abc import Callable, Iterable

from capstream.capillary.events import NormalisedEvent
from capstream.relay.arrival import Arrival
from capstream.relay.dead_letters import DeadLetter, letter_id
from capstream.relay.members import Key
from capstream.relay.records import Due, Kind, Record
from capstream.relay.settlement import Settlement


class Outbound:
    """What goes to the two dataflows of one source."""

    def __init__(self) -> None:
        self.events: list[Record] = []
        self.profiles: list[Record] = []

    def of(self, kind: Kind) -> list[Record]:
        """Return the records of one dataflow."""
        return self.events if kind == "event" else self.profiles


class Draft:
    """One batch. `touched` is ordered: a member comes after the members it was touched after."""

    def __init__(self) -> None:
        self.settlement = Settlement()
        self.outbound: dict[str, Outbound] = {}
        self.linked: dict[str, str] = {}  #: member -> the member whose lane it uses
        self.touched: dict[str, dict[Key, int]] = {}  #: source -> member -> offset of the last cause
        self.dirty: set[Key] = set()  #: members whose state may have changed
        self.others_dirty = 0  #: as many of the translators'
        self.is_crowded = False  #: so much is in memory that it may grow no further
        self.is_shared = False  #: translators have a part in it
        self.due: dict[str, list[Due]] = {}  #: source -> members whose snapshots wait, because their dataflow is behind
        self.created: dict[str, list[tuple[int, int]]] = {}  #: source -> (received, createdAt) of a portion's events
        self.since_ms = 0  #: when its oldest webhook was received
        self.on_settled: list[Callable[[], None]] = []
        self.entries = 0  #: of the journal
        self.is_full = False  #: more waits in the journal: do not linger
        self.is_complete = False  #: its last portion held as many entries as it may: a backlog waits

    def out(self, source_key: str) -> Outbound:
        """Return what goes out for a source."""
        found = self.outbound.get(source_key)
        if found is None:
            found = self.outbound[source_key] = Outbound()
        return found

    def ship(self) -> dict[str, Outbound]:
        """Return what is to be posted now; it is out of the batch then."""
        shipped, self.outbound = self.outbound, {}
        return shipped

    def is_empty(self) -> bool:
        """Return whether the batch changes and sends nothing."""
        return not self.outbound and not self.due and self.settlement.is_empty()

    def touch(self, source_key: str, members: Iterable[Key], offset: int) -> None:
        """Note that the snapshots of `members` are due, in this order."""
        touched = self.touched.setdefault(source_key, {})
        for key in members:
            touched.pop(key, None)
            touched[key] = offset

    def count_settled(self, arrival: Arrival, outcome: str) -> None:
        """Count what became of a webhook: `processed`, `skipped` or `dead_lettered`; a revived dead letter changes sides."""
        counter = self.settlement.count(arrival.source_key, arrival.received_ms)
        if arrival.dead_id:
            counter.add("dead_lettered", -1)
        elif arrival.was_processed:
            counter.add("processed", -1)
        elif arrival.is_replay:
            return
        counter.add(outcome)

    def dead(self, arrival: Arrival, code: str, reason: str, *, pointer: str = "", event: NormalisedEvent | None = None) -> None:
        """Make a dead letter of a whole webhook."""
        first_ms = arrival.first_ms or arrival.received_ms
        key = arrival.dead_id or letter_id(first_ms, arrival.offset)
        self.settlement.dead[key] = DeadLetter(
            id=key,
            journal_offset=arrival.offset,
            source_key=arrival.source_key,
            class_=code,
            reason=reason,
            first_seen=first_ms,
            attempts=arrival.attempts + 1,
            pointer=pointer or None,
            event_name=event.event_name if event else None,
            event_id=event.event_id if event else None,
            customer_id=_customer_of(event),
            payload=arrival.body,
        )
        self.count_settled(arrival, "dead_lettered")
        if not arrival.is_replay or arrival.dead_id or arrival.was_processed:
            self.settlement.count(arrival.source_key, arrival.received_ms).add(f"dead.{code}")

    def revive(self, arrival: Arrival) -> None:
        """Note that a dead letter is none any more, if the webhook was one."""
        if arrival.dead_id:
            self.settlement.revived.add(arrival.dead_id)


def _customer_of(event: NormalisedEvent | None) -> str | None:
    if event is None:
        return None
    identifiers = event.data.get("customerIdentifiers")
    found = identifiers.get("customerId") if isinstance(identifiers, dict) else None
    return None if found is None else str(found)
