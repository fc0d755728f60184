"""Counts a batch's records into the series of its dataset, by the minute in which each was received."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from capstream.aep.catalog.batches import Stage
from capstream.aep.data_access.rejected import Rejection
from capstream.aep.flow_service.processing import Plan
from capstream.aep.observability_insights import catalogue, series
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.profile.store import Operation
from capstream.storage.ports import Transaction

Decided = tuple[Row, Rejection | None]


def count(change: Transaction, batch: Batch) -> None:
    """Add the batch's records to the series of its dataset, inside the pipeline's transaction."""
    source = batch.flow.source
    if source is None:
        return
    minutes: dict[int, list[Decided]] = defaultdict(list)
    for row, verdict in zip(batch.rows, batch.verdicts, strict=True):
        minutes[row.accepted.received_ms // series.MINUTE_MS].append((row, verdict))
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
    sizes = [len(row.entity) for row in taken if row.operation is Operation.CREATE]
    return Counter({catalogue.ROWS: len(sizes), catalogue.BYTES: sum(sizes)})


def _identities(plan: Plan, taken: Sequence[Row]) -> Counter[str]:
    """Count identity intake: a record is good with an identity, bad when it is refused as a whole, skipped without one."""
    counts: Counter[str] = Counter()
    if not plan.identity:
        return counts
    for row in taken:
        found = row.found
        if found is None:
            continue
        if found.refusal:
            counts[catalogue.IDENTITY_BAD] += 1
        elif found.identities:
            counts[catalogue.IDENTITY_GOOD] += 1
        else:
            counts[catalogue.IDENTITY_SKIPPED] += 1
        kind = catalogue.IDENTITY_BAD if found.refusal else catalogue.IDENTITY_SKIPPED
        counts.update(f"{kind}/{code}" for code in found.unusable)
    return counts


def profiled(batch: Batch, rows: Sequence[Row]) -> int:
    """Return how many of the rows Profile took."""
    return _profiles(batch.flow, rows)[catalogue.PROFILE_GOOD] if isinstance(batch.flow, Plan) else 0


def _profiles(plan: Plan, taken: Sequence[Row]) -> Counter[str]:
    """Count Profile intake: a record without a primary identity is skipped, any other that Profile does not take is bad."""
    counts: Counter[str] = Counter()
    if not plan.profile:
        return counts
    for row in taken:
        problem = row.profile_problem
        placed = row.found is not None and row.found.primary is not None
        if not placed:
            counts[catalogue.PROFILE_SKIPPED] += 1
        else:
            counts[catalogue.PROFILE_BAD if problem else catalogue.PROFILE_GOOD] += 1
    counts[catalogue.PROFILE_READ] = len(taken)
    return counts
