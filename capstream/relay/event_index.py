"""The index of received webhooks: who reads the journal for it, and how it is asked. Source: capillary.md 7.8 (inspect).

A process of its own (the clerk) follows the journal at low priority, so that neither receiving nor delivering is slowed. What
became of an event is not stored: it follows from the courier's books at the moment of the question.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from capstream.capillary.envelope import Unreadable
from capstream.capillary.normalise import normalise
from capstream.capillary.translate import members_of
from capstream.capillary.vocabulary import OF_ONE_MEMBER, UNMAPPED
from capstream.kernel.clock import rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads
from capstream.relay import dead_letters
from capstream.relay.drift import DriftBook
from capstream.relay.jobs import LATE_GONE
from capstream.relay.journal import Entry, Flag, decode
from capstream.relay.late_webhooks import late_among
from capstream.relay.ledger import read_cursor, read_held_offsets, read_parked_offsets, read_positions
from capstream.storage.ports import Documents, Facets, Index, Log, Row, Search

FACETS = Facets(sought=("source", "kind", "event_id", "member", "other_member"), beside=("org",))
_TAIL = 5000  # entries behind the index that a search reads in the journal itself
_AT_ONCE = 2000
_OUTCOMES = ("pending", "held", "parked", "dead", "discarded", "skipped", "erased", "processed")


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Which events are meant; what is not given does not matter."""

    source_key: str | None = None
    event_name: str | None = None
    event_id: str | None = None
    customer_id: str | None = None
    org_id: str | None = None  #: of Capillary; beside a member it is quick
    outcome: str | None = None  #: pending, held, parked, dead, discarded, skipped, erased or processed
    since_ms: int | None = None
    until_ms: int | None = None
    before: int | None = None  #: only offsets below this one: where the last page ended
    limit: int = 100


class _Identifiers(msgspec.Struct):
    customerId: int | None = None  # noqa: N815 - Capillary's spelling


class _Data(msgspec.Struct):
    customerIdentifiers: _Identifiers  # noqa: N815


class _Plain(msgspec.Struct):
    """An event as Capillary usually sends it, as far as the index needs it: a sixth of the time of reading it all."""

    eventName: str  # noqa: N815
    eventId: str  # noqa: N815
    orgId: int  # noqa: N815
    data: _Data
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_plain = msgspec.json.Decoder(_Plain).decode
_LEAST_ID = 6  # shorter ones may stand for "none"


def row_of(offset: int, entry: Entry) -> Row | None:
    """Return the index row of a journal entry; None for what is no webhook."""
    if entry.flags & (Flag.COMMAND | Flag.TALLY):
        return None
    if entry.flags & Flag.ERASED:
        return _bare_row(offset, entry)
    return _plain_row(offset, entry) or _any_row(offset, entry)


def _plain_row(offset: int, entry: Entry) -> Row | None:
    try:
        event = _plain(entry.body)
    except (JsonError, UnicodeDecodeError, RecursionError):
        return None
    customer, name, event_id = event.data.customerIdentifiers.customerId, event.eventName, event.eventId
    is_wrapped = event.attributes is not msgspec.UNSET or event.body is not msgspec.UNSET
    if is_wrapped or name not in OF_ONE_MEMBER or not customer or customer < 0 or len(event_id) < _LEAST_ID:
        return None
    if not event_id.isascii() or event_id.strip() != event_id or event.orgId <= 0:
        return None
    return Row(offset, entry.received_ms, (entry.source_key, name, event_id, str(customer), None, str(event.orgId)))


def _any_row(offset: int, entry: Entry) -> Row:
    event = normalise(entry.body, entry.received_ms)
    if isinstance(event, Unreadable):
        return _bare_row(offset, entry)
    customers = [customer for _, customer in members_of(event)][:2]
    first, second = [*customers, None, None][:2]
    return Row(offset, entry.received_ms, (entry.source_key, event.event_name, event.event_id, first, second, event.org_id))


