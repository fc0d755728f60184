"""Rejected records, kept with field, reason and payload until they are 30 days old. Source: streaming-ingestion.md 11.

Keyed {sandbox}/{batch}/{offset}: writing one twice after a crash changes nothing. What no dataset can be found for
is kept under {inlet}/{offset} and is no part of any batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from capstream.aep.catalog.batches import MAPPER_CODE, Refused, Stage
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.storage.ports import Reading, Transaction
from capstream.xdm import advice

REJECTED = "rejected"  #: {sandbox}/{batch}/{offset:012} -> Rejection
UNROUTED = "unrouted"  #: {inlet}/{offset:012} -> Rejection

MOST_LISTED = 10_000
SAMPLES = 100


class Violation(NamedTuple):
    """One thing wrong with a record."""

    code: str  #: stable class of the failure, e.g. `DCVS-1104-400`
    keyword: str  #: validation keyword, empty outside validation
    message: str
    pointer: str  #: where in the record
    location: str  #: where in the schema, or the mapping's source field
    hint: str = ""  #: how to mend the record, empty when nothing is known beyond the message


class Rejection(msgspec.Struct, array_like=True, frozen=True):
    """A record that was not written, and why."""

    xaction_id: str
    received_ms: int
    stage: Stage
    authenticated: bool
    violations: tuple[Violation, ...]
    message: bytes  #: as it was received, envelope included
    mapped: bytes = b""  #: what the mapping made of it, empty when it was not mapped


_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Rejection).decode


def keep(change: Transaction, sandbox_id: str, batch_id: str, rejections: Iterable[tuple[int, Rejection]]) -> None:
    """Store rejected records of a failed batch by their offset in the inlet log."""
    prefix = f"{sandbox_id}/{batch_id}/"
    change.put(REJECTED, [(f"{prefix}{offset:012}", _pack(rejection)) for offset, rejection in rejections])


def keep_unrouted(change: Transaction, inlet_id: str, rejections: Iterable[tuple[int, Rejection]]) -> None:
    """Store rejected records for which there is no dataset."""
    change.put(UNROUTED, [(f"{inlet_id}/{offset:012}", _pack(rejection)) for offset, rejection in rejections])


def drop(change: Transaction, sandbox_id: str, batch_id: str) -> int:
    """Forget the records of a failed batch; return how many there were."""
    prefix = f"{sandbox_id}/{batch_id}/"
    return change.delete(REJECTED, [key for key, _ in change.scan(REJECTED, prefix=prefix)])


def has_any(reading: Reading, sandbox_id: str, batch_id: str) -> bool:
    """Return whether records of a failed batch are still kept."""
    return bool(reading.scan(REJECTED, prefix=f"{sandbox_id}/{batch_id}/", limit=1))


def counted(rejection: Rejection) -> Refused:
    """Return how a batch counts this rejection. A mapping failure is told twice: its cause and its effect (catalog.md 6.1)."""
    errors = [(violation.code, violation.message) for violation in rejection.violations]
    if rejection.stage is Stage.MAPPER:
        causes = [("DPMAP-1000-400", violation.message) for violation in rejection.violations[:1]]  # ASSUMPTION on the number
        errors = [*causes, *((MAPPER_CODE, _aepp_form(violation)) for violation in rejection.violations[:1])]
    return Refused(rejection.stage, errors, len(rejection.message))


def _aepp_form(violation: Violation) -> str:
    """Return the description that `aepp` takes apart. Source: catalog.md 6.1."""
    found, _, expected = violation.keyword.partition(">")
    types = f"The expected data type was: {expected or 'ANY'}, the actual data type was: {found or 'UNKNOWN'}. "
    ends = f"sourceField: {violation.location} destinationField: {violation.pointer}"
    return f"Mapping error at destination path {violation.pointer}. {types}{ends}"


class Rejections:
    """Reads rejected records."""

    def __init__(self, documents: Reading) -> None:
        self._documents = documents

    def of_batch(self, sandbox_id: str, batch_id: str, *, limit: int = MOST_LISTED) -> list[Rejection]:
        """Return the rejected records of a failed batch in the order of acceptance."""
        return [_read(body) for _, body in self._documents.scan(REJECTED, prefix=f"{sandbox_id}/{batch_id}/", limit=limit)]

    def unrouted(self, inlet_id: str, *, limit: int = MOST_LISTED) -> list[Rejection]:
        """Return what an inlet refused before a dataset was known."""
        return [_read(body) for _, body in self._documents.scan(UNROUTED, prefix=f"{inlet_id}/", limit=limit)]


def cure(violation: Violation) -> str:
    """Return how to mend the record: what is known about it, else what helps against its class of failure."""
    if violation.hint:
        return violation.hint
    if violation.keyword:
        return advice.cure(violation.keyword)
    if violation.code == MAPPER_CODE:
        return "correct the mapping of this field in the mapping set, or send the source field in the form it reads"
    return "correct the message as the text says and send it again"


def failed_lines(rejections: Sequence[Rejection]) -> bytes:
    """Return newline-delimited JSON: each message as sent, with the reason in it. Source: streaming-ingestion.md 11 step 4."""
    return b"".join(dumps(line) + b"\n" for line in map(_failed_line, rejections))


def row_error_lines(rejections: Sequence[Rejection]) -> bytes:
    """Return newline-delimited JSON: the record with `_errors` and `_filename`. Source: monitoring-alerts.md 3."""
    return b"".join(dumps(line) + b"\n" for line in _row_errors(rejections))


def _failed_line(rejection: Rejection) -> dict[str, Json]:
    line = _decoded(rejection.message)
    violations = rejection.violations
    if rejection.stage is Stage.VALIDATION:
        line["_validationErrors"] = [_validation_error(violation) for violation in violations]
    elif rejection.stage is Stage.MAPPER:
        line["_errors"] = {"_mapper": [_mapper_error(violation) for violation in violations]}
    else:
        line["_errors"] = {"_streamingValidation": [{"code": v.code, "message": v.message, "hint": cure(v)} for v in violations]}
    line["_dcsMeta"] = {"authenticatedRequest": rejection.authenticated, "xactionId": rejection.xaction_id}
    return line


def _validation_error(violation: Violation) -> dict[str, Json]:
    if not violation.keyword:
        return {"message": violation.message, "hint": cure(violation)}
    return {
        "keyword": violation.keyword,
        "message": violation.message,
        "pointerToViolation": violation.pointer,
        "schemaLocation": violation.location,
        "causingExceptions": [],
        "hint": cure(violation),
    }


def _mapper_error(violation: Violation) -> dict[str, Json]:
    return {
        "code": MAPPER_CODE,
        "message": violation.message,
        "sourceAttribute": violation.location,
        "destinationXdmPath": violation.pointer,
        "hint": cure(violation),
    }


def _row_errors(rejections: Sequence[Rejection]) -> Iterator[dict[str, Json]]:
    for rejection in rejections:
        line = _decoded(rejection.message)
        line["_errors"] = [
            {"code": v.code, "message": v.message, "column": v.pointer, "hint": cure(v)} for v in rejection.violations
        ]
        line["_filename"] = "conversion_errors_0.json"
        yield line


def _decoded(message: bytes) -> dict[str, Json]:
    try:
        value = loads(message)
    except JsonError:
        return {"_corrupt_record": message.decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"_corrupt_record": value}
