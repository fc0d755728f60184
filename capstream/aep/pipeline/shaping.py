"""From message to valid XDM record, one verdict for each. Source: streaming-ingestion.md 3, 7, 8, 10; data-prep.md 4.4."""

from typing import Final

from capstream.aep.catalog.batches import MAPPER_CODE, Stage
from capstream.aep.data_access.rejected import Violation
from capstream.aep.data_prep.compiler import Mapped, Program
from capstream.aep.data_prep.rows import Problem
from capstream.aep.flow_service.processing import Plan, Unusable
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.pipeline.reading import reader
from capstream.aep.profile.model import Operation
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.xdm.instants import millis
from capstream.xdm.validate import Violation as Broken

CORRUPT: Final = "INGEST-1401-400"
CONVERSION: Final = "INGEST-1554-400"

# Keywords to codes: streaming-ingestion.md 7. Everything else is 1111 (ASSUMPTION).
_CODES: Final[dict[str, str]] = {"type": "DCVS-1104-400", "format": "DCVS-1105-400", "required": "DCVS-1106-400"}
_OTHER_CODE: Final = "DCVS-1111-400"
_NULL_CODE: Final = "DCVS-1101-400"

_CREATE: Final = Operation.CREATE
_OPERATIONS: Final[dict[str, Operation]] = {"merge": Operation.MERGE, "delete": Operation.DELETE}


def refuse(batch: Batch) -> None:
    """Decide against what the endpoint refused, and against everything when the flow cannot be processed."""
    plan = batch.flow
    for index, row in batch.live():
        if row.accepted.refusal:
            batch.reject(index, Stage.ENVELOPE, [Violation(CORRUPT, "", row.accepted.refusal, "#", "#")])
        elif isinstance(plan, Unusable):
            stage = Stage.MAPPER if plan.code == MAPPER_CODE else Stage.ENVELOPE
            batch.reject(index, stage, [Violation(plan.code, "", plan.reason, "#", "#")])
        else:
            row.operation = _OPERATIONS.get(row.accepted.data_operation, _CREATE)
            problem = _operation_problem(plan, row.operation)
            if problem:
                batch.reject(index, Stage.ENVELOPE, [Violation(CONVERSION, "", problem, "#/header/operations", "#")])


def transform(batch: Batch) -> None:
    """Take records out of their envelopes and map them. A field that fails is left out and counts as a warning.

    Most messages are decoded into what the flow's mapping set reads; the others whole.
    """
    program = None if isinstance(batch.flow, Unusable) else batch.flow.program
    typed = None if program is None else program.typed()
    form, usual = "", None
    for index, row in batch.live():
        accepted = row.accepted
        if typed is not None and accepted.form != form:
            form, usual = accepted.form, reader(typed, accepted.form)
        mapped = None if usual is None else usual.mapped(accepted.message)
        if mapped is None and _unwrap(batch, index) and program is not None:
            mapped = _translated(batch, index, program)
        if mapped is None:
            continue
        row.record, problems = mapped
        if problems:
            row.warnings = len(problems)
            if not row.record:
                batch.reject(index, Stage.MAPPER, [_mapping_violation(problem) for problem in problems[:5]])


def _unwrap(batch: Batch, index: int) -> bool:
    """Take a record out of its envelope; false when there is none, which decides against the row."""
    row = batch.rows[index]
    form = row.accepted.form
    try:
        message = loads(row.accepted.message)
    except JsonError as error:
        batch.reject(index, Stage.ENVELOPE, [Violation(CORRUPT, "", f"the message is not JSON: {error}", "#", "#")])
        return False
    record = message
    if form != "B" and isinstance(message, dict):
        record = message.get("body")
        header = message.get("header")
        source = header.get("source") if isinstance(header, dict) else None
        if form == "A":
            record = record.get("xdmEntity") if isinstance(record, dict) else None
            if isinstance(source, dict) and not source.get("name"):
                said = Violation(CORRUPT, "", "Payload header is missing Source Name", "#/header/source", "#")
                batch.reject(index, Stage.ENVELOPE, [said])
                return False
    if not isinstance(record, dict):
        name = "xdmEntity" if form == "A" else "the record"
        batch.reject(index, Stage.VALIDATION, [Violation(CORRUPT, "", f"Payload body is missing {name}", "#/body", "#")])
        return False
    row.record = record
    return True


