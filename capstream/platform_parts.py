"""The parts of the platform's side that its services share: stores, models and the way in for data."""

from dataclasses import dataclass

from capstream.aep.access_control.model import Roles
from capstream.aep.alerts.model import forget_flow
from capstream.aep.audit_query.trail import Trail
from capstream.aep.call import Caller, Sandbox
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service import sftp
from capstream.aep.flow_service.entities import FLOWS, FlowService
from capstream.aep.flow_service.landing_zone import Zones
from capstream.aep.flow_service.model import Flows, Inlets
from capstream.aep.flow_service.runs import Runs
from capstream.aep.flow_service.secrets import Vault
from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.model import Clients, Organisations
from capstream.aep.ims.tokens import Tokens, longest_life_s
from capstream.aep.query_service.model import QueryService
from capstream.aep.sandbox import erasure
from capstream.aep.sandbox.model import Sandboxes
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.aep.streaming_ingestion.api import Collection, CollectionApp
from capstream.aep.streaming_ingestion.synchronous import SynchronousValidation
from capstream.config import Settings
from capstream.kernel.clock import Clock
from capstream.layout import Layout
from capstream.storage.delta import DeltaLake
from capstream.storage.sqlite import SqliteDocuments, SqliteLog


@dataclass(frozen=True, slots=True)
class Stores:
    """The files of the gateway process."""

    control: SqliteDocuments
    state: SqliteDocuments  #: the pipeline's, for reading
    inlet: SqliteLog
    metrics: SqliteDocuments
    audit: SqliteDocuments

    def cursor(self) -> int:
        """Return how far the pipeline has come in the inlet's log."""
        return int(self.state.get("cursors", "inlet") or b"0")

    def pending(self) -> int:
        """Return how many accepted messages the pipeline has not processed."""
        return self.inlet.end() - self.cursor()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services are made of."""

    settings: Settings
    layout: Layout
    clock: Clock
    stores: Stores
    clients: Clients
    organisations: Organisations
    sandboxes: Sandboxes
    roles: Roles
    tokens: Tokens
    registry: SchemaRegistry
    datasets: Datasets
    mapping_sets: MappingSets
    namespaces: Namespaces
    batches: Batches
    rows: QueryService
    vault: Vault
    trail: Trail

    @property
    def org_id(self) -> str:
        """Return the organisation's id: one server has one organisation."""
        return self.organisations.all()[0].id

    def permits(self, caller: Caller, where: Sandbox, needed: str) -> bool:
        """Return whether a caller has a permission in a sandbox; everybody has all while access control is off."""
        return not self.settings.access_control.enabled or self.roles.permits(caller, where, needed)

    def sandbox_exists(self, org_id: str, name: str) -> bool:
        """Return whether an organisation has an active sandbox of this name."""
        return self.sandboxes.by_name(org_id, name) is not None

    def accepts(self, client_id: str, secret: str) -> bool:
        """Return whether a technical account exists and the secret is one of its own."""
        client = self.clients.get(client_id)
        return client is not None and self.clients.accepts(client, secret, self.clock())

    def administers(self, client_id: str, secret: str) -> bool:
        """Return whether the account, proven by its secret, administers the organisation."""
        client = self.clients.get(client_id)
        return client is not None and client.org_admin and self.accepts(client_id, secret)


def parts_of(settings: Settings, layout: Layout) -> Parts:
    """Return the parts on the stores of a data folder."""
    control, state = SqliteDocuments(layout.control), SqliteDocuments(layout.state, readonly=True)
    stores = Stores(control, state, SqliteLog(layout.inlet), SqliteDocuments(layout.metrics), SqliteDocuments(layout.audit_trail))
    clients, organisations = Clients(control), Organisations(control)
    registry, datasets = SchemaRegistry(control, organisations.all()[0].tenant_id), Datasets(control)
    return Parts(
        settings=settings,
        layout=layout,
        clock=settings.clock(),
        stores=stores,
        clients=clients,
        organisations=organisations,
        sandboxes=Sandboxes(control, is_erased=lambda order: erasure.is_done(state, order)),
        roles=Roles(control, is_admin=clients.is_admin),
        tokens=Tokens(
            control,
            KeyRing(layout.signing_key, outlives_s=longest_life_s(settings.ims.token_ttl_s)),
            ttl_s=settings.ims.token_ttl_s,
            account_exists=clients.is_known,
        ),
        registry=registry,
        datasets=datasets,
        mapping_sets=MappingSets(control),
        namespaces=Namespaces(control),
        batches=Batches(state, base_url=settings.base_url),
        rows=QueryService(DeltaLake(layout.lake), datasets, registry),
        vault=Vault.open(layout.platform_key),
        trail=Trail(stores.audit),
    )


def flow_service_of(parts: Parts) -> FlowService:
    """Return the Flow Service's model, its list of flows ready to be read."""
    settings, control = parts.settings, parts.stores.control
    flow = FlowService(
        documents=control,
        datasets=parts.datasets,
        mapping_sets=parts.mapping_sets,
        runs=Runs(parts.stores.state, base_url=settings.base_url),
        vault=parts.vault,
        can_obtain_token=parts.accepts,
        open_files=sftp.opened,
        zones=Zones(parts.layout.landing_zones),
        public_url=settings.base_url,
        activation_delay_ms=settings.flow.activation_delay_s * 1000,
        forget_flow=forget_flow,
    )
    flow.shelf(FLOWS).warm("createdAt")
    return flow


def collection_of(parts: Parts) -> CollectionApp:
    """Return the streaming endpoints."""
    settings, stores = parts.settings, parts.stores
    return CollectionApp(
        Collection(
            log=stores.inlet,
            flows=Flows(stores.control),
            inlets=Inlets(stores.control),
            datasets=parts.datasets,
            verify=parts.tokens.verify,
            validate=SynchronousValidation(parts.registry, parts.mapping_sets),
            clock=parts.clock,
            backlog=stores.pending,
            unseal=parts.vault.unseal,
            backlog_limit=settings.platform.backlog_limit,
            overload_status=settings.platform.overload_status,
        )
    )
