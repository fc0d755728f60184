"""Permissions over every operation of every service, through the gateway: who lacks one is refused exactly what needs it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_plane import ORG, START_MS, ControlPlane

from capstream.aep import operations
from capstream.aep.access_control import rules
from capstream.aep.access_control.model import Subject, new_role
from capstream.aep.call import Answer, Operation
from capstream.aep.gateway import Gateway, GatewayOptions
from capstream.kernel.json import loads

SERVED = [one for one in operations.load() if one.service not in {"ims", "streaming_ingestion"}]
STREAMING = [one for one in operations.load() if one.service == "streaming_ingestion"]

# Whoever may do the second may do the first.
INCLUDED_IN = {
    **{f"view-{thing}": {f"manage-{thing}"} for thing in ("profiles", "segments", "merge-policies", "sources", "sandboxes")},
    **{f"view-{thing}": {f"manage-{thing}"} for thing in ("identity-namespaces", "alerts", "dule-policies")},
    "view-schemas": {"manage-schemas", "view-datasets", "manage-datasets", "manage-profiles"},
    "view-datasets": {"manage-datasets", "manage-profiles"},
}
# Anybody in the organisation may: lists of what concerns oneself, and what has no permission in the contract.
FREE = {
    ("access_control", "listPolicyNames"),
    ("access_control", "listEffectiveAclPolicies"),
    ("accounts", "retrieveOrganization"),
    ("sandbox", "listAvailableSandboxes"),
}
# Rows of sandboxes-access.md 4 for the operations behind them.
MATRIX = [
    ("flow_service", "listConnectionSpecs", ["view-sources"], ["view-datasets"]),
    ("flow_service", "retrieveFlow", ["view-sources"], ["manage-datasets"]),
    ("flow_service", "createConnection", ["manage-sources"], ["view-sources"]),
    ("flow_service", "createFlow", ["manage-sources", "view-datasets"], ["manage-sources"]),
    ("flow_service", "createTargetConnection", ["manage-sources", "manage-datasets"], ["manage-datasets"]),
    ("data_prep", "retrieveMappingSet", ["view-sources"], ["view-schemas"]),
    ("data_prep", "createMappingSet", ["manage-sources"], ["view-sources"]),
    ("schema_registry", "listSchemas", ["view-datasets"], ["view-profiles-x"]),
    ("schema_registry", "createSchema", ["manage-schemas"], ["manage-datasets"]),
    ("schema_registry", "createDescriptor", ["manage-identity-metadata"], ["view-schemas"]),
    ("catalog", "listDatasets", ["view-datasets"], ["view-schemas"]),
    ("catalog", "createDataset", ["manage-datasets"], ["view-datasets"]),
    ("catalog", "listBatches", ["view-monitoring-dashboard"], ["view-sources"]),
    ("data_access", "retrieveBatchMeta", ["view-monitoring-dashboard"], ["view-sources"]),
    ("dataset_service", "updateDatasetLabels", ["manage-dule-labels"], ["manage-datasets"]),
    ("identity_service", "getIdNamespaces", ["view-identity-namespaces"], ["view-profiles"]),
    ("identity_service", "createNamespace", ["manage-identity-namespaces"], ["view-identity-namespaces"]),
    ("profile", "retrieveEntity", ["view-profiles"], ["view-datasets"]),
    ("profile", "deleteEntity", ["manage-profiles"], ["view-profiles"]),
    ("profile", "createMergePolicy", ["manage-merge-policies"], ["manage-profiles"]),
    ("segmentation", "createSegmentJob", ["evaluate-segments"], ["manage-segments"]),
    ("segmentation", "createExportJob", ["export-audience-for-segment"], ["manage-segments"]),
    ("query_service", "createQuery", ["manage-queries"], ["manage-datasets"]),
    ("observability_insights", "retrieveMetricsV2", ["view-monitoring-dashboard"], ["view-sources"]),
    ("alerts", "listAlerts", ["view-alerts-history"], ["view-alerts"]),
    ("alerts", "updateAlertRule", ["manage-alerts"], ["view-alerts"]),
    ("audit_query", "listAuditEvents", ["view-user-activity-log"], ["view-alerts"]),
    ("sandbox", "listSandboxes", ["view-sandboxes"], ["reset-sandboxes"]),
    ("sandbox", "createSandbox", ["manage-sandboxes"], ["view-sandboxes"]),
    ("sandbox", "resetSandbox", ["reset-sandboxes"], ["manage-sandboxes"]),
    ("access_control", "createRole", ["org-administrator"], sorted(rules.PERMISSIONS)),
    ("access_control", "listExistingPolicies", ["org-administrator"], sorted(rules.PERMISSIONS)),
    ("accounts", "createAccount", ["org-administrator"], sorted(rules.PERMISSIONS)),
]


class Guarded:
    """The gateway with a handler behind every operation that says it was reached, and an account with some permissions."""

    def __init__(self, folder: Path) -> None:
        self.plane = ControlPlane(folder)
        handlers: dict[str, dict[str, Any]] = {}
        for one in SERVED:
            handlers.setdefault(one.service, {})[one.id] = lambda _: Answer(body={"reached": True})
        plane = self.plane
        options = GatewayOptions(permits=plane.roles.permits, operations=SERVED)
        self.gateway = Gateway(handlers, plane.tokens, plane.clients, plane.sandboxes, plane.clock, (), options)
        self.role = new_role(ORG, "tried", now_ms=START_MS, user_id="u")
        self.headers = [(name.encode(), value.encode()) for name, value in plane.headers().items()]

    def hold(self, permissions: set[str]) -> None:
        subject = Subject(type="api-integration", id=self.plane.client.client_id)
        held = tuple(sorted(permissions))
        self.plane.roles.save(msgspec.structs.replace(self.role, permissions=held, sandboxes=("prod",), subjects=(subject,)))

    async def answer(self, operation: Operation) -> tuple[int, Any]:
        """Return status and body, by way of the bare protocol: there are ten thousand calls to make."""
        path = operation.path.replace("{container}", "tenant").replace("...}", "}").replace("{", "").replace("}", "")
        scope = {"type": "http", "method": operation.method, "path": path, "query_string": b"", "headers": self.headers}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.gateway(scope | {"scheme": "http"}, receive, send)  # type: ignore[arg-type]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], loads(body) if body else None

    def refused(self, wanted: list[Operation]) -> set[tuple[str, str]]:
        async def ask() -> set[tuple[str, str]]:
            found = {(one.service, one.id): (await self.answer(one))[0] for one in wanted}
            assert set(found.values()) <= {200, 403}
            return {key for key, status in found.items() if status == 403}

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    yield made
    made.plane.close()


def test_every_operation_names_a_permission_or_is_known_to_be_free() -> None:
    without = {(one.service, one.id) for one in SERVED if not one.permission}
    assert without - {key for key in without if key[0] == "privacy_service" or "/exim/" in path_of(key)} == FREE
    assert all(not one.permission for one in STREAMING)  # the inlet's own authentication decides there


def path_of(key: tuple[str, str]) -> str:
    return next(one.path for one in SERVED if (one.service, one.id) == key)


def test_every_permission_named_exists() -> None:
    named = {name for one in SERVED for name in one.permission.replace(",", " ").split()}
    assert named <= {*rules.PERMISSIONS, rules.ORG_ADMINISTRATOR}


@pytest.mark.parametrize("lacking", sorted(rules.PERMISSIONS))
def test_an_account_with_all_permissions_but_one_is_refused_exactly_what_needs_it(guarded: Guarded, lacking: str) -> None:
    guarded.hold(set(rules.PERMISSIONS) - {lacking, *INCLUDED_IN.get(lacking, ())})
    absent = {lacking, *INCLUDED_IN.get(lacking, ())}
    ordinary = [one for one in SERVED if one.permission != rules.ORG_ADMINISTRATOR]
    needing = {
        (one.service, one.id)
        for one in ordinary
        if any(group and set(group) <= absent for group in (part.split() for part in one.permission.split(",")))
    }
    assert guarded.refused(ordinary) == needing
    guarded.hold(set(rules.PERMISSIONS))
    assert guarded.refused(ordinary) == set()


def test_an_account_without_roles_reaches_only_what_is_free(guarded: Guarded) -> None:
    guarded.hold(set())
    assert guarded.refused(SERVED) == {(one.service, one.id) for one in SERVED if one.permission}


def test_an_administrator_reaches_everything_in_every_sandbox(guarded: Guarded) -> None:
    roles = type(guarded.plane.roles)(guarded.plane.documents, is_admin=lambda _: True)
    guarded.hold(set())
    plane = guarded.plane
    options = GatewayOptions(permits=roles.permits)
    handlers = {one.service: {} for one in SERVED}
    for one in SERVED:
        handlers[one.service][one.id] = lambda _: Answer(body={})
    kept, guarded.gateway = (
        guarded.gateway,
        Gateway(handlers, plane.tokens, plane.clients, plane.sandboxes, plane.clock, (), options),
    )
    assert guarded.refused(SERVED) == set()
    guarded.gateway = kept


@pytest.mark.parametrize(("service", "operation", "enough", "short"), MATRIX, ids=[f"{row[0]}-{row[1]}" for row in MATRIX])
def test_the_documented_matrix(service: str, operation: str, enough: list[str], short: list[str]) -> None:
    (one,) = [each for each in SERVED if (each.service, each.id) == (service, operation)]
    assert rules.is_enough(enough, one.permission)
    assert not rules.is_enough(short, one.permission)


BODIES = [
    ("flow_service", "listFlows", "type", "https://ns.adobe.com/aep/errors/FLOW-2118-403"),
    ("catalog", "listDatasets", "title", "ForbiddenError"),
    ("schema_registry", "listSchemas", "status", 403),
    ("sandbox", "listSandboxes", "type", "http://ns.adobe.com/aep/errors/SMS-1004-403"),
    ("access_control", "listExistingRoles", "type", "http://ns.adobe.com/aep/errors/ACS-1000-403"),
    ("dataset_service", "retrieveDatasetLabels", "code", "PES-403"),
    ("profile", "retrieveEntity", "status", 403),
]


@pytest.mark.parametrize(("service", "operation", "member", "value"), BODIES, ids=[row[0] for row in BODIES])
def test_the_refusal_has_the_body_of_its_service(guarded: Guarded, service: str, operation: str, member: str, value: Any) -> None:
    guarded.hold(set())
    (one,) = [each for each in SERVED if (each.service, each.id) == (service, operation)]
    status, body = asyncio.run(guarded.answer(one))
    assert (status, body[member]) == (403, value)


def test_a_role_counts_only_in_its_sandboxes_and_organisation_calls_in_any(guarded: Guarded) -> None:
    guarded.hold(set(rules.PERMISSIONS))
    role = guarded.plane.roles.get(ORG, guarded.role.id)
    assert role is not None
    guarded.plane.roles.save(msgspec.structs.replace(role, sandboxes=("dev",)))
    refused = guarded.refused([one for one in SERVED if one.permission and one.permission != rules.ORG_ADMINISTRATOR])
    assert refused == {
        (one.service, one.id) for one in SERVED if one.permission and one.sandboxed and one.permission != rules.ORG_ADMINISTRATOR
    }
