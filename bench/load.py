"""Load on this machine only: raw keep-alive connections, a closed loop for rates, a fixed rate for latencies."""

import asyncio
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools


@dataclass(slots=True)
class Result:
    """What one load run saw."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float:
        """Return a latency percentile in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way; `taken` is called with each whole answer."""

    def __init__(self, answered: Callable[["_Connection", int], None]) -> None:
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, started: float) -> None:
        self.started = started
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._answered(self, self._parser.get_status_code())


def requests(url: str, headers: dict[str, str], bodies: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole POST requests."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join(lines).encode() + b"\r\ncontent-length: "
    for body in bodies:
        yield b"%b%d\r\n\r\n%b" % (head, len(body), body)


def closed_loop(url: str, stream: Iterator[bytes], *, connections: int, seconds: float) -> Result:
    """Keep `connections` requests under way for `seconds`.

    Without an event loop: what the generator takes of the machine, those who are measured lack.
    Errors: ConnectionError when the server closes a connection, TimeoutError when nothing answers for 30 s.
    """
    result, parts = Result(), urlsplit(url)
    pool = {line.fileno(): _Line(line) for line in (_connect(parts.hostname or "", parts.port or 80) for _ in range(connections))}
    with select.epoll() as ready:
        started = time.perf_counter()
        for number, line in pool.items():
            ready.register(number, select.EPOLLIN)
            line.send(next(stream))
        under_way, until, latencies = connections, started + seconds, result.latencies_s
        refused = 0
        while under_way:
            events = ready.poll(_SILENCE_S)
            if not events:
                raise TimeoutError(f"{under_way} requests are not answered")
            for number, _ in events:
                line = pool[number]
                status = line.answered()
                if not status:
                    continue
                now = time.perf_counter()
                latencies.append(now - line.started)
                if status >= 300:
                    refused += 1
                if now < until:
                    line.send(next(stream))
                else:
                    under_way -= 1
        result.seconds = time.perf_counter() - started
    result.sent, result.refused = len(latencies), refused  # each request was answered
    result.answered = result.sent - refused
    for line in pool.values():
        line.close()
    return result


_SILENCE_S = 30.0
_HEAD_END, _LENGTH = b"\r\n\r\n", b"content-length:"
_MOST_HEADS = 256
_PIECE = 512  # an answer is shorter, mostly


def _connect(host: str, port: int) -> socket.socket:
    line = socket.create_connection((host, port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


class _Line:
    """One keep-alive connection with one request under way."""

    __slots__ = ("_held", "_receive", "_send", "close", "started")

    def __init__(self, line: socket.socket) -> None:
        self._send, self._receive, self.close = line.sendall, line.recv, line.close  # looked up once
        self._held = b""
        self.started = 0.0

    def send(self, request: bytes) -> None:
        self.started = time.perf_counter()
        self._send(request)

    def answered(self) -> int:
        """Read what has come; return the status once the answer is whole, else 0."""
        data = self._receive(_PIECE)
        if not data:
            raise ConnectionError("the server closed a connection")
        if self._held:
            data = self._held + data
        head, mark, rest = data.partition(_HEAD_END)
        if mark:
            status, length = _heads.get(head) or _read_head(head)
            if len(rest) >= length:
                self._held = b""
                return status
        self._held = data
        return 0


_heads: dict[bytes, tuple[int, int]] = {}  # status and length by head: a server's answers begin alike


def _read_head(head: bytes) -> tuple[int, int]:
    """Return the status and the length of the body."""
    at = head.lower().find(_LENGTH)
    length = int(head[at + len(_LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0
    if len(_heads) < _MOST_HEADS:
        _heads[head] = int(head[9:12]), length
    return int(head[9:12]), length


async def fixed_rate(
    url: str, stream: Iterator[bytes], *, per_second: float, seconds: float, accepted: Callable[[int], None] | None = None
) -> Result:
    """Send at fixed instants, late or not; latency counts from the instant a request was due, so a stall is not hidden."""
    result, loop = Result(), asyncio.get_running_loop()
    free: list[_Connection] = []
    due: dict[_Connection, int] = {}

    def answered(connection: _Connection, status: int) -> None:
        result.latencies_s.append(time.perf_counter() - connection.started)
        result.answered += status < 300
        result.refused += status >= 300
        free.append(connection)
        if accepted:
            accepted(due[connection])

    parts = urlsplit(url)
    started, index, total = time.perf_counter(), 0, int(per_second * seconds)
    while index < total:
        now = time.perf_counter()
        while index < total and started + index / per_second <= now:
            if not free:
                free.append((await loop.create_connection(lambda: _Connection(answered), parts.hostname, parts.port))[1])
            connection = free.pop()
            due[connection] = index
            connection.send(next(stream), started + index / per_second)
            index += 1
        await asyncio.sleep(0.001)
    result.sent = total
    while result.answered + result.refused < total and time.perf_counter() - started < seconds + 30:
        await asyncio.sleep(0.005)
    result.seconds = time.perf_counter() - started
    for connection in free:
        connection.transport.close()
    return result
