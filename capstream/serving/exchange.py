"""A webhook and its answer, as they pass between the connection and whoever handles webhooks."""

from collections.abc import Callable
from typing import Final


class ThinRequest:
    """A whole request. `body` holds at most `limit + 1` bytes: longer bodies are cut there."""

    def __init__(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, peer: str) -> None:
        self.method: Final = method
        self.path: Final = path
        self.headers: Final = headers  #: names in lower case
        self.body: Final = body
        self.peer: Final = peer


Respond = Callable[[int, bytes, bytes], None]
"""Sends (status, JSON body, extra header lines each ending in CRLF)."""

ThinHandler = Callable[[ThinRequest, Respond], None]
"""Handles a request and calls `respond` exactly once, now or later, on the event loop."""


class Reply:
    """Where the answer to one request goes. It is given once, on the event loop."""

    def give(self, status: int, body: bytes, extra: bytes) -> None:
        """Send an answer; the parts are those of `Respond`."""
        raise NotImplementedError


class ReplyBy(Reply):
    """Gives the answer to a function."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def give(self, status: int, body: bytes, extra: bytes) -> None:
        self._respond(status, body, extra)


Take = Callable[[bytes, Reply], bool]
"""Takes the body of a request whose head is that of a handled one, but for Content-Length, and answers it later, never within
the call; returns False when the request has to be handled as a whole."""

Recognise = Callable[[ThinRequest], Take | None]
"""Returns what takes further requests with the head of a handled one; None when each of them has to be looked at."""


def recognise_nobody(_: ThinRequest) -> Take | None:
    """Have every request handled as a whole."""
    return None
