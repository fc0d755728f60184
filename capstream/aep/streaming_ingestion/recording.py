"""What the inlets count, written down by the minute: the counters themselves live in the memory of one process."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import astuple

from capstream.aep.observability_insights import catalogue, series
from capstream.aep.streaming_ingestion.model import InletCounts
from capstream.kernel.clock import Clock
from capstream.storage.ports import Documents

_COUNTERS = (catalogue.RECEIVED, catalogue.RECEIVED_BYTES, catalogue.ACCEPTED, catalogue.REFUSED)


class InletRecorder:
    """Adds to the series what the inlets counted since the last time. A crash loses what was not written down yet."""

    def __init__(
        self,
        documents: Documents,
        counts: Callable[[], Mapping[str, InletCounts]],
        sandbox_of: Callable[[str], str | None],
        clock: Clock,
    ) -> None:
        """`sandbox_of` tells the sandbox of an inlet, None when it does not exist any more."""
        self._documents = documents
        self._counts = counts
        self._sandbox_of = sandbox_of
        self._clock = clock
        self._written: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Write down what came since the last time. Errors: StorageUnavailable; the counts are kept for the next time."""
        with self._lock:
            seen = {inlet_id: astuple(counts) for inlet_id, counts in self._counts().items()}
            fresh = {inlet_id: counts for inlet_id, counts in seen.items() if counts != self._written.get(inlet_id)}
            if not fresh:
                return
            now_ms = self._clock()
            with self._documents.transaction() as change:
                for inlet_id, counts in fresh.items():
                    before = self._written.get(inlet_id, (0,) * len(counts))
                    gained = [now - then for now, then in zip(counts, before, strict=True)]
                    sandbox_id = self._sandbox_of(inlet_id)
                    if sandbox_id is not None:
                        series.add(change, sandbox_id, series.inlet(inlet_id), now_ms, dict(zip(_COUNTERS, gained, strict=True)))
            self._written |= fresh
