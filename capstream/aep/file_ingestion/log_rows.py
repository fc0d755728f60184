"""The inlet log for a thread beside the event loop: the log takes appends of one thread only, the loop's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from capstream.storage.ports import Log

T = TypeVar("T")

_TIMEOUT_S = 60.0


class LogRows:
    """Hands every call to the loop's thread and waits for its outcome. Implements `collector.Rows`."""

    def __init__(self, inlet: Log, processed: Callable[[], int], loop: asyncio.AbstractEventLoop) -> None:
        """`processed` returns the offset up to which the pipeline has come."""
        self._inlet = inlet
        self._processed = processed
        self._loop = loop

    def append(self, messages: list[bytes], keys: list[bytes]) -> int:
        return self._there(lambda: self._inlet.append(messages, keys=keys)) + len(messages) - 1

    def seen(self, key: bytes) -> int:
        return self._there(lambda: self._inlet.seen([key]).get(key, 0))

    def end(self) -> int:
        return self._there(self._inlet.end)

    def pending(self) -> int:
        return self.end() - self._processed()

    def _there(self, action: Callable[[], T]) -> T:
        outcome: Future[T] = Future()

        def act() -> None:
            try:
                outcome.set_result(action())
            except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
                outcome.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        return outcome.result(_TIMEOUT_S)
