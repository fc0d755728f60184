"""HTTP/1.1 for webhooks only. Compiled: every webhook passes here (docs/adr/0004, 0017).

A request whose head is the one its connection sent before is not parsed again: the rest of it is cut off and taken. Every
other one goes through the parser; what is no webhook is handed, bytes and all, to another protocol for good.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import httptools

from capstream.kernel import log
from capstream.serving.exchange import Recognise, Reply, Take, ThinHandler, ThinRequest
from capstream.serving.head import Head, remembered

_PREFIX: Final = b"/webhooks/"
_IDLE_S: Final = 75.0
_MOST_WAITING: Final = 64 * 1024  # bytes of a request that are joined until it is whole; the parser gathers longer ones
_HEADS_IN_VAIN: Final = 3  # heads remembered and never met again until no more are
_FAILED: Final = b'{"status":"failed","reason":"the server failed; its log says where"}'
_REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
_OK: Final[list[bytes]] = [  # what comes before the body, by its size
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size for size in range(256)
]


class _Slot(Reply):
    """The place of one request's answer among the answers of its connection."""

    def __init__(self, connection: "ThinProtocol", keep_alive: bool) -> None:
        self.connection: Final = connection
        self.keep_alive = keep_alive
        self.answer = b""  #: empty until it is given
        self.next: _Slot | None = None

    def give(self, status: int, body: bytes, extra: bytes) -> None:
        self.connection.answer(self, status, body, extra)


