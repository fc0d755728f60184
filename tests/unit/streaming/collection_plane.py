"""The collection endpoints on a real log and real documents, driven over ASGI."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from capstream.aep.call import Caller, Sandbox
from capstream.aep.catalog.model import Author, Datasets
from capstream.aep.flow_service.model import Flows, Inlet, Inlets, Route, State, save_inlet, save_route
from capstream.aep.streaming_ingestion.api import Collection, collection_app
from capstream.aep.streaming_ingestion.messages import Accepted, decode
from capstream.kernel.json import Json
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.xdm.violations import Violation

ORG = "A1B2C3D4E5F60718293A4B5C@AdobeOrg"
SANDBOX = Sandbox(id="7f8a0000-0000-11ef-8000-0242ac120002", name="prod", default=True)
PROFILE = "https://ns.adobe.com/acme/schemas/3f9a7c2b51"
EVENT = "https://ns.adobe.com/acme/schemas/7d01aa55e0"
MEDIA = "application/vnd.adobe.xed-full+json;version=1"
RAW, XDM = "9f" * 32, "0e" * 32
FLOW, OTHER_FLOW = "0a1b2c3d-1111-4222-8333-444455556666", "0a1b2c3d-1111-4222-8333-777788889999"
BASE = "70c1a0f2-1111-4222-8333-444455556666"
START_MS = 1_732_000_000_000
TAGS = {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}


def validate(route: Route, record: Json) -> Sequence[Violation]:
    """Refuse the key `nickname` and an `_id` that is no text: what a schema would say."""
    found = []
    if "nickname" in record:
        found.append(
            Violation("additionalProperties", "extraneous key [nickname] is not permitted", "#", "#", "leave the member out")
        )
    if not isinstance(record.get("_id", ""), str):
        found.append(Violation("type", "expected type: String, found: Long", "#/_id", "#/properties/_id"))
    return found


class CollectionPlane:
    """One raw inlet with one mapped flow, one xdm inlet without flows, three datasets."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.now_ms = START_MS
        self.documents = SqliteDocuments(folder / "control.db")
        self.log = SqliteLog(folder / "inlet.db")
        self.datasets = Datasets(self.documents)
        self.profiles = self.dataset("Profiles", PROFILE, TAGS)
        self.identities = self.dataset("Identities", PROFILE, {"unifiedIdentity": ["enabled:true"]})
        self.events = self.dataset("Events", EVENT, TAGS, behaviour="time-series")
        self.backlog = 0
        self.callers: dict[str, Caller] = {"good": caller(ORG), "foreign": caller("F" * 24 + "@AdobeOrg")}
        settings: dict[str, Any] = {
            "log": self.log,
            "flows": Flows(self.documents),
            "inlets": Inlets(self.documents),
            "datasets": self.datasets,
            "verify": lambda token, now_ms: self.callers.get(token),
            "validate": validate,
            "clock": lambda: self.now_ms,
            "backlog": lambda: self.backlog,
            "unseal": lambda sealed: sealed.removeprefix("sealed:"),
            "shard": 62,
        }
        self.app = collection_app(Collection(**(settings | options)))
        self.raw = self.inlet(RAW, data_type="raw", connection_id=BASE)
        self.xdm = self.inlet(XDM, data_type="xdm")
        self.route(FLOW, RAW, mapping_id="m0")

    def close(self) -> None:
        self.documents.close()
        self.log.close()

    def dataset(self, name: str, schema: str, tags: dict[str, list[str]], behaviour: str = "record") -> str:
        author = Author(org_id=ORG, sandbox=SANDBOX, user_id="u", client_id="c", now_ms=self.now_ms)
        body = {"name": name, "schemaRef": {"id": schema, "contentType": MEDIA}, "tags": tags}
        return self.datasets.create(author, body, behaviour=behaviour)[0]

    def inlet(self, inlet_id: str, **changed: Any) -> Inlet:
        settings: dict[str, Any] = {
            "id": inlet_id,
            "org_id": ORG,
            "sandbox": SANDBOX,
            "source_id": "tests",
            "data_type": "raw",
            "authentication_required": False,
            "connection_id": "",
        }
        made = Inlet(**(settings | changed))
        with self.documents.transaction() as change:
            save_inlet(change, made)
        return made

    def change_inlet(self, inlet: Inlet, **changed: Any) -> None:
        with self.documents.transaction() as change:
            save_inlet(change, replace(inlet, **changed))

    def route(self, flow_id: str, inlet_id: str, **changed: Any) -> Route:
        settings: dict[str, Any] = {
            "flow_id": flow_id,
            "sandbox": SANDBOX,
            "org_id": ORG,
            "state": State.ENABLED,
            "inlet_id": inlet_id,
            "dataset_id": self.profiles,
            "mapping_id": "",
            "mapping_version": 0,
            "schema_id": PROFILE,
            "flow_spec_id": "e77fde5a-22a8-11ed-861d-0242ac120002",
            "source_connection_id": "s",
            "target_connection_id": "t",
        }
        made = Route(**(settings | changed))
        with self.documents.transaction() as change:
            save_route(change, made)
        return made

    def send(self, path: str, json: Any = None, *, method: str = "POST", **options: Any) -> httpx.Response:
        """Return the answer to one request."""
        return self.send_all([(path, json)], method=method, **options)[0]

    def send_all(self, requests: Sequence[tuple[str, Any]], *, method: str = "POST", **options: Any) -> list[httpx.Response]:
        """Return the answers to requests that are sent at the same time."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://dcs.test") as client:
                sent = (
                    client.request(method, path, **({} if json is None else {"json": json}), **options) for path, json in requests
                )
                return list(await asyncio.gather(*sent))

        return asyncio.run(run())

    def stored(self) -> list[Accepted]:
        """Return what the log holds."""
        return [decode(body) for _, body in self.log.read(0, 10_000)]

    def envelope(self, dataset: str | None = None, *, schema: str = PROFILE, **header: Any) -> dict[str, Any]:
        """Return a form A message; a header member that is None is left out."""
        reference = {"id": schema, "contentType": MEDIA}
        wanted = {
            "schemaRef": reference,
            "imsOrgId": ORG,
            "datasetId": dataset or self.profiles,
            "createdAt": "1732000000000",
            "source": {"name": "tests"},
        } | header
        return {
            "header": {key: value for key, value in wanted.items() if value is not None},
            "body": {"xdmMeta": {"schemaRef": reference}, "xdmEntity": {"_id": "e-1"}},
        }


def caller(org_id: str) -> Caller:
    return Caller(org_id=org_id, client_id="c", user_id="u")


def message_of(answer: httpx.Response) -> str:
    """Return the text of an error body, checked for its shape."""
    body = answer.json()
    assert body["status"] == answer.status_code, body
    assert body["type"] == "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet"
    assert body["title"]
    return str(body["report"]["message"])
