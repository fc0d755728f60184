"""Closes batch conversions when the pipeline has passed the last of their rows, and writes down what became of them."""

from capstream.aep.catalog.batches import Windows
from capstream.aep.data_prep import batch_conversions
from capstream.aep.data_prep.batch_conversions import FAILED_CODE, MAPPER_ERROR, BatchConversion, Outcome, Phase
from capstream.aep.flow_service.processing import Plans
from capstream.kernel import log
from capstream.storage.ports import Documents, Reading, Transaction

_LOST = "The dataset or its schema is gone: the records could be kept nowhere."


class Conversions:
    """The batch conversions that are under way, as the pipeline sees them."""

    def __init__(self, control: Reading, state: Documents, windows: Windows, plans: Plans) -> None:
        self._control = control
        self._state = state
        self._windows = windows
        self._plans = plans
        self._open: list[BatchConversion] = []

    def look(self) -> None:
        """See what is handed on; to be called when the control plane changed."""
        handed_on = [one for one in batch_conversions.unfinished(self._control) if one.phase is Phase.HANDED_ON]
        self._open = [one for one in handed_on if batch_conversions.outcome_of(self._state, one.key) is None]

    def step(self, cursor: int, now_ms: int) -> None:
        """Close the conversions whose rows are all processed."""
        ended = [one for one in self._open if cursor >= one.end]
        for one in ended:
            with self._state.transaction() as change:
                self._close(change, one, now_ms)
        if ended:
            self._open = [one for one in self._open if one not in ended]

    def _close(self, change: Transaction, conversion: BatchConversion, now_ms: int) -> None:
        source = self._plans.source_of_conversion(conversion)
        taken, refused = self._windows.of_run(change, source)
        self._windows.close_run(change, source, succeeded=True, now_ms=now_ms)
        errors = [(code, message, count) for code, (message, count) in refused.errors.items()] if refused else []
        written, rejected = taken.records if taken else 0, refused.records if refused else 0
        if written + rejected < conversion.records:
            errors.append((FAILED_CODE, _LOST, conversion.records - written - rejected))
        if warned := batch_conversions.warnings_of(change, conversion.key):
            errors.append((*MAPPER_ERROR, warned))
        outcome = Outcome(
            completed_ms=now_ms,
            written=written,
            batch_id=taken.id if taken else "",
            failed_id=refused.id if refused else "",
            errors=errors,
        )
        batch_conversions.settle(change, conversion.key, outcome)
        log.info("batch converted", action="batch_converted", conversion=conversion.id, written=written, rejected=rejected)
