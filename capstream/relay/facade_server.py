"""The simulator's API on a port of its own, while a run lasts."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn

from capstream.kernel.errors import InputError
from capstream.relay.facade import Facade

HOST = "127.0.0.1"
_START_S = 10.0


@asynccontextmanager
async def served(facade: Facade, port: int) -> AsyncIterator[int]:
    """Serve the façade on the loopback address while the context lasts; the value is the port."""
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise InputError("façade port", f"{port} is not free: {error.strerror}", "choose another one, or 0 for any") from error
    config = uvicorn.Config(facade.app(), log_level="warning", access_log=False, lifespan="off", http="httptools")
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(_START_S):
            while not server.started:
                await asyncio.sleep(0.005)
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task
        listener.close()


class _Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not typed here
    """uvicorn without its signal handlers: signals belong to the command that runs this."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield
