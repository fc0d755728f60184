"""A whole request taken in, a whole answer held back: what faults need of ASGI."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from capstream.aep.asgi import AsgiApp, Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Taken:
    """An answer that was not sent."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


async def taken_of(app: AsgiApp, scope: Scope, receive: Receive) -> Taken:
    """Let `app` do its work and return its answer."""
    taken = Taken()

    async def keep(message: Any) -> None:
        if message["type"] == "http.response.start":
            taken.status, taken.headers = message["status"], list(message["headers"])
        else:
            taken.body += message.get("body", b"")

    await app(scope, receive, keep)
    return taken


async def send_taken(send: Send, taken: Taken, *, upto: int | None = None, piece: int = 0, pause_s: float = 0) -> None:
    """Send an answer: whole, up to a byte and no end, or in pieces."""
    await send({"type": "http.response.start", "status": taken.status, "headers": taken.headers})
    if upto is not None:
        await send({"type": "http.response.body", "body": taken.body[:upto], "more_body": True})
        return
    size = piece or max(len(taken.body), 1)
    for at in range(0, len(taken.body), size):
        await send({"type": "http.response.body", "body": taken.body[at : at + size], "more_body": True})
        await asyncio.sleep(pause_s)
    await send({"type": "http.response.body", "body": b""})


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a body with its length."""
    lines = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` once, then what comes behind it."""
    is_given = False

    async def again() -> Any:
        nonlocal is_given
        if not is_given:
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
