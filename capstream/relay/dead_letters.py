"""What could not be delivered and why, kept until a person replays or discards it. Source: capillary.md 7.8."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json, JsonError, loads
from capstream.relay.answers import Rejected
from capstream.relay.records import Kind, Record
from capstream.storage.ports import Reading, Transaction

COLLECTION = "dead"
_DISCARDED = "discarded"  # `offset/id`, with who gave the letter up and why
_BY_OFFSET = "dead_at"  # `offset/id`, so that the letters of a webhook are found


class DeadClass(StrEnum):
    """Classes the relay itself gives; the translation adds those of `capillary.translate`."""

    TOO_LARGE = "TOO_LARGE"  #: the webhook's body exceeded the limit, only its beginning was kept
    INVALID_BODY = "INVALID_BODY"  #: no readable event
    CONFLICTING_DUPLICATE = "CONFLICTING_DUPLICATE"  #: an event id that was seen before with other data
    UNKNOWN_SOURCE = "UNKNOWN_SOURCE"  #: its source was removed before the event was delivered
    ENRICHMENT_FAILED = "ENRICHMENT_FAILED"  #: required data did not come from the Capillary API
    GIVEN_UP = "GIVEN_UP"  #: parked, refused again and again, until a person gave it up; only among the discarded
    OVERSIZED_RECORD = "OVERSIZED_RECORD"  #: Profile would drop a record of this size without a word
    PLATFORM_REJECTED = "PLATFORM_REJECTED"  #: the platform will never take this record as it is
    TRANSLATION_BUG = "TRANSLATION_BUG"  #: the translation raised; the event is kept for a replay after a fix


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One dead letter. Without `flow` it is a whole event (`payload` = the webhook's body), else one payload of it."""

    id: str
    journal_offset: int
    source_key: str
    class_: str = msgspec.field(name="class")
    reason: str
    first_seen: int  #: epoch milliseconds
    attempts: int = 1
    pointer: str | None = None
    event_name: str | None = None
    event_id: str | None = None
    customer_id: str | None = None
    last_status: int | None = None
    last_body: str | None = None
    flow: Kind | None = None
    payload_id: str | None = None
    member: str | None = None
    payload: bytes = b""


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter a person gave up. It is kept, so that a mistake can be seen and the event be replayed from the journal."""

    letter: DeadLetter
    reason: str
    who: str
    at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(DeadLetter)
_discarded = msgspec.msgpack.Decoder(Discarded).decode

encode = _encode
"""Return the bytes of a DeadLetter for the store."""

decode = _decoder.decode
"""Return the DeadLetter of store bytes."""


def letter_id(first_seen_ms: int, offset: int, *, kind: Kind | None = None, index: int = 0) -> str:
    """Return an id that sorts by time and is the same when the same failure is found again after a crash."""
    return f"{first_seen_ms:013d}-{offset}-{kind or 'webhook'}-{index}"


def of_payload(record: Record, verdict: Rejected, *, source_key: str, kind: Kind, now_ms: int) -> DeadLetter:
    """Return the dead letter of a payload the platform rejected."""
    about = _about(record.body)
    return DeadLetter(
        id=record.dead_id or letter_id(record.first_ms or now_ms, record.offset, kind=kind, index=_short(record.id)),
        journal_offset=record.offset,
        source_key=source_key,
        class_=verdict.code,
        reason=verdict.reason,
        first_seen=record.first_ms or now_ms,
        attempts=record.attempts + 1,
        event_name=about.get("eventName"),
        event_id=about.get("eventId"),
        customer_id=about.get("customerId"),
        last_status=verdict.status or None,
        last_body=verdict.body or None,
        flow=kind,
        payload_id=record.id,
        member=record.member,
        payload=record.body,
    )


def _short(payload_id: str) -> int:
    """Return a small number that tells the payloads of one entry apart, the same in every process."""
    return sum((index + 1) * byte for index, byte in enumerate(payload_id.encode())) % 1_000_000


def _about(payload: bytes) -> dict[str, str]:
    try:
        content = loads(payload)
    except (JsonError, RecursionError):
        return {}
    about = content.get("capillary", {}) if isinstance(content, dict) else {}
    last = about.get("lastEvent", {})
    found = {
        "eventName": about.get("eventName") or last.get("name"),
        "eventId": about.get("eventId") or last.get("id"),
        "customerId": about.get("customerId"),
    }
    return {name: str(value) for name, value in found.items() if value}


def shown(letter: DeadLetter, *, with_payload: bool) -> Json:
    """Return the dead letter as JSON for people; times as RFC 3339, the payload as JSON when it is JSON."""
    view: dict[str, Json] = msgspec.to_builtins(letter)
    view["firstSeen"] = rfc3339(letter.first_seen)
    view["attempts"] = letter.attempts
    view.pop("payload", None)
    if with_payload:
        try:
            view["payload"] = loads(letter.payload)
        except (JsonError, UnicodeDecodeError, RecursionError):
            view["payload"] = letter.payload.decode(errors="replace")
    return view


class Filter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Which dead letters are meant; what is not given does not matter."""

    ids: list[str] | None = None
    class_: str | None = msgspec.field(name="class", default=None)
    source_key: str | None = None
    event_name: str | None = None
    customer_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Return whether `letter` is meant."""
        wanted = (
            (self.class_, letter.class_),
            (self.source_key, letter.source_key),
            (self.event_name, letter.event_name),
            (self.customer_id, letter.customer_id),
        )
        return (
            all(want is None or want == have for want, have in wanted)
            and (self.since_ms is None or letter.first_seen >= self.since_ms)
            and (self.until_ms is None or letter.first_seen < self.until_ms)
            and (self.ids is None or letter.id in self.ids)
        )


def find(store: Reading, wanted: Filter, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
    """Return up to `limit` dead letters that `wanted` matches, oldest first, beyond the id `after`."""
    if wanted.ids is not None:
        bodies = store.get_many(COLLECTION, [key for key in wanted.ids if key > after])
        letters = (decode(bodies[key]) for key in sorted(bodies))
        return [letter for letter in letters if wanted.matches(letter)][:limit]
    found: list[DeadLetter] = []
    while len(found) < limit:
        items = store.scan(COLLECTION, after=after, limit=500)
        if not items:
            break
        after = items[-1][0]
        found += [letter for _, body in items if wanted.matches(letter := decode(body))]
    return found[:limit]


def keep(transaction: Transaction, letters: Iterable[DeadLetter]) -> None:
    """Store letters; one that was there before is replaced."""
    listed = list(letters)
    if listed:
        transaction.put(COLLECTION, [(letter.id, encode(letter)) for letter in listed])
        transaction.put(_BY_OFFSET, [(_place(letter.id), b"") for letter in listed])


def give_up(transaction: Transaction, discarded: Iterable[Discarded]) -> None:
    """Keep what was given up apart from what is dead."""
    listed = [(_place(each.letter.id), _encode(each)) for each in discarded]
    if listed:
        transaction.put(_DISCARDED, listed)


def find_discarded(store: Reading, *, before: str = "", limit: int = 100) -> list[tuple[str, Discarded]]:
    """Return what was given up, newest webhook first, with the place to go on from."""
    return [(key, _discarded(body)) for key, body in store.scan(_DISCARDED, after=before, limit=limit, reverse=True)]


def forget_discarded(transaction: Transaction, keys: Iterable[str]) -> None:
    """Forget what was given up, by the places that `find_discarded` tells."""
    transaction.delete(_DISCARDED, keys)


def drop(transaction: Transaction, keys: Iterable[str]) -> None:
    """Forget letters."""
    listed = list(keys)
    if listed:
        transaction.delete(COLLECTION, listed)
        transaction.delete(_BY_OFFSET, [_place(key) for key in listed])


def index_all(transaction: Transaction) -> None:
    """Make the index by offset anew, for stores that were made without one."""
    after = ""
    while items := transaction.scan(COLLECTION, after=after, limit=1000):
        after = items[-1][0]
        transaction.put(_BY_OFFSET, [(_place(key), b"") for key, _ in items])


def _place(key: str) -> str:
    return f"{int(key.split('-')[1]):016d}/{key}"


def between(store: Reading, first: int, last: int, *, discarded: bool = False) -> dict[int, list[str]]:
    """Return the ids of letters by the offset of their webhook, for offsets from `first` to `last`; or of discarded ones."""
    collection = _DISCARDED if discarded else _BY_OFFSET
    found: dict[int, list[str]] = {}
    after = f"{first:016d}"
    while items := store.scan(collection, after=after, limit=1000):
        for place, _ in items:
            offset, _, key = place.partition("/")
            if int(offset) > last:
                return found
            found.setdefault(int(offset), []).append(key)
        after = items[-1][0]
    return found


def get(store: Reading, key: str) -> DeadLetter | None:
    """Return one dead letter, or None."""
    body = store.get(COLLECTION, key)
    return decode(body) if body else None
