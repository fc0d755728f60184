"""Builds Capillary's side of the wire from its stores: the receiver and the relay's own API, and the courier."""

import asyncio
import contextlib
import hmac
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from capstream import credentials
from capstream.config import Live, Settings
from capstream.crash import crash_point
from capstream.kernel.json import Json
from capstream.layout import Layout
from capstream.relay.admin import Admin
from capstream.relay.audit import Audit
from capstream.relay.back_pressure import Gate, HighWater
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.drift import Acknowledgements, DriftBook, read_notices, with_drift
from capstream.relay.drift_desk import DriftDesk
from capstream.relay.event_index import FACETS, EventBrowser, follow
from capstream.relay.ledger import read_backlogs, read_cursor
from capstream.relay.parked_desk import ParkedDesk
from capstream.relay.preview import Preview
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.retention import Kept, Retention
from capstream.relay.sources import Sources
from capstream.relay.status import status_of
from capstream.relay.vault import Vault
from capstream.relay.watch import AlertLog, Thresholds, Watch
from capstream.serving import AsgiApp, ThinHandler, asgi_webhooks
from capstream.storage import trimming
from capstream.storage.key_file import read_keys
from capstream.storage.ports import Shrinking
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

_CLERK_EVERY_S = 0.5
_LOOK_EVERY_MS = 5000
_PAGES_AT_ONCE = 256
_COURIER_KB = 6000  # states are kept in memory beside: pages would keep them twice


@dataclass(frozen=True, slots=True)
class RelaySide:
    """The relay's part of the gateway process."""

    receive: ThinHandler
    mounts: list[tuple[str, AsgiApp]]
    status: Callable[[], Json]
    maintain: Callable[[asyncio.Event], Coroutine[None, None, None]]  #: keeps the journal within bounds until the event
    close: Callable[[], None]  #: journals what is only counted yet


def build(live: Live, layout: Layout) -> RelaySide:
    """Return the receiver and the admin API on the stores of a data folder."""
    settings = live.now
    journal = SqliteLog(layout.journal)
    courier = SqliteDocuments(layout.courier, readonly=True)
    sources = Sources(SqliteDocuments(layout.sources), _vault(settings, layout), settings.clock())
    limits = settings.relay
    gate = Gate(
        backlog=lambda: journal.end() - read_cursor(courier),
        free_bytes=lambda: shutil.disk_usage(layout.data).free + journal.free_bytes(),
        mark=_mark(settings),
        waiting=lambda: read_backlogs(courier),
    )
    live.listen(lambda fresh: gate.move(_mark(fresh)))
    watch = replace(_watch(live, layout, journal, courier), sources=lambda: sources.table)
    receiver = Receiver(journal, sources, clock=settings.clock(), gate=gate, limits=ReceiverLimits(body_bytes=limits.body_limit))
    office = SqliteDocuments(layout.relay_admin)

    desk = DriftDesk(SqliteDocuments(layout.drift, readonly=True), office, settings.clock())

    def status() -> Json:
        return desk.told(status_of(courier, journal, receiver.unwritten_repeats()) | watch.state())

    admin = Admin(
        journal=journal,
        courier=courier,
        sources=sources,
        verify=_verifier(layout),
        clock=settings.clock(),
        status_now=status,
        browser=_browser(layout),
        preview=Preview(SqliteLog(layout.journal, readonly=True), SqliteDocuments(layout.courier, readonly=True), sources),
        audit=Audit(office, settings.clock()),
        drift=desk,
        parked=ParkedDesk(courier, journal, settings.clock()),
    )
    mounts: list[tuple[str, AsgiApp]] = [
        ("/relay", admin.app()),
        ("/webhooks", asgi_webhooks(receiver.handle, limits.body_limit)),
    ]
    retention = Retention(journal, courier, office, clock=settings.clock(), kept=lambda: _kept(live.now))
    return RelaySide(
        receiver.handle,
        mounts,
        status=status,
        maintain=retention.run,
        close=receiver.flush,
    )


def key_file(settings: Settings, layout: Layout) -> Path:
    """Return the file of the key that seals the relay's secrets."""
    named = settings.relay.key_file
    return Path(named) if named else layout.relay_key


def _vault(settings: Settings, layout: Layout) -> Vault:
    return Vault(*read_keys(key_file(settings, layout)))


