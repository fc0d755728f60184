"""Counts a batch's records into the series of its dataset, by the minute in which each was received."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from capstream.aep.catalog.batches import Stage
from capstream.aep.data_access.rejected import Rejection
from capstream.aep.flow_service.processing import Plan
from capstream.aep.observability_insights import catalogue, series
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.profile.model import Operation
from capstream.storage.ports import Transaction

_CREATE: Final = Operation.CREATE
Decided = tuple[Row, Rejection | None]


def count(change: Transaction, batch: Batch) -> None:
    """Add the batch's records to the series of its dataset, inside the pipeline's transaction."""
    source = batch.flow.source
    if source is None:
        return
    minutes: dict[int, list[Decided]] = defaultdict(list)
    for row, verdict in zip(batch.rows, batch.verdicts, strict=True):
        minutes[row.received_ms // series.MINUTE_MS].append((row, verdict))
    subject = series.dataset(source.dataset_id)
    for minute, decided in minutes.items():
        counts = _validation(decided)
        if isinstance(batch.flow, Plan):
            taken = [row for row, verdict in decided if verdict is None]
            counts |= _landed(taken) | _identities(batch.flow, taken) | _profiles(batch.flow, taken)
        series.add(change, source.sandbox_id, subject, minute * series.MINUTE_MS, counts)


def _validation(decided: Sequence[Decided]) -> Counter[str]:
    refused = [verdict for _, verdict in decided if verdict is not None and verdict.stage is Stage.VALIDATION]
    counts = Counter({catalogue.VALID: sum(verdict is None for _, verdict in decided), catalogue.INVALID: len(refused)})
    for verdict in refused:
        counts.update({catalogue.category_counter(each.keyword) for each in verdict.violations})
    return counts


def _landed(taken: Sequence[Row]) -> Counter[str]:
    sizes = [len(row.entity) for row in taken if row.operation is _CREATE]
    return Counter({catalogue.ROWS: len(sizes), catalogue.BYTES: sum(sizes)})


def _identities(plan: Plan, taken: Sequence[Row]) -> Counter[str]:
    """Count identity intake: a record is good with an identity, bad when it is refused as a whole, skipped without one."""
    if not plan.identity:
        return Counter()
    found = [row.found for row in taken if row.found is not None]
    bad = sum(1 for each in found if each.refusal)
    good = sum(1 for each in found if each.identities and not each.refusal)
    counts = Counter(
        {
            catalogue.IDENTITY_GOOD: good,
            catalogue.IDENTITY_BAD: bad,
            catalogue.IDENTITY_SKIPPED: len(found) - good - bad,
        }
    )
    for each in found:
        if each.unusable:
            kind = catalogue.IDENTITY_BAD if each.refusal else catalogue.IDENTITY_SKIPPED
            counts.update(f"{kind}/{code}" for code in each.unusable)
    return counts


def profiled(batch: Batch, rows: Sequence[Row]) -> int:
    """Return how many of the rows Profile took."""
    if not (isinstance(batch.flow, Plan) and batch.flow.profile):
        return 0
    return sum(1 for row in rows if not row.profile_problem and row.found is not None and row.found.primary is not None)


def _profiles(plan: Plan, taken: Sequence[Row]) -> Counter[str]:
    """Count Profile intake: a record without a primary identity is skipped, any other that Profile does not take is bad."""
    if not plan.profile:
        return Counter()
    placed = [row for row in taken if row.found is not None and row.found.primary is not None]
    bad = sum(1 for row in placed if row.profile_problem)
    return Counter(
        {
            catalogue.PROFILE_READ: len(taken),
            catalogue.PROFILE_GOOD: len(placed) - bad,
            catalogue.PROFILE_BAD: bad,
            catalogue.PROFILE_SKIPPED: len(taken) - len(placed),
        }
    )
