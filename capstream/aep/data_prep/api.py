"""The operations of the Data Prep API. Source: data-prep.md 1; the published specification; prose guides and public clients."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.data_prep.compiler import rows_of
from capstream.aep.data_prep.conversion_api import ConversionService
from capstream.aep.data_prep.errors import BAD_BODY, IN_USE, INVALID_SET, NOT_FOUND, UNKNOWN_SCHEMA, refusal
from capstream.aep.data_prep.languages import function_infos, operator_infos, validate
from capstream.aep.data_prep.listing import page
from capstream.aep.data_prep.mappings import (
    Stamp,
    changed_set,
    check_mapping,
    new_set,
    object_body,
    output_schema,
    posted_mappings,
    set_body,
    simple,
    stored_mapping,
    with_mappings,
)
from capstream.aep.data_prep.model import MappingSets, Sources, Usage
from capstream.aep.data_prep.preview import preview
from capstream.aep.data_prep.rules import Findings, examine, unusable
from capstream.aep.data_prep.samples import field_paths, json_schema
from capstream.aep.data_prep.source_api import BatchRows, SourceService
from capstream.kernel.json import Json
from capstream.storage.ports import Reading
from capstream.xdm.render import full
from capstream.xdm.schema import Schema

UsageOf = Callable[[str, str], Usage]
"""Says whether dataflows of a sandbox use a mapping set: (sandbox id, mapping set id)."""


class Schemas(Protocol):
    """What Data Prep asks of the Schema Registry."""

    def schema(self, sandbox_id: str, schema_id: str) -> Schema | None:
        """Return the composed schema, or None."""
        ...


def handlers(
    mapping_sets: MappingSets,
    schemas: Schemas,
    state: Reading,
    rows: BatchRows,
    *,
    usage: UsageOf = lambda _sandbox, _id: Usage.FREE,
) -> dict[str, Handler]:
    """Return operationId -> handler.

    `state` is what the pipeline writes, `rows` reads the lake. `usage` asks the service above: a set that a dataflow uses
    cannot be deleted.
    """
    conversions = ConversionService(mapping_sets, state)
    service = _Service(mapping_sets, schemas, usage, conversions)
    sources = SourceService(mapping_sets.documents, schemas.schema, Batches(state), rows)
    return {
        "validateExpression": _validate_expression,
        "listMappingSetFunctions": lambda _call: Answer(body=function_infos()),
        "listMappingSetOperators": lambda _call: Answer(body=operator_infos()),
        "listMappingSets": service.all,
        "createMappingSet": service.create,
        "validateMappingSet": service.validate,
        "previewMappingSet": service.preview,
        "retrieveMappingSet": service.one,
        "putMappingSet": service.replace,
        "deleteMappingSet": service.remove,
        "listMappings": service.mappings,
        "createMapping": service.add_mapping,
        "retrieveMapping": service.mapping,
        "putMapping": service.replace_mapping,
        "deleteMapping": service.remove_mapping,
        **sources.handlers(),
        **conversions.handlers(),
    }


def _validate_expression(call: Call) -> Answer:
    body = object_body(call.json())
    expression = body.get("expression")
    if isinstance(expression, dict):  # the specification's own example wraps it once more
        expression = expression.get("expression")
    if not isinstance(expression, str):
        raise refusal(BAD_BODY, "expression: the text of an expression is needed.")
    sample = body.get("sampleData")
    if sample is not None and not isinstance(sample, str):
        raise refusal(BAD_BODY, "sampleData: the sample is text; put JSON into a string.")
    sample_type = str(body.get("sampleDataType") or "JSON").upper()
    return Answer(body=validate(expression, sample=sample, sample_type=sample_type, now_ms=call.now_ms))


class _Service:
    def __init__(self, sets: MappingSets, schemas: Schemas, usage: UsageOf, conversions: ConversionService) -> None:
        self._sets = sets
        self._schemas = schemas
        self._usage = usage
        self._conversions = conversions
        self._sources = Sources(sets.documents)

    # ---- mapping sets -------------------------------------------------------------------------------------------------

    def all(self, call: Call) -> Answer:
        """Return one page of sets."""
        found, limit = page(map(partial(self._with_status, call), self._sets.all(call.sandbox.id)), call)
        shown = [self._shown(call, one) for one in found]
        return Answer(body={"data": shown, "_page": {"count": len(shown), "limit": limit}, "_links": {}})

    def create(self, call: Call) -> Answer:
        """Store a new set; refuse it when an expression does not parse, or with `validate=true` when anything is wrong."""
        body = set_body(call.json())
        if body.get("mappings") is None and body.get("copyFrom") is not None:
            body = body | {"mappings": self._found(call, body["copyFrom"])["mappings"]}
        mappings = posted_mappings(body)
        reference = output_schema(body)
        if reference is None:
            raise refusal(BAD_BODY, "outputSchema.schemaRef.id (or xdmSchema) is needed: the $id of the target schema.")
        schema = self._schema(call, reference)
        self._check(call, body, schema, everything=call.flag("validate"))
        made = new_set(body, mappings, reference, Stamp.of(call))
        self._sets.save(call.sandbox.id, made)
        return Answer(body=simple(made))

    def one(self, call: Call) -> Answer:
        """Return a set, the newest version unless one is asked for."""
        version = call.arg("version")
        if version and not (version.isascii() and version.isdigit() and len(version) <= 6):
            raise self._missing(call.params["MAPPING_SET_ID"], f" in version {version}")
        found = self._found(call, version=int(version) if version else None)
        return Answer(body=self._shown(call, self._with_status(call, found)))

    def replace(self, call: Call) -> Answer:
        """Store the next version of a set."""
        old = self._found(call)
        body = set_body(call.json())
        posted_mappings(body)
        reference = output_schema(body)
        schema = self._schema(call, reference if reference is not None else old["schemaRef"])
        self._check(call, body, schema, everything=call.flag("validate"))
        made = changed_set(old, body, Stamp.of(call))
        self._sets.save(call.sandbox.id, made)
        return Answer(body=self._with_status(call, made))

    def remove(self, call: Call) -> Answer:
        """Delete a set with its versions."""
        identity = call.params["MAPPING_SET_ID"]
        self._found(call)
        if self._usage(call.sandbox.id, identity) is not Usage.FREE:
            raise refusal(IN_USE, f"Mapping set {identity} is used by a dataflow; delete the dataflow first.")
        if self._conversions.is_using(call.sandbox.id, identity):
            raise refusal(IN_USE, f"Mapping set {identity} is used by a batch conversion; wait until it has ended.")
        self._sets.remove(call.sandbox.id, identity)
        return Answer(status=204)

    def validate(self, call: Call) -> Answer:
        """Return what is wrong with each mapping of a posted set."""
        body = set_body(call.json())
        posted_mappings(body)
        reference = output_schema(body)
        findings = self._examined(call, body, None if reference is None else self._schema(call, reference))
        responses = []
        for verdict in findings.verdicts:
            listed = [problem.to_json() for problem in (*verdict.errors, *verdict.warnings)]
            responses.append({"status": "FAILED" if verdict.errors else "SUCCESS", "errors": listed or None})
        answer: dict[str, Json] = {"validationResponse": responses}
        warnings = [*findings.warnings, *self._unknown_sources(call, body)]
        return Answer(body=answer | {"warnings": warnings} if warnings else answer)

    def preview(self, call: Call) -> Answer:
        """Return what posted records become."""
        body = object_body(call.json())
        data, posted = body.get("data"), body.get("mappingSet")
        records = data if isinstance(data, list) else [data]
        if not all(isinstance(record, dict) for record in records):
            raise refusal(BAD_BODY, "data: an object or an array of objects is needed.")
        if not isinstance(posted, dict):
            raise refusal(BAD_BODY, "mappingSet: a mapping set is needed.")
        posted_mappings(set_body(posted, "mappingSet."))
        reference = output_schema(posted)
        schema = None if reference is None else self._schema(call, reference)
        nulls, strict = posted.get("allowNullValues") is True, posted.get("strictMapping") is True
        return Answer(body=preview(data, rows_of(posted), schema, allow_null_values=nulls, strict=strict))

    # ---- mappings of a set --------------------------------------------------------------------------------------------

    def mappings(self, call: Call) -> Answer:
        """Return the mappings of a set."""
        return Answer(body=self._found(call)["mappings"])

    def mapping(self, call: Call) -> Answer:
        """Return one mapping."""
        return Answer(body=self._mapping(call, self._found(call)))

    def add_mapping(self, call: Call) -> Answer:
        """Store the next version of a set, with one more mapping."""
        old = self._found(call)
        made = stored_mapping(self._posted_mapping(call), Stamp.of(call))
        self._sets.save(call.sandbox.id, with_mappings(old, [*old["mappings"], made], Stamp.of(call)))
        return Answer(body=made)

    def replace_mapping(self, call: Call) -> Answer:
        """Store the next version of a set, with one mapping replaced."""
        old = self._found(call)
        replaced = self._mapping(call, old)
        posted = self._posted_mapping(call)
        made = stored_mapping(posted, Stamp.of(call), identity=replaced["id"])
        made |= {
            "version": replaced["version"] + 1,
            "createdDate": replaced["createdDate"],
            "createdBy": replaced["createdBy"],
        }
        changed = [made if mapping["id"] == replaced["id"] else mapping for mapping in old["mappings"]]
        self._sets.save(call.sandbox.id, with_mappings(old, changed, Stamp.of(call)))
        return Answer(body=made)

    def remove_mapping(self, call: Call) -> Answer:
        """Store the next version of a set, without one mapping."""
        old = self._found(call)
        removed = self._mapping(call, old)
        rest = [mapping for mapping in old["mappings"] if mapping["id"] != removed["id"]]
        self._sets.save(call.sandbox.id, with_mappings(old, rest, Stamp.of(call)))
        return Answer(status=204)

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _missing(self, identity: str, more: str = "") -> ApiError:
        return refusal(NOT_FOUND, f"Mapping set {identity} was not found{more}.")

    def _found(self, call: Call, identity: str | None = None, *, version: int | None = None) -> dict[str, Json]:
        wanted = call.params["MAPPING_SET_ID"] if identity is None else identity
        found = self._sets.get(call.sandbox.id, wanted, version)
        if found is None:
            raise self._missing(wanted, "" if version is None else f" in version {version}")
        return found

    def _mapping(self, call: Call, mapping_set: dict[str, Json]) -> dict[str, Json]:
        wanted = call.params["MAPPING_ID"]
        for mapping in mapping_set["mappings"]:
            if mapping["id"] == wanted:
                return dict(mapping)
        raise refusal(NOT_FOUND, f"Mapping {wanted} was not found in mapping set {mapping_set['id']}.")

    def _posted_mapping(self, call: Call) -> dict[str, Json]:
        body = object_body(call.json())
        check_mapping(body, "mapping")
        self._check(call, {"mappings": [body]}, None, everything=False)
        return body

    def _schema(self, call: Call, reference: dict[str, Json]) -> Schema:
        schema = self._schemas.schema(call.sandbox.id, reference["id"])
        if schema is None:
            detail = f"outputSchema.schemaRef.id: schema {reference['id']} does not exist in sandbox {call.sandbox.name}."
            raise refusal(UNKNOWN_SCHEMA, detail)
        return schema

    def _examined(self, call: Call, body: dict[str, Json], schema: Schema | None) -> Findings:
        return examine(rows_of(body), schema, self._source_fields(call, body))

    def _source_fields(self, call: Call, body: dict[str, Json]) -> frozenset[str] | None:
        described = body.get("inputSchema")
        if not isinstance(described, dict):
            return None
        schema = described.get("jsonSchema")
        for kind, member in (("schemas", "id"), ("samples", "sampleId")):
            if schema is None and isinstance(described.get(member), str):
                schema = json_schema(kind, self._sources.get(kind, call.sandbox.id, described[member]))
        return field_paths(schema) if isinstance(schema, dict) else None

    def _unknown_sources(self, call: Call, body: dict[str, Json]) -> list[str]:
        """Return why sources could not be checked. Never an error: sets that come from elsewhere name schemas of elsewhere."""
        described = body.get("inputSchema") or {}
        named = [(kind, member, described.get(member)) for kind, member in (("schemas", "id"), ("samples", "sampleId"))]
        return [
            f"inputSchema.{member}: {identity} is not in /{kind} of this sandbox, so it checks no source"
            for kind, member, identity in named
            if isinstance(identity, str) and self._sources.get(kind, call.sandbox.id, identity) is None
        ]

    def _check(self, call: Call, body: dict[str, Json], schema: Schema | None, *, everything: bool) -> None:
        """Refuse what does not parse; `everything` refuses whatever the validation calls an error."""
        errors = self._examined(call, body, schema).errors if everything else unusable(rows_of(body))
        if errors:
            first = errors[0]
            detail = f"{first.destination}: {first.exception}"
            raise refusal(INVALID_SET, detail, errors=[error.to_json() for error in errors])

    def _with_status(self, call: Call, stored: dict[str, Json]) -> dict[str, Json]:
        """Return the set as DRAFT, or as PUBLISHED while an enabled dataflow uses it."""
        published = self._usage(call.sandbox.id, stored["id"]) is Usage.PUBLISHED
        return {**stored, "status": "PUBLISHED" if published else "DRAFT"}

    def _shown(self, call: Call, stored: dict[str, Json]) -> dict[str, Json]:
        if not call.flag("expandSchema"):
            return stored
        schema = self._schemas.schema(call.sandbox.id, stored["xdmSchema"])
        if schema is None:
            return stored
        return stored | {"outputSchema": stored["outputSchema"] | {"jsonSchema": full(schema.root) | {"title": schema.title}}}
