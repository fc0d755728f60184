"""What the courier remembers, in `courier.db`: everything one batch changes is written in one transaction, cursor included."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.json import Json, dumps, loads
from capstream.relay import dead_letters, privacy
from capstream.relay.dead_letters import DeadLetter
from capstream.relay.delivery import Health
from capstream.relay.late_webhooks import forget_late, note_late
from capstream.relay.records import Held, Job, Kind, Parked, Stored
from capstream.relay.settlement import CountKey, Settlement, Tally
from capstream.storage.ports import Documents, Reading, Shreddable, Transaction

_META, _STATES, _PARKED, _HELD, _JOBS, _COUNTERS, _HEALTH = "meta", "states", "parked", "held", "jobs", "counters", "health"
_AWAITING, _TOKENS, _OUTBOX, _LANES = "awaiting", "tokens", "outbox", "lanes"
_LOGS = "logs"
_UNCLEAN = "to_be_cleaned"
_PAGE = 500


_encode = msgspec.msgpack.Encoder().encode
_parked = msgspec.msgpack.Decoder(Parked).decode
_held = msgspec.msgpack.Decoder(Held).decode
_stored = msgspec.msgpack.Decoder(Stored).decode
_job = msgspec.msgpack.Decoder(Job).decode


def parked_key(source_key: str, kind: Kind, payload_id: str) -> str:
    """Return the key under which a payload is parked: a newer payload with the same `_id` takes its place."""
    return f"{source_key}/{kind}/{payload_id}"


def log_part_key(member: str, number: int) -> str:
    """Return the key of a sealed part of a member's log."""
    return f"{member}/{number:06d}"


def name_part_key(member: str, number: int) -> str:
    """Return the key of a sealed part of the names of a member's folded facts."""
    return f"{member}/names/{number:06d}"


def held_key(offset: int) -> str:
    """Return the key under which the event of a journal entry is held."""
    return f"{offset:016d}"