def _translated(batch: Batch, index: int, program: Program) -> Mapped | None:
    try:
        return program(batch.rows[index].record)
    except Exception as error:  # noqa: BLE001 - one record must not take its batch with it
        failure = Violation(MAPPER_CODE, "", f"Mapper Transform Error: {type(error).__name__}: {error}", "#", "#")
        batch.reject(index, Stage.MAPPER, [failure])
        return None


def validate(batch: Batch) -> None:
    """Check records against the dataset's schema."""
    plan = batch.flow
    if isinstance(plan, Unusable):
        return
    check = plan.validate
    for index, row in batch.live():
        if row.operation is not _CREATE:
            _check_upsert(batch, index, plan)
        elif check is not None:
            broken = check(row.record)
            if broken:
                batch.reject(index, Stage.VALIDATION, [_violation(one) for one in broken])


def stamp(batch: Batch) -> None:
    """Encode records once, for Profile and for their size, unless they are encoded; read their time."""
    plan = batch.flow
    if isinstance(plan, Unusable):
        return
    for index, row in batch.live():
        record = row.record
        try:
            row.entity = row.entity or dumps(record)
            if plan.is_event:
                row.time_ms = millis(record["timestamp"])
                row.event_id = str(record.get("_id") or "")
                continue
            audit = record.get("extSourceSystemAudit")
            if audit and "lastUpdatedDate" in audit:
                row.updated_ms = millis(audit["lastUpdatedDate"])
        except (ValueError, TypeError, KeyError) as error:
            # Only where validation is switched off for the dataset.
            broken = Violation("DCVS-1105-400", "format", f"the record's time cannot be read: {error}", "#/timestamp", "#")
            batch.reject(index, Stage.VALIDATION, [broken])
            continue
        row.time_ms = row.updated_ms or row.received_ms


def forget(batch: Batch) -> None:
    """Let go of the records: what is kept of them has other forms."""
    for row in batch.rows:
        row.record = {}


def code_of(keyword: str, message: str) -> str:
    """Return the code that failed batches give a violation. Source: streaming-ingestion.md 7, xdm.md 11."""
    if keyword == "type" and message.endswith("found: Null"):
        return _NULL_CODE
    return _CODES.get(keyword, _OTHER_CODE)


def _violation(broken: Broken) -> Violation:
    return Violation(
        code_of(broken.keyword, broken.message),
        broken.keyword,
        broken.message,
        broken.pointer,
        broken.schema_location,
        broken.hint,
    )


def _mapping_violation(problem: Problem) -> Violation:
    return Violation(MAPPER_CODE, "", problem.exception, problem.destination, problem.source)


def _operation_problem(plan: Plan, operation: Operation) -> str:
    if operation is _CREATE:
        return ""
    if plan.is_event:
        return f"operation '{operation}' is for profile records, this dataset holds experience events"
    if not plan.profile:
        return f"operation '{operation}' needs a dataset that is enabled for Profile"
    return ""


def _check_upsert(batch: Batch, index: int, plan: Plan) -> None:
    """An upsert is a part of a record: what is there must be valid, what is not there need not be."""
    row = batch.rows[index]
    place = _unsaid_array(row, plan) if row.operation is Operation.MERGE else ""
    if place:
        text = f"{place}: an update must say what becomes of the stored array, with upsert_array_append or upsert_array_replace"
        batch.reject(index, Stage.MAPPER, [Violation(MAPPER_CODE, "", text, "#", "#")])
        return
    if plan.validate_part is None:
        return
    broken = plan.validate_part(without_nulls(row.record))
    if broken:
        batch.reject(index, Stage.VALIDATION, [_violation(one) for one in broken])


def _unsaid_array(row: Row, plan: Plan) -> str:
    """Return the place of an array of which the mapping does not say whether it is appended or replaces; empty without one."""
    said = plan.program.array_ops if plan.program is not None else {}
    waiting: list[tuple[tuple[str, ...], Json]] = [((name,), row.record[name]) for name in row.record if name != "identityMap"]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, list) and place not in said:
            return ".".join(place)
        if isinstance(value, dict):
            waiting.extend(((*place, name), member) for name, member in value.items())
    return ""


def without_nulls(value: Json) -> Json:
    """Return a value whose objects have no members that are null."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return value
