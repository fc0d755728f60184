"""Builds the platform's side of the gateway process: every service on its stores, behind one gateway."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import httpx

from capstream import own_api
from capstream.aep import limits, operations
from capstream.aep.access_control import api as access_control
from capstream.aep.access_control import policies
from capstream.aep.access_control.model import Roles
from capstream.aep.alerts import api as alerts
from capstream.aep.alerts import registrations
from capstream.aep.alerts.model import forget_flow
from capstream.aep.alerts.signing import PUBLIC_PATH, Signer
from capstream.aep.call import Answer, Call, Caller, Handler, Sandbox
from capstream.aep.catalog import api as catalog
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.model import Datasets, profile_enabled
from capstream.aep.catalog.model import schema_id as schema_id_of
from capstream.aep.data_access import api as data_access
from capstream.aep.data_prep import api as data_prep
from capstream.aep.data_prep.model import MappingSets, Usage
from capstream.aep.dataset_service import api as dataset_service
from capstream.aep.dataset_service.model import Labels
from capstream.aep.file_ingestion import zone_app
from capstream.aep.file_ingestion.collector import Collector
from capstream.aep.file_ingestion.log_rows import LogRows
from capstream.aep.flow_service import api as flow_service
from capstream.aep.flow_service import monitoring, sftp
from capstream.aep.flow_service.entities import FLOWS, FlowService
from capstream.aep.flow_service.landing_zone import Signatures, Zones
from capstream.aep.flow_service.model import Flows, Inlets, State
from capstream.aep.flow_service.runs import Runs
from capstream.aep.flow_service.secrets import Vault
from capstream.aep.gateway import Gateway, GatewayOptions
from capstream.aep.identity_service import api as identity_service
from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.ims import accounts, keys
from capstream.aep.ims.api import ims_app
from capstream.aep.ims.model import Clients, Organisations
from capstream.aep.ims.tokens import Tokens
from capstream.aep.observability_insights import api as observability_insights
from capstream.aep.profile import api as profile
from capstream.aep.profile.model import PROFILES
from capstream.aep.query_service.model import QueryService
from capstream.aep.routing import Router
from capstream.aep.sandbox import api as sandbox
from capstream.aep.sandbox import erasure
from capstream.aep.sandbox.model import Sandboxes
from capstream.aep.sandbox_tooling import api as sandbox_tooling
from capstream.aep.schema_registry import api as schema_registry
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.aep.streaming_ingestion.api import Collection, CollectionApp
from capstream.aep.streaming_ingestion.recording import InletRecorder
from capstream.aep.streaming_ingestion.synchronous import SynchronousValidation
from capstream.config import Settings
from capstream.emptying import Emptying
from capstream.faults import api as faults
from capstream.faults.layer import with_faults
from capstream.faults.model import Switch
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.layout import Layout
from capstream.serving import AsgiApp
from capstream.storage.delta import DeltaLake
from capstream.storage.ports import Documents
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

_WAITING = ("listDatasetFiles", "retrieveDatasetFile", "retrieveDatasetFileHeaders", "retrieveDatasetPreview")
_CALLING = ("createConnection", "patchConnection", "performAction", "testConnection", "getByConnectionId")
_SLOW = (
    frozenset(("data_access", name) for name in _WAITING)
    | frozenset(("io_events", name) for name in registrations.CALLING)
    | frozenset(("flow_service", name) for name in _CALLING)
)
"""Operations that wait for the query engine or for somebody else's server."""


@dataclass(slots=True)
class PlatformSide:
    """The platform's part of the gateway process."""

    gateway: Callable[[Sequence[tuple[str, AsgiApp]]], AsgiApp]  #: takes the other applications of the port
    mounts: list[tuple[str, AsgiApp]]
    status: Callable[[], Json]
    flush: Callable[[], None]  #: writes down what the inlets counted; to be called every few seconds
    collect: Callable[[threading.Event, asyncio.AbstractEventLoop], None]  #: runs file flows in a thread until the event is set


