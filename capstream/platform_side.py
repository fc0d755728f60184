"""Builds the platform's side of the gateway process: every service on its stores, behind one gateway."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace

from capstream import key_api, own_api
from capstream.aep import limits, operations
from capstream.aep.alerts.signing import PUBLIC_PATH, Signer
from capstream.aep.audit_query import api as audit_query
from capstream.aep.call import Caller, Sandbox
from capstream.aep.catalog.model import Datasets
from capstream.aep.file_ingestion import zone_app
from capstream.aep.file_ingestion.collector import Collector
from capstream.aep.file_ingestion.converter import Converter
from capstream.aep.file_ingestion.log_rows import LogRows
from capstream.aep.flow_service.entities import FlowService
from capstream.aep.flow_service.landing_zone import Signatures
from capstream.aep.flow_service.model import Inlets
from capstream.aep.flow_service.runs import Runs
from capstream.aep.gateway import Gateway, GatewayOptions
from capstream.aep.ims.api import ims_app
from capstream.aep.profile.model import PROFILES
from capstream.aep.query_service.model import QueryService
from capstream.aep.routing import Router
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.aep.streaming_ingestion.api import CollectionApp
from capstream.aep.streaming_ingestion.recording import InletRecorder
from capstream.aep.streaming_ingestion.trimming import Trimming
from capstream.config import Settings
from capstream.faults import api as faults
from capstream.faults.layer import with_faults
from capstream.faults.model import Switch
from capstream.kernel.json import Json
from capstream.key_api import KeyDesk
from capstream.key_change import change_running_platform_key
from capstream.layout import Layout
from capstream.platform_handlers import SLOW, Handlers, handlers_of
from capstream.platform_parts import Parts, Stores, collection_of, flow_service_of, parts_of
from capstream.serving.port import AsgiApp
from capstream.storage.delta import DeltaLake
from capstream.storage.sqlite import SqliteDocuments

_LAST_WORDS_S = 5.0  # a conversion may be reading the lake; it goes on after the next start


@dataclass(slots=True)
class PlatformSide:
    """The platform's part of the gateway process."""

    gateway: Callable[[Sequence[tuple[str, AsgiApp]]], AsgiApp]  #: takes the other applications of the port
    mounts: list[tuple[str, AsgiApp]]
    status: Callable[[], Json]
    flush: Callable[[], None]  #: writes down what the inlets counted; to be called every few seconds
    maintain: Callable[[asyncio.Event], Coroutine[None, None, None]]  #: keeps the inlet log small until the event
    collect: Callable[[threading.Event, asyncio.AbstractEventLoop], None]  #: runs file flows in a thread until the event is set


def build(settings: Settings, layout: Layout) -> PlatformSide:
    """Return the platform's services on the stores of a data folder."""
    parts = parts_of(settings, layout)
    control, metrics = parts.stores.control, parts.stores.metrics
    flow, collection, signer = flow_service_of(parts), collection_of(parts), Signer(layout.event_keys)
    recorder = InletRecorder(metrics, collection.metrics, lambda inlet_id: _sandbox_of(control, inlet_id), parts.clock)
    front = _Front(parts, handlers_of(parts, flow, recorder, signer))
    mounts = [*_mounts(parts, collection, front.switch), *_own_mounts(parts, flow, signer)]
    status = front.status(collection)
    mounts += _questions(parts, status)
    return PlatformSide(
        gateway=front.gateway,
        mounts=mounts,
        status=status,
        flush=recorder.flush,
        maintain=Trimming(parts.stores.inlet, parts.stores.cursor).run,
        collect=lambda stop, loop: _collect(parts, flow, stop, loop),
    )


class _Front:
    """The gateway with its faults, and the count of its answers."""

    def __init__(self, parts: Parts, handlers: Handlers) -> None:
        self._parts = parts
        self._handlers = handlers
        self._answers: Counter[tuple[str, str, int]] = Counter()
        table = operations.load()
        self._router = Router(table)
        self.switch = Switch((operation.service for operation in table), parts.clock, random.random)

    def gateway(self, extra: Sequence[tuple[str, AsgiApp]]) -> AsgiApp:
        """Return the gateway in front of all services and of the `extra` applications."""
        parts = self._parts
        options = GatewayOptions(
            threaded=SLOW,
            count=self._count,
            permits=parts.roles.permits if parts.settings.access_control.enabled else None,
            denied=parts.trail.denied,
            strict=parts.settings.gateway.strict,
            rate_limits=limits.parse(parts.settings.gateway.rate_limits),
        )
        app = Gateway(self._handlers, parts.tokens, parts.clients, parts.sandboxes, parts.clock, extra, options)
        return with_faults(app, self.switch, lambda method, path: self._router.match(method, path).service, self._revoke)

    def _count(self, service: str, operation: str, status: int) -> None:
        self._answers[service, operation, status] += 1

    def _revoke(self, text: str) -> None:
        """Revoke an access token when it is one of ours."""
        tokens, now = self._parts.tokens, self._parts.clock()
        _, token = tokens.inspect(text, now)
        if token is not None:
            tokens.revoke(token, now)

    def status(self, collection: CollectionApp) -> Callable[[], Json]:
        """Return the way to ask how the platform is."""

        def shown() -> Json:
            names = ("service", "operation", "status", "count")
            answered = [dict(zip(names, (*key, n), strict=True)) for key, n in self._answers.items()]
            return _status(self._parts.stores, collection) | {"answers": answered, "faults": faults.shown(self.switch)}

        return shown


