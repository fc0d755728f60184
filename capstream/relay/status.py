"""The relay's books: what came in, what became of it, and whether the sums agree. Source: capillary.md 7.9."""

from collections import Counter
from collections.abc import Mapping

from capstream.kernel.json import Json
from capstream.relay.ledger import read_counters, read_cursor, read_health, read_waiting
from capstream.storage.ports import Documents, Log

_LAG = "lag."
LAG_DIGITS = 40
LAG_NAMES = [f"{_LAG}{digits:02d}" for digits in range(LAG_DIGITS + 1)]
"""The counters of lags, by the number of binary digits in milliseconds: 40 counters tell quantiles within a factor of 2."""


def status_of(courier: Documents, journal: Log, unwritten_repeats: Mapping[str, int]) -> Json:
    """Return counters by source, what waits, the health of the dataflows and the lag.

    `balanced` says whether, for every source, each journalled webhook ended as exactly one of duplicate, dead letter,
    skipped or processed. `pending` counts journal entries the courier has not settled, commands and tallies among them.
    """
    counters = read_counters(courier)
    cursor, end = read_cursor(courier), journal.end()
    for key in unwritten_repeats:
        counters.setdefault(key, {})
    sources = {key: _source(days, unwritten_repeats.get(key, 0)) for key, days in counters.items()}
    return {
        "journal": {"end": end, "cursor": cursor, "pending": max(end - cursor, 0), "bytes": journal.size_bytes()},
        "sources": sources,
        "waiting": read_waiting(courier),
        "flows": read_health(courier),
        "balanced": all(source["balanced"] for source in sources.values()),
    }


def _source(days: Mapping[str, Counter[str]], unwritten_repeats: int) -> dict[str, Json]:
    total: Counter[str] = Counter()
    for counter in days.values():
        total.update(counter)
    duplicates = total["duplicates.receiver"] + unwritten_repeats
    settled = total["processed"] + total["skipped"] + total["dead_lettered"]
    return {
        "received": total["journalled"] + duplicates,
        "duplicates": duplicates,
        "deadLettered": total["dead_lettered"],
        "skipped": total["skipped"],
        "processed": total["processed"],
        "balanced": settled == total["journalled"],
        "deadByClass": _under(total, "dead."),
        "skippedByReason": _under(total, "skipped."),
        "events": _under(total, "event."),
        "flows": {kind: _flow(total, kind) for kind in ("event", "profile")},
        "lagMs": {"p50": _quantile(total, 0.50), "p99": _quantile(total, 0.99)},
        "days": {day: dict(counter) for day, counter in days.items()},
    }


def _flow(total: Counter[str], kind: str) -> dict[str, int]:
    names = ("payloads", "delivered", "rejected", "parked", "discarded", "erased", "coalesced", "oversized")
    return {name: total[f"{name}.{kind}"] for name in names}


def _under(total: Counter[str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sorted(total.items()) if name.startswith(prefix)}


def _quantile(total: Counter[str], share: float) -> int | None:
    """Return an upper bound of the lag's quantile in milliseconds; None while nothing was delivered."""
    buckets = sorted((int(name.removeprefix(_LAG)), count) for name, count in total.items() if name.startswith(_LAG))
    wanted = share * sum(count for _, count in buckets)
    for digits, count in buckets:
        wanted -= count
        if wanted <= 0:
            return int(2**digits - 1)
    return None
