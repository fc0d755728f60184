"""What is done with the records of a flow, compiled: mapping, validation, table. Source: streaming-ingestion.md 8.

Plans are looked up for each batch and made anew only when the control plane changed; their compiled parts are shared and
kept as long as mapping set and schema stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from capstream.aep.call import Sandbox
from capstream.aep.catalog.batches import Source
from capstream.aep.catalog.lake import lake_table, stored_schema
from capstream.aep.catalog.model import Datasets, identity_enabled, profile_enabled, upsert_enabled, validation_disabled
from capstream.aep.data_prep import batch_conversions
from capstream.aep.data_prep.batch_conversions import BatchConversion
from capstream.aep.data_prep.compiler import Program, compile_mapping_set
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service.file_runs import started_of
from capstream.aep.flow_service.model import ROUTES, Flows, Inlets, Route, State
from capstream.kernel import log
from capstream.kernel.json import Json, digest
from capstream.storage.ports import Documents
from capstream.xdm.arrow import Tabulator, compile_table
from capstream.xdm.schema import Schema
from capstream.xdm.validate import Validator, compile_validator, part_validator

Mapping = tuple[str, int]
"""(id, version) of a mapping set; the id is empty when records pass through unmapped."""


class Schemas(Protocol):
    """What a plan asks of the Schema Registry."""

    def schema(self, sandbox_id: str, schema_id: str) -> Schema | None: ...
    def etag(self, sandbox_id: str, schema_id: str) -> str: ...
    def has_union_tag(self, sandbox_id: str, schema_id: str) -> bool: ...
    def descriptors(self, sandbox_id: str, schema_id: str) -> list[dict[str, Json]]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How records of one flow (or, without a flow, of one dataset) are processed."""

    source: Source
    route: Route | None
    table: str  #: the dataset's table in the lake
    is_event: bool
    program: Program | None  #: None when records pass through unmapped
    validate: Validator | None  #: None when the dataset's validation is switched off
    validate_part: Validator | None  #: the same for upserts, which hold a part of a record
    tabulate: Tabulator
    profile: bool  #: fed to Profile
    upsert: bool  #: rows of files change what Profile has of a person instead of replacing it
    identity: bool  #: fed to the identity graph
    descriptors: tuple[dict[str, Json], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unusable:
    """Why the records of a flow cannot be processed now. They are kept as rejected."""

    source: Source | None  #: None when not even a dataset is known
    route: Route | None
    code: str
    reason: str


_DATA_PLANE = "CONNECTOR-2001-500"
_MAPPING = "MAPPER-3700-400"
_MOST_PROGRAMS = 256
_MOST_PREPARED = 16
_UNMAPPED: Mapping = ("", 0)
_BATCH_FORMATS = {"delimited": "csv"}


class Plans:
    """The plans of every flow and dataset that records arrive for."""

    def __init__(self, documents: Documents, schemas: Schemas) -> None:
        self._documents = documents
        self._schemas = schemas
        self._flows = Flows(documents)
        self._inlets = Inlets(documents)
        self._datasets = Datasets(documents)
        self._mapping_sets = MappingSets(documents)
        self._version = -1
        self._plans: dict[tuple[str, str, str], Plan | Unusable] = {}
        self._programs: dict[tuple[str, str, str], Program] = {}
        self._compiled: dict[tuple[str, str, str], tuple[Validator, Validator, Tabulator]] = {}
        self._prepared_version = -1
        self._unprepared: list[Route] = []

    def plan(self, inlet_id: str, flow_id: str, dataset_id: str) -> Plan | Unusable:
        """Return what to do with records that came in by `inlet_id` for a flow, or without one for a dataset."""
        version = self._documents.version()
        if version != self._version:
            self._plans.clear()
            self._version = version
        key = (inlet_id, flow_id, dataset_id)
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._safely_made(inlet_id, flow_id, dataset_id)
        return found

    def prepare(self) -> bool:
        """Compile what one enabled flow needs, so that its first record need not wait; return whether there was such a flow.

        Where there are many flows none is prepared: most get no records soon, and compiled they take memory.
        """
        version = self._documents.version()
        if version != self._prepared_version:
            self._prepared_version = version
            routes = self._flows.all() if self._documents.count(ROUTES) <= _MOST_PREPARED else []
            self._unprepared = [route for route in routes if route.state is State.ENABLED and route.inlet_id]
        if not self._unprepared:
            return False
        route = self._unprepared.pop()
        plan = self.plan(route.inlet_id, route.flow_id, route.dataset_id)
        if isinstance(plan, Plan) and plan.program is not None:
            plan.program.typed()
        return True

    def stopped(self, flow_ids: Sequence[str]) -> list[str]:
        """Return those flows that are deleted or no longer enabled."""
        routes = {flow_id: self._flows.route(flow_id) for flow_id in flow_ids}
        return [flow_id for flow_id, route in routes.items() if route is None or route.state is not State.ENABLED]

    def _safely_made(self, inlet_id: str, flow_id: str, dataset_id: str) -> Plan | Unusable:
        try:
            return self._made(inlet_id, flow_id, dataset_id)
        except Exception as error:  # noqa: BLE001 - one flow that cannot be prepared must not hold up the others
            log.error("plan not made", action="plan_failed", exc=error, flow=flow_id, dataset=dataset_id)
            route = self._flows.route(flow_id) if flow_id else None
            inlet = self._inlets.get(inlet_id)
            conversion = batch_conversions.of_mark(self._documents, inlet_id)
            known = route or inlet or conversion
            wanted = route.dataset_id if route else dataset_id
            started_ms = conversion.started_ms if conversion else started_of(inlet_id)
            source = self._source(known.sandbox, known.org_id, wanted, route, started_ms) if known and wanted else None
            reason = f"the dataflow cannot be prepared: {type(error).__name__}: {error}"
            return Unusable(source=source, route=route, code=_DATA_PLANE, reason=reason)

    def _made(self, inlet_id: str, flow_id: str, dataset_id: str) -> Plan | Unusable:
        route = self._flows.route(flow_id) if flow_id else None
        conversion = batch_conversions.of_mark(self._documents, inlet_id)
        if conversion is not None:
            return self._with_dataset(self.source_of_conversion(conversion), None, conversion.sandbox, _mapping_of(conversion))
        inlet = self._inlets.get(inlet_id)
        if route is not None:
            sandbox, org_id, dataset_id = route.sandbox, route.org_id, route.dataset_id
        elif inlet is not None:
            sandbox, org_id = inlet.sandbox, inlet.org_id
        else:
            gone = f"dataflow {flow_id} was deleted" if started_of(inlet_id) else f"inlet {inlet_id} does not exist any more"
            return Unusable(source=None, route=None, code=_DATA_PLANE, reason=gone)
        source = self._source(sandbox, org_id, dataset_id, route, started_of(inlet_id)) if dataset_id else None
        if flow_id and route is None:
            return Unusable(source=source, route=None, code=_DATA_PLANE, reason=f"dataflow {flow_id} was deleted")
        if route is not None and route.state is not State.ENABLED:
            reason = f"dataflow {flow_id} is {route.state.value}: enable it and send the records again"
            return Unusable(source=source, route=route, code=_DATA_PLANE, reason=reason)
        if source is None:
            return Unusable(source=None, route=route, code=_DATA_PLANE, reason="neither a dataflow nor a dataset is known")
        return self._with_dataset(source, route, sandbox, (route.mapping_id, route.mapping_version) if route else _UNMAPPED)

    def source_of_run(self, route: Route, started_ms: int) -> Source:
        """Return where the rows of a file run come from and go to."""
        return self._source(route.sandbox, route.org_id, route.dataset_id, route, started_ms)

    def source_of_conversion(self, conversion: BatchConversion) -> Source:
        """Return where the rows of a batch conversion come from and go to: a batch of their own, as those of a file run."""
        sandbox, org_id = conversion.sandbox, conversion.org_id
        return self._source(sandbox, org_id, conversion.dataset_id, None, conversion.started_ms)

    def route(self, flow_id: str) -> Route | None:
        """Return the route of a flow in any state, or None."""
        return self._flows.route(flow_id)

    def _source(self, sandbox: Sandbox, org_id: str, dataset_id: str, route: Route | None, started_ms: int) -> Source:
        """Return where records come from and go to; dataflow or dataset may ask for error diagnostics (ASSUMPTION: either)."""
        dataset = self._datasets.get(sandbox.id, dataset_id) or {}
        diagnostics = bool(dataset.get("enableErrorDiagnostics")) or bool(route and route.diagnostics)
        kind = _BATCH_FORMATS.get(route.file_format, route.file_format) if route and route.file_format else "json"
        partial_percent, flow_id = (route.partial_percent, route.flow_id) if route else (None, "")
        return Source(sandbox.id, org_id, dataset_id, flow_id, diagnostics, partial_percent, started_ms, kind)

    def _with_dataset(self, source: Source, route: Route | None, sandbox: Sandbox, mapping: Mapping) -> Plan | Unusable:
        dataset = self._datasets.get(source.sandbox_id, source.dataset_id)
        if dataset is None:
            return Unusable(source=source, route=route, code=_DATA_PLANE, reason=f"dataset {source.dataset_id} does not exist")
        schema_id = str((dataset.get("schemaRef") or {}).get("id", ""))
        schema = self._schemas.schema(source.sandbox_id, schema_id)
        if schema is None:
            reason = f"schema {schema_id} of dataset {source.dataset_id} does not exist"
            return Unusable(source=source, route=route, code=_DATA_PLANE, reason=reason)
        program = self._program(source, mapping, schema)
        if isinstance(program, str):
            return Unusable(source=source, route=route, code=_MAPPING, reason=program)
        validate, validate_part, tabulate = self._of_schema(source.sandbox_id, schema)
        profile = profile_enabled(dataset) and self._schemas.has_union_tag(source.sandbox_id, schema_id)
        return Plan(
            source=source,
            route=route,
            table=lake_table(sandbox.name, source.dataset_id),
            is_event=schema.behaviour == "time-series",
            program=program,
            validate=None if validation_disabled(dataset) else validate,
            validate_part=None if validation_disabled(dataset) else validate_part,
            tabulate=tabulate,
            profile=profile,
            upsert=upsert_enabled(dataset),
            identity=profile or identity_enabled(dataset),
            descriptors=tuple(self._schemas.descriptors(source.sandbox_id, schema_id)),
        )

    def _program(self, source: Source, mapping: Mapping, schema: Schema) -> Program | str | None:
        mapping_id, version = mapping
        if not mapping_id:
            return None
        mapping_set = self._mapping_sets.get(source.sandbox_id, mapping_id, version)
        if mapping_set is None:
            return f"mapping set {mapping_id} version {version} does not exist"
        key = (mapping_id, digest(mapping_set), self._schema_key(source.sandbox_id, schema))
        if key not in self._programs:
            if len(self._programs) >= _MOST_PROGRAMS:
                self._programs.clear()
            try:
                self._programs[key] = compile_mapping_set(mapping_set, schema)
            except ValueError as error:
                return f"mapping set {mapping_id} cannot be compiled: {error}"
        return self._programs[key]

    def _of_schema(self, sandbox_id: str, schema: Schema) -> tuple[Validator, Validator, Tabulator]:
        key = (sandbox_id, schema.id, self._schema_key(sandbox_id, schema))
        if key not in self._compiled:
            validators = compile_validator(schema), part_validator(schema)
            self._compiled[key] = (*validators, compile_table(stored_schema(schema)))
        return self._compiled[key]

    def _schema_key(self, sandbox_id: str, schema: Schema) -> str:
        return f"{schema.id} {self._schemas.etag(sandbox_id, schema.id)}"


def _mapping_of(conversion: BatchConversion) -> Mapping:
    return conversion.mapping_id, conversion.mapping_version
