"""The whole platform in a folder, as one process composes it, called without a network; and how to hold it against a
specification.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft4Validator

from capstream import app, config, platform_side
from capstream.aep.pipeline import Pipeline, Settings, Stores
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.layout import Layout
from capstream.storage.delta import DeltaLake
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

Spec = dict[str, Any]
PROFILE = "https://ns.adobe.com/xdm/context/profile"
CAPILLARY = "6360f136-5980-4111-8bdf-15d29eab3b5a"
LAKE = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
FLOWS = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"


@dataclass
class Platform:
    """Calls of the platform with its own technical account."""

    folder: Path
    app: Any
    credentials: Any
    pipeline: Pipeline
    state: SqliteDocuments
    seen: list[tuple[str, httpx.Response]] = field(default_factory=list)
    _token: str = ""

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                if not self._token:
                    self._token = await self._fetch(client)
                return await client.request(method, path, headers=self._headers() | (headers or {}), **body)

        return asyncio.run(send())

    async def _fetch(self, client: httpx.AsyncClient) -> str:
        who = self.credentials
        form = {"grant_type": "client_credentials", "client_id": who.client_id, "client_secret": who.client_secret}
        return str((await client.post("/ims/token/v3", data=form | {"scope": who.scopes})).json()["access_token"])

    def _headers(self) -> dict[str, str]:
        who = self.credentials
        return {
            "authorization": f"Bearer {self._token}",
            "x-api-key": who.client_id,
            "x-gw-ims-org-id": who.org_id,
            "x-sandbox-name": who.sandbox,
        }

    def says(self, operation: str, method: str, path: str, **more: Any) -> httpx.Response:
        """Call an operation and remember its answer under the operation's id."""
        answer = self.call(method, path, **more)
        self.seen.append((operation, answer))
        return answer

    def made(self, path: str, body: Any) -> str:
        answer = self.call("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        return str(found["id"] if isinstance(found, dict) else found[0].rpartition("/")[2])

    def flow_to_a_dataset(
        self, schema: str = PROFILE, tags: dict[str, list[str]] | None = None, more: dict[str, Any] | None = None
    ) -> dict[str, str]:
        """Return the ids of a dataflow of XDM profiles and of its parts; it took a good record (with `more`) and a bad one."""
        kind = {"id": schema, "contentType": "application/vnd.adobe.xed-full+json;version=1"}
        dataset = self.made(f"{CATALOG}/dataSets", {"name": "Profiles", "schemaRef": kind, "tags": tags or {}})
        auth = {"specName": "Streaming Connection", "params": {"dataType": "xdm", "name": "inlet", "sourceId": "inlet"}}
        http = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
        base = self.made(f"{FLOWS}/connections", {"name": "http", "connectionSpec": http, "auth": auth})
        source = self.made(f"{FLOWS}/sourceConnections", {"name": "s", "baseConnectionId": base, "connectionSpec": http})
        lake = {"name": "t", "connectionSpec": {"id": LAKE, "version": "1.0"}, "params": {"dataSetId": dataset}}
        target = self.made(f"{FLOWS}/targetConnections", lake)
        body = {
            "name": "flow",
            "flowSpec": {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"},
            "sourceConnectionIds": [source],
            "targetConnectionIds": [target],
            "transformations": [],
        }
        flow = self.made(f"{FLOWS}/flows", body)
        inlet = self.call("GET", f"{FLOWS}/connections/{base}").json()["items"][0]["auth"]["params"]["inletUrl"]
        for record in ({"_id": "good"} | (more or {}), {"_id": 5}):
            envelope = {
                "header": {
                    "schemaRef": kind,
                    "imsOrgId": self.credentials.org_id,
                    "datasetId": dataset,
                    "flowId": flow,
                    "source": {"name": "inlet"},
                },
                "body": {"xdmMeta": {"schemaRef": kind}, "xdmEntity": record},
            }
            answer = self.call("POST", httpx.URL(inlet).path, json=envelope)
            assert answer.status_code == 200, answer.text
        while self.pipeline.run_once():
            pass
        return {"dataset": dataset, "base": base, "source": source, "target": target, "flow": flow}


@contextmanager
def platform(folder: Path) -> Iterator[Platform]:
    """Compose the platform in a folder."""
    settings = config.load({}, data=folder)
    credentials = app.prepare(settings)
    layout = Layout(settings.data)
    side = platform_side.build(settings, layout)
    state = SqliteDocuments(layout.state)
    control = SqliteDocuments(layout.control, readonly=True)
    stores = Stores(SqliteLog(layout.inlet, readonly=True), control, state, DeltaLake(layout.lake))
    pipeline = Pipeline(stores, SchemaRegistry(control, app.TENANT), clock=settings.clock(), settings=Settings())
    yield Platform(folder, side.gateway(side.mounts), credentials, pipeline, state)
    pipeline.close()


def operations_of(spec: Spec) -> dict[str, Spec]:
    """Return the operations of a specification by their ids."""
    return {
        operation["operationId"]: operation
        for methods in spec["paths"].values()
        for method, operation in methods.items()
        if method in {"get", "put", "post", "patch", "delete", "head"}
    }


def violations(spec: Spec, operation: Spec, answer: httpx.Response) -> list[str]:
    """Return what in a JSON answer is not as its specification says; null is let pass, the files' own examples print it."""
    responses = {str(code): response for code, response in operation["responses"].items()}
    response = responses.get(str(answer.status_code)) or {}
    kind = answer.headers.get("content-type", "").partition(";")[0]
    content = response.get("content") or {}
    schema = (content.get(kind) or content.get("application/json") or response).get("schema")  # Swagger 2: no content
    if not schema or "json" not in kind:
        return []
    shared = {part: _plain(spec[part]) for part in ("components", "definitions") if part in spec}
    root = {**shared, "allOf": [_plain(schema)]}
    errors = Draft4Validator(root).iter_errors(answer.json())
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors if error.instance is not None]


def _plain(node: Any) -> Any:
    """Return a schema without what is no keyword of JSON Schema: examples may hold anything, `/#` is no pointer."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in {"example", "examples"}}
    if isinstance(kept.get("$ref"), str):
        return {"$ref": kept["$ref"].replace("/#components", "#/components")}
    return {key: _plain(value) for key, value in kept.items()}
