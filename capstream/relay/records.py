"""What the courier works on: webhooks on their way in, payloads on their way out, and what waits for its time."""

from typing import Literal

import msgspec

Kind = Literal["event", "profile"]
"""Which of a source's two dataflows a record belongs to."""


class Record(msgspec.Struct, gc=False, omit_defaults=True):
    """One encoded payload on its way to a dataflow."""

    id: str  #: the payload's `_id`
    member: str  #: whose order it must keep
    body: bytes  #: the payload as JSON
    offset: int  #: the journal entry that caused it
    attempts: int = 0  #: how often it was refused alone
    first_ms: int = 0  #: when it was refused alone first
    dead_id: str = ""  #: the dead letter it is a replay of


LaneKey = tuple[str, Kind]
"""A source and one of its two dataflows: what is delivered, waits and lags by itself."""

Due = tuple[str, str, int]
"""(org id, customer id, journal offset): a member whose snapshot has to be sent; it is made when it is."""


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """What one portion leaves waiting for one dataflow, in order."""

    records: list[Record]
    due: list[Due]  #: sent after the records
    created: list[tuple[int, int]]  #: (received, createdAt) of its events, for the lag


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A segment as it lies in the outbox."""

    count: int  #: payloads and snapshots in it
    offset: int  #: the journal entry of the first
    oldest_ms: int  #: when its oldest webhook was received
    packed: bytes  #: the segment, compressed


class Parked(msgspec.Struct, frozen=True):
    """A payload that waits alone because only it was refused for now."""

    source_key: str
    kind: Kind
    due_ms: int
    reason: str
    record: Record


Part = Literal["event", "transactions", "profile"]
"""What of an event waits: all of it, its transaction payloads, or only a better profile."""


class Held(msgspec.Struct, frozen=True):
    """An event that waits for data of the Capillary API."""

    source_key: str
    offset: int
    received_ms: int
    body: bytes
    what: Part
    first_ms: int
    due_ms: int
    tries: int = 1


class Job(msgspec.Struct, frozen=True):
    """A command in progress."""

    command: bytes  #: as it stands in the journal
    asked_ms: int
    position: str  #: how far it is: the last dead letter or offset that was dealt with
