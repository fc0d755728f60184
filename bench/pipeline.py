"""What the pipeline does behind a full inlet log: full Capillary schemas and mapping sets, lake, identity graph, Profile.

One process; the lake's thread runs beside the main one. Half of the records are profiles, half transactions of 4 lines.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.validation import member, transaction
from capstream.aep.call import Sandbox
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service.model import ROUTES, Inlet, Route, State, save_inlet
from capstream.aep.identity_service.namespaces import COLLECTION, Namespace
from capstream.aep.pipeline import Pipeline, Stores
from capstream.aep.schema_registry.model import RESOURCES, SchemaRegistry
from capstream.aep.streaming_ingestion.messages import Accepted, encode
from capstream.app import STATE_PAGE_BYTES
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.delta import DeltaLake
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

RECORDS = 24_000
MEMBERS = 5_000
_TENANT = "capstream"
_ORG = "A1B2C3D4E5F60718293A4B5C@AdobeOrg"
_PROD = Sandbox(id="4f1c8b52-0000-4000-8000-000000000001", name="prod", default=True)
_INLET = "9f" * 32
_NOW_MS = 1_726_585_200_000
_RELAY = Path(__file__).parents[1] / "capstream" / "relay"
_KINDS = {
    # name: (schema, field group, placeholder, mapping set, dataset)
    "profile": ("capillary-profile-schema", "capillary-member", "CAPILLARY_MEMBER", "profile", "66f0a1b2c3d4e5f60718293a"),
    "transaction": ("capillary-events-schema", "capillary-event", "CAPILLARY_EVENT", "transaction", "66f0a1b2c3d4e5f60718293b"),
}


def measure() -> dict[str, float]:
    """Return what the pipeline does. Units: records/s, microseconds of CPU a record over all threads."""
    rate, cpu_us = run(RECORDS)
    return {"pipeline records/s": rate, "pipeline CPU us/record": cpu_us}


def run(
    records: int,
    *,
    furnish: Callable[[SqliteDocuments], None] = lambda _: None,
    between: Callable[[SqliteDocuments], None] = lambda _: None,
) -> tuple[float, float]:
    """Return (records/s, microseconds of CPU a record) of a pipeline behind a full inlet log.

    `furnish` adds to the control plane before the start, `between` after each micro-batch.
    """
    with TemporaryDirectory(prefix="capstream-bench-") as folder:
        stores = _stores(Path(folder))
        assert isinstance(stores.control, SqliteDocuments)
        furnish(stores.control)
        pipeline = Pipeline(stores, SchemaRegistry(stores.control, _TENANT), clock=lambda: _NOW_MS)
        _fill(stores, records)
        warm = pipeline.run_once()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # as every process does
        wall, cpu, done = time.perf_counter(), time.process_time(), 0
        while count := pipeline.run_once():
            done += count
            between(stores.control)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        pipeline.close()
        rows = sum(stores.lake.rows(f"prod/xdm/{kind[4]}") for kind in _KINDS.values())
        if rows != records or warm + done != records:
            raise AssertionError(f"{rows} rows of {records} records in the lake")
    return done / wall, 1e6 * cpu / done


def add_datasets(control: SqliteDocuments, count: int) -> None:
    """Add datasets to the sandbox that the pipeline works in, each enabled for Profile and with a dataflow of its own."""
    body, route = control.get("datasets", f"{_PROD.id}/{_KINDS['profile'][4]}"), control.get(ROUTES, "profile")
    assert body is not None
    assert route is not None
    dataset, flow = loads(body), loads(route)
    with control.transaction() as change:
        for number in range(count):
            dataset_id = f"66f0a1b2c3d4e5f6{number:08x}"
            named = dataset | {"name": f"dataset {number}", "tags": dataset["tags"] | {"adobe/pqs/table": [f"dataset_{number}"]}}
            change.put("datasets", [(f"{_PROD.id}/{dataset_id}", dumps(named))])
            change.put(ROUTES, [(f"flow-{number}", dumps(flow | {"flow_id": f"flow-{number}", "dataset_id": dataset_id}))])


def _stores(folder: Path) -> Stores:
    control = SqliteDocuments(folder / "control.db")
    with control.transaction() as change:
        save_inlet(
            change,
            Inlet(
                id=_INLET,
                org_id=_ORG,
                sandbox=_PROD,
                source_id="bench",
                data_type="raw",
                authentication_required=True,
                connection_id="",
            ),
        )
        for number, code in enumerate(("capillaryUserId", "capillaryExternalId"), 10_000_000):
            namespace = Namespace(id=number, code=code, name=code, idType="CROSS_DEVICE", custom=True)
            change.put(COLLECTION, [(f"{_ORG}/{number:012}", dumps(namespace))])
    for kind in _KINDS:
        _furnish(control, kind)
    state = SqliteDocuments(folder / "state.db", page_bytes=STATE_PAGE_BYTES)
    return Stores(SqliteLog(folder / "inlet.db"), control, state, DeltaLake(folder / "lake"))


def _furnish(control: SqliteDocuments, kind: str) -> None:
    schema, group, placeholder, mapping, dataset = _KINDS[kind]
    group_uri = f"https://ns.adobe.com/{_TENANT}/mixins/{group}"
    schema_uri = f"https://ns.adobe.com/{_TENANT}/schemas/{kind}"
    body = _body(f"schemas/{schema}.json", {placeholder: group})
    documents = [
        _body(f"schemas/{group}.json", {}) | {"$id": group_uri, "meta:resourceType": "mixins"},
        body
        | {
            "$id": schema_uri,
            "meta:resourceType": "schemas",
            "meta:class": body["allOf"][0]["$ref"],
            "meta:immutableTags": ["union"],
        },
    ]
    stored = [document | {"meta:registryMetadata": {"eTag": kind}, "version": "1.0"} for document in documents]
    MappingSets(control).save(_PROD.id, {"id": kind, "version": 0, "mappings": _body(f"mappings/{mapping}.json", {})})
    route = Route(
        flow_id=kind,
        sandbox=_PROD,
        org_id=_ORG,
        state=State.ENABLED,
        inlet_id=_INLET,
        dataset_id=dataset,
        mapping_id=kind,
        mapping_version=0,
        schema_id=schema_uri,
        flow_spec_id="e77fde5a-22a8-11ed-861d-0242ac120002",
        source_connection_id="source",
        target_connection_id="target",
    )
    enabled = {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"], "adobe/pqs/table": [kind]}
    with control.transaction() as change:
        change.put(RESOURCES, [(f"{_PROD.id}/{document['$id']}", dumps(document)) for document in stored])
        change.put("datasets", [(f"{_PROD.id}/{dataset}", dumps({"schemaRef": {"id": schema_uri}, "tags": enabled}))])
        change.put(ROUTES, [(kind, msgspec.json.encode(route))])


def _body(name: str, values: dict[str, str]) -> Json:
    text = (_RELAY / name).read_text(encoding="utf-8")
    for key, value in {"TENANT_ID": _TENANT, "TENANT": _TENANT, **values}.items():
        text = text.replace("{" + key + "}", value)
    return loads(text)


def _fill(stores: Stores, records: int) -> None:
    sources = {"profile": _source(member()), "transaction": _source(transaction())}
    for start in range(0, records, 500):
        stores.inlet.append([_accepted(number, sources) for number in range(start, start + 500)])


def _source(record: Json) -> str:
    """Return the relay's payload that maps to `record`, as text in which members and transactions can be told apart."""
    payload = dict(record)
    payload["capillary"] = payload.pop(f"_{_TENANT}")["capillary"]
    if "productListItems" in payload:
        payload["productLineItems"] = payload.pop("productListItems")
    return dumps(payload).decode()


def _accepted(number: int, sources: dict[str, str]) -> bytes:
    kind = "profile" if number % 2 else "transaction"
    who = number % MEMBERS
    text = sources[kind].replace("900000101", str(900_000_000 + who)).replace("member-0001", f"member-{who:04}")
    text = text.replace(":txn:880100001", f":txn:{880_000_000 + number}")
    return encode(
        Accepted(
            xaction_id=f"{_NOW_MS}:1:{number}",
            inlet_id=_INLET,
            flow_id=kind,
            dataset_id=_KINDS[kind][4],
            received_ms=_NOW_MS,
            form="B",
            authenticated=True,
            refusal="",
            data_operation="",
            identity_operation="",
            identity_dataset_id="",
            message=text.encode(),
        )
    )


if __name__ == "__main__":
    for label, figure in measure().items():
        print(f"{label}: {figure:,.0f}")
