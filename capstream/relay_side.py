"""Builds Capillary's side of the wire from its stores: the receiver, the relay's own API and the clerk."""

import asyncio
import contextlib
import hmac
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from capstream import credentials
from capstream.config import Live, Settings
from capstream.kernel.json import Json
from capstream.layout import Layout
from capstream.relay.admin import Admin
from capstream.relay.alerting import AlertLog, Thresholds
from capstream.relay.audit import Audit
from capstream.relay.back_pressure import Gate, HighWater
from capstream.relay.drift import Acknowledgements, DriftBook, read_notices, with_drift
from capstream.relay.drift_desk import DriftDesk
from capstream.relay.eraser import Eraser, Pace
from capstream.relay.event_index import FACETS, EventBrowser, follow
from capstream.relay.journal_search import JournalSearch
from capstream.relay.ledger import read_cursor, read_lanes
from capstream.relay.parked_desk import ParkedDesk
from capstream.relay.preview import Preview
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.retention import Kept, Retention
from capstream.relay.sources import Sources, reseal_sources
from capstream.relay.status import status_of
from capstream.relay.watch import Watch
from capstream.relay_keys import key_file, vault_of
from capstream.serving.exchange import Recognise, ThinHandler
from capstream.serving.port import AsgiApp, asgi_webhooks
from capstream.storage import trimming
from capstream.storage.key_file import add_key, drop_old_keys
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_files import compact
from capstream.storage.sqlite_index import SqliteIndex

_CLERK_EVERY_S = 0.5
_LOOK_EVERY_MS = 5000
_PAGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class RelaySide:
    """The relay's part of the gateway process."""

    receive: ThinHandler
    recognise: Recognise
    mounts: list[tuple[str, AsgiApp]]
    status: Callable[[], Json]
    maintain: Callable[[asyncio.Event], Coroutine[None, None, None]]  #: keeps the journal within bounds until the event
    close: Callable[[], None]  #: journals what is only counted yet


@dataclass(frozen=True, slots=True)
class _Stores:
    """What the gateway opens: its own stores to write, the others' to read."""

    journal: SqliteLog
    origins: SqliteDocuments  #: of `sources`
    sources: Sources
    office: SqliteDocuments
    courier: SqliteDocuments


