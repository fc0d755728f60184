"""What is kept about members and programmes, as MessagePack arrays.

New fields go to the end, with a default: older and newer versions stay readable. None can hold itself (`gc=False`).
"""

import msgspec

from capstream.kernel.json import Json


class Lot(msgspec.Struct, array_like=True, gc=False):
    """Points that expire together."""

    day: str
    points: int
    bill: str | None = None
    promotion: str | None = None


class Taken(msgspec.Struct, array_like=True, gc=False):
    """What one redemption took, in the order of taking."""

    redemption: str
    lots: list[Lot]


class Schedule(msgspec.Struct, array_like=True, gc=False):
    """Lots in ascending order of day, what redemptions took from them, and whether a step had to guess."""

    lots: list[Lot] = msgspec.field(default_factory=list)
    taken: list[Taken] = msgspec.field(default_factory=list)
    guessed: bool = False


Operation = list[Json]


class Account(msgspec.Struct, array_like=True, gc=False):
    """One programme of one member."""

    points: int | None = None
    lifetime: int | None = None
    redeemed: int | None = None
    expired: int | None = None
    returned: int | None = None
    adjusted: int | None = None
    promised: int | None = None
    tier: int | None = None
    tier_expiry: str | None = None
    tier_upgraded: str | None = None
    schedule: Schedule = msgspec.field(default_factory=Schedule)
    stated: dict[int, int] = msgspec.field(default_factory=dict)  #: balance index (7: tier) -> time of its last statement


class Ledger(msgspec.Struct, array_like=True, gc=False):
    """Everything countable about one member."""

    accounts: dict[str, Account] = msgspec.field(default_factory=dict)
    purchases: int | None = None
    zero: bool = False  #: started at zero: what no event has stated is 0, not unknown
    seeded: bool = False  #: the counters rest on a zero seed or on an answer of Capillary's API
    zero_at: int = -1
    purchases_at: int = -1  #: time of the last statement of the purchases


class Book(msgspec.Struct, array_like=True, gc=False):
    """The ledgers folded together: the member's own under the empty name, others until they are absorbed."""

    ledgers: dict[str, Ledger] = msgspec.field(default_factory=dict)
    absorbed: dict[str, str] = msgspec.field(default_factory=dict)  #: merged member -> the owner it went into


class Fact(msgspec.Struct, array_like=True, gc=False):
    """What one event or API answer says about a member, kept so that late arrivals can be put in their place."""

    at: int  #: `createdAt`, or the time of an API answer
    log_id: int | None
    event_id: str
    owner: str  #: empty for the member itself, else the id of a member merged into it
    received: int
    operations: list[Operation]


Register = tuple[Json, int, str]
"""A value (None: stated to be absent), the time of the event that stated it, and that event's id."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A coupon or a badge. `at` is the newest time anything was said about it; facts are name, series, start, end, value."""

    id: str
    at: int
    facts: dict[str, Register] = msgspec.field(default_factory=dict)
    redeemed: bool = False


class MemberState(msgspec.Struct, array_like=True, gc=False):
    """One member of one organisation. New fields go to the end, with a default: older and newer versions stay readable."""

    format: int = 1
    version: int = 0  #: number of accepted facts; grows with every one
    as_of: int = 0  #: newest event or API answer in the snapshot
    last_at: int = 0
    last_name: str = ""
    last_id: str = ""
    identities: dict[str, Register] = msgspec.field(default_factory=dict)
    attributes: dict[str, Register] = msgspec.field(default_factory=dict)
    custom: dict[str, Register] = msgspec.field(default_factory=dict)
    extended: dict[str, Register] = msgspec.field(default_factory=dict)
    joined: int | None = None  #: earliest registration
    first: dict[str, int] = msgspec.field(default_factory=dict)  #: owner -> time of its earliest event
    book: Book = msgspec.field(default_factory=Book)
    log: bytes = b""  #: facts as MessagePack, ascending by time
    log_count: int = 0
    log_at: int = 0  #: time of the last fact in the log
    log_since: int = 0  #: arrival of its first fact
    base: bytes = b""  #: the Book before the log's first fact; empty: nothing
    base_at: int = -1  #: time of the last fact in it
    merged_into: Register | None = None
    merged: dict[str, dict[str, Register]] = msgspec.field(default_factory=dict)  #: absorbed member -> its identities
    coupons: list[Entry] = msgspec.field(default_factory=list)
    badges: list[Entry] = msgspec.field(default_factory=list)
    folded: bytes = b""  #: time and digest of facts in the checkpoint, ascending: those that left the log for want of room
    closed_at: int = -1  #: facts up to here are no longer told apart, so none is taken any more
    sealed: int = 0  #: how many parts of the log, the oldest, are kept apart; `log` has what came after them
    opened: int = 0  #: number of the first of them: those before were folded into the checkpoint
    counts: list[int] = msgspec.field(default_factory=list)  #: facts in each; too few when some were never counted
    names_opened: int = 0  #: number of the first part of `folded` that is kept apart
    name_parts: bytes = b""  #: of each part how many names it has (2 bytes), and the time of its last one (8)


class Program(msgspec.Struct, array_like=True, gc=False):
    """One programme. A tier list is complete; names learnt one by one stand beside it."""

    id: str
    name: str | None = None
    is_default: bool | None = None
    ratio: int | float | None = None
    tiers: dict[int, str] = msgspec.field(default_factory=dict)
    stamps: dict[str, int] = msgspec.field(default_factory=dict)
    single_names: dict[int, tuple[int, str]] = msgspec.field(default_factory=dict)  #: tier -> (time of the answer, name)

    def tier_name(self, tier: int) -> str | None:
        """Return the name of a tier number."""
        found = self.tiers.get(tier)
        if found is None:
            single = self.single_names.get(tier)
            return None if single is None else single[1]
        return found

    def base_tier(self) -> int | None:
        """Return the smallest tier number, None while the list is unknown."""
        return min(self.tiers) if self.tiers else None
