"""Forgets accepted messages that the pipeline has processed: lake, Profile and rejected records hold what became of them.

The log's writer does it. Its cursor is durable before it is seen here, so no crash can want a message back. Keys stay: file
runs tell by them which rows were appended.
"""

import asyncio
from collections.abc import Callable

from capstream.kernel import log
from capstream.storage import trimming
from capstream.storage.ports import Log, StorageUnavailable

_EVERY_S = 60.0


class Trimming:
    """Keeps the inlet log small."""

    def __init__(self, inlet: Log, processed: Callable[[], int]) -> None:
        """`processed` returns the offset up to which the pipeline has come, durably."""
        self._inlet = inlet
        self._processed = processed

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep once a minute until `stop` is set."""
        while not stop.is_set():
            try:
                await self.sweep(stop)
            except StorageUnavailable as error:
                log.error("the inlet log cannot be trimmed", action="inlet_trim_failed", reason=str(error))
            try:
                await asyncio.wait_for(stop.wait(), _EVERY_S)
            except TimeoutError:
                continue

    async def sweep(self, stop: asyncio.Event) -> int:
        """Forget what is processed; return how many messages went. Errors: StorageUnavailable."""
        trimmed = await trimming.trim(self._inlet, self._processed(), stop)
        await trimming.give_back(self._inlet, stop)
        return trimmed
