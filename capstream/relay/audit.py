"""Who administered what, and when: names of what was changed, never values, secrets or personal data."""

from dataclasses import dataclass, field
from itertools import count

from capstream.kernel import log
from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents

_COLLECTION = "audit"


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit log of one relay. The gateway alone writes."""

    documents: Documents
    clock: Clock
    _number: "count[int]" = field(default_factory=count)

    def note(self, *, who: str, address: str, act: str, target: str, status: int, details: Json = None) -> None:
        """Keep one act, durably. `details` are names (members that were sent, a filter's fields) and stated reasons."""
        now = self.clock()
        entry = {"at": rfc3339(now), "who": who, "address": address, "act": act, "target": target, "status": status}
        entry |= {"details": details} if details else {}
        with self.documents.transaction() as transaction:
            transaction.put(_COLLECTION, [(f"{now:013d}-{next(self._number):06d}", dumps(entry))])
        log.info("administrative act", action="audit", who=who, act=act, target=target, status=status)

    def entries(self, *, after: str = "", since_ms: int = 0, limit: int = 100) -> list[Json]:
        """Return acts, oldest first, behind the id `after`."""
        start = max(after, f"{since_ms:013d}")
        return [{"id": key, **loads(body)} for key, body in self.documents.scan(_COLLECTION, after=start, limit=limit)]