def _mounts(parts: Parts, collection: CollectionApp, switch: Switch) -> list[tuple[str, AsgiApp]]:
    rate_limits = limits.parse(parts.settings.gateway.rate_limits)
    ims = ims_app(parts.organisations, parts.clients, tokens=parts.tokens, clock=parts.clock, rate_limits=rate_limits)
    return [
        ("/ims", ims),
        ("/collection", collection),
        ("/data/foundation/import/collection", collection),
        (faults.PATH, own_api.asgi(faults.endpoint(switch, parts.administers))),
    ]


def _own_mounts(parts: Parts, flow: FlowService, signer: Signer) -> list[tuple[str, AsgiApp]]:
    signatures = Signatures(flow.documents, flow.vault)
    zone = zone_app.ZoneApp(flow.zones, lambda query: signatures.sandbox_of(query, parts.clock()))

    def exported(link: str) -> bytes | None:
        return audit_query.exported(parts.trail, parts.vault.unseal, link, parts.clock())

    keys = KeyDesk(parts.administers, lambda: change_running_platform_key(parts.layout, parts.vault), parts.tokens, signer)
    return [
        (key_api.PATH, own_api.asgi(keys.rotate)),
        (zone_app.PATH, own_api.asgi(zone)),
        (PUBLIC_PATH, own_api.asgi(own_api.files(signer.public_key, "application/x-pem-file"))),
        (audit_query.EXPORT_PATH, own_api.asgi(own_api.files(exported, "text/csv; charset=utf-8"))),
    ]


def _questions(parts: Parts, status: Callable[[], Json]) -> list[tuple[str, AsgiApp]]:
    """Return the paths of our own API that answer how the platform is and what its datasets hold."""

    def may_query(caller: Caller, where: Sandbox) -> bool:
        return parts.permits(caller, where, "manage-queries")

    def sandbox_of(caller: Caller, name: str) -> Sandbox | None:
        return parts.sandboxes.by_name(caller.org_id, name) if name else parts.sandboxes.default(caller.org_id)

    async def query(sql: str, limit: int, where: Sandbox) -> Json:
        return await parts.rows.answer(sql, where, limit=limit, timeout_s=parts.settings.platform.query_timeout_s)

    own = own_api.platform_api(
        lambda token: parts.tokens.verify(token, parts.clock()), sandbox_of, may_query=may_query, status=status, query=query
    )
    return [("/capstream/status", own_api.asgi(own)), ("/capstream/query", own_api.asgi(own))]


def _collect(parts: Parts, flow: FlowService, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Run the file flows, and the batch conversions beside them; in threads, with connections to the stores of their own."""
    layout = parts.layout
    conversions = threading.Thread(target=_convert, args=(parts, stop, loop), name="conversions", daemon=True)
    conversions.start()
    documents, state = SqliteDocuments(layout.control), SqliteDocuments(layout.state, readonly=True)
    service = replace(flow, documents=documents, runs=Runs(SqliteDocuments(layout.state, readonly=True)), shelves={})
    rows = LogRows(parts.stores.inlet, replace(parts.stores, state=state).cursor, loop)
    Collector(service, rows, layout.spool, clock=parts.clock).run(stop)
    conversions.join(_LAST_WORDS_S)


def _convert(parts: Parts, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
    layout = parts.layout
    documents, state = SqliteDocuments(layout.control), SqliteDocuments(layout.state, readonly=True)
    rows = LogRows(parts.stores.inlet, replace(parts.stores, state=state).cursor, loop)
    registry = SchemaRegistry(documents, parts.registry.tenant_id)
    exporter = QueryService(DeltaLake(layout.lake), Datasets(documents), registry)
    Converter(documents, state, rows, exporter, layout.spool, clock=parts.clock).run(stop)


def _sandbox_of(control: SqliteDocuments, inlet_id: str) -> str | None:
    inlet = Inlets(control).get(inlet_id)
    return inlet.sandbox.id if inlet else None


def _status(stores: Stores, collection: CollectionApp) -> dict[str, Json]:
    end, cursor = stores.inlet.end(), stores.cursor()
    inlets = {inlet: asdict(counts) for inlet, counts in collection.metrics().items()}
    return {
        "received": end,
        "processed": cursor,
        "pending": end - cursor,
        "profiles": stores.state.count(PROFILES),
        "inlets": inlets,
    }