def _bare_row(offset: int, entry: Entry) -> Row:
    return Row(offset, entry.received_ms, (entry.source_key, None, None, None, None, None))


def follow(journal: Log, index: Index, drift: DriftBook) -> int:
    """Bring up to a few thousand entries of the journal into the index, and look at their form; return how many there were."""
    entries = [(offset, decode(record)) for offset, record in journal.read(index.through(), _AT_ONCE)]
    if entries:
        drift.look(entries, is_behind=len(entries) == _AT_ONCE)
        changed = [found for _, entry in entries for found in _emptied(journal, entry)]
        rows = [row for offset, entry in entries + changed if (row := row_of(offset, entry)) is not None]
        index.add(rows, entries[-1][0])
    return len(entries)


def _emptied(journal: Log, entry: Entry) -> list[tuple[int, Entry]]:
    """Return the entries whose bodies went late, when an entry tells that they did: their rows have to say no more than they."""
    if not entry.flags & Flag.COMMAND or LATE_GONE.encode() not in entry.body:
        return []
    return [(offset, decode(record)) for offset in loads(entry.body).get("offsets", []) if (record := journal.get(offset))]


@dataclass(frozen=True, slots=True)
class EventBrowser:
    """Answers questions about received webhooks. Reads only."""

    journal: Log
    courier: Documents
    index: Index

    def find(self, wanted: EventQuery) -> Json:
        """Return a page of events, newest first, without bodies. `next` is the `before` of the following page.

        Errors: InputError when the question is unclear or takes too long.
        """
        if wanted.outcome not in (None, *_OUTCOMES):
            raise InputError("outcome", f"{wanted.outcome!r} is no outcome", f"known: {', '.join(_OUTCOMES)}")
        limit = max(1, min(wanted.limit, 1000))
        books = _Books(self.courier, self.journal)
        try:
            found, following = self._page(wanted, limit, books)
        except TimeoutError as error:
            raise InputError("query", "too many events would have to be looked at", "give a narrower time or a member") from error
        page: dict[str, Json] = {"events": found, "indexedThrough": self.index.through(), "journalEnd": self.journal.end()}
        return page | ({"next": following} if following else {})

    def _page(self, wanted: EventQuery, limit: int, books: "_Books") -> tuple[list[Json], int | None]:
        before = wanted.before or 2**62
        found: list[Json] = []
        for _ in range(50):  # pages looked at for one page of an outcome
            rows = self._rows(wanted, before, limit)
            outcomes = books.outcomes(rows)
            for row in rows:
                if wanted.outcome in (None, outcomes[row.offset]):
                    found.append(_shown(row, outcomes[row.offset]))
                before = row.offset
                if len(found) == limit:
                    return found, before
            if len(rows) < limit:
                return found, None
        return found, before

    def _rows(self, wanted: EventQuery, before: int, limit: int) -> list[Row]:
        facets = {
            "source": wanted.source_key,
            "kind": wanted.event_name,
            "event_id": wanted.event_id,
            "org": wanted.org_id,
        }
        given = {name: value for name, value in facets.items() if value is not None}
        rows: list[Row] = [row for row in self._tail() if row.offset < before and _matches(row, wanted, given)]
        found = {row.offset: row for row in rows}
        for more in self._members(wanted):
            search = Search(facets={**given, **more}, before=before, since_ms=wanted.since_ms, until_ms=wanted.until_ms)
            found |= {row.offset: row for row in self.index.find(search, limit)}
        return [found[offset] for offset in sorted(found, reverse=True)][:limit]

    def _members(self, wanted: EventQuery) -> Sequence[Mapping[str, str]]:
        if wanted.customer_id is None:
            return ({},)
        return ({"member": wanted.customer_id}, {"other_member": wanted.customer_id})

    def _tail(self) -> list[Row]:
        """Return the rows of the entries that the index does not have yet."""
        after = max(self.index.through(), self.journal.end() - _TAIL)
        entries = self.journal.read(after, _TAIL)
        return [row for offset, record in entries if (row := row_of(offset, decode(record))) is not None]

    def show(self, offset: int) -> Json | None:
        """Return one webhook with its body, headers and dead letters; None when the journal does not have it (any more)."""
        record = self.journal.get(offset)
        entry = decode(record) if record else None
        row = row_of(offset, entry) if entry else None
        if entry is None or row is None:
            return None
        books = _Books(self.courier, self.journal)
        letters = [
            dead_letters.get(self.courier, key) for key in dead_letters.between(self.courier, offset, offset).get(offset, [])
        ]
        return {
            **_shown(row, books.outcomes([row])[offset]),
            "headers": dict(line.split(": ", 1) for line in entry.headers.decode("latin-1").split("\n") if ": " in line),
            "body": _readable(entry.body),
            "deadLetters": [dead_letters.shown(letter, with_payload=False) for letter in letters if letter],
        }


