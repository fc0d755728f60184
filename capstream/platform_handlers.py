"""The operations of every service of the platform, by service: what the gateway calls."""

from collections.abc import Mapping
from dataclasses import replace

import httpx

from capstream.aep.access_control import api as access_control
from capstream.aep.access_control import policies
from capstream.aep.alerts import api as alerts
from capstream.aep.alerts import registrations
from capstream.aep.alerts.signing import Signer
from capstream.aep.audit_query import api as audit_query
from capstream.aep.call import Answer, Call, Handler
from capstream.aep.catalog import api as catalog
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.model import Datasets, profile_enabled
from capstream.aep.catalog.model import schema_id as schema_id_of
from capstream.aep.data_access import api as data_access
from capstream.aep.data_prep import api as data_prep
from capstream.aep.data_prep.model import Usage
from capstream.aep.dataset_service import api as dataset_service
from capstream.aep.dataset_service.model import Labels
from capstream.aep.flow_service import api as flow_service
from capstream.aep.flow_service import monitoring
from capstream.aep.flow_service.entities import FLOWS, FlowService
from capstream.aep.flow_service.model import Flows, State
from capstream.aep.identity_service import api as identity_service
from capstream.aep.ims import accounts
from capstream.aep.observability_insights import api as observability_insights
from capstream.aep.profile import api as profile
from capstream.aep.sandbox import api as sandbox
from capstream.aep.sandbox_tooling import api as sandbox_tooling
from capstream.aep.schema_registry import api as schema_registry
from capstream.aep.streaming_ingestion.recording import InletRecorder
from capstream.emptying import Emptying
from capstream.layout import Layout
from capstream.platform_parts import Parts
from capstream.storage.ports import Documents
from capstream.storage.sqlite import SqliteDocuments

Handlers = dict[str, Mapping[str, Handler]]

_WAITING = ("listDatasetFiles", "retrieveDatasetFile", "retrieveDatasetFileHeaders", "retrieveDatasetPreview")
_CALLING = ("createConnection", "patchConnection", "performAction", "testConnection", "getByConnectionId")
SLOW = (
    frozenset(("data_access", name) for name in _WAITING)
    | {("data_prep", "suggestMappingSet")}
    | frozenset(("io_events", name) for name in registrations.CALLING)
    | frozenset(("flow_service", name) for name in _CALLING)
)
"""Operations that wait for the query engine or for somebody else's server."""


def handlers_of(parts: Parts, flow: FlowService, recorder: InletRecorder, signer: Signer) -> Handlers:
    """Return the handler of each operation, by service."""
    handlers = parts.trail.watching(_of_data(parts, flow) | _of_monitoring(parts, flow, recorder, signer))
    return handlers | parts.trail.watching(_of_control(parts, flow, handlers))


def _of_data(parts: Parts, flow: FlowService) -> Handlers:
    control, state = parts.stores.control, parts.stores.state
    datasets, batches = parts.datasets, parts.batches
    return {
        "schema_registry": schema_registry.handlers(
            parts.registry,
            in_use=lambda sandbox_id, uri: _is_in_use(datasets, batches, sandbox_id, uri),
            namespace_code=lambda _, named: _namespace_code(parts, named),
        ),
        "catalog": catalog.handlers(datasets, parts.registry, documents=control, batches=batches, forget=_forget_labels),
        "dataset_service": dataset_service.handlers(Labels(control), datasets),
        "data_prep": data_prep.handlers(
            parts.mapping_sets,
            parts.registry,
            state,
            parts.rows.sample,
            usage=lambda *which: _usage(Flows(control), *which),
        ),
        "flow_service": flow_service.handlers(flow) | {name: _beside(flow, parts.layout, name) for name in _CALLING},
        "identity_service": identity_service.handlers(control, state),
        "profile": profile.handlers(control, state, parts.stores.inlet.end),
        "data_access": data_access.handlers(control, state, parts.rows, parts.layout.data / "platform" / "exports"),
    }


def _of_monitoring(parts: Parts, flow: FlowService, recorder: InletRecorder, signer: Signer) -> Handlers:
    stores, layout = parts.stores, parts.layout
    findings = SqliteDocuments(layout.alerts, readonly=True)
    return {
        "alerts": alerts.handlers(
            stores.control,
            SqliteDocuments(layout.alerts, readonly=True),
            flow_exists=lambda sandbox_id, flow_id: flow.of(FLOWS).get(sandbox_id, flow_id) is not None,
            sends_mail=bool(parts.settings.mail.host),
        ),
        "audit_query": audit_query.handlers(parts.trail, parts.vault.seal),
        "monitoring": monitoring.handlers(flow),
        "io_events": registrations.handlers(SqliteDocuments(layout.control), findings, signer, httpx.Client()),
        "observability_insights": observability_insights.handlers(stores.state, stores.metrics, flush=recorder.flush),
    }


def _of_control(parts: Parts, flow: FlowService, others: Handlers) -> Handlers:
    control, sandboxes, roles = parts.stores.control, parts.sandboxes, parts.roles
    enforced = parts.settings.access_control.enabled
    emptying = Emptying(control, (parts.stores.metrics,), flow.zones.forget)
    emptying.resume(sandboxes)
    tooling = sandbox_tooling.handlers(
        control,
        sandboxes,
        others,
        tenant_id=parts.registry.tenant_id,
        permits=lambda call, where, needed: parts.permits(call.caller, where, needed),
    )
    return {
        "sandbox": {
            **sandbox.handlers(sandboxes, erase=emptying, reaches=roles.reaches if enforced else lambda *_: True),
            **tooling,
        },
        "access_control": {
            **access_control.handlers(roles, sandbox_exists=parts.sandbox_exists, enabled=enforced),
            **policies.handlers(control),
        },
        "accounts": accounts.handlers(parts.organisations, parts.clients, parts.tokens),
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


def _forget_labels(control: Documents, sandbox_id: str, dataset_id: str) -> None:
    Labels(control).remove(sandbox_id, dataset_id)


def _namespace_code(parts: Parts, named: str) -> str:
    """Return the code of an identity namespace given by code or by id, empty when there is none."""
    found = parts.namespaces.table(parts.org_id).find(named)
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
