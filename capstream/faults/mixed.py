"""A batch of which only some messages are taken: the others never reach the inlet. Source: streaming-ingestion.md 5, 6."""

import uuid
from typing import Any

from capstream.aep.asgi import AsgiApp, BodyRefused, Receive, Scope, Send, decompress, headers_of, read_body
from capstream.faults.model import Fault
from capstream.faults.wire import answer, replayed, send_taken, taken_of
from capstream.kernel.json import Json, JsonError, dumps, loads

_BODY_LIMIT = 16 << 20
_OWN_HEADERS = (b"content-length", b"content-encoding", b"transfer-encoding")


async def mixed(app: AsgiApp, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Let `app` have a part of the batch and answer the other messages with the fault's status; other calls pass whole."""
    try:
        body = await read_body(receive, _BODY_LIMIT)
        messages = loads(decompress(body, headers_of(scope).get("content-encoding", ""), _BODY_LIMIT))["messages"]
        refused = refused_of(len(messages), fault.records)
    except (BodyRefused, JsonError, TypeError, KeyError):
        await app(scope, replayed(body, receive), send)
        return
    kept = [message for at, message in enumerate(messages) if at not in refused]
    if not kept:
        await _send(send, {"inletId": scope["path"].rpartition("/")[2]}, [_refusal(fault, at) for at in range(len(messages))])
        return
    smaller = dumps({"messages": kept})
    headers = [(name, value) for name, value in scope["headers"] if name not in _OWN_HEADERS]
    headers.append((b"content-length", str(len(smaller)).encode()))
    plain = [(name, value) for name, value in headers if name != b"accept-encoding"]
    taken = await taken_of(app, {**scope, "headers": plain}, replayed(smaller, receive))
    told: Any = loads(taken.body) if taken.status == 207 else None
    if told is None:
        await send_taken(send, taken)
        return
    elements = iter(told.pop("responses"))
    await _send(send, told, [_refusal(fault, at) if at in refused else next(elements) for at in range(len(messages))])


def refused_of(messages: int, share: float) -> set[int]:
    """Return which of so many messages are refused: evenly spread, at least one."""
    wanted = max(1, round(messages * share)) if messages else 0
    return {at * messages // wanted for at in range(wanted)}


def _refusal(fault: Fault, at: int) -> Json:
    status = {"status": fault.status, "statusCode": fault.status}
    return {"xactionId": f"{uuid.uuid4()}-{at}", **status, "message": "a fault is set: the message was not taken"}


async def _send(send: Send, envelope: Json, elements: list[Json]) -> None:
    body = dumps({**envelope, "responses": elements})
    await answer(send, 207, body, [(b"content-type", b"application/json")])
