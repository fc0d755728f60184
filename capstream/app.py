"""The composition root: builds stores, relay and platform from the settings; the only module that imports everything.

The heavy engines (Arrow, Delta) are imported by the roles that need them, so that the gateway is ready at once.
"""

import asyncio
import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import httpx
import msgspec

from capstream import credentials, own_api, upgrades
from capstream.aep.access_control.model import Roles, Subject
from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.model import Client, Clients, Organisation, Organisations
from capstream.aep.ims.tokens import longest_life_s
from capstream.aep.sandbox.model import Sandboxes
from capstream.config import Live, Settings
from capstream.crash import crash_point
from capstream.credentials import Credentials
from capstream.kernel import log
from capstream.kernel.errors import InputError
from capstream.kernel.metrics import Metric, exposition
from capstream.layout import Layout
from capstream.measures import of_platform, of_relay
from capstream.relay.event_index import FACETS
from capstream.serving.exchange import recognise_nobody
from capstream.serving.port import AsgiApp, serve
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

WHOLE = ("gateway", "worker", "courier", "clerk")
RELAY = ("gateway-relay", "courier", "clerk")
PLATFORM = ("gateway-platform", "worker")
TRANSLATORS = tuple(f"translator-{number}" for number in range(1, 9))
"""They come and go: a server is ready without them."""
TENANT = "capstream"
_CLERK_NICE = 10
SCOPES = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
_CHORES_EVERY_S = 5.0
_SWITCH_S = 0.0005  # the worker's threads hand over soon: one commits, with many short waits, while one computes
STATE_PAGE_BYTES = 8192  # an event of 2 KB shares its page with others; of 4096 it leaves half empty, and a commit writes both
_STATE_WAL_BYTES = 64 * 1024 * 1024  # copied seldom: the same pages are written again and again
_ORGANISATION = "capstream"
_ACCOUNT = "capstream technical account"


