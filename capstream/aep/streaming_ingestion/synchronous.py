"""Synchronous validation: one record is mapped and checked before its answer. Source: streaming-ingestion.md 7."""

from collections.abc import Sequence
from typing import Protocol

from capstream.aep.data_prep.compiler import Program, compile_mapping_set
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service.model import Route
from capstream.kernel.json import Json
from capstream.xdm.schema import Schema
from capstream.xdm.validate import Validator, Violation, compile_validator

_MOST_COMPILED = 256


class Schemas(Protocol):
    """What synchronous validation asks of the Schema Registry."""

    def schema(self, sandbox_id: str, schema_id: str) -> Schema | None: ...
    def etag(self, sandbox_id: str, schema_id: str) -> str: ...


class SynchronousValidation:
    """Maps and validates single records; programs and validators are kept by schema and mapping version."""

    def __init__(self, schemas: Schemas, mapping_sets: MappingSets) -> None:
        self._schemas = schemas
        self._mapping_sets = mapping_sets
        self._compiled: dict[tuple[str, ...], tuple[Program | None, Validator]] = {}

    def __call__(self, route: Route, record: Json) -> Sequence[Violation]:
        """Return what is wrong with `record`; empty when it would be stored. Mapper warnings do not fail it."""
        compiled = self._of(route)
        if compiled is None:
            return [Violation("schema", f"schema {route.schema_id} does not exist", "#", "#")]
        program, validate = compiled
        if program is not None:
            record, _ = program(record)
        return validate(record)

    def _of(self, route: Route) -> tuple[Program | None, Validator] | None:
        sandbox_id = route.sandbox.id
        schema = self._schemas.schema(sandbox_id, route.schema_id)
        if schema is None:
            return None
        etag = self._schemas.etag(sandbox_id, route.schema_id)
        key = (sandbox_id, route.schema_id, etag, route.mapping_id or "", str(route.mapping_version))
        if key not in self._compiled:
            if len(self._compiled) >= _MOST_COMPILED:
                self._compiled.clear()
            stored = self._mapping_sets.get(sandbox_id, route.mapping_id, route.mapping_version) if route.mapping_id else None
            program = compile_mapping_set(stored, schema) if stored else None
            self._compiled[key] = (program, compile_validator(schema))
        return self._compiled[key]
