"""The translators as the courier sees them: they come to its socket by themselves, and come again when they were sent away."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from capstream.kernel import log
from capstream.relay import part, wire
from capstream.relay.part import Part
from capstream.relay.wire import Entries, Opening, Order

_UNREAD = 2**30  # answers are taken in whatever the courier does: else it could wait for a translator that waits for it
_PATIENCE_S = 60.0


class Unshareable(Exception):
    """A batch cannot be shared: the courier has to do it alone, from its cursor on."""

    is_loggable = True  #: its text quotes no webhook


class _Line:
    """The connection to one translator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unanswered: list[Order] = []
        writer.transport.set_write_buffer_limits(0)  # webhooks are to be there before the courier turns to its own

    async def order(self, order: Order, content: bytes = b"") -> None:
        """Send an order. Errors: Unshareable."""
        if order in (Order.TAKE, Order.CLOSE, Order.MORE):
            self._unanswered.append(order)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await wire.send(self._writer, order, content)
        except TimeoutError as error:
            raise Unshareable(f"a translator takes nothing for {_PATIENCE_S:.0f} s") from error
        except (OSError, RuntimeError) as error:  # uvloop's word for a closed connection is a RuntimeError
            raise Unshareable("a translator is gone") from error

    def tell(self, order: Order) -> None:
        """Send what has no answer and no content; whether it came shows with the next order."""
        if self.is_open():
            wire.put(self._writer, order)

    async def part(self) -> Part:
        """Return the answer to the oldest order that has none yet. Errors: Unshareable."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await wire.read(self._reader)
        except TimeoutError as error:
            raise Unshareable(f"a translator gives no answer for {_PATIENCE_S:.0f} s") from error
        if answer is None or answer[0] is not self._unanswered.pop(0):
            raise Unshareable("a translator is gone")
        made = part.decode(answer[1])
        if made.refusal:
            raise Unshareable(made.refusal)
        return made

    def is_open(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    def hang_up(self) -> None:
        self._writer.close()

    async def gone(self) -> None:
        await self._writer.wait_closed()


class Translators:
    """Those that are there. While batches are shared the ones that were there at its beginning are at work."""

    def __init__(self) -> None:
        self._waiting: list[_Line] = []
        self._working: list[_Line] = []
        self._ending: deque[_Line] = deque()  #: those that have yet to say what the end of the batch has

    async def listen(self, path: Path, stop: asyncio.Event) -> None:
        """Let translators come to a socket until `stop` is set; where there can be none, the courier does without."""
        try:
            server = await asyncio.start_unix_server(self._came, sock=_bound(path), limit=_UNREAD)
        except OSError as error:  # a path that is too long, a file system without sockets
            log.warning("no local socket in the data folder: no translators", action="translators_off", reason=str(error))
            await stop.wait()
            return
        await stop.wait()
        server.close()
        lines = self._working + self._waiting
        for line in lines:
            line.hang_up()
        await asyncio.gather(*(line.gone() for line in lines), return_exceptions=True)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._waiting.append(_Line(reader, writer))

    def are_there(self) -> bool:
        """Return whether at least one waits for work."""
        self._waiting = [line for line in self._waiting if line.is_open()]
        return bool(self._waiting)

    async def begin(self, programs: bytes, *, member_bytes: int, log_bytes: int) -> int:
        """Let those that are there begin; return how many. Errors: Unshareable."""
        self._working, self._waiting = self._waiting, []
        self._ending.clear()
        for number, line in enumerate(self._working, 1):
            opening = Opening(len(self._working), number, member_bytes, log_bytes, programs)
            await line.order(Order.OPEN, wire.encode(opening))
        return len(self._working)

    def rest(self) -> None:
        """Let them forget everything and wait until they are to begin anew. All their batches are settled."""
        for line in self._working:
            line.tell(Order.REST)
        self._waiting += self._working
        self._working = []

    def send_away(self) -> None:
        """Forget what they are doing: they come again."""
        for line in self._working:
            line.hang_up()
        self._working = []
        self._ending.clear()

    async def take(self, dealt: Sequence[Entries]) -> None:
        """Give each of them journal entries. Errors: Unshareable."""
        for line, entries in zip(self._working, dealt, strict=True):
            await line.order(Order.TAKE, wire.encode(entries))

    async def close(self) -> None:
        """Let them end the batch. Errors: Unshareable."""
        for line in self._working:
            await line.order(Order.CLOSE)
        self._ending.extend(self._working)

    async def piece(self) -> Part | None:
        """Return the next piece of what they have for the end of the batch, None after the last. Errors: Unshareable."""
        if not self._ending:
            return None
        line = self._ending[0]
        found = await line.part()
        if found.is_more:
            await line.order(Order.MORE)
        else:
            self._ending.popleft()
        return found

    def settled(self) -> None:
        """Tell them that the oldest batch is settled."""
        for line in self._working:
            line.tell(Order.SETTLED)

    async def parts(self) -> list[Part]:
        """Return what each of them made of its last order. Errors: Unshareable."""
        return [await line.part() for line in self._working]


def _bound(path: Path) -> socket.socket:
    """Return a socket under a path that only this user may reach, from its first moment on. Errors: OSError."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    usual = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(usual)
    return made
