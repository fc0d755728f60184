"""The HTTP side of enrichment: makes the calls the translation plans, within limits, and never keeps the courier waiting long.

A call that has no answer in time goes on in the background; whoever asks for it again gets what came. Source: capillary.md 5.
"""

import asyncio
from collections.abc import Iterable

import httpx

from capstream.capillary.results import Answered, ApiCall, Failed
from capstream.kernel.clock import Clock
from capstream.relay.capillary_api import CapillaryClient, NotEver, NotNow, Reply
from capstream.relay.sources import CapillaryApi, Sources

Found = dict[str, Answered | Failed]
"""ApiCall.key -> what came back; calls without an answer are missing."""

_REPAIR_PAUSE_MS = 30_000
_REMEMBERED = 50_000


class Enrichment:
    """The Capillary APIs of all sources."""

    def __init__(self, http: httpx.AsyncClient, sources: Sources, clock: Clock, *, wait_s: float) -> None:
        self._http = http
        self._sources = sources
        self._clock = clock
        self._wait_s = wait_s
        self._clients: dict[CapillaryApi, CapillaryClient] = {}
        self._running: dict[str, asyncio.Task[Reply]] = {}
        self._repaired_ms: dict[str, int] = {}
        self._failed: set[str] = set()  # calls that were made last time and failed on the way

    def serves(self, source_key: str) -> bool:
        """Return whether the source has a Capillary API that may be asked."""
        source = self._sources.table.get(source_key)
        return source is not None and source.capillary_api is not None

    def serves_any(self) -> bool:
        """Return whether any source has a Capillary API that may be asked."""
        return any(source.capillary_api is not None for source in self._sources.table.values())

    async def ask(self, source_key: str, calls: Iterable[ApiCall]) -> Found:
        """Return the answers that come within the wait, and failures no repetition can mend."""
        client = self._client(source_key)
        if client is None:
            return {}
        tasks = {call.key: self._task(client, call) for call in calls}
        if not tasks:
            return {}
        await asyncio.wait(tasks.values(), timeout=self._wait_s)
        found: Found = {}
        for key, task in tasks.items():
            if not task.done():
                continue
            self._running.pop(key, None)
            reply = task.result()
            if isinstance(reply, Answered):
                found[key] = reply
                if key.startswith("C3:"):
                    self._repaired_ms[key] = self._clock()
            elif isinstance(reply, NotEver):
                found[key] = Failed(reply.reason)
            if isinstance(reply, NotNow) and reply.was_called:
                self._failed.add(key)
            else:
                self._failed.discard(key)
        self._forget_old()
        return found

    def has_failed(self, call: ApiCall) -> bool:
        """Return whether the call was made when it was last asked for, and failed: only that counts as a try.

        A call that is still on its way, or that our own limits kept back, was not tried.
        """
        return call.key in self._failed

    def is_fresh(self, call: ApiCall) -> bool:
        """Return whether a member's full state was read so lately that another reading is no repair. Source: capillary.md 5.4."""
        return call.kind == "C3" and self._clock() - self._repaired_ms.get(call.key, -_REPAIR_PAUSE_MS) < _REPAIR_PAUSE_MS

    async def stop(self) -> None:
        """Cancel what goes on in the background."""
        running, self._running = list(self._running.values()), {}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _task(self, client: CapillaryClient, call: ApiCall) -> asyncio.Task[Reply]:
        task = self._running.get(call.key)
        if task is None:
            task = self._running[call.key] = asyncio.create_task(client.get(call.path, dict(call.query)))
        return task

    def _client(self, source_key: str) -> CapillaryClient | None:
        source = self._sources.table.get(source_key)
        if source is None or source.capillary_api is None:
            return None
        api = source.capillary_api
        if api not in self._clients:
            self._clients[api] = CapillaryClient(self._http, api, self._clock)
        return self._clients[api]

    def _forget_old(self) -> None:
        if len(self._repaired_ms) > _REMEMBERED:
            now = self._clock()
            self._repaired_ms = {key: at for key, at in self._repaired_ms.items() if now - at < _REPAIR_PAUSE_MS}
        if len(self._failed) > _REMEMBERED:
            self._failed.clear()
        if len(self._running) > _REMEMBERED:
            self._running = {key: task for key, task in self._running.items() if not task.done()}