class Ledger:
    """Reads and settles. The courier alone writes."""

    def __init__(self, documents: Shreddable, clock: Clock = system_clock) -> None:
        self.documents = self._documents = documents
        self._clock = clock

    def cursor(self) -> int:
        """Return the offset up to which the journal is settled."""
        return read_cursor(self._documents)

    def programs(self) -> bytes | None:
        """Return what is known about loyalty programmes."""
        return self._documents.get(_META, "programs")

    def states(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the member states that exist under `keys`."""
        return self._documents.get_many(_STATES, keys)

    def log_parts(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the sealed parts of member logs under `keys` (see `log_part_key`, `name_part_key`)."""
        return self._documents.get_many(_LOGS, keys)

    def parked_lanes(self) -> list[str]:
        """Return the dataflows (`source/flow`) of which payloads are parked."""
        found: list[str] = []
        after = ""
        while page := self._documents.scan(_PARKED, after=after, limit=1):
            found.append("/".join(page[0][0].split("/", 2)[:2]))
            after = f"{found[-1]}/\U0010ffff"
        return found

    def parked_items(self, prefix: str = "") -> Iterator[tuple[str, Parked]]:
        """Return the parked payloads of a dataflow (`source/flow/`) in the order of their keys, a page in memory at a time."""
        after = ""
        while page := self._documents.scan(_PARKED, prefix=prefix, after=after, limit=_PAGE):
            yield from ((key, _parked(body)) for key, body in page)
            after = page[-1][0]

    def parked(self, keys: Sequence[str]) -> dict[str, Parked]:
        """Return the parked payloads under `keys`."""
        return {key: _parked(body) for key, body in self._documents.get_many(_PARKED, keys).items()}

    def outbox(self, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, Stored]]:
        """Return the oldest stored segments of a dataflow (`source/flow/`) behind a key."""
        return [(key, _stored(body)) for key, body in self._documents.scan(_OUTBOX, prefix=prefix, after=after, limit=limit)]

    def outbox_bytes(self, keys: Sequence[str]) -> int:
        """Return the disk that the segments under `keys` take, but for what is around them."""
        return sum(len(_stored(body).packed) for body in self._documents.get_many(_OUTBOX, keys).values())

    def outbox_ends(self, prefix: str) -> tuple[Stored | None, int]:
        """Return the oldest stored segment of a dataflow, and the number of its newest; None and 0 when there is none."""
        first = self.outbox(prefix, limit=1)
        last = self._documents.scan(_OUTBOX, prefix=prefix, limit=1, reverse=True)
        return (first[0][1], int(last[0][0].rpartition("/")[2])) if first and last else (None, 0)

    def lanes(self) -> dict[str, Json]:
        """Return the dataflows that are behind, under `source/flow`."""
        return read_lanes(self._documents)

    def lane(self, name: str) -> Json:
        """Return how far one dataflow is behind; empty when it is not."""
        body = self._documents.get(_LANES, name)
        return loads(body) if body else {}

    def parked_page(self, *, after: str, limit: int) -> list[tuple[str, Parked]]:
        """Return parked payloads behind a key, in the order of keys."""
        return read_parked(self._documents, after=after, limit=limit)

    def held(self, keys: Sequence[str]) -> dict[str, Held]:
        """Return the held events under `keys`."""
        return {key: _held(body) for key, body in self._documents.get_many(_HELD, keys).items()}

    def held_due(self) -> dict[str, int]:
        """Return when each held event is tried again, in epoch milliseconds."""
        return {key: _held(body).due_ms for key, body in self._documents.scan(_HELD)}

    def jobs(self) -> dict[str, Job]:
        """Return the jobs in progress, oldest first."""
        return read_jobs(self._documents)

    def awaiting(self) -> set[str]:
        """Return the members (`source/org/customer`) whose tier waits for a tier list."""
        return {key for key, _ in self._documents.scan(_AWAITING)}

    def dead(self, wanted: dead_letters.Filter, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        return dead_letters.find(self._documents, wanted, after=after, limit=limit)

    def settle(self, settlement: Settlement) -> None:
        """Write all of it, durably, or nothing. Errors: StorageUnavailable."""
        with self._documents.transaction() as transaction:
            _put(transaction, _STATES, settlement.states)
            _drop(transaction, _LOGS, settlement.joined_parts)
            _put(transaction, _LOGS, settlement.log_parts.items())
            _put(transaction, _PARKED, ((key, _encode(value)) for key, value in settlement.parked.items()))
            _drop(transaction, _PARKED, settlement.unparked - settlement.parked.keys())
            for lane in settlement.outbox.values():
                _put(transaction, _OUTBOX, ((key, _encode(value)) for key, value in lane.items()))
            for sent in settlement.sent.values():
                _drop(transaction, _OUTBOX, sent)
            _put(transaction, _LANES, ((name, told) for name, told in settlement.lanes.items() if told))
            _drop(transaction, _LANES, [name for name, told in settlement.lanes.items() if not told])
            _put(transaction, _HELD, ((key, _encode(value)) for key, value in settlement.held.items()))
            _drop(transaction, _HELD, settlement.released - settlement.held.keys())
            _put(transaction, _JOBS, ((key, _encode(value)) for key, value in settlement.jobs.items()))
            _drop(transaction, _JOBS, settlement.jobs_done)
            dead_letters.keep(transaction, settlement.dead.values())
            dead_letters.give_up(transaction, settlement.discarded.values())
            dead_letters.drop(transaction, settlement.revived - settlement.dead.keys())
            _put(transaction, _AWAITING, ((key, b"") for key, waits in settlement.awaiting.items() if waits))
            _drop(transaction, _AWAITING, [key for key, waits in settlement.awaiting.items() if not waits])
            if settlement.privacy:
                privacy.ask(transaction, settlement.privacy)
            if settlement.late:
                note_late(transaction, settlement.late)
            if settlement.late_gone:
                forget_late(transaction, settlement.late_gone)
            add_counts(transaction, settlement.counts)
            if settlement.programs is not None:
                transaction.put(_META, [("programs", settlement.programs)])
            if settlement.cursor is not None:
                transaction.put(_META, [("cursor", str(settlement.cursor).encode())])

    def report_health(self, source_key: str, kind: Kind, health: Health) -> None:
        """Store how a dataflow is doing."""
        facts = {"state": health.state, "reason": health.reason, "sinceMs": health.since_ms, "failures": health.failures}
        with self._documents.transaction() as transaction:
            transaction.put(_HEALTH, [(f"{source_key}/{kind}", dumps(facts))])

    def report_token(self, client_id: str, expires_ms: int, reason: str) -> None:
        """Store how the last try to get a token ended: when it expires, or since when and why there is none."""
        held = read_tokens(self._documents).get(client_id, {})
        since = held.get("failingSinceMs") or self._clock()
        facts = {**held, "failingSinceMs": since, "reason": reason} if reason else {"expiresMs": expires_ms}
        with self._documents.transaction() as transaction:
            transaction.put(_TOKENS, [(client_id, dumps(facts))])


def _put(transaction: Transaction, collection: str, items: Iterable[tuple[str, bytes]]) -> None:
    listed = list(items)
    if listed:
        transaction.put(collection, listed)


def _drop(transaction: Transaction, collection: str, keys: Iterable[str]) -> None:
    listed = list(keys)
    if listed:
        transaction.delete(collection, listed)


def add_counts(transaction: Transaction, counts: Mapping[CountKey, Tally]) -> None:
    """Add to the counters of sources and days."""
    for (source_key, day), tally in counts.items():
        key = f"{source_key}/{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"
        body = transaction.get(_COUNTERS, key)
        sums: Counter[str] = Counter(loads(body)) if body else Counter()
        sums.update(tally.counts)
        transaction.put(_COUNTERS, [(key, dumps(dict(sums)))])


def read_cursor(store: Reading) -> int:
    """Return the offset up to which the journal is settled; for any process that reads `courier.db`."""
    body = store.get(_META, "cursor")
    return int(body) if body else 0


def read_lanes(store: Reading) -> dict[str, Json]:
    """Return the dataflows that are behind the cursor, under `source/flow`.

    `waiting`: payloads in their outbox; `bytes`: what it takes; `offset`: the journal entry of the oldest; `oldestMs`: when
    that was received; `sinceMs`: since when the dataflow is behind.
    """
    return {name: loads(body) for name, body in store.scan(_LANES)}


def read_positions(store: Reading) -> dict[str, int]:
    """Return, for dataflows that are behind, the offset up to which everything of theirs is delivered or a dead letter."""
    return {name: int(lane["offset"]) - 1 for name, lane in read_lanes(store).items()}


def read_counters(store: Reading) -> dict[str, dict[str, Counter[str]]]:
    """Return the counters by source key and day."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for key, body in store.scan(_COUNTERS):
        source_key, _, day = key.rpartition("/")
        found.setdefault(source_key, {})[day] = Counter(loads(body))
    return found


def read_health(store: Reading) -> dict[str, Json]:
    """Return how the dataflows are doing, under `source/flow`."""
    return {key: loads(body) for key, body in store.scan(_HEALTH)}


def read_jobs(store: Reading) -> dict[str, Job]:
    """Return the jobs in progress, oldest first; for any process that reads `courier.db`."""
    return {key: _job(body) for key, body in store.scan(_JOBS)}


def read_held_offsets(store: Reading) -> set[int]:
    """Return the journal offsets of the events that are held."""
    return {int(key) for key, _ in store.scan(_HELD)}


def read_parked(
    store: Reading, *, after: str = "", limit: int = 100, keys: Sequence[str] | None = None
) -> list[tuple[str, Parked]]:
    """Return parked payloads in the order of their keys, or those under `keys`; for any process that reads `courier.db`."""
    found = store.scan(_PARKED, after=after, limit=limit) if keys is None else sorted(store.get_many(_PARKED, keys).items())
    return [(key, _parked(body)) for key, body in found]


def read_held(store: Reading) -> list[tuple[str, Held]]:
    """Return the events that wait for data of the Capillary API."""
    return [(key, _held(body)) for key, body in store.scan(_HELD)]


def read_outbox(
    store: Reading, *, prefix: str = "", after: str = "", limit: int = 16, keys: Sequence[str] | None = None
) -> list[tuple[str, Stored]]:
    """Return segments of outboxes in the order of their keys, or those under `keys`."""
    found = (
        store.scan(_OUTBOX, prefix=prefix, after=after, limit=limit) if keys is None else store.get_many(_OUTBOX, keys).items()
    )
    return [(key, _stored(body)) for key, body in found]


def weigh_outboxes(transaction: Transaction) -> None:
    """Note what the outboxes take, of a folder that does not say."""
    for name, body in transaction.scan(_LANES):
        after, taken = "", 0
        while page := read_outbox(transaction, prefix=f"{name}/", after=after):
            after = page[-1][0]
            taken += sum(len(stored.packed) for _, stored in page)
        transaction.put(_LANES, [(name, dumps({**loads(body), "bytes": taken}))])


def replace_segments(transaction: Transaction, changes: Iterable[tuple[str, Stored, Stored | None]]) -> None:
    """Put segments in place of others, or of None nothing; their lanes tell what waits then. With no lane at work alone."""
    lanes: dict[str, Counter[str]] = {}
    for key, old, new in changes:
        lost = lanes.setdefault(key.rpartition("/")[0], Counter())
        lost["waiting"] += old.count - (new.count if new else 0)
        lost["bytes"] += len(old.packed) - (len(new.packed) if new else 0)
        _put(transaction, _OUTBOX, [(key, _encode(new))] if new else ())
        _drop(transaction, _OUTBOX, () if new else [key])
    for name, lost in lanes.items():
        head = transaction.scan(_OUTBOX, prefix=f"{name}/", limit=1)
        body = transaction.get(_LANES, name)
        if not head or body is None:
            _drop(transaction, _LANES, [name])
            continue
        lane, first = loads(body), _stored(head[0][1])
        sums = {each: max(int(lane.get(each, 0)) - lost[each], 0) for each in lost}
        transaction.put(_LANES, [(name, dumps({**lane, **sums, "offset": first.offset, "oldestMs": first.oldest_ms}))])


def erase_members(
    transaction: Transaction, names: Collection[str], *, parked: Sequence[str], held: Sequence[str], job: str
) -> set[str]:
    """Delete the states of members (`org/customer`) and what waits under the keys, and the job that said so.

    Returns whose state there was. With nothing on its way alone.
    """
    there = set(transaction.get_many(_STATES, list(names)))
    _drop(transaction, _STATES, there)
    for name in there:
        _drop(transaction, _LOGS, [key for key, _ in transaction.scan(_LOGS, prefix=f"{name}/")])
    _drop(transaction, _PARKED, parked)
    _drop(transaction, _HELD, held)
    _drop(transaction, _AWAITING, [key for key, _ in transaction.scan(_AWAITING) if key.partition("/")[2] in names])
    _drop(transaction, _JOBS, [job] if job else [])
    transaction.put(_META, [(_UNCLEAN, b"")])
    return there


def is_to_be_cleaned(store: Reading) -> bool:
    """Return whether free space and the WAL may hold what an erasure took out."""
    return store.get(_META, _UNCLEAN) is not None


def note_clean(documents: Documents) -> None:
    """Note that they hold nothing any more."""
    with documents.transaction() as transaction:
        transaction.delete(_META, [_UNCLEAN])


def note_cursor(transaction: Transaction, offset: int) -> None:
    """Move the cursor of a stopped courier."""
    transaction.put(_META, [("cursor", str(offset).encode())])


def read_parked_offsets(store: Reading) -> set[int]:
    """Return the journal offsets of the events a payload of which is parked."""
    return {_parked(body).record.offset for _, body in store.scan(_PARKED)}


def read_tokens(store: Reading) -> dict[str, Json]:
    """Return by client id when its token expires, and since when and why no new one comes."""
    return {key: loads(body) for key, body in store.scan(_TOKENS)}


def read_oldest_parked(store: Reading, most: int = 1000) -> dict[str, int]:
    """Return by `source/flow` since when its oldest parked payload waits, as far as the first `most` tell."""
    found: dict[str, int] = {}
    for _, body in store.scan(_PARKED, limit=most):
        parked = _parked(body)
        key = f"{parked.source_key}/{parked.kind}"
        found[key] = min(found.get(key, parked.record.first_ms), parked.record.first_ms)
    return found


def read_programs(store: Reading) -> bytes | None:
    """Return the programme cache; for any process that reads `courier.db`."""
    return store.get(_META, "programs")


def read_states(store: Reading, *, after: str, limit: int, only: str = "") -> list[tuple[str, bytes]]:
    """Return member states by name (`org/customer`), a page in the order of names, or the one of `only`."""
    if only:
        body = store.get(_STATES, only)
        return [(only, body)] if body else []
    return store.scan(_STATES, after=after, limit=limit)


def read_waiting(store: Reading) -> dict[str, int]:
    """Return how many payloads are parked, events held, payloads in an outbox, and dead letters kept."""
    return {
        "parked": store.count(_PARKED),
        "held": store.count(_HELD),
        "outbox": sum(int(lane["waiting"]) for lane in read_lanes(store).values()),
        "deadLetters": store.count(dead_letters.COLLECTION),
    }
