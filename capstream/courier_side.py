"""Builds the courier and its translators from the stores; imports nothing of what serves: that much less memory in each."""

import asyncio
import contextlib
from collections.abc import Callable

import httpx

from capstream.config import Live, Settings
from capstream.crash import crash_point
from capstream.layout import Layout
from capstream.relay import lines
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.ledger import is_to_be_cleaned, note_clean
from capstream.relay.sources import Sources
from capstream.relay.translator import Translator, serve_courier
from capstream.relay.translators import Translators
from capstream.relay_keys import vault_of
from capstream.storage import trimming
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

_COME_AGAIN_S = 0.2
_COURIER_KB = 6000  # states are kept in memory beside: pages would keep them twice


async def courier(live: Live, stop: asyncio.Event) -> None:
    """Deliver what the journal holds until `stop` is set, and keep `courier.db` small meanwhile."""
    layout = Layout(live.now.data)
    documents, erased = SqliteDocuments(layout.courier, shrinks=True, cache_kb=_COURIER_KB), asyncio.Event()
    if is_to_be_cleaned(documents):  # a courier before this one was killed
        erased.set()
    translators = Translators()
    async with lines.client(httpx.Timeout(60, connect=10)) as client, asyncio.TaskGroup() as group:
        group.create_task(trimming.keep_small(documents, stop, name="courier.db"))
        group.create_task(trimming.leave_nothing(documents, stop, erased, lambda: note_clean(documents)))
        group.create_task(translators.listen(layout.translators, stop))
        await _courier(live, layout, client, documents, translators, erased=erased.set).run(stop)


async def translator(live: Live, stop: asyncio.Event) -> None:
    """Translate beside the courier until `stop` is set; where there is none, wait for it."""
    settings, layout = live.now, Layout(live.now.data)
    documents = SqliteDocuments(layout.courier, readonly=True, cache_kb=_COURIER_KB)
    sources = Sources(SqliteDocuments(layout.sources, readonly=True), vault_of(settings, layout))
    made = Translator(documents, sources, settings.clock(), checkpoint=crash_point(settings, "translator"))
    ending = asyncio.create_task(stop.wait())
    while not stop.is_set():
        serving = asyncio.create_task(serve_courier(made, layout.translators))
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _COME_AGAIN_S)
        else:
            serving.cancel()


def _courier(
    live: Live,
    layout: Layout,
    client: httpx.AsyncClient,
    documents: SqliteDocuments,
    translators: Translators,
    *,
    erased: Callable[[], None],
) -> Courier:
    settings = live.now
    sources = Sources(SqliteDocuments(layout.sources, readonly=True), vault_of(settings, layout))
    world = World(client=client, clock=settings.clock(), checkpoint=crash_point(settings, "courier"), erased=erased)
    journal = SqliteLog(layout.journal, readonly=True)
    made = Courier(journal, documents, sources, world=world, settings=_pace(settings), translators=translators)
    live.listen(lambda fresh: made.adapt(_pace(fresh)))
    return made


def _pace(settings: Settings) -> CourierSettings:
    return CourierSettings(portion=settings.relay.batch_events, linger_s=settings.relay.linger_ms / 1000)
