"""How long the journal keeps what was delivered: as long as replays and repeats may need it. Source: capillary.md 7.2."""

from capstream.relay.journal import decode
from capstream.storage.ports import Log

KEPT_MS = 30 * 86_400_000


def expired_through(journal: Log, settled: int, before_ms: int) -> int:
    """Return the last offset, at most `settled`, of the entries received before `before_ms`; 0 when there is none.

    Entries lie in the order of their receipt, so a handful are looked at. What was trimmed already counts as old.
    """
    low, high = 0, settled
    while low < high:
        middle = (low + high + 1) // 2
        record = journal.get(middle)
        if record is None or decode(record).received_ms < before_ms:
            low = middle
        else:
            high = middle - 1
    return low


def trim(journal: Log, settled: int, now_ms: int, kept_ms: int = KEPT_MS) -> int:
    """Forget settled entries older than `kept_ms`, by whole segments; return how many went. For the journal's writer."""
    through = expired_through(journal, settled, now_ms - kept_ms)
    return journal.trim(through) if through else 0