def with_translators(roles: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """Return the processes of a server, the courier's translators among them."""
    return roles + TRANSLATORS[: settings.relay.translators] if "courier" in roles else roles


def prepare(settings: Settings) -> Credentials:
    """Make what a first start needs (stores, organisation, sandbox, technical account, keys) and write `credentials.json`.

    Later starts keep everything and only bring the addresses up to date.
    """
    layout = Layout(settings.data)
    upgrades.bring_up_to_date(layout)
    SqliteDocuments(layout.state, page_bytes=STATE_PAGE_BYTES).close()
    for documents in (layout.sources, layout.alerts, layout.relay_admin, layout.drift, layout.erasing):
        SqliteDocuments(documents).close()
    SqliteDocuments(layout.courier, shrinks=True).close()
    for log_file in (layout.inlet, layout.journal):
        SqliteLog(log_file).close()
    SqliteIndex(layout.event_index, FACETS).close()
    KeyRing(layout.signing_key, outlives_s=longest_life_s(settings.ims.token_ttl_s))
    control = SqliteDocuments(layout.control)
    try:
        found = _account(control, layout, settings.clock()())
    finally:
        control.close()
    made = _addressed(found, settings.base_url)
    credentials.write(layout.credentials, made)
    return made


def _account(control: SqliteDocuments, layout: Layout, now: int) -> Credentials:
    organisation = next(iter(Organisations(control).all()), None)
    if organisation is not None:
        if not layout.credentials.exists():
            cure = "restore the file, or remove the data folder to start anew"
            raise InputError(str(layout.credentials), "it is gone, and secrets are kept as hashes only", cure)
        found = credentials.read(layout.credentials)
        _entitle(Clients(control), found.client_id)
        return found
    organisation = Organisations(control).create(_ORGANISATION, TENANT, now_ms=now)
    sandbox = Sandboxes(control).ensure_default(organisation.id, now)
    client, secret = Clients(control).create(organisation.id, name=_ACCOUNT, now_ms=now, org_admin=True)
    for role in Roles(control).ensure_system_roles(organisation.id, now):
        Roles(control).give(role, Subject(type="api-integration", id=client.client_id), now)
    return _first_credentials(organisation, client, secret, sandbox.name)


def _entitle(clients: Clients, client_id: str) -> None:
    """Make the server's own account an administrator; before 0.2 permissions were not enforced and there were none."""
    client = clients.get(client_id)
    if client is not None and not client.org_admin:
        clients.save(msgspec.structs.replace(client, org_admin=True))


def _first_credentials(organisation: Organisation, client: Client, secret: str, sandbox: str) -> Credentials:
    return Credentials(
        org_id=organisation.id,
        client_id=client.client_id,
        client_secret=secret,
        scopes=SCOPES,
        sandbox=sandbox,
        ims_url="",
        platform_url="",
        inlet_url="",
        relay_url="",
        webhook_secret=secrets.token_urlsafe(32),
    )


def _addressed(found: Credentials, url: str) -> Credentials:
    kept = {
        name: getattr(found, name) for name in ("org_id", "client_id", "client_secret", "scopes", "sandbox", "webhook_secret")
    }
    return Credentials(**kept, ims_url=url, platform_url=url, inlet_url=f"{url}/collection", relay_url=url)


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a child process the same settings."""
    server = settings.server
    named = {"HOST": server.host, "PORT": server.port, "PUBLIC_URL": server.public_url}
    return {"CAPSTREAM_DATA": str(settings.data)} | {f"CAPSTREAM_SERVER_{key}": str(value) for key, value in named.items()}


Beside = Callable[[threading.Event, asyncio.AbstractEventLoop], None]
"""Work that has a thread of its own."""


@dataclass(slots=True)
class _Port:
    """What the one port serves, and what is done beside it."""

    mounts: list[tuple[str, AsgiApp]]
    readings: list[Callable[[], list[Metric]]] = field(default_factory=list)
    chores: list[Callable[[], None]] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    upkeep: list[Callable[[asyncio.Event], Coroutine[None, None, None]]] = field(default_factory=list)

    def all_mounts(self) -> list[tuple[str, AsgiApp]]:
        """Return the applications, and the metrics of all of them."""
        return [*self.mounts, ("/metrics", _metrics(self.readings))]

    def work(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Begin what is done beside the port."""
        group.create_task(_repeated(self.chores, stop))
        group.create_task(_in_threads(self.beside, stop))
        for maintain in self.upkeep:
            group.create_task(maintain(stop))


async def gateway(live: Live, stop: asyncio.Event, *, roles: tuple[str, ...] = WHOLE) -> None:
    """Serve the one port: webhooks, the relay's own API, the platform's APIs and inlets, as far as `roles` go."""
    from capstream import relay_side  # noqa: PLC0415 - with the role

    settings = live.now
    layout = Layout(settings.data)
    others = tuple(role for role in roles if not role.startswith("gateway"))
    port = _Port([("/health", own_api.asgi(own_api.health(settings.data / "run", others)))])
    relay = relay_side.build(live, layout) if "courier" in roles else None
    if relay is not None:
        port.mounts += relay.mounts
        port.upkeep.append(relay.maintain)
        port.readings.append(lambda: of_relay(relay.status()))
    app = _platform(settings, layout, port) if "worker" in roles else own_api.mounted(port.all_mounts())
    webhooks, recognise = (relay.receive, relay.recognise) if relay is not None else (own_api.no_relay, recognise_nobody)
    server, limit = settings.server, settings.relay.body_limit
    async with asyncio.TaskGroup() as group:
        port.work(group, stop)
        await serve(
            app,
            webhooks,
            recognise=recognise,
            host=server.host,
            port=server.port,
            body_limit=limit,
            stop=stop,
            ready=lambda: None,
        )
    if relay is not None:
        relay.close()


def _platform(settings: Settings, layout: Layout, port: _Port) -> AsgiApp:
    """Return the platform's gateway in front of everything the port serves."""
    from capstream import platform_side  # noqa: PLC0415 - with the role

    platform = platform_side.build(settings, layout)
    port.mounts += platform.mounts
    port.readings.append(lambda: of_platform(platform.status()))
    port.chores.append(platform.flush)
    port.upkeep.append(platform.maintain)
    port.beside.append(platform.collect)
    return platform.gateway(port.all_mounts())


async def _in_threads(beside: list[Beside], stop: asyncio.Event) -> None:
    """Run what has a thread of its own until `stop` is set."""
    ended, loop = threading.Event(), asyncio.get_running_loop()
    running = [asyncio.create_task(asyncio.to_thread(work, ended, loop)) for work in beside]
    await stop.wait()
    ended.set()
    await asyncio.gather(*running)


async def _repeated(chores: list[Callable[[], None]], stop: asyncio.Event) -> None:
    """Do the chores every few seconds, in a thread, and once more at the end."""
    while chores:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _CHORES_EVERY_S)
        for chore in chores:
            try:
                await asyncio.to_thread(chore)
            except Exception as error:  # noqa: BLE001 - body of a background loop: the next round tries again
                log.error("chore failed", action="chore_failed", exc=error)
        if stop.is_set():
            return


def _metrics(readings: list[Callable[[], list[Metric]]]) -> AsgiApp:
    return own_api.asgi(own_api.metrics(lambda: exposition([metric for read in readings for metric in read()])))


