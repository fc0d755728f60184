"""Requests to take a member's data out: those that wait for their time, and those that were met; in `courier.db`.

Source: capillary.md 7.8. A request has the identities that a work order on the platform needs; once it is met it keeps the
customer id and when that was.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Item, Reading, Transaction

_OPEN, _BY_TIME, _MET = "privacy", "privacy_at", "privacy_met"
_DAY_MS = 86_400_000
_MOST_COUNTED = 1000


def ask(transaction: Transaction, requests: Iterable[Item]) -> None:
    """Keep requests under `org/customer`; one that waits already keeps its time."""
    listed = dict(requests)
    known = transaction.get_many(_OPEN, list(listed))
    fresh = [(name, body) for name, body in listed.items() if name not in known]
    if fresh:
        transaction.put(_OPEN, fresh)
        transaction.put(_BY_TIME, [(_place(name, body), b"") for name, body in fresh])


def meet(
    transaction: Transaction, name: str, facts: dict[str, Json], *, erased: Mapping[str, int], linked: Sequence[str]
) -> None:
    """Note that a request is met, asked for or not. `facts` are told beside when it was asked for.

    `erased`: how much went, by where it was; `linked`: members it was merged with. Of one sweep they add up.
    """
    before = transaction.get(_MET, name)
    known: Json = loads(before) if before and facts.get("sweep") else {}
    if known.get("sweep") == facts.get("sweep"):
        erased = Counter(erased) + Counter(known.get("erased", {}))
        linked = sorted({*linked, *known.get("linked", ())})
    facts = {**facts, "erased": dict(erased), "linked": list(linked)}
    body = transaction.get(_OPEN, name)
    org_id, _, customer_id = name.partition("/")
    asked = {"orgId": org_id, "customerId": customer_id} | (loads(body) if body else {})
    asked.pop("identities", None)
    transaction.put(_MET, [(name, dumps({**asked, **facts}))])
    if body:
        transaction.delete(_OPEN, [name])
        transaction.delete(_BY_TIME, [_place(name, body)])


def due(store: Reading, asked_until_ms: float, limit: int) -> list[str]:
    """Return the names of members who were asked for until a time, those first who wait longest."""
    found = [key.partition("/") for key, _ in store.scan(_BY_TIME, limit=limit)]
    return [name for at, _, name in found if int(at) <= asked_until_ms]


def read_open(store: Reading, *, after: str = "", limit: int = 100, keys: Sequence[str] | None = None) -> list[Json]:
    """Return requests that are not met, in the order of `org/customer`, or those of `keys`."""
    return _read(store, _OPEN, after, limit, keys)


def read_met(store: Reading, *, after: str = "", limit: int = 100, keys: Sequence[str] | None = None) -> list[Json]:
    """Return requests that were met, in the order of `org/customer`, or those of `keys`."""
    return _read(store, _MET, after, limit, keys)


def names_met(store: Reading) -> Iterator[str]:
    """Yield `org/customer` of everybody whose request was met."""
    after = ""
    while items := store.scan(_MET, after=after, limit=1000):
        after = items[-1][0]
        yield from (name for name, _ in items)


def _read(store: Reading, collection: str, after: str, limit: int, keys: Sequence[str] | None) -> list[Json]:
    scanned = store.scan(collection, after=after, limit=limit) if keys is None else ()
    found = scanned if keys is None else sorted(store.get_many(collection, keys).items())
    return [{"id": key, **loads(body)} for key, body in found]


def counted(store: Reading, *, now_ms: int, grace_days: float) -> Json:
    """Return how many requests wait, how many of them are due (1000 at most), and for how long the oldest of those has been."""
    until_ms = now_ms - grace_days * _DAY_MS
    first = store.scan(_BY_TIME, limit=1)
    oldest_ms = int(first[0][0].partition("/")[0]) if first else now_ms
    found = {"open": store.count(_OPEN), "due": len(due(store, until_ms, _MOST_COUNTED)), "erased": store.count(_MET)}
    return {**found, "overdueS": max(until_ms - oldest_ms, 0) / 1000 if first else 0.0}


def in_new_form(transaction: Transaction) -> None:
    """Bring requests that an older capstream kept into this form."""
    after = ""
    while items := transaction.scan(_OPEN, after=after, limit=1000):
        after = items[-1][0]
        for name, body in items:
            if "erasedAtMs" in loads(body):
                meet(transaction, name, {}, erased={}, linked=())
            else:
                transaction.put(_BY_TIME, [(_place(name, body), b"")])


def _place(name: str, body: bytes) -> str:
    return f"{int(loads(body)['requestedAtMs']):013d}/{name}"


GraceDays = Callable[[], float]
"""How long a member's data stays after the request."""
