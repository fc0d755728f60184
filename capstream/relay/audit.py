"""Who administered what, and when: names of what was changed, never values, secrets or personal data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from capstream.kernel import log
from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents, Item, Transaction

_COLLECTION = "audit"


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log of one relay. The gateway alone writes."""

    documents: Documents
    clock: Clock
    _number: "count[int]" = field(default_factory=count)

    def note(self, *, who: str, address: str, act: str, target: str, status: int, details: Json = None) -> None:
        """Keep one act, durably. `details` are names (members that were sent, a filter's fields) and stated reasons."""
        self.note_all(act, [{"who": who, "address": address, "target": target, "status": status, "details": details}])

    def note_all(self, act: str, entries: Sequence[Json], *, beside: Callable[[Transaction], None] | None = None) -> None:
        """Keep several acts of a kind, and with them what `beside` changes, all or nothing."""
        now = self.clock()
        items: list[Item] = []
        for each in entries:
            entry = {"at": rfc3339(now), "who": each["who"], "address": each["address"], "act": act, "target": each["target"]}
            entry |= {"status": each.get("status", 200)} | ({"details": each["details"]} if each["details"] else {})
            items.append((f"{now:013d}-{next(self._number):06d}", dumps(entry)))
        with self.documents.transaction() as transaction:
            transaction.put(_COLLECTION, items)
            if beside is not None:
                beside(transaction)
        for each in entries:
            facts = {"who": each["who"], "target": each["target"], "status": each.get("status", 200)}
            log.info("administrative act", action="audit", act=act, **facts)

    def entries(self, *, after: str = "", since_ms: int = 0, limit: int = 100) -> list[Json]:
        """Return acts, oldest first, behind the id `after`."""
        start = max(after, f"{since_ms:013d}")
        return [{"id": key, **loads(body)} for key, body in self.documents.scan(_COLLECTION, after=start, limit=limit)]
