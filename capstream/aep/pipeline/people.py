"""Identities to the graph, records and events to Profile. Source: identity.md 4, profile.md 1, streaming-ingestion.md 10."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, final

from capstream.aep.catalog.batches import Source, Stage
from capstream.aep.data_access.rejected import Violation
from capstream.aep.flow_service.file_runs import started_of
from capstream.aep.flow_service.processing import Plan
from capstream.aep.identity_service.extraction import IdentityField, Resolver, identities_of, identity_fields
from capstream.aep.identity_service.graphs import GraphWriter
from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.identity_service.rules import Found, Identity, Sighting
from capstream.aep.pipeline.batch import Batch, Row
from capstream.aep.pipeline.landing import Group
from capstream.aep.pipeline.shaping import without_nulls
from capstream.aep.profile.model import Operation, StoredEvent
from capstream.aep.profile.store import Event, Record, event_problem, record_problem, write_events, write_records
from capstream.kernel.json import dumps, loads
from capstream.storage.ports import Documents, Transaction

_CREATE: Final = Operation.CREATE


@final
class People:
    """Feeds the identity graph and Profile from the rows of a group."""

    def __init__(self, control: Documents) -> None:
        self._namespaces = Namespaces(control)
        self._resolvers: dict[str, Resolver] = {}
        self._fields: dict[Plan, tuple[IdentityField, ...]] = {}
        self.graphs = GraphWriter()

    def identify(self, batch: Batch, plan: Plan) -> None:
        """Find the identities of each live row; decides against upserts that name no primary identity."""
        if not plan.identity:
            return
        resolver = self._resolver(plan.source.org_id)
        fields = self._fields_of(plan)
        for index, row in batch.live():
            row.found = identities_of(row.record, fields, resolver)
            if row.operation is not _CREATE and row.found.primary is None:
                missing = Violation("DCVS-1106-400", "required", "required key [identityMap] not found", "#", "#")
                batch.reject(index, Stage.VALIDATION, [missing])

    def write(self, change: Transaction, groups: Sequence[Group], *, batch_ids: dict[Source, str], now_ms: int) -> None:
        """Store what `identify` found, inside the pipeline's transaction.

        Datasets of one sandbox mostly tell of the same people at the same time: their graphs are read and written once.
        """
        seen: dict[str, list[Sighting]] = defaultdict(list)
        for group in groups:
            seen[group.plan.source.sandbox_id] += _write_rows(change, group, batch_ids, now_ms)
        for sandbox_id, sightings in seen.items():
            if sightings:
                self.graphs.write(change, sandbox_id, sightings)

    def _resolver(self, org_id: str) -> Resolver:
        table = self._namespaces.table(org_id)
        found = self._resolvers.get(org_id)
        if found is None or found.namespaces is not table:
            found = self._resolvers[org_id] = Resolver(org_id, table)
        return found

    def _fields_of(self, plan: Plan) -> tuple[IdentityField, ...]:
        if plan not in self._fields:
            if len(self._fields) > 1000:  # plans are made anew with every change of the control plane
                self._fields.clear()
            self._fields[plan] = identity_fields(plan.descriptors)
        return self._fields[plan]


def _write_rows(change: Transaction, group: Group, batch_ids: dict[Source, str], now_ms: int) -> list[Sighting]:
    """Store records and events of a group in Profile; return what the identity graph is to know of its rows."""
    plan = group.plan
    sightings: list[Sighting] = []
    records: list[Record] = []
    events: list[Event] = []
    for flow, row in group.live():
        identities = row.found
        if identities is None:
            continue
        # ASSUMPTION: an upsert has no lake commit; its message id stands in for the batch.
        batch_id = batch_ids.get(flow.source, row.accepted.xaction_id)
        row.identity_problem = identities.refusal
        if identities.identities and _feeds_graph(row):
            dataset_id = row.accepted.identity_dataset_id or plan.source.dataset_id
            sightings.append(Sighting(identities.identities, row.time_ms, dataset_id, batch_id))
        if plan.profile:
            row.profile_problem = _profile_problem(plan, row, identities)
            if row.profile_problem or identities.primary is None:
                continue
            if plan.is_event:
                events.append(_event(row, plan, identities.primary, batch_id, now_ms))
            else:
                records.append(_record(row, plan, identities, batch_id, now_ms))
    if events:
        write_events(change, plan.source.sandbox_id, events)
    if records:
        write_records(change, plan.source.sandbox_id, records)
    return sightings


def _event(row: Row, plan: Plan, primary: Identity, batch_id: str, now_ms: int) -> Event:
    dataset_id = plan.source.dataset_id
    return primary.xid, StoredEvent(row.time_ms, row.event_id, dataset_id, now_ms, row.offset, batch_id, row.entity)


def _record(row: Row, plan: Plan, found: Found, batch_id: str, now_ms: int) -> Record:
    assert found.primary is not None  # noqa: S101 - a record without one never gets here
    operation, entity = row.operation, row.entity
    if plan.upsert and operation is _CREATE and started_of(row.accepted.inlet_id):
        # A column is there for every row of a file: without a value it says nothing (ASSUMPTION). Source: catalog.md 4.
        operation, entity = Operation.MERGE, dumps(without_nulls(loads(entity)))
    appended = _appended(plan) if operation is Operation.MERGE else ()
    dataset_id, primary = plan.source.dataset_id, found.primary
    return Record(
        dataset_id, primary, found.identities, entity, now_ms, row.offset, row.updated_ms, batch_id, operation, appended
    )


def _appended(plan: Plan) -> list[tuple[str, ...]]:
    ops = plan.program.array_ops if plan.program is not None else {}
    return [place for place, op in ops.items() if op == "append"]


def _feeds_graph(row: Row) -> bool:
    """An upsert skips Identity Service unless it says otherwise. Source: streaming-ingestion.md 10 (4)."""
    return row.operation is _CREATE or row.accepted.identity_operation == "create"


def _profile_problem(plan: Plan, row: Row, identities: Found) -> str:
    if identities.refusal or identities.problem:
        return identities.refusal or identities.problem
    if plan.is_event:
        return event_problem(len(row.entity)) if row.event_id else "the event has no _id"
    return record_problem(len(row.entity))
