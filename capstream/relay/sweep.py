"""A sweep: some members whose data has to go, on its way through the relay's stores. Source: capillary.md 7.8.

Each store is changed by the process that writes it, and each step can be done twice. The gateway leads: it keeps the sweep in
`admin.db`, takes bodies out of the journal (`eraser.py`) and orders the courier, by a command in the journal, to clear its books
(`book_erasure.py`). The clerk looks through the journal and clears the index (`journal_search.py`); what it found lies in
`erasing.db`.
"""

from typing import Literal

import msgspec

from capstream.kernel.json import Json
from capstream.storage.ports import Documents, Reading, Transaction

_SWEEP, _ASKED, _FOUND = "sweep", "erasures_asked", "found"
_CURRENT, _LAST = "current", "last"

Step = Literal["search", "redact", "books", "search_rest", "redact_rest"]
"""What is being done. `books` is the courier's; the rest is what came while it was underway."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a sweep: why, and who asked when; `who` is empty where the webhook of a deletion did."""

    org_id: str
    customer_id: str
    reason: str
    who: str = ""
    address: str = ""
    at_ms: int = 0

    @property
    def name(self) -> str:
        """`org/customer`."""
        return f"{self.org_id}/{self.customer_id}"


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep, as `admin.db` has it. Entries behind `after` up to `through` are what the present step is about."""

    id: int
    members: list[Asked]
    step: Step
    through: int
    after: int = 0
    command: int = 0  #: offset of the order to the courier
    journal: dict[str, int] = {}  #: by member, entries whose bodies went
    index_rows: dict[str, int] = {}


class Find(msgspec.Struct, kw_only=True):
    """What the clerk found in the journal for a step of a sweep."""

    position: int
    offsets: list[int] = []
    counts: dict[str, int] = {}
    index_rows: dict[str, int] = {}
    is_done: bool = False


_encode = msgspec.json.Encoder().encode
_sweep = msgspec.json.Decoder(Sweep).decode
_asked = msgspec.json.Decoder(Asked).decode
_find = msgspec.json.Decoder(Find).decode


def read_sweep(office: Reading) -> Sweep | None:
    """Return the sweep that is underway."""
    body = office.get(_SWEEP, _CURRENT)
    return _sweep(body) if body else None


def keep(transaction: Transaction, sweep: Sweep) -> None:
    """Store how far a sweep is; who asked is kept with it from now on."""
    transaction.put(_SWEEP, [(_CURRENT, _encode(sweep)), (_LAST, b"%d" % sweep.id)])
    transaction.delete(_ASKED, [each.name for each in sweep.members])


def end(transaction: Transaction) -> None:
    """Note that the sweep is over."""
    transaction.delete(_SWEEP, [_CURRENT])


def last_begun_ms(office: Reading) -> int:
    """Return when the newest sweep was begun, 0 when there was none."""
    return int(office.get(_SWEEP, _LAST) or 0)


def ask(transaction: Transaction, asked: Asked) -> None:
    """Keep what a person asked for until a sweep takes it along."""
    transaction.put(_ASKED, [(asked.name, _encode(asked))])


def read_asked(office: Reading, limit: int | None) -> list[Asked]:
    """Return what people asked for and no sweep has taken along yet."""
    return [_asked(body) for _, body in office.scan(_ASKED, limit=limit)]


def read_find(finds: Reading, sweep: Sweep) -> Find | None:
    """Return what was found so far for the present step of a sweep."""
    body = finds.get(_FOUND, _place(sweep))
    return _find(body) if body else None


def note_find(finds: Documents, sweep: Sweep, find: Find) -> None:
    """Store what was found so far."""
    with finds.transaction() as transaction:
        transaction.put(_FOUND, [(_place(sweep), _encode(find))])


def forget_finds(finds: Documents) -> None:
    """Forget what was found for sweeps that are over."""
    if old := [key for key, _ in finds.scan(_FOUND)]:
        with finds.transaction() as transaction:
            transaction.delete(_FOUND, old)


def told(sweep: Sweep | None) -> Json:
    """Return a sweep for people: which step, how many members."""
    return {"step": sweep.step, "members": len(sweep.members), "sinceMs": sweep.id} if sweep else None


def _place(sweep: Sweep) -> str:
    return f"{sweep.id}-{sweep.after}-{sweep.through}"
