"""What the platform made of a request, and of each record in it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """The record is durable on the other side."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The record will never be taken as it is."""

    status: int
    reason: str
    body: str = ""  #: what the platform answered
    code: str = "PLATFORM_REJECTED"  #: the class of the dead letter


@dataclass(frozen=True, slots=True)
class Later:
    """The record alone was refused for now."""

    status: int
    reason: str


Verdict = Delivered | Rejected | Later


DELIVERED = Delivered()

BEHIND = Later(0, "waits behind an event of the same member")
"""The record was not sent: it must not overtake one that was refused for now."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict for each record, in order."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Nothing is known about any record: send the whole request again."""

    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Halve:
    """The request was too much at once, or one record in it spoils it: send the halves; alone, a record gets `alone`."""

    alone: Rejected


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The token was refused: once more with another one, then pause."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The configuration is wrong or the flow is off: nobody is settled, a person has to look."""

    status: int
    reason: str
    retry_after_s: float | None = None


Answer = Judged | TryAgain | Halve | Unauthorised | Pause
