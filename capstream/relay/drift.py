"""Notices of schema drift: each new kind, unknown member and change of type of a source, told once and counted.

The clerk looks at the webhooks as it indexes them, and writes. When it is far behind it looks at a sixteenth of them, so counts
are at least what they say. Memory and store are bounded. Source: capillary.md 7.8.
"""

from collections.abc import Mapping, Sequence

import msgspec

from capstream.capillary.drift import forms, shown_name
from capstream.capillary.peek import peek
from capstream.capillary.vocabulary import MAPPED, UNMAPPED
from capstream.kernel import log
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json, JsonError, loads
from capstream.relay.journal import Entry, Flag
from capstream.storage.ports import Documents, Reading

_NOTICES, _FORMS, _META = "notices", "forms", "meta"
_MOST = 500  # notices of a source; further ones are counted under one
_KINDS = 100  # of a source whose forms are remembered
_SAMPLE = 16
_OTHER = "(more)"

What = str
"""`unknown_kind`, `unknown_field` or `type`."""


class Notice(msgspec.Struct, kw_only=True, rename="camel"):
    """One thing that is new."""

    source_key: str
    event_name: str
    what: What
    path: str = ""
    expected: str = ""  #: type before
    found: str = ""  #: type now
    first_ms: int
    first_offset: int
    last_ms: int
    count: int = 0

    @property
    def key(self) -> str:
        """Return the key under which it is noticed once."""
        return f"{self.source_key}/{self.what}/{self.event_name}{self.path}:{self.found if self.what == 'type' else ''}"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notice).decode


class DriftBook:
    """Looks at journal entries and keeps notices. One writer."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._through = read_through(documents)
        self._notices = {notice.key: notice for notice in read_notices(documents)}
        self._forms: dict[str, dict[str, str]] = {key: loads(body) for key, body in documents.scan(_FORMS)}

    def look(self, entries: Sequence[tuple[int, Entry]], *, is_behind: bool) -> None:
        """Note what is new in entries that were not looked at before, in one commit. Errors: StorageUnavailable."""
        fresh = [(offset, entry) for offset, entry in entries if offset > self._through]
        if not fresh:
            return
        changed: dict[str, Notice] = {}
        learned: set[str] = set()
        for offset, entry in fresh:
            if not entry.flags & ~Flag.CONFLICT and (not is_behind or offset % _SAMPLE == 0):
                self._look_at(offset, entry, changed, learned)
        self._through = fresh[-1][0]
        with self._documents.transaction() as transaction:
            transaction.put(_NOTICES, [(key, _encode(notice)) for key, notice in changed.items()])
            transaction.put(_FORMS, [(key, msgspec.json.encode(self._forms[key])) for key in learned])
            transaction.put(_META, [("through", b"%d" % self._through)])

    def _look_at(self, offset: int, entry: Entry, changed: dict[str, Notice], learned: set[str]) -> None:
        peeked = peek(entry.body)
        if peeked is None:
            return
        try:
            body = loads(entry.body.removeprefix(b"\xef\xbb\xbf"))
        except (JsonError, UnicodeDecodeError, RecursionError):
            return
        name = peeked.event_name
        if name not in MAPPED and name not in UNMAPPED:
            self._note(changed, offset, entry, Notice(**_first(offset, entry), event_name=shown_name(name), what="unknown_kind"))
            return
        key = f"{entry.source_key}/{name}"
        known = self._forms.get(key)
        if known is None:
            if len(self._forms) >= _KINDS * 10:
                return
            known = self._forms[key] = {}
        for path, kind, is_known in forms(body):
            if path.startswith("/data/history"):
                return  # imported: no webhook of Capillary
            if not is_known:
                about = Notice(**_first(offset, entry), event_name=name, what="unknown_field", path=path, found=kind)
                self._note(changed, offset, entry, about)
                continue
            before = known.get(path)
            if before is None:
                known[path] = kind
                learned.add(key)
            elif before != kind:
                about = Notice(**_first(offset, entry), event_name=name, what="type", path=path, expected=before, found=kind)
                self._note(changed, offset, entry, about)

    def _note(self, changed: dict[str, Notice], offset: int, entry: Entry, about: Notice) -> None:
        held = self._notices.get(about.key)
        if held is None and sum(each.source_key == about.source_key for each in self._notices.values()) >= _MOST:
            about = Notice(**_first(offset, entry), event_name=_OTHER, what=about.what)
            held = self._notices.get(about.key)
        if held is None:
            held = self._notices[about.key] = about
            facts = {"source": about.source_key, "event": about.event_name, "what": about.what, "path": about.path}
            log.warning("the form of webhooks changed", action="schema_drift", offset=offset, **facts)
        held.count += 1
        held.last_ms = max(held.last_ms, entry.received_ms)
        changed[held.key] = held


def _first(offset: int, entry: Entry) -> dict[str, Json]:
    return {
        "source_key": entry.source_key,
        "first_ms": entry.received_ms,
        "first_offset": offset,
        "last_ms": entry.received_ms,
    }


def read_through(store: Reading) -> int:
    """Return the offset up to which webhooks were looked at."""
    body = store.get(_META, "through")
    return int(body) if body else 0


def read_notices(store: Reading) -> list[Notice]:
    """Return the notices, source by source."""
    return [_decode(body) for _, body in store.scan(_NOTICES)]


def shown(notice: Notice, acknowledged_ms: int) -> Json:
    """Return a notice as JSON for people."""
    view: dict[str, Json] = {name: value for name, value in msgspec.to_builtins(notice).items() if value != ""}
    view |= {"firstSeen": rfc3339(view.pop("firstMs")), "lastSeen": rfc3339(view.pop("lastMs"))}
    return {**view, "isNew": notice.first_ms > acknowledged_ms}


class Acknowledgements:
    """Until when a person has seen the notices of each source. The gateway writes; the clerk reads."""

    _COLLECTION = "drift_seen"

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def note(self, sources: Sequence[str], now_ms: int) -> None:
        """Remember that what there is now was seen."""
        with self._documents.transaction() as transaction:
            transaction.put(self._COLLECTION, [(source, b"%d" % now_ms) for source in sources])

    def seen(self) -> Mapping[str, int]:
        """Return the times by source, in epoch milliseconds."""
        return {source: int(body) for source, body in self._documents.scan(self._COLLECTION)}


def with_drift(status: Json, notices: Sequence[Notice], seen: Mapping[str, int]) -> Json:
    """Return a status with the notices, and an alert for each source that has one nobody has seen."""
    counted = [{"source": n.source_key, "event": n.event_name, "what": n.what, "path": n.path, "count": n.count} for n in notices]
    fresh: dict[str, int] = {}
    for notice in notices:
        if notice.first_ms > seen.get(notice.source_key, 0):
            fresh[notice.source_key] = fresh.get(notice.source_key, 0) + 1
    cure = "`capstream drift list` shows it; `capstream drift acknowledge` when you have seen it"
    alerts = [
        {"name": "schema_drift", "about": source, "reason": f"{count} changes in the form of webhooks", "cure": cure}
        for source, count in fresh.items()
    ]
    found = [*status["alerts"], *alerts]
    return {**status, "drift": counted, "alerts": found, "health": "alert" if found else status["health"]}
