"""Samples, mapper schemas and suggestions. Source: data-prep.md 1.8, 1.9."""

from collections.abc import Callable

from capstream.aep.call import Answer, Call, Handler, Sandbox
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.lake import SYSTEM_COLUMNS
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_prep.errors import BAD_BODY, BAD_QUERY, NOT_FOUND, UNKNOWN_SCHEMA, refusal
from capstream.aep.data_prep.listing import page
from capstream.aep.data_prep.mappings import FULL, Stamp, object_body, schema_members, stored_mapping
from capstream.aep.data_prep.model import Sources
from capstream.aep.data_prep.samples import BadSample, leaf_types, records, schema_of, uploaded, without_nulls
from capstream.aep.data_prep.suggestion import propose_for
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json, JsonError, loads
from capstream.storage.ports import Documents
from capstream.xdm.render import full
from capstream.xdm.schema import Schema

SchemaLookup = Callable[[str, str], Schema | None]
BatchRows = Callable[[Sandbox, str, str], list[dict[str, Json]]]
"""Gives the first rows of a batch: (sandbox, dataset id, batch id)."""


class SourceService:
    """What is known about sources, and what it suggests."""

    def __init__(self, documents: Documents, schema: SchemaLookup, batches: Batches, rows: BatchRows) -> None:
        self._sources = Sources(documents)
        self._schema = schema
        self._datasets = Datasets(documents)
        self._batches = batches
        self._rows = rows

    def handlers(self) -> dict[str, Handler]:
        """Return operationId -> handler."""
        return {
            "listMapperSchemas": lambda call: self._all("schemas", call),
            "createMapperSchema": self.create_schema,
            "retrieveMapperSchema": lambda call: Answer(body=self._found("schemas", call, call.params["SCHEMA_ID"])),
            "uploadMapperSchema": self.upload_schema,
            "listSamples": lambda call: self._all("samples", call),
            "createSample": self.create_sample,
            "retrieveSample": lambda call: Answer(body=self._found("samples", call, call.params["SAMPLE_ID"])),
            "putSample": self.replace_sample,
            "uploadSample": self.upload_sample,
            "suggestMappingSet": self.suggest,
        }

    def _all(self, kind: str, call: Call) -> Answer:
        found, limit = page(self._sources.all(kind, call.sandbox.id), call)
        return Answer(body={"data": found, "_page": {"count": len(found), "limit": limit}, "_links": {}})

    def _found(self, kind: str, call: Call, identity: str) -> dict[str, Json]:
        found = self._sources.get(kind, call.sandbox.id, identity)
        if found is None:
            raise refusal(NOT_FOUND, f"{kind.removesuffix('s').capitalize()} {identity} was not found.")
        return found

    # ---- samples ------------------------------------------------------------------------------------------------------

    def create_sample(self, call: Call) -> Answer:
        """Store a sample, sent as text in JSON or as a file."""
        if call.headers.get("content-type", "").lower().startswith("multipart/"):
            return self.upload_sample(call)
        return self._store_sample(call, object_body(call.json()))

    def upload_sample(self, call: Call) -> Answer:
        """Store a sample sent as a file."""
        text, file_name = uploaded(call)
        kind = "CSV" if file_name.lower().endswith((".csv", ".tsv", ".txt")) else "JSON"
        return self._store_sample(call, {"sampleData": text, "sampleType": kind})

    def replace_sample(self, call: Call) -> Answer:
        """Store the next version of a sample."""
        old = self._found("samples", call, call.params["SAMPLE_ID"])
        return self._store_sample(call, object_body(call.json()), old)

    def _store_sample(self, call: Call, body: dict[str, Json], old: dict[str, Json] | None = None) -> Answer:
        text, kind = body.get("sampleData"), str(body.get("sampleType") or "JSON").upper()
        if not isinstance(text, str):
            raise refusal(BAD_BODY, "sampleData: the sample is text; put JSON into a string.")
        self._records(text, kind)
        stamp = Stamp.of(call)
        made = {"id": new_hex32(), "version": 0, **stamp.created()} if old is None else {**old, **stamp.modified()}
        made |= {"sampleData": text, "sampleType": kind}
        if old is not None:
            made["version"] = old["version"] + 1
        self._sources.save("samples", call.sandbox.id, made)
        return Answer(body=made)

    def _records(self, text: str, kind: str) -> list[dict[str, Json]]:
        try:
            return records(text, kind)
        except BadSample as error:
            raise refusal(BAD_BODY, f"{error}.") from error

    # ---- schemas ------------------------------------------------------------------------------------------------------

    def create_schema(self, call: Call) -> Answer:
        """Store a mapper schema, given as such, by a sample or by reference to an XDM schema."""
        if call.headers.get("content-type", "").lower().startswith("multipart/"):
            return self.upload_schema(call)
        body = object_body(call.json())
        extra: dict[str, Json] = {"name": body["name"]} if isinstance(body.get("name"), str) else {}
        reference = body.get("schemaRef")
        if isinstance(body.get("jsonSchema"), dict):
            described = body["jsonSchema"]
        elif isinstance(body.get("sampleId"), str):
            described = self._of_sample(call, body["sampleId"])
            extra["sampleId"] = body["sampleId"]
        elif isinstance(reference, dict) and isinstance(reference.get("id"), str):
            described = full(self._xdm(call, reference["id"]).root)
            extra["schemaRef"] = {"id": reference["id"], "contentType": reference.get("contentType") or FULL}
        else:
            raise refusal(BAD_BODY, "One of jsonSchema, sampleId, schemaRef.id is needed.")
        return self._store_schema(call, described, extra)

    def upload_schema(self, call: Call) -> Answer:
        """Store a mapper schema sent as a file: a JSON Schema, or a sample to describe."""
        text, file_name = uploaded(call)
        try:
            value = None if file_name.lower().endswith((".csv", ".tsv", ".txt")) else loads(text)
        except JsonError as error:
            raise refusal(BAD_BODY, f"file: not JSON: {error}.") from error
        if isinstance(value, dict) and isinstance(value.get("properties"), dict):
            return self._store_schema(call, value, {})
        described = schema_of(self._records(text, "CSV" if value is None else "JSON"), file_name)
        return self._store_schema(call, described, {})

    def _store_schema(self, call: Call, described: dict[str, Json], extra: dict[str, Json]) -> Answer:
        made = {"id": new_hex32(), "version": 0, **Stamp.of(call).created(), "jsonSchema": described, **extra}
        self._sources.save("schemas", call.sandbox.id, made)
        return Answer(body=made)

    def _of_sample(self, call: Call, sample_id: str) -> dict[str, Json]:
        sample = self._found("samples", call, sample_id)
        return schema_of(self._records(sample["sampleData"], sample["sampleType"]), sample_id)

    def _xdm(self, call: Call, schema_id: str) -> Schema:
        schema = self._schema(call.sandbox.id, schema_id)
        if schema is None:
            raise refusal(UNKNOWN_SCHEMA, f"Schema {schema_id} does not exist in sandbox {call.sandbox.name}.")
        return schema

    # ---- suggestions --------------------------------------------------------------------------------------------------

    def suggest(self, call: Call) -> Answer:
        """Return a mapping set that nobody stored: proposals with their scores."""
        reference = {"id": self._wanted_schema(call), "contentType": FULL}
        schema = self._xdm(call, reference["id"])
        sources = leaf_types(self._described_source(call))
        stamp = Stamp.of(call)
        mappings = []
        for proposal in propose_for(sources, schema):
            row = {"sourceType": "ATTRIBUTE", "source": proposal.source, "destination": proposal.destination}
            mappings.append(stored_mapping(row, stamp) | {"matchScore": proposal.score})
        if not call.flag("excludeUnmapped", default=True):
            mapped = {mapping["source"] for mapping in mappings}
            mappings += [_unmapped(source) for source in sources if source not in mapped]
        return Answer(body={"version": 0, "supportVersion": "1.1", **schema_members(reference, stamp), "mappings": mappings})

    def _described_source(self, call: Call) -> dict[str, Json]:
        """Return the JsonSchema of the sample, or else of the rows of the batch, that a call names."""
        sample_id, batch_id = call.arg("sampleId"), call.arg("batchId")
        if sample_id:
            return self._of_sample(call, sample_id)
        if not batch_id:
            raise refusal(BAD_QUERY, "batchId (or sampleId) is needed: it says which fields the source has.")
        batch = self._batches.record(call.sandbox.id, batch_id)
        if batch is None or self._datasets.get(call.sandbox.id, batch.dataset_id) is None:
            raise refusal(NOT_FOUND, f"Batch {batch_id} was not found.")
        found = without_nulls(self._rows(call.sandbox, batch.dataset_id, batch_id))
        rows = [{name: value for name, value in row.items() if name not in SYSTEM_COLUMNS} for row in found]
        if not rows:
            raise refusal(NOT_FOUND, f"Batch {batch_id} is {batch.status} and has no rows to read.")
        return schema_of(rows, batch_id)

    def _wanted_schema(self, call: Call) -> str:
        schema_id, dataset_id = call.arg("schemaId"), call.arg("datasetId")
        if schema_id:
            return schema_id
        if not dataset_id:
            raise refusal(BAD_QUERY, "datasetId (or schemaId) is needed: it says which schema the mappings lead to.")
        dataset = self._datasets.get(call.sandbox.id, dataset_id)
        if dataset is None:
            raise refusal(NOT_FOUND, f"Dataset {dataset_id} was not found.")
        return str((dataset.get("schemaRef") or {}).get("id", ""))


def _unmapped(source: str) -> dict[str, Json]:
    return {"sourceType": "text/x.schema-path", "source": source, "sourceAttribute": source, "destination": "", "matchScore": 0.0}