def _mark(settings: Settings) -> HighWater:
    return HighWater(backlog=settings.relay.backlog_limit, free_bytes=settings.relay.min_free_bytes)


def _kept(settings: Settings) -> Kept:
    limits = settings.relay
    return Kept(journal_days=limits.journal_days, dedupe_days=limits.dedupe_days, journal_bytes=limits.journal_bytes)


def _watch(live: Live, layout: Layout, journal: SqliteLog, courier: SqliteDocuments) -> Watch:
    """Return what looks after lag, disk, tokens and dead letters."""

    def thresholds() -> Thresholds:
        limits = live.now.alerts
        return Thresholds(
            lag_s=limits.lag_s, dead_letters=limits.dead_letters, free_bytes=limits.free_bytes, token_s=limits.token_s
        )

    free = lambda: shutil.disk_usage(layout.data).free  # noqa: E731 - one expression
    index = SqliteIndex(layout.event_index, FACETS, readonly=True)
    stores: dict[str, Shrinking] = {"journal": journal, "courier": courier, "events": index}
    return Watch(journal=journal, courier=courier, clock=live.now.clock(), free_bytes=free, thresholds=thresholds, stores=stores)


def _browser(layout: Layout) -> EventBrowser:
    """Return the reader of received webhooks, on connections of its own: it is asked in a thread."""
    return EventBrowser(
        SqliteLog(layout.journal, readonly=True),
        SqliteDocuments(layout.courier, readonly=True),
        SqliteIndex(layout.event_index, FACETS, readonly=True),
    )


async def clerk(live: Live, layout: Layout, stop: asyncio.Event) -> None:
    """Follow the journal with the index of received webhooks, and tell the log of alerts, until `stop` is set."""
    journal, index, clock = SqliteLog(layout.journal, readonly=True), SqliteIndex(layout.event_index, FACETS), live.now.clock()
    watch, alerts = _watch(live, layout, journal, SqliteDocuments(layout.courier, readonly=True)), AlertLog()
    notices = SqliteDocuments(layout.drift)
    drift, seen = DriftBook(notices), Acknowledgements(SqliteDocuments(layout.relay_admin, readonly=True))
    next_look = 0
    while not stop.is_set():
        if clock() >= next_look:
            next_look = clock() + _LOOK_EVERY_MS
            alerts.tell(with_drift(watch.state(), read_notices(notices), seen.seen())["alerts"])
        if await asyncio.to_thread(follow, journal, index, drift):
            continue
        index.forget(clock() - int(live.now.relay.journal_days * 86_400_000))
        index.give_back(min(trimming.spare_pages(index), _PAGES_AT_ONCE))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _CLERK_EVERY_S)
    index.close()
    notices.close()


def _verifier(layout: Layout) -> Callable[[str, str], bool]:
    """Return the check of the relay's own API: the client of `credentials.json`."""
    known = credentials.read(layout.credentials)
    wanted = f"{known.client_id}:{known.client_secret}".encode()
    return lambda client_id, secret: hmac.compare_digest(f"{client_id}:{secret}".encode(), wanted)


async def courier(live: Live, layout: Layout, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
    """Deliver what the journal holds until `stop` is set, and keep `courier.db` small meanwhile."""
    documents = SqliteDocuments(layout.courier, shrinks=True, cache_kb=_COURIER_KB)
    async with asyncio.TaskGroup() as group:
        group.create_task(trimming.keep_small(documents, stop, name="courier.db"))
        await _courier(live, layout, client, documents).run(stop)


def _courier(live: Live, layout: Layout, client: httpx.AsyncClient, documents: SqliteDocuments) -> Courier:
    settings = live.now
    sources = Sources(SqliteDocuments(layout.sources, readonly=True), _vault(settings, layout))
    world = World(client=client, clock=settings.clock(), checkpoint=crash_point(settings, "courier"))
    made = Courier(SqliteLog(layout.journal, readonly=True), documents, sources, world=world, settings=_pace(settings))
    live.listen(lambda fresh: made.adapt(_pace(fresh)))
    return made


def _pace(settings: Settings) -> CourierSettings:
    return CourierSettings(portion=settings.relay.batch_events, linger_s=settings.relay.linger_ms / 1000)
