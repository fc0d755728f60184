"""From request bodies to durable records: split, judge, number, append; then the receipts.

Nothing is answered before the log has it. All requests of one turn of the event loop share one commit.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from capstream.aep.flow_service.model import Inlet
from capstream.aep.streaming_ingestion import errors
from capstream.aep.streaming_ingestion.messages import Accepted, encode
from capstream.aep.streaming_ingestion.model import InletCounts
from capstream.aep.streaming_ingestion.rules import BARE, Circumstances, Verdict, classify, judge, may_have_header
from capstream.kernel import log
from capstream.kernel.json import Json, dumps
from capstream.storage.group_commit import GroupCommit
from capstream.storage.ports import Log, StorageUnavailable


class _Batch(msgspec.Struct):
    messages: list[msgspec.Raw]


_decode_batch = msgspec.json.Decoder(_Batch).decode


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: Sequence[bytes]
    done: asyncio.Future[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Where a request came in, and whether it proved who it is."""

    inlet: Inlet
    authenticated: bool
    received_ms: int


class Intake:
    """Appends messages to the inlet log and makes the receipts."""

    def __init__(self, inlet_log: Log, shard: int) -> None:
        self._log = inlet_log
        self._shard = f"{shard:04d}"
        self._numbers = count(1)
        self._group: GroupCommit[_Waiting] = GroupCommit(self._commit)

    def next_id(self, now_ms: int) -> str:
        """Return a trace id `<epoch ms>:<shard>:<n>`."""
        return f"{now_ms}:{self._shard}:{next(self._numbers)}"

    async def append(self, records: Sequence[bytes]) -> None:
        """Store records durably. Errors: Refused 503 when the store cannot take them; nothing was stored then."""
        if not records:
            return
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._group.add(_Waiting(records, done))
        if not await done:
            raise errors.refused(503, "The message could not be stored. Send it again.", retry_after_s=5)

    def _commit(self, items: list[_Waiting]) -> None:
        """Append the records of all waiting requests. Never raises: every request learns what became of its records."""
        records = items[0].records if len(items) == 1 else [record for item in items for record in item.records]
        try:
            self._log.append(records)
        except StorageUnavailable as error:
            log.error("the inlet log takes no records", action="inlet_log_unavailable", exc=error, records=len(records))
            stored = False
        else:
            stored = True
        for item in items:
            if not item.done.done():  # a sender that has gone no longer waits
                item.done.set_result(stored)


def messages_of(body: bytes) -> list[bytes]:
    """Return the JSON text of every message of a batch body. Errors: Refused 400."""
    check_text(body)
    try:
        messages = _decode_batch(body).messages
    except msgspec.ValidationError as error:
        raise errors.refused(400, errors.MESSAGES_MANDATORY) from error
    except msgspec.DecodeError as error:
        raise errors.refused(400, f"{errors.MALFORMED_TITLE}: {error}") from error
    if not messages:
        raise errors.refused(400, errors.MESSAGES_MANDATORY)
    return [bytes(message) for message in messages]


def message_of(body: bytes) -> bytes:
    """Return the JSON text of a single message, without blanks around it. Errors: Refused 400."""
    check_text(body)
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise errors.refused(400, f"{errors.MALFORMED_TITLE}: {error}") from error
    return body.strip()


def check_text(body: bytes) -> None:
    """Check that a body is UTF-8: skipping over a message does not. Errors: Refused 400."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise errors.refused(400, f"{errors.MALFORMED_TITLE}: the body is not UTF-8") from error


def judged(messages: Sequence[bytes], body: bytes, circumstances: Circumstances) -> list[Verdict]:
    """Return one verdict per message. When no message can have a header, objects share one: it hangs on the request alone."""
    if may_have_header(body):
        return [classify(message, circumstances) for message in messages]
    shared = judge(BARE, circumstances)
    return [shared if message[:1] == b"{" else classify(message, circumstances) for message in messages]


def record_of(xaction_id: str, message: bytes, verdict: Verdict, sender: Sender) -> bytes:
    """Return the log record of one message."""
    data, identity, identity_dataset_id = verdict.operations
    return encode(
        Accepted(
            xaction_id,
            sender.inlet.id,
            verdict.flow_id,
            verdict.dataset_id,
            sender.received_ms,
            verdict.form,
            sender.authenticated,
            verdict.refusal,
            data,
            identity,
            identity_dataset_id,
            message,
        )
    )


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch becomes: records for the log, the elements of the answer, how many were refused."""

    records: list[bytes]
    responses: list[bytes]
    refused: int


def batch_result(messages: Sequence[bytes], verdicts: Sequence[Verdict], sender: Sender) -> BatchResult:
    """Return the records and the answer of a batch. Element ids end in `-<index>`: Adobe's Kafka sink reads it there."""
    prefix = f"{uuid.uuid4()}-"
    records: list[bytes] = []
    responses: list[bytes] = []
    refused = 0
    for index, (message, verdict) in enumerate(zip(messages, verdicts, strict=True)):
        xaction_id = f"{prefix}{index}"
        if verdict.refusal:
            refused += 1
            responses.append(_failed(xaction_id, verdict.refusal, sender.inlet))
            if not verdict.flow_id and not verdict.dataset_id:
                continue  # nowhere to keep it: it shows in the counts of the inlet only
        else:
            responses.append(b'{"xactionId":"%b"}' % xaction_id.encode())
        records.append(record_of(xaction_id, message, verdict, sender))
    return BatchResult(records, responses, refused)


def _failed(xaction_id: str, refusal: str, inlet: Inlet) -> bytes:
    message = errors.prefixed(inlet.id, inlet.org_id, refusal)
    return dumps({"xactionId": xaction_id, "status": 400, "statusCode": 400, "message": message})


def batch_receipt(inlet_id: str, batch_id: str, received_ms: int, responses: Sequence[bytes]) -> bytes:
    """Return the body of a 207."""
    head = b'{"inletId":"%b","batchId":"%b","receivedTimeMs":%d,"responses":['
    return head % (inlet_id.encode(), batch_id.encode(), received_ms) + b",".join(responses) + b"]}"


def receipt(inlet_id: str, xaction_id: str, received_ms: int, validation: Json) -> bytes:
    """Return the body of a 200."""
    return dumps({"inletId": inlet_id, "xactionId": xaction_id, "receivedTimeMs": received_ms, "syncValidation": validation})


Backlog = Callable[[], int]


class Pressure:
    """Tells when the pipeline is too far behind to take more. The backlog is asked for at most every 100 ms."""

    def __init__(self, backlog: Backlog, limit: int) -> None:
        self._backlog = backlog
        self._limit = limit
        self._asked_ms = 0
        self._is_high = False

    def is_high(self, now_ms: int) -> bool:
        """Return whether the log holds more unprocessed records than it should."""
        if abs(now_ms - self._asked_ms) >= 100:
            self._asked_ms = now_ms
            self._is_high = self._backlog() > self._limit
        return self._is_high


def add_batch(counts: InletCounts, messages: int, refused: int) -> None:
    """Count a batch that was answered."""
    counts.received += messages
    counts.success += messages - refused
    counts.failure += refused