@dataclass(frozen=True, slots=True)
class _Stores:
    control: SqliteDocuments
    state: SqliteDocuments
    inlet: SqliteLog
    metrics: SqliteDocuments

    def pending(self) -> int:
        """Return how many accepted messages the pipeline has not processed."""
        return self.inlet.end() - _cursor(self.state)


def build(settings: Settings, layout: Layout) -> PlatformSide:
    """Return the platform's services on the stores of a data folder."""
    clock = settings.clock()
    stores = _Stores(
        SqliteDocuments(layout.control),
        SqliteDocuments(layout.state, readonly=True),
        SqliteLog(layout.inlet),
        SqliteDocuments(layout.metrics),
    )
    clients, organisations = Clients(stores.control), Organisations(stores.control)
    sandboxes = Sandboxes(stores.control, is_erased=lambda order: erasure.is_done(stores.state, order))
    roles = Roles(stores.control, is_admin=clients.is_admin)
    tokens = Tokens(
        stores.control,
        keys.load_or_create(layout.signing_key),
        ttl_s=settings.ims.token_ttl_s,
        account_exists=clients.is_known,
    )
    registry = SchemaRegistry(stores.control, organisations.all()[0].tenant_id)
    datasets = Datasets(stores.control)
    rows = QueryService(DeltaLake(layout.lake), datasets, registry)
    vault = Vault.open(layout.platform_key)
    collection = _collection(settings, stores, tokens=tokens, datasets=datasets, registry=registry, vault=vault)
    flow = FlowService(
        documents=stores.control,
        datasets=datasets,
        mapping_sets=MappingSets(stores.control),
        runs=Runs(stores.state, base_url=settings.base_url),
        vault=vault,
        can_obtain_token=lambda client_id, secret: _accepts(clients, client_id, secret, clock()),
        open_files=sftp.opened,
        zones=Zones(layout.landing_zones),
        public_url=settings.base_url,
        activation_delay_ms=settings.flow.activation_delay_s * 1000,
        forget_flow=forget_flow,
    )
    flow.shelf(FLOWS).warm("createdAt")
    handlers = _handlers(settings, layout, stores, registry=registry, datasets=datasets, rows=rows, flow=flow)
    signer = Signer(layout.event_keys)
    findings = SqliteDocuments(layout.alerts, readonly=True)
    handlers["io_events"] = registrations.handlers(SqliteDocuments(layout.control), findings, signer, httpx.Client())
    recorder = InletRecorder(stores.metrics, collection.metrics, lambda inlet_id: _sandbox_of(stores.control, inlet_id), clock)
    handlers["observability_insights"] = observability_insights.handlers(stores.state, stores.metrics, flush=recorder.flush)
    enforced = settings.access_control.enabled
    emptying = Emptying(stores.control, (stores.metrics,), flow.zones.forget)
    emptying.resume(sandboxes)
    handlers |= {
        "sandbox": {
            **sandbox.handlers(sandboxes, erase=emptying, reaches=roles.reaches if enforced else lambda *_: True),
            **sandbox_tooling.handlers(
                stores.control,
                sandboxes,
                handlers,
                tenant_id=registry.tenant_id,
                permits=lambda call, where, needed: not enforced or roles.permits(call.caller, where, needed),
            ),
        },
        "access_control": {
            **access_control.handlers(roles, enabled=enforced),
            **policies.handlers(stores.control),
        },
        "accounts": accounts.handlers(organisations, clients, tokens),
    }
    rate_limits = limits.parse(settings.gateway.rate_limits)
    answers: Counter[tuple[str, str, int]] = Counter()

    def count(service: str, operation: str, status: int) -> None:
        answers[service, operation, status] += 1

    options = GatewayOptions(
        threaded=_SLOW,
        count=count,
        permits=roles.permits if enforced else None,
        strict=settings.gateway.strict,
        rate_limits=rate_limits,
    )

    table = operations.load()
    router = Router(table)
    switch = Switch((operation.service for operation in table), clock, random.random)

    def gateway(extra: Sequence[tuple[str, AsgiApp]]) -> AsgiApp:
        app = Gateway(handlers, tokens, clients, sandboxes, clock, extra, options)
        return with_faults(
            app, switch, lambda method, path: router.match(method, path).service, lambda token: _revoke(tokens, token, clock())
        )

    def may_query(caller: Caller, where: Sandbox) -> bool:
        return not enforced or roles.permits(caller, where, "manage-queries")

    def sandbox_of(caller: Caller, name: str) -> Sandbox | None:
        return sandboxes.by_name(caller.org_id, name) if name else sandboxes.default(caller.org_id)

    async def query(sql: str, limit: int, where: Sandbox) -> Json:
        return await rows.answer(sql, where, limit=limit, timeout_s=settings.platform.query_timeout_s)

    def status() -> Json:
        names = ("service", "operation", "status", "count")
        answered = [dict(zip(names, (*key, n), strict=True)) for key, n in answers.items()]
        return _status(stores, collection) | {"answers": answered, "faults": faults.shown(switch)}

    own = own_api.platform_api(
        lambda token: tokens.verify(token, clock()), sandbox_of, may_query=may_query, status=status, query=query
    )
    mounts: list[tuple[str, AsgiApp]] = [
        ("/ims", ims_app(organisations, clients, tokens=tokens, clock=settings.clock(), rate_limits=rate_limits)),
        ("/collection", collection),
        ("/data/foundation/import/collection", collection),
        ("/capstream/status", own_api.asgi(own)),
        ("/capstream/query", own_api.asgi(own)),
        (faults.PATH, own_api.asgi(faults.endpoint(switch, lambda who, secret: _administers(clients, who, secret, clock())))),
        (zone_app.PATH, own_api.asgi(_zone_app(flow, clock))),
        (PUBLIC_PATH, own_api.asgi(own_api.files(signer.public_key))),
    ]

    def collect(stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        documents = SqliteDocuments(layout.control)
        service = replace(flow, documents=documents, runs=Runs(SqliteDocuments(layout.state, readonly=True)), shelves={})
        state = SqliteDocuments(layout.state, readonly=True)
        rows = LogRows(stores.inlet, lambda: _cursor(state), loop)
        Collector(service, rows, layout.spool, clock=clock).run(stop)

    return PlatformSide(gateway, mounts, status, recorder.flush, collect)


def _sandbox_of(control: SqliteDocuments, inlet_id: str) -> str | None:
    inlet = Inlets(control).get(inlet_id)
    return inlet.sandbox.id if inlet else None


def _handlers(
    settings: Settings,
    layout: Layout,
    stores: _Stores,
    *,
    registry: SchemaRegistry,
    datasets: Datasets,
    rows: QueryService,
    flow: FlowService,
) -> dict[str, Mapping[str, Handler]]:
    control, state = stores.control, stores.state
    org_id = Organisations(control).all()[0].id  # one server, one organisation
    mapping_sets, namespaces, batches = MappingSets(control), Namespaces(control), Batches(state, base_url=settings.base_url)
    return {
        "alerts": alerts.handlers(
            control,
            SqliteDocuments(layout.alerts, readonly=True),
            flow_exists=lambda sandbox_id, flow_id: flow.of(FLOWS).get(sandbox_id, flow_id) is not None,
        ),
        "monitoring": monitoring.handlers(flow),
        "schema_registry": schema_registry.handlers(
            registry,
            in_use=lambda sandbox_id, uri: _is_in_use(datasets, batches, sandbox_id, uri),
            namespace_code=lambda _, code: _namespace_code(namespaces, org_id, code),
        ),
        "catalog": catalog.handlers(datasets, registry, documents=control, batches=batches, forget=_forget_labels),
        "dataset_service": dataset_service.handlers(Labels(control), datasets),
        "data_prep": data_prep.handlers(mapping_sets, registry, usage=lambda *which: _usage(Flows(control), *which)),
        "flow_service": flow_service.handlers(flow) | {name: _beside(flow, layout, name) for name in _CALLING},
        "identity_service": identity_service.handlers(control, state),
        "profile": profile.handlers(control, state, stores.inlet.end),
        "data_access": data_access.handlers(control, state, rows, layout.data / "platform" / "exports"),
    }


def _beside(flow: FlowService, layout: Layout, name: str) -> Handler:
    """Return a handler that runs in threads: each call has a connection to the store, for two cannot share a transaction."""

    def handle(call: Call) -> Answer:
        documents = SqliteDocuments(layout.control)
        try:
            return flow_service.handlers(replace(flow, documents=documents, shelves={}))[name](call)
        finally:
            documents.close()

    return handle


def _zone_app(flow: FlowService, clock: Clock) -> zone_app.ZoneApp:
    signatures = Signatures(flow.documents, flow.vault)
    return zone_app.ZoneApp(flow.zones, lambda query: signatures.sandbox_of(query, clock()))


def _forget_labels(control: Documents, sandbox_id: str, dataset_id: str) -> None:
    Labels(control).remove(sandbox_id, dataset_id)


def _namespace_code(namespaces: Namespaces, org_id: str, named: str) -> str:
    """Return the code of an identity namespace given by code or by id, empty when there is none."""
    found = namespaces.table(org_id).find(named)
    return "" if found is None else found.code


def _is_in_use(datasets: Datasets, batches: Batches, sandbox_id: str, schema_uri: str) -> bool:
    """Return whether a dataset of the schema has data or feeds Profile: breaking changes are locked then."""
    using = {one: found for one, found in datasets.all(sandbox_id).items() if schema_id_of(found) == schema_uri}
    if any(profile_enabled(found) for found in using.values()):
        return True
    written = {each["id"] for batch in batches.all(sandbox_id).values() for each in batch["relatedObjects"]} if using else set()
    return not written.isdisjoint(using)


def _usage(flows: Flows, sandbox_id: str, mapping_id: str) -> Usage:
    """Return whether dataflows use a mapping set, and whether one of them is enabled."""
    states = {route.state for route in flows.using(sandbox_id, mapping_id)}
    return Usage.PUBLISHED if State.ENABLED in states else Usage.USED if states else Usage.FREE


def _accepts(clients: Clients, client_id: str, secret: str, now_ms: int) -> bool:
    client = clients.get(client_id)
    return client is not None and clients.accepts(client, secret, now_ms)


def _administers(clients: Clients, client_id: str, secret: str, now_ms: int) -> bool:
    client = clients.get(client_id)
    return client is not None and client.org_admin and clients.accepts(client, secret, now_ms)


def _revoke(tokens: Tokens, text: str, now_ms: int) -> None:
    """Revoke an access token when it is one of ours."""
    _, token = tokens.inspect(text, now_ms)
    if token is not None:
        tokens.revoke(token, now_ms)


def _collection(
    settings: Settings, stores: _Stores, *, tokens: Tokens, datasets: Datasets, registry: SchemaRegistry, vault: Vault
) -> CollectionApp:
    return CollectionApp(
        Collection(
            log=stores.inlet,
            flows=Flows(stores.control),
            inlets=Inlets(stores.control),
            datasets=datasets,
            verify=tokens.verify,
            validate=SynchronousValidation(registry, MappingSets(stores.control)),
            clock=settings.clock(),
            backlog=stores.pending,
            unseal=vault.unseal,
            backlog_limit=settings.platform.backlog_limit,
            overload_status=settings.platform.overload_status,
        )
    )


def _status(stores: _Stores, collection: CollectionApp) -> dict[str, Json]:
    end, cursor = stores.inlet.end(), _cursor(stores.state)
    inlets = {inlet: asdict(counts) for inlet, counts in collection.metrics().items()}
    return {
        "received": end,
        "processed": cursor,
        "pending": end - cursor,
        "profiles": stores.state.count(PROFILES),
        "inlets": inlets,
    }


def _cursor(state: SqliteDocuments) -> int:
    return int(state.get("cursors", "inlet") or b"0")