def build(live: Live, layout: Layout) -> RelaySide:
    """Return the receiver and the admin API on the stores of a data folder."""
    settings, clock = live.now, live.now.clock()
    origins = SqliteDocuments(layout.sources)
    stores = _Stores(
        journal=SqliteLog(layout.journal),
        origins=origins,
        sources=Sources(origins, vault_of(settings, layout), clock),
        office=SqliteDocuments(layout.relay_admin),
        courier=SqliteDocuments(layout.courier, readonly=True),
    )
    limits = ReceiverLimits(body_bytes=settings.relay.body_limit)
    gate = _gate(live, layout, stores.journal, stores.courier, stores.sources)
    receiver = Receiver(stores.journal, stores.sources, clock=clock, gate=gate, limits=limits)
    watch = _watch(live, layout, stores.journal, stores.courier, stores.sources, gate=gate)
    drift = DriftDesk(SqliteDocuments(layout.drift, readonly=True), stores.office, clock)
    eraser = make_eraser(live, layout, stores.journal, office=stores.office, courier=stores.courier)
    retention = Retention(stores.journal, stores.courier, stores.office, clock=clock, kept=lambda: _kept(live.now))

    def status() -> Json:
        return drift.told(status_of(stores.courier, stores.journal, receiver.unwritten_repeats()) | watch.state())

    async def maintain(stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(retention.run(stop))
            group.create_task(eraser.run(stop))

    admin = _admin(live, layout, stores, drift=drift, eraser=eraser, status=status)
    mounts: list[tuple[str, AsgiApp]] = [
        ("/relay", admin.app()),
        ("/webhooks", asgi_webhooks(receiver.handle, settings.relay.body_limit)),
    ]
    return RelaySide(receiver.handle, receiver.recognise, mounts, status=status, maintain=maintain, close=receiver.flush)


def _gate(live: Live, layout: Layout, journal: SqliteLog, courier: SqliteDocuments, sources: Sources) -> Gate:
    """Return what closes the door while too much waits or the disk is full."""
    gate = Gate(
        backlog=lambda: max(journal.end() - read_cursor(courier), 0),
        free_bytes=lambda: shutil.disk_usage(layout.data).free + journal.free_bytes(),
        mark=_mark(live.now),
        lanes=lambda: read_lanes(courier),
        quotas=lambda: _quotas(sources),
    )
    live.listen(lambda fresh: gate.move(_mark(fresh)))
    return gate


def _admin(live: Live, layout: Layout, stores: _Stores, *, drift: DriftDesk, eraser: Eraser, status: Callable[[], Json]) -> Admin:
    clock = live.now.clock()
    reader = SqliteDocuments(layout.courier, readonly=True)
    return Admin(
        journal=stores.journal,
        courier=stores.courier,
        sources=stores.sources,
        verify=_verifier(layout),
        clock=clock,
        status_now=status,
        browser=_browser(layout),
        preview=Preview(SqliteLog(layout.journal, readonly=True), reader, stores.sources),
        audit=Audit(stores.office, clock),
        drift=drift,
        parked=ParkedDesk(stores.courier, stores.journal, clock),
        change_key=lambda: _change_key(stores, layout, key_file(live.now, layout)),
        privacy=PrivacyDesk(stores.courier, stores.office, eraser, clock, lambda: live.now.privacy.grace_days),
    )


def _change_key(stores: _Stores, layout: Layout, file: Path) -> int:
    """Seal the stored secrets with a new key, as `key_change.py` does it when the server is stopped; return how many there were.

    Courier and clerk meet them with the old one, and read the key file again.
    """
    vault = stores.sources.vault
    add_key(file)
    vault.renew()
    count = reseal_sources(stores.origins, vault)
    compact(layout.sources)
    drop_old_keys(file)
    vault.renew()
    return count


def make_eraser(live: Live, layout: Layout, journal: SqliteLog, *, office: SqliteDocuments, courier: SqliteDocuments) -> Eraser:
    """Return what leads the erasure of members."""
    clock = live.now.clock()
    return Eraser(
        journal,
        office,
        courier=courier,
        finds=SqliteDocuments(layout.erasing, readonly=True),
        clock=clock,
        pace=lambda: Pace(grace_days=live.now.privacy.grace_days, every_hours=live.now.privacy.every_hours),
        digest=vault_of(live.now, layout).digest,
        audit=Audit(office, clock),
    )


def _mark(settings: Settings) -> HighWater:
    limits = settings.relay
    return HighWater(
        backlog=limits.backlog_limit,
        free_bytes=limits.min_free_bytes,
        outbox_bytes=limits.outbox_bytes,
        resume_percent=limits.resume_percent,
    )


def _quotas(sources: Sources) -> dict[str, int]:
    return {key: source.outbox_bytes for key, source in sources.table.items() if source.outbox_bytes}


def _kept(settings: Settings) -> Kept:
    limits = settings.relay
    return Kept(journal_days=limits.journal_days, dedupe_days=limits.dedupe_days, journal_bytes=limits.journal_bytes)


def _watch(live: Live, layout: Layout, journal: SqliteLog, courier: SqliteDocuments, sources: Sources, *, gate: Gate) -> Watch:
    """Return what looks after lag, disk, tokens, dead letters and deleted members."""
    index = SqliteIndex(layout.event_index, FACETS, readonly=True)
    return Watch(
        journal=journal,
        courier=courier,
        clock=live.now.clock(),
        free_bytes=lambda: shutil.disk_usage(layout.data).free,
        thresholds=lambda: _thresholds(live.now),
        stores={"journal": journal, "courier": courier, "events": index},
        grace_days=lambda: live.now.privacy.grace_days,
        refusing=gate.refusing,
        sources=lambda: sources.table,
    )


def _thresholds(settings: Settings) -> Thresholds:
    limits = settings.alerts
    return Thresholds(
        lag_s=limits.lag_s,
        dead_letters=limits.dead_letters,
        free_bytes=limits.free_bytes,
        token_s=limits.token_s,
        privacy_s=limits.privacy_s,
    )


def _browser(layout: Layout) -> EventBrowser:
    """Return the reader of received webhooks, on connections of its own: it is asked in a thread."""
    return EventBrowser(
        SqliteLog(layout.journal, readonly=True),
        SqliteDocuments(layout.courier, readonly=True),
        SqliteIndex(layout.event_index, FACETS, readonly=True),
    )


async def clerk(live: Live, layout: Layout, stop: asyncio.Event) -> None:
    """Follow the journal with the index of received webhooks, look for members that have to go, and tell the log of alerts,
    until `stop` is set."""
    journal, index, clock = SqliteLog(layout.journal, readonly=True), SqliteIndex(layout.event_index, FACETS), live.now.clock()
    sources = Sources(SqliteDocuments(layout.sources, readonly=True), vault_of(live.now, layout))
    courier = SqliteDocuments(layout.courier, readonly=True)
    gate = _gate(live, layout, journal, courier, sources)
    watch, alerts = _watch(live, layout, journal, courier, sources, gate=gate), AlertLog()
    notices, office, finds = (
        SqliteDocuments(layout.drift),
        SqliteDocuments(layout.relay_admin, readonly=True),
        SqliteDocuments(layout.erasing),
    )
    drift, seen, search = DriftBook(notices), Acknowledgements(office), JournalSearch(journal, index, office, finds)
    next_look = 0
    while not stop.is_set():
        if clock() >= next_look:
            next_look = clock() + _LOOK_EVERY_MS
            sources.refresh()
            alerts.tell(with_drift(watch.state(), read_notices(notices), seen.seen())["alerts"])
        if await asyncio.to_thread(follow, journal, index, drift) or await asyncio.to_thread(search.step):
            continue
        index.forget(clock() - int(live.now.relay.journal_days * 86_400_000))
        index.give_back(min(trimming.spare_pages(index), _PAGES_AT_ONCE))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _CLERK_EVERY_S)
    for store in (index, notices, finds):
        store.close()


def _verifier(layout: Layout) -> Callable[[str, str], bool]:
    """Return the check of the relay's own API: the client of `credentials.json`."""
    known = credentials.read(layout.credentials)
    wanted = f"{known.client_id}:{known.client_secret}".encode()
    return lambda client_id, secret: hmac.compare_digest(f"{client_id}:{secret}".encode(), wanted)
