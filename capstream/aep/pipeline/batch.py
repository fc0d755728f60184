"""A batch on its way: the records of one flow, and a verdict for each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from capstream.aep.catalog.batches import Stage
from capstream.aep.data_access.rejected import Rejection, Violation
from capstream.aep.flow_service.processing import Plan, Plans, Unusable
from capstream.aep.identity_service.extraction import Found
from capstream.aep.profile.store import Operation
from capstream.aep.streaming_ingestion.messages import Accepted, decode
from capstream.kernel.json import Json
from capstream.storage.ports import Entry


@dataclass(slots=True)
class Row:
    """One record: as accepted, then mapped (`record`), then encoded (`entity`)."""

    offset: int
    accepted: Accepted
    operation: Operation = Operation.CREATE
    record: dict[str, Json] = field(default_factory=dict)  #: empty again as soon as the lake has its own form of it
    entity: bytes = b""
    event_id: str = ""
    found: Found | None = None  #: None when the dataset feeds neither Profile nor the identity graph
    time_ms: int = 0  #: of the event, else of the source's last update, else of its arrival
    updated_ms: int = 0  #: `extSourceSystemAudit.lastUpdatedDate`, 0 when there is none
    warnings: int = 0
    profile_problem: str = ""
    identity_problem: str = ""


@dataclass(slots=True)
class Batch:
    """Five fields, and no sixth without an ADR. `verdicts` is as long as `rows`: None while nothing speaks against a row."""

    inlet: str
    flow: Plan | Unusable
    rows: list[Row]
    verdicts: list[Rejection | None]
    deadline: int  #: instant by which the lake must have committed

    def live(self) -> Iterator[tuple[int, Row]]:
        """Yield (index, row) of the rows nothing speaks against so far."""
        for index, row in enumerate(self.rows):
            if self.verdicts[index] is None:
                yield index, row

    def parts(self, size: int, start: int = 0) -> Iterator["Batch"]:
        """Yield the batch, or what is behind its first `start` rows, in pieces of `size` rows. They share its rows.

        What is decided about a piece holds for the batch as soon as the next one is asked for, or none any more.
        Decoded records are large: a stage that walks some hundreds of them finds none in the processor's caches.
        Taking few records through all stages costs much less than taking many through one after the other.
        """
        for first in range(start, len(self.rows), size):
            stop = first + size
            part = Batch(self.inlet, self.flow, self.rows[first:stop], self.verdicts[first:stop], self.deadline)
            try:
                yield part
            finally:
                self.verdicts[first:stop] = part.verdicts

    def reject(self, index: int, stage: Stage, violations: Iterable[Violation]) -> None:
        """Decide against a row."""
        row = self.rows[index]
        self.verdicts[index] = Rejection(
            row.accepted.xaction_id,
            row.accepted.received_ms,
            stage,
            row.accepted.authenticated,
            tuple(violations),
            row.accepted.message,
            row.entity,
        )


def batches_of(entries: Iterable[Entry], plans: Plans, deadline: int) -> list[Batch]:
    """Return the accepted messages grouped by inlet, flow and dataset, in the order of their first."""
    found: dict[tuple[str, str, str], Batch] = {}
    for offset, body in entries:
        accepted = decode(body)
        key = (accepted.inlet_id, accepted.flow_id, accepted.dataset_id)
        batch = found.get(key)
        if batch is None:
            batch = found[key] = Batch(accepted.inlet_id, plans.plan(*key), [], [], deadline)
        batch.rows.append(Row(offset, accepted))
        batch.verdicts.append(None)
    return list(found.values())
