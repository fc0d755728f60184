"""What the collection endpoints keep: datasets to judge against, counters of each inlet, the validation allowance."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from capstream.aep.catalog.rules import profile_enabled
from capstream.aep.flow_service.rules import major_version, schema_of_dataset
from capstream.aep.streaming_ingestion.rules import Target
from capstream.kernel.json import Json

SYNC_VALIDATIONS_A_MINUTE = 60
_MINUTE_MS = 60_000


class DatasetLookup(Protocol):
    """The datasets of Catalog, as far as messages are judged against them."""

    def get(self, sandbox_id: str, dataset_id: str) -> dict[str, Json] | None:
        """Return a dataset, or None."""
        ...


class Targets:
    """The datasets of one sandbox during one request, each looked up once."""

    def __init__(self, datasets: DatasetLookup, sandbox_id: str) -> None:
        self._datasets = datasets
        self._sandbox_id = sandbox_id
        self._found: dict[str, Target | None] = {}

    def get(self, dataset_id: str) -> Target | None:
        """Return a dataset as far as a message can be judged against it, or None."""
        if dataset_id not in self._found:
            dataset = self._datasets.get(self._sandbox_id, dataset_id)
            self._found[dataset_id] = None if dataset is None else _target(dataset)
        return self._found[dataset_id]


def _target(dataset: dict[str, Json]) -> Target:
    schema_id, content_type = schema_of_dataset(dataset)
    behaviour = (dataset.get("classification") or {}).get("dataBehavior")
    return Target(schema_id, major_version(content_type), profile_enabled(dataset), behaviour == "record")


@dataclass(slots=True)
class InletCounts:
    """What an inlet has seen since the process started. Source: streaming-ingestion.md 15 (the four inlet metrics)."""

    received: int = 0  #: messages
    received_bytes: int = 0  #: bytes of request bodies, as received
    success: int = 0  #: messages accepted
    failure: int = 0  #: messages refused, each on its own or with its request


class Counters:
    """The counts of every inlet, in memory."""

    def __init__(self) -> None:
        self._inlets: dict[str, InletCounts] = {}

    def of(self, inlet_id: str) -> InletCounts:
        """Return the counts of an inlet, to add to."""
        return self._inlets.setdefault(inlet_id, InletCounts())

    def all(self) -> Mapping[str, InletCounts]:
        """Return the counts by inlet id."""
        return self._inlets


class SyncAllowance:
    """How many synchronous validations each inlet may still ask for: 60 in any 60 seconds."""

    def __init__(self, a_minute: int = SYNC_VALIDATIONS_A_MINUTE) -> None:
        self._a_minute = a_minute
        self._taken: dict[str, deque[int]] = {}

    def take(self, inlet_id: str, now_ms: int) -> int:
        """Return 0 and count the request, or the milliseconds after which the next one is allowed."""
        taken = self._taken.setdefault(inlet_id, deque())
        while taken and taken[0] <= now_ms - _MINUTE_MS:
            taken.popleft()
        if len(taken) >= self._a_minute:
            return taken[0] + _MINUTE_MS - now_ms
        taken.append(now_ms)
        return 0