class ThinProtocol:
    """An asyncio protocol: keep-alive, pipelining in order, chunked bodies; other requests are handed to `fallback`."""

    def __init__(
        self,
        handler: ThinHandler,
        recognise: Recognise,
        fallback: Callable[[], asyncio.Protocol],
        body_limit: int,
        open_ones: "set[ThinProtocol]",
    ) -> None:
        self._handler: Final = handler
        self._recognise: Final = recognise
        self._fallback: Final = fallback
        self._body_limit: Final = body_limit
        self._open_ones: Final = open_ones
        self._parser: Final = httptools.HttpRequestParser(self)
        self._peer = ""
        self._idle: asyncio.TimerHandle | None = None
        self._is_quiet = False  # nothing has arrived since the last look
        self._stopping = False
        self._first: _Slot | None = None  # the answers that are not sent: a chain
        self._last: _Slot | None = None
        self._head: Head | None = None
        self._take: Take | None = None  # what takes requests with that head
        self._patience = _HEADS_IN_VAIN
        self._waiting = b""  # the beginning of a request with that head
        self._begun = False  # a request has begun to arrive in the parser and is not whole yet
        self._held: list[bytes] = []  # what has arrived of a request that may not be ours
        self._foreign = False
        self._ours = False
        self._whole = True  # `_held` starts where the current request starts
        self._ended_one = False
        self._packet = b""
        self._opening = b""  # the packet that the current request began
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._open_ones.add(self)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """Go on: answers are small, and a sender that reads none of them sends no more."""

    def resume_writing(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """Answer what has arrived and what is arriving, then close."""
        self._stopping = True
        if self._first is None and not self._is_arriving() and not self._foreign:
            self._transport.close()

    def _is_arriving(self) -> bool:
        return self._begun or bool(self._waiting)

    def _watch(self) -> None:
        self._is_quiet = True
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._check_idle)

    def _check_idle(self) -> None:
        if self._first is not None or not self._is_quiet:
            self._watch()
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._is_quiet = False
        self._ended_one = False
        head, take = self._head, self._take
        if head is not None and take is not None and not self._begun and not self._foreign:
            data = self._cut(head, take, data)
            if not data:
                return
        if not self._ours:
            self._held.append(data)
        if self._foreign:
            return
        self._packet = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._foreign = True
        self._packet = b""
        if self._foreign:
            self._hand_over()

    # Requests with the head that is known.

    def _cut(self, head: Head, take: Take, data: bytes) -> bytes:
        """Take the requests that `data` begins with, as far as they have the head; return what is left for the parser."""
        if self._waiting:
            data, self._waiting = self._waiting + data, b""
        start = 0
        while start < len(data):
            body = head.find(data, start)
            if body < 0 or head.body_size > self._body_limit:
                break
            end = body + head.body_size
            if end > len(data):
                if end - start > _MOST_WAITING:
                    break
                self._waiting = data[start:]
                return b""
            if not self._taken(take, data[body:end]):
                self._forget()
                break
            start = end
        return data[start:]

    def _taken(self, take: Take, body: bytes) -> bool:
        slot = _Slot(self, True)
        failure: Exception | None = None
        try:
            if not take(body, slot):
                return False
        except Exception as error:  # noqa: BLE001 - whatever a request did to its handler, its sender gets an answer
            failure = error
        self._append(slot)
        self._ended_one = True
        self._patience = _HEADS_IN_VAIN
        if failure is not None:
            self._fail(slot, failure)
        return True

    def _remember(self, request: ThinRequest) -> None:
        """Remember the head of a request, unless heads were remembered in vain before."""
        opening, self._opening = self._opening, b""
        if not self._patience:
            return
        head = remembered(opening, request.headers)
        take = None if head is None else self._recognise(request)
        if take is not None:
            self._head, self._take = head, take
            self._patience -= 1

    def _forget(self) -> None:
        self._head, self._take = None, None

    # Parser callbacks. The parser calls them in this order for each request.

    def on_message_begin(self) -> None:
        self._begun = True
        self._whole = not self._ended_one
        self._opening = self._packet if self._whole else b""
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if not self._url.startswith(_PREFIX) or self._parser.should_upgrade():
            self._foreign = True
            return
        self._ours = True
        self._held.clear()
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._size <= self._body_limit and not self._foreign:
            self._body.append(body[: self._body_limit + 1 - self._size])
        self._size += len(body)

    def on_message_complete(self) -> None:
        if self._foreign:
            return
        self._ours, self._begun, self._ended_one = False, False, True
        slot = _Slot(self, self._parser.should_keep_alive())
        self._append(slot)
        request = ThinRequest(
            self._parser.get_method().decode(),
            self._url.decode("latin-1"),
            self._headers,
            b"".join(self._body) if len(self._body) != 1 else self._body[0],
            self._peer,
        )
        try:
            self._handler(request, slot.give)
        except Exception as error:  # noqa: BLE001 - whatever a request did to its handler, its sender gets an answer
            self._fail(slot, error)
        if slot.keep_alive:
            self._remember(request)
        else:
            self._forget()

    # Answers.

    def _append(self, slot: _Slot) -> None:
        if self._last is None:
            self._first = slot
        else:
            self._last.next = slot
        self._last = slot

    def _fail(self, slot: _Slot, error: Exception) -> None:
        log.error("a request broke its handler", action="webhook_failed", exc=error)
        slot.keep_alive = False
        self.answer(slot, 500, _FAILED, b"")

    def answer(self, slot: _Slot, status: int, body: bytes, extra: bytes) -> None:
        """Send the answer of a slot once those before it are sent, and close behind the last one of a connection."""
        if self._stopping and self._first is slot and slot.next is None and not self._is_arriving():
            slot.keep_alive = False
        slot.answer = _answer(status, body, extra, slot.keep_alive)
        first = self._first
        while first is not None and first.answer:
            self._transport.write(first.answer)
            if not first.keep_alive:
                self._transport.close()
            first = self._first = first.next
        if first is None:
            self._last = None
            if self._foreign:
                self._hand_over()

    def _hand_over(self) -> None:
        """Give the connection and the bytes of the request that is not ours to the other protocol.

        A request pipelined behind a webhook in one packet cannot be told apart any more: the connection is closed
        after the webhook's answer, and the client sends that request again.
        """
        self._foreign = True
        if self._first is not None or self._transport.is_closing():
            return
        if not self._whole:
            self._transport.close()
            return
        if self._idle is not None:
            self._idle.cancel()
        self._open_ones.discard(self)
        protocol = self._fallback()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        held, self._held = b"".join(self._held), []
        if held:
            protocol.data_received(held)


def _answer(status: int, body: bytes, extra: bytes, keep_alive: bool) -> bytes:
    if status == 200 and keep_alive and not extra and len(body) < len(_OK):  # nearly all of them
        return _OK[len(body)] + body
    size = str(len(body)).encode("ascii")
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %b\r\n%b%b\r\n%b" % (
        status,
        _REASONS.get(status, b""),
        size,
        extra,
        b"" if keep_alive else b"connection: close\r\n",
        body,
    )
