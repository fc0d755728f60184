"""A platform behind its inlet log on real stores in a folder: schemas, datasets, dataflows, and a pipeline to crash."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from capstream.aep.call import Answer, ApiError, Call, Caller, Handler, Operation, Sandbox
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.lake import lake_table
from capstream.aep.flow_service.model import ROUTES, Inlet, Route, State, save_inlet
from capstream.aep.flow_service.runs import Runs
from capstream.aep.identity_service import rules
from capstream.aep.identity_service.namespaces import COLLECTION, Namespace
from capstream.aep.pipeline import Pipeline, Settings, Stores
from capstream.aep.schema_registry.model import DESCRIPTORS, RESOURCES, SchemaRegistry
from capstream.aep.streaming_ingestion.messages import Accepted, Form, encode
from capstream.kernel.json import Json, digest, dumps, loads
from capstream.storage.delta import DeltaLake
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

ORG = "ABCDEF0123456789ABCDEF01@AdobeOrg"
PROD = Sandbox(id="4f1c8b52-0000-4000-8000-000000000001", name="prod", default=True)
INLET = "9f" * 32
START_MS = 1_726_585_200_000  # 2024-09-17T15:00:00Z
MEMBERS, PURCHASES = "66f0a1b2c3d4e5f60718293a", "66f0a1b2c3d4e5f60718293b"
MEMBER_FLOW, PURCHASE_FLOW = "0a1b2c3d-1111-4222-8333-444455556666", "0a1b2c3d-1111-4222-8333-444455557777"
MEMBER_NS = 10_000_000

_XDM = "https://ns.adobe.com/xdm/"
_TENANT = "https://ns.adobe.com/demo/"
_SCHEMAS = {
    MEMBERS: (
        f"{_TENANT}schemas/members",
        f"{_XDM}context/profile",
        (
            "context/identitymap",
            "mixins/profile/profile-loyalty-details",
            "common/external-source-system-audit-details",
            "context/profile-personal-details",
        ),
    ),
    PURCHASES: (
        f"{_TENANT}schemas/purchases",
        f"{_XDM}context/experienceevent",
        ("context/experienceevent-commerce",),
    ),
}


class Crash(BaseException):
    """The process dies here."""


class World:
    """Stores of one platform; `restart` opens them anew, as a new process does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = START_MS
        self._sent = 0
        self._open()
        self._furnish()

    def _open(self) -> None:
        self.control = SqliteDocuments(self.folder / "control.db")
        self.state = SqliteDocuments(self.folder / "state.db")
        self.inlet = SqliteLog(self.folder / "inlet.db")
        self.lake = DeltaLake(self.folder / "lake")
        self.registry = SchemaRegistry(self.control, "demo")
        self.runs, self.batches = Runs(self.state), Batches(self.state)

    def _furnish(self) -> None:
        for dataset_id, (uri, class_id, groups) in _SCHEMAS.items():
            self.save_schema(uri, class_id, groups)
            self.save_dataset(dataset_id)
        with self.control.transaction() as change:
            custom = Namespace(id=MEMBER_NS, code="memberId", name="Member", idType="CROSS_DEVICE", custom=True)
            change.put(COLLECTION, [(f"{ORG}/{MEMBER_NS:012}", dumps(custom))])
            save_inlet(change, inlet())
        self.save_route(MEMBER_FLOW, MEMBERS)
        self.save_route(PURCHASE_FLOW, PURCHASES)

    def save_schema(self, uri: str, class_id: str, groups: Sequence[str]) -> None:
        """Store a schema that is enabled for Profile."""
        body = {
            "$id": uri,
            "title": uri.rsplit("/", 1)[1],
            "type": "object",
            "meta:resourceType": "schemas",
            "meta:class": class_id,
            "meta:immutableTags": ["union"],
            "meta:registryMetadata": {"eTag": digest(groups)},
            "version": "1.0",
            "allOf": [{"$ref": class_id}, *({"$ref": _XDM + group} for group in groups)],
        }
        self._put(RESOURCES, f"{PROD.id}/{uri}", dumps(body))

    def grow_schema(self, dataset_id: str, group: str) -> None:
        """Add a field group to a dataset's schema."""
        uri, class_id, groups = _SCHEMAS[dataset_id]
        self.save_schema(uri, class_id, (*groups, group))

    def save_descriptor(self, dataset_id: str, path: str, namespace: str, *, primary: bool) -> None:
        """Store an identity descriptor."""
        body = {
            "@id": path,
            "@type": "xdm:descriptorIdentity",
            "xdm:sourceSchema": _SCHEMAS[dataset_id][0],
            "xdm:sourceProperty": path,
            "xdm:namespace": namespace,
            "xdm:isPrimary": primary,
        }
        self._put(DESCRIPTORS, f"{PROD.id}/{path}", dumps(body))

    def save_dataset(self, dataset_id: str, **tags: list[str]) -> None:
        """Store a dataset that is enabled for Profile and Identity; `tags` replace its tags of these names."""
        uri = _SCHEMAS[dataset_id][0]
        named = {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}
        body = {
            "name": uri.rsplit("/", 1)[1],
            "schemaRef": {"id": uri, "contentType": "application/vnd.adobe.xed+json;version=1"},
            "tags": named | {"adobe/pqs/table": [uri.rsplit("/", 1)[1]]} | tags,
        }
        self._put("datasets", f"{PROD.id}/{dataset_id}", dumps(body))

    def change_dataset(self, dataset_id: str, members: dict[str, Json]) -> None:
        """Add members to a stored dataset."""
        key = f"{PROD.id}/{dataset_id}"
        body = self.control.get("datasets", key)
        assert body is not None
        self._put("datasets", key, dumps(loads(body) | members))

    def delete_dataset(self, dataset_id: str) -> None:
        with self.control.transaction() as change:
            change.delete("datasets", [f"{PROD.id}/{dataset_id}"])

    def save_route(self, flow_id: str, dataset_id: str, *, state: State = State.ENABLED, **changes: Any) -> None:
        """Store a dataflow that passes records through unless `changes` name a mapping."""
        fields: dict[str, Any] = {
            "flow_id": flow_id,
            "sandbox": PROD,
            "org_id": ORG,
            "state": state,
            "inlet_id": INLET,
            "dataset_id": dataset_id,
            "mapping_id": "",
            "mapping_version": 0,
            "schema_id": _SCHEMAS[dataset_id][0],
            "flow_spec_id": "e77fde5a-22a8-11ed-861d-0242ac120002",
            "source_connection_id": "source",
            "target_connection_id": "target",
            "diagnostics": True,
        }
        self._put(ROUTES, flow_id, msgspec.json.encode(Route(**(fields | changes))))

    def _put(self, collection: str, key: str, body: bytes) -> None:
        with self.control.transaction() as change:
            change.put(collection, [(key, body)])

    def accept(self, flow_id: str, *messages: Json, form: Form = "B", **changes: Any) -> int:
        """Append accepted messages to the inlet log and return the offset of the last."""
        records = []
        for message in messages:
            self._sent += 1
            fields: dict[str, Any] = {
                "xaction_id": f"{START_MS}:1:{self._sent}",
                "inlet_id": INLET,
                "flow_id": flow_id,
                "dataset_id": MEMBERS if flow_id == MEMBER_FLOW else PURCHASES,
                "received_ms": self.now_ms,
                "form": form,
                "authenticated": True,
                "refusal": "",
                "data_operation": "",
                "identity_operation": "",
                "identity_dataset_id": "",
                "message": message if isinstance(message, bytes) else dumps(message),
            }
            records.append(encode(Accepted(**(fields | changes))))
        return self.inlet.append(records) + len(records) - 1

    def pipeline(self, *, crash_at: str = "", **settings: Any) -> Pipeline:
        """Return a pipeline on the stores; it dies when it reaches the step `crash_at`."""

        def checkpoint(step: str) -> None:
            if step == crash_at:
                raise Crash(step)

        stores = Stores(self.inlet, self.control, self.state, self.lake)
        return Pipeline(stores, self.registry, clock=lambda: self.now_ms, settings=Settings(**settings), checkpoint=checkpoint)

    def drain(self, **settings: Any) -> int:
        """Process everything that waits, in a new pipeline; return how many records that were."""
        pipeline = self.pipeline(**settings)
        total = 0
        while count := pipeline.run_once():
            total += count
        pipeline.close()
        return total

    def drain_until_crash(self, step: str, **settings: Any) -> None:
        """Process in a new pipeline until it dies at `step`; returns when it never gets there."""
        pipeline = self.pipeline(crash_at=step, **settings)
        try:
            while pipeline.run_once():
                pass
        finally:
            pipeline.close()

    def restart(self) -> None:
        """Open every store anew."""
        self.close()
        self._open()

    def close(self) -> None:
        for store in (self.control, self.state, self.inlet):
            store.close()

    def rows(self, dataset_id: str) -> int:
        """Return the number of rows in the lake."""
        return self.lake.rows(lake_table(PROD.name, dataset_id))

    def run_of(self, flow_id: str) -> dict[str, Json]:
        """Return the flow's only run."""
        (run,) = self.runs.list(PROD.id, flow_id)
        return run

    def batches_of(self, dataset_id: str, status: str) -> list[dict[str, Json]]:
        """Return the dataset's batches in a state."""
        found = self.batches.all(PROD.id).values()
        return [batch for batch in found if batch["relatedObjects"][0]["id"] == dataset_id and batch["status"] == status]