def _shown(row: Row, outcome: str) -> Json:
    source, kind, event_id, member, other, org = row.facets
    named = {
        "sourceKey": source,
        "eventName": kind,
        "eventId": event_id,
        "orgId": org,
        "customerId": member,
        "otherCustomerId": other,
    }
    known = {name: value for name, value in named.items() if value is not None}
    return {"offset": row.offset, "receivedAt": rfc3339(row.at_ms), **known, "outcome": outcome}


def _readable(body: bytes) -> Json:
    try:
        return loads(body)
    except (JsonError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")


def _matches(row: Row, wanted: EventQuery, facets: Mapping[str, str]) -> bool:
    have = dict(zip(FACETS.names, row.facets, strict=True))
    return (
        all(have[name] == value for name, value in facets.items())
        and wanted.customer_id in (None, have["member"], have["other_member"])
        and (wanted.since_ms is None or row.at_ms >= wanted.since_ms)
        and (wanted.until_ms is None or row.at_ms < wanted.until_ms)
    )


class _Books:
    """What the courier's books say about events now."""

    def __init__(self, courier: Documents, journal: Log) -> None:
        self._courier = courier
        self._journal = journal
        self._cursor = read_cursor(courier)
        self._parked = read_parked_offsets(courier)
        self._held = read_held_offsets(courier)
        self._behind: dict[str, int] = {}  # by source, how far the slower of its dataflows is
        for name, position in read_positions(courier).items():
            source_key = name.rpartition("/")[0]
            self._behind[source_key] = min(position, self._behind.get(source_key, position))

    def outcomes(self, rows: Sequence[Row]) -> dict[int, str]:
        """Return what became of each row: of several things that happened, what a person has to know first."""
        offsets = [row.offset for row in rows]
        dead, discarded = self._among(offsets, discarded=False), self._among(offsets, discarded=True)
        erased = late_among(self._courier, offsets) | {row.offset for row in rows if self._is_empty(row)}
        known = {"dead": dead, "held": self._held, "parked": self._parked, "discarded": discarded, "erased": erased}
        return {row.offset: self._outcome(row, known) for row in rows}

    def _is_empty(self, row: Row) -> bool:
        """Return whether a body was taken out; a row that names an event has one."""
        record = None if row.facets[1] else self._journal.get(row.offset)
        return record is not None and bool(decode(record).flags & Flag.ERASED)

    def _among(self, offsets: Sequence[int], *, discarded: bool) -> set[int]:
        if not offsets:
            return set()
        first, last = min(offsets), max(offsets)
        if last - first <= 10 * len(offsets) + 1000:
            return set(dead_letters.between(self._courier, first, last, discarded=discarded))
        return {each for each in offsets if dead_letters.between(self._courier, each, each, discarded=discarded)}

    def _outcome(self, row: Row, known: Mapping[str, Collection[int]]) -> str:
        for outcome, offsets in known.items():
            if row.offset in offsets:
                return outcome
        if row.offset > min(self._cursor, self._behind.get(str(row.facets[0]), self._cursor)):
            return "pending"
        kind = row.facets[1]
        return "skipped" if kind in UNMAPPED else "processed"
