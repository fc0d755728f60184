"""What the steps of a translation hand to each other and to the relay."""

from collections.abc import Mapping, MutableMapping
from typing import Literal, final

import msgspec

from capstream.capillary.identities import Found
from capstream.capillary.records import MemberState, Operation
from capstream.kernel.json import Json

Key = tuple[str, str]
"""Org id, customer id."""

States = MutableMapping[Key, MemberState]
"""Member states by key. A lookup must find every stored state: a merged member leads to its survivor."""


Kind = Literal["C2", "C3", "C5", "C6", "C7"]


class ApiCall(msgspec.Struct, frozen=True):
    """One GET of Capillary's API."""

    kind: Kind
    org_id: str
    customer_id: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    required: bool = False  #: without its answer the event must not be translated

    @property
    def key(self) -> str:
        """Return the name under which `translate` looks for the answer: kind, org, and the bill (C7) or member."""
        subject = self.path.rpartition("/")[2] if self.kind == "C7" else self.customer_id
        return answer_key(self.kind, self.org_id, subject)


class Answered(msgspec.Struct, frozen=True):
    """The decoded body of an answer and the instant it describes (`X-Capstream-Time`, else its arrival)."""

    body: Json
    as_of_ms: int


class Failed(msgspec.Struct, frozen=True):
    """A call that gave no answer after all tries."""

    reason: str


Answers = Mapping[str, Answered | Failed]
"""ApiCall.key -> what came back. A call that was never made is simply missing."""


def answer_key(kind: str, org_id: str, subject: str) -> str:
    """Return the key of an answer."""
    return f"{kind}:{org_id}:{subject}"


class Reading(msgspec.Struct):
    """What answers say about a member: identities and attributes beside operations on the ledger, all as of the answer."""

    operations: list[Operation] = msgspec.field(default_factory=list)
    identities: Found = msgspec.field(default_factory=dict)
    attributes: dict[str, Json] = msgspec.field(default_factory=dict)
    custom: dict[str, str] = msgspec.field(default_factory=dict)
    extended: dict[str, str] = msgspec.field(default_factory=dict)
    joined: int | None = None
    tier_names: list[tuple[str, int, str]] = msgspec.field(default_factory=list)


class Payload(msgspec.Struct, frozen=True):
    """One record for the platform. `id` is its `_id`, `member` the customer id it belongs to."""

    id: str
    member: str
    body: dict[str, Json]


@final
class Translated(msgspec.Struct, frozen=True):
    """Payloads to send, and the members whose profile payload is due, in the order in which they must be sent."""

    transactions: list[Payload]
    touched: list[Key]
    learned: str | None = None  #: programme whose tier list became known: members that wait for it are due too (awaits_tier_list)
    deleted: list[Key] = []  #: members to enter in the privacy queue
    notes: list[str] = []  #: answers that could not be read, by kind and reason


@final
class Refused(msgspec.Struct, frozen=True):
    """The event is a dead letter of class `code`. `pointer` is the place in the event when one is known."""

    code: str
    reason: str
    pointer: str = ""


@final
class Skipped(msgspec.Struct, frozen=True):
    """The event stays in the journal and goes no further: UNMAPPED_EVENT, skipped_disabled, anonymous_bill."""

    reason: str


Outcome = Translated | Refused | Skipped