def inlet() -> Inlet:
    """Return the inlet all messages come in by."""
    return Inlet(
        id=INLET, org_id=ORG, sandbox=PROD, source_id="tests", data_type="raw", authentication_required=False, connection_id=""
    )  # fmt: skip


def member(number: int, *, points: float = 100, updated: str = "", **more: Json) -> dict[str, Json]:
    """Return a valid profile record of member `number`."""
    record: dict[str, Json] = {"_id": f"member-{number}", "identityMap": identities(number), "loyalty": {"points": points}}
    if updated:
        record["extSourceSystemAudit"] = {"lastUpdatedDate": updated}
    return record | more


def purchase(number: int, event_id: str, *, minute: int = 0, total: float = 10, **more: Json) -> dict[str, Json]:
    """Return a valid experience event of member `number`."""
    record: dict[str, Json] = {
        "_id": event_id,
        "timestamp": f"2024-09-17T15:{minute:02}:00Z",
        "eventType": "commerce.purchases",
        "identityMap": identities(number),
        "commerce": {"order": {"priceTotal": total}},
    }
    return record | more


def identities(number: int) -> dict[str, Json]:
    """Return the identityMap of member `number`: the member id is primary, an e-mail address is linked."""
    return {
        "memberId": [{"id": str(number), "primary": True}],
        "email": [{"id": f"Member-{number:04}@example.com", "primary": False}],
    }


def xid(number: int) -> str:
    """Return the XID of member `number`."""
    return rules.xid(ORG, MEMBER_NS, str(number))


def ask(
    handlers: Mapping[str, Handler],
    operation: str,
    *,
    params: Mapping[str, str] | None = None,
    query: Sequence[tuple[str, str]] = (),
    body: Json = None,
    headers: Mapping[str, str] | None = None,
    now_ms: int = START_MS,
) -> Answer:
    """Return a handler's answer, a refusal's included."""
    call = Call(
        operation=Operation(id=operation, service="", method="", path=""),
        method="",
        path="",
        params=params or {},
        query=query,
        headers=headers or {},
        body=b"" if body is None else dumps(body),
        caller=Caller(org_id=ORG, client_id="tests", user_id="tests"),
        sandbox=PROD,
        base_url="http://localhost",
        request_id="request",
        now_ms=now_ms,
    )
    try:
        return handlers[operation](call)
    except ApiError as error:
        return error.answer


def body_of(answer: Answer) -> Json:
    """Return the JSON value of an answer as a client reads it."""
    return loads(answer.content())
