"""A batch on its way: the records of one flow, and a verdict for each."""

from collections.abc import Iterable
from typing import Final, final

from capstream.aep.catalog.batches import Stage
from capstream.aep.data_access.rejected import Rejection, Violation
from capstream.aep.flow_service.processing import Plan, Plans, Unusable
from capstream.aep.identity_service.rules import Found
from capstream.aep.profile.model import Operation
from capstream.aep.streaming_ingestion.messages import Accepted, decode
from capstream.kernel.json import Json
from capstream.storage.ports import Entry

_CREATE: Final = Operation.CREATE


@final
class Row:
    """One record: as accepted, then mapped (`record`), then encoded (`entity`)."""

    def __init__(self, offset: int, accepted: Accepted) -> None:
        self.offset = offset
        self.accepted = accepted
        self.received_ms = accepted.received_ms
        self.operation = _CREATE
        self.record: dict[str, Json] = {}  #: empty again as soon as the lake has its own form of it
        self.entity = b""
        self.event_id = ""
        self.found: Found | None = None  #: None when the dataset feeds neither Profile nor the identity graph
        self.time_ms = 0  #: of the event, else of the source's last update, else of its arrival
        self.updated_ms = 0  #: `extSourceSystemAudit.lastUpdatedDate`, 0 when there is none
        self.warnings = 0
        self.profile_problem = ""
        self.identity_problem = ""


@final
class Batch:
    """Five fields, and no sixth without an ADR. `verdicts` is as long as `rows`: None while nothing speaks against a row."""

    def __init__(
        self, inlet: str, flow: Plan | Unusable, rows: list[Row], verdicts: list[Rejection | None], deadline: int
    ) -> None:
        """`deadline`: instant by which the lake must have committed."""
        self.inlet = inlet
        self.flow = flow
        self.rows = rows
        self.verdicts = verdicts
        self.deadline = deadline

    def live(self) -> list[tuple[int, Row]]:
        """Return (index, row) of the rows nothing speaks against so far."""
        verdicts = self.verdicts
        return [(index, row) for index, row in enumerate(self.rows) if verdicts[index] is None]

    def live_rows(self) -> list[Row]:
        """Return the rows nothing speaks against so far."""
        verdicts = self.verdicts
        return [row for index, row in enumerate(self.rows) if verdicts[index] is None]

    def piece(self, start: int, size: int) -> "Batch":
        """Return up to `size` rows from `start` on: the same rows, with verdicts of their own until `keep` is called.

        Decoded records are large: a stage that walks some hundreds of them finds none in the processor's caches.
        Taking few records through all stages costs much less than taking many through one after the other.
        """
        stop = start + size
        return Batch(self.inlet, self.flow, self.rows[start:stop], self.verdicts[start:stop], self.deadline)

    def keep(self, start: int, piece: "Batch") -> None:
        """Decide what was decided about a piece."""
        self.verdicts[start : start + len(piece.rows)] = piece.verdicts

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
