"""The relay's webhook endpoint on a port of its own, in a thread, over a journal in a file: what a backfill talks to."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from running import free_port

from capstream.own_api import mounted
from capstream.relay.back_pressure import Gate
from capstream.relay.receiver import Receiver
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.serving.port import asgi_webhooks, serve
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

LIMIT = 10 * 1024 * 1024
OPEN = Gate(lambda: 0, lambda: 10**12)


class WebhookDoor:
    """A context; `url` is the address of the source `nw`."""

    def __init__(self, folder: Path, vault: Vault, clock: Any) -> None:
        self._folder, self._vault, self._clock = folder, vault, clock
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/webhooks/capillary/nw"

    def __enter__(self) -> "WebhookDoor":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        journal, documents = SqliteLog(self._folder / "journal.db"), SqliteDocuments(self._folder / "sources.db")
        receiver = Receiver(journal, Sources(documents, self._vault), clock=self._clock, gate=OPEN)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = mounted([("/webhooks", asgi_webhooks(receiver.handle, LIMIT))])
        options: dict[str, Any] = {"host": "127.0.0.1", "port": self._port, "body_limit": LIMIT}
        await serve(app, receiver.handle, stop=self._stop, ready=ready.set, **options)
        journal.close()
        documents.close()
