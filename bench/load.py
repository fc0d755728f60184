"""Load on this machine only: raw keep-alive connections, a closed loop for rates, a fixed rate for latencies."""

import asyncio
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
        yield head + b"%d\r\n\r\n" % len(body) + body


async def closed_loop(url: str, stream: Iterator[bytes], *, connections: int, seconds: float) -> Result:
    """Keep `connections` requests under way for `seconds`."""
    result, loop = Result(), asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    open_count = connections
    done: asyncio.Event = asyncio.Event()

    def answered(connection: _Connection, status: int) -> None:
        nonlocal open_count
        now = time.perf_counter()
        result.latencies_s.append(now - connection.started)
        result.answered += status < 300
        result.refused += status >= 300
        if now < until:
            result.sent += 1
            connection.send(next(stream), now)
            return
        open_count -= 1
        if not open_count:
            done.set()

    parts = urlsplit(url)
    pool = [
        (await loop.create_connection(lambda: _Connection(answered), parts.hostname, parts.port))[1] for _ in range(connections)
    ]
    started = time.perf_counter()
    for connection in pool:
        result.sent += 1
        connection.send(next(stream), started)
    await asyncio.wait_for(done.wait(), seconds + 30)
    result.seconds = time.perf_counter() - started
    for connection in pool:
        connection.transport.close()
    return result


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