async def worker(live: Live, stop: asyncio.Event) -> None:
    """Run the pipeline behind the inlets."""
    import pyarrow as pa  # noqa: PLC0415 - with the role

    from capstream.aep.catalog.lake import BATCH_ID, DATE  # noqa: PLC0415 - with the role
    from capstream.aep.pipeline.loop import Pipeline, Stores  # noqa: PLC0415 - with the role
    from capstream.aep.pipeline.loop import Settings as Pace  # noqa: PLC0415
    from capstream.aep.schema_registry.model import SchemaRegistry  # noqa: PLC0415
    from capstream.storage.delta import DeltaLake  # noqa: PLC0415

    sys.setswitchinterval(_SWITCH_S)
    pa.set_memory_pool(pa.system_memory_pool())  # the others keep what they free: 40 MB after a compaction
    settings = live.now
    layout = Layout(settings.data)
    control = SqliteDocuments(layout.control, readonly=True)
    stores = Stores(
        SqliteLog(layout.inlet, readonly=True),
        control,
        SqliteDocuments(layout.state, checkpoint_bytes=_STATE_WAL_BYTES),
        DeltaLake(layout.lake, skip_by=(DATE, BATCH_ID, "timestamp")),
    )
    pipeline = Pipeline(
        stores,
        SchemaRegistry(control, TENANT),
        clock=settings.clock(),
        settings=Pace(
            max_records=settings.platform.batch_records,
            linger_s=settings.platform.linger_ms / 1000,
            close_delay_s=settings.runs.close_delay_s,
        ),
        checkpoint=crash_point(settings, "worker"),
    )
    ended = threading.Event()
    running = [asyncio.create_task(asyncio.to_thread(pipeline.run, ended))]
    with httpx.Client(follow_redirects=False) as http:
        running.append(asyncio.create_task(asyncio.to_thread(_alerts(settings, layout, http), ended)))
        await stop.wait()
        ended.set()
        await asyncio.gather(*running)


def _alerts(settings: Settings, layout: Layout, http: httpx.Client) -> Callable[[threading.Event], None]:
    """Return the alerts' part of the worker. It has connections of its own, for it runs in a thread of its own."""
    from capstream.aep.alerts import engine, work  # noqa: PLC0415 - with the role
    from capstream.aep.alerts.courier import Courier  # noqa: PLC0415
    from capstream.aep.alerts.mail import MailServer  # noqa: PLC0415
    from capstream.aep.alerts.signing import Signer  # noqa: PLC0415
    from capstream.aep.pipeline.loop import waiting_since  # noqa: PLC0415

    control, state = SqliteDocuments(layout.control, readonly=True), SqliteDocuments(layout.state, readonly=True)
    findings, inlet = SqliteDocuments(layout.alerts), SqliteLog(layout.inlet, readonly=True)

    def pending() -> engine.Pending | None:
        found = waiting_since(inlet, state)
        return engine.Pending(*found) if found else None

    set_up = settings.mail
    mail = None
    if set_up.host:
        mail = MailServer(
            host=set_up.host,
            port=set_up.port_used,
            security=set_up.security,
            sender=set_up.sender,
            user=set_up.user,
            password_file=set_up.password_file,
        )
    stores, clock = engine.Stores(control, state, findings), settings.clock()
    judge = engine.Engine(stores, clock=clock, base_url=settings.base_url, pending=pending, mail=mail)
    courier = Courier(control, findings, Signer(layout.event_keys), clock=clock, http=http, mail=mail)
    return lambda ended: work.run(judge, courier, ended)


async def clerk(live: Live, stop: asyncio.Event) -> None:
    """Keep the index of received webhooks, at low priority."""
    from capstream import relay_side  # noqa: PLC0415 - with the role

    os.nice(_CLERK_NICE)
    await relay_side.clerk(live, Layout(live.now.data), stop)


Role = Callable[[Live, asyncio.Event], Awaitable[None]]


async def _gateway_relay(live: Live, stop: asyncio.Event) -> None:
    await gateway(live, stop, roles=RELAY)


async def _gateway_platform(live: Live, stop: asyncio.Event) -> None:
    await gateway(live, stop, roles=PLATFORM)


ROLES: Mapping[str, Role] = {
    "gateway": gateway,
    "gateway-relay": _gateway_relay,
    "gateway-platform": _gateway_platform,
    "worker": worker,
    "clerk": clerk,
}
"""What a process can be, beside courier and translators (`courier_side.py`). Source: docs/architecture.md (processes)."""
