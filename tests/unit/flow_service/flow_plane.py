"""The control plane with the Flow Service in it: real gateway, real stores, driven over ASGI."""

from pathlib import Path
from typing import Any

import httpx
from control_plane import EVENT_SCHEMA, PROFILE_SCHEMA, ControlPlane

from capstream.aep.call import Handler
from capstream.aep.flow_service import api, sftp
from capstream.aep.flow_service.entities import FlowService
from capstream.aep.flow_service.landing_zone import Zones
from capstream.aep.flow_service.model import Flows, Inlets
from capstream.aep.flow_service.runs import Runs
from capstream.aep.flow_service.secrets import Vault
from capstream.kernel.json import dumps, loads
from capstream.storage.sqlite import SqliteDocuments

BASE = "/data/foundation/flowservice"
CAPILLARY = "6360f136-5980-4111-8bdf-15d29eab3b5a"
GENERIC = "e77fd9d2-22a8-11ed-861d-0242ac120002"
HTTP_API = "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb"
LAKE = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
SFTP = "b7bf2577-4520-42c9-bae9-cad01560f7bc"
REST_FLOW = "6499120c-0b15-42dc-936e-847ea3c24d72"
GENERIC_FLOW = "e77fde5a-22a8-11ed-861d-0242ac120002"
MAPPED_FLOW = "c1a19761-d2c7-4702-b9fa-fe91f0613e81"
PASS_FLOW = "d8a6f005-7eaf-4153-983e-e8574508b877"
FILE_FLOW = "9753525b-82c7-4dce-8a9b-5ccfce2b9876"
PROFILE = PROFILE_SCHEMA
EVENT = EVENT_SCHEMA


class StoredMappingSets:
    """Versions of mapping sets in documents."""

    def __init__(self, documents: SqliteDocuments) -> None:
        self._documents = documents

    def put(self, sandbox_id: str, mapping_id: str, *, schema: str, content_type: str, version: int = 0) -> None:
        body = {"id": mapping_id, "version": version, "outputSchema": {"schemaRef": {"id": schema, "contentType": content_type}}}
        with self._documents.transaction() as change:
            change.put("mapping_sets_under_test", [(f"{sandbox_id}/{mapping_id}/{version}", dumps(body))])

    def get(self, sandbox_id: str, mapping_id: str, version: int | None) -> dict[str, Any] | None:
        key = f"{sandbox_id}/{mapping_id}/"
        items = self._documents.scan("mapping_sets_under_test", prefix=key + ("" if version is None else str(version)))
        return loads(items[-1][1]) if items else None


class FlowPlane(ControlPlane):
    """Adds the Flow Service, a mapping set and two datasets."""

    def __init__(self, folder: Path, **service: Any) -> None:
        self.folder = folder
        self.run_documents = SqliteDocuments(folder / "runs.db")
        self.runs = Runs(self.run_documents)
        self.vault = Vault.open(folder / "secrets" / "key")
        self.asked: list[tuple[str, str]] = []
        self._service = service
        super().__init__(folder)
        self.mapping_sets.put(self.prod.id, "m0", schema=PROFILE, content_type="application/vnd.adobe.xed-full+json;version=1")
        self.profile_dataset = self.dataset("Capillary Profiles", PROFILE)
        self.event_dataset = self.dataset("Capillary Transactions", EVENT)

    def _services(self) -> dict[str, dict[str, Handler]]:
        self.mapping_sets = StoredMappingSets(self.documents)
        self.service = FlowService(
            documents=self.documents,
            datasets=self.datasets,
            mapping_sets=self.mapping_sets,
            runs=self.runs,
            vault=self.vault,
            can_obtain_token=self._can_obtain_token,
            open_files=sftp.opened,
            zones=Zones(self.folder / "dlz"),
            **self._service,
        )
        return super()._services() | {"flow_service": api.handlers(self.service)}

    def _can_obtain_token(self, client_id: str, client_secret: str) -> bool:
        self.asked.append((client_id, client_secret))
        return client_secret == "right"

    def close(self) -> None:
        self.run_documents.close()
        super().close()

    def dataset(self, name: str, schema: str) -> str:
        body = {"name": name, "schemaRef": {"id": schema, "contentType": "application/vnd.adobe.xed+json;version=1"}}
        answer = self.call("POST", "/data/foundation/catalog/dataSets", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()[0].rpartition("/")[2])

    @property
    def flows(self) -> Flows:
        return Flows(self.documents)

    @property
    def inlets(self) -> Inlets:
        return Inlets(self.documents)

    def flow(self, method: str, path: str, *, json: Any = None, **headers: str) -> httpx.Response:
        """Return the answer of the Flow Service, path below its base."""
        body = {} if json is None else {"json": json}
        return self.call(method, BASE + path, headers=self.headers(**headers), **body)

    def item(self, path: str) -> dict[str, Any]:
        """Return the one item of a GET by id."""
        answer = self.flow("GET", path)
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
        return dict(item)

    def made(self, path: str, body: dict[str, Any]) -> str:
        """Return the id of what a POST creates."""
        answer = self.flow("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def connection(self, query: str = "", **changed: Any) -> str:
        return self.made("/connections" + query, capillary_connection() | changed)

    def source(self, base: str | None, *, spec: str = CAPILLARY, query: str = "") -> str:
        body: dict[str, Any] = {"name": "Capillary Streaming", "connectionSpec": {"id": spec, "version": "1.0"}}
        return self.made("/sourceConnections" + query, body | ({"baseConnectionId": base} if base else {}))

    def target(self, dataset: str | None = None, *, query: str = "") -> str:
        body = {
            "name": "Capillary Target Connection",
            "params": {"dataSetId": dataset or self.profile_dataset},
            "connectionSpec": {"id": LAKE, "version": "1.0"},
        }
        return self.made("/targetConnections" + query, body)

    def flow_body(self, source: str, target: str, **changed: Any) -> dict[str, Any]:
        return {
            "name": "Capillary dataflow",
            "flowSpec": {"id": GENERIC_FLOW, "version": "1.0"},
            "sourceConnectionIds": [source],
            "targetConnectionIds": [target],
            "transformations": [{"name": "Mapping", "params": {"mappingId": "m0", "mappingVersion": 0}}],
        } | changed

    def whole_flow(self, **changed: Any) -> tuple[str, str]:
        """Return the ids of a base connection and of a flow on it."""
        base = self.connection()
        return base, self.made("/flows", self.flow_body(self.source(base), self.target(), **changed))


def capillary_connection() -> dict[str, Any]:
    return {
        "name": "Capillary base connection",
        "connectionSpec": {"id": CAPILLARY, "version": "1.0"},
        "auth": {
            "specName": "OAuth generic-rest-connector",
            "params": {"clientId": "3f1c0a7e5d2b4c9fa6e8", "clientSecret": "right", "accessToken": "token-text"},
        },
    }


def http_connection(**params: Any) -> dict[str, Any]:
    return {
        "name": "HTTP",
        "providerId": "521eee4d-8cbe-4906-bb48-fb6bd4450033",
        "connectionSpec": {"id": HTTP_API, "version": "1.0"},
        "auth": {"specName": "Streaming Connection", "params": params},
    }


def code_of(answer: httpx.Response) -> str:
    """Return `<code>-<status>` of an error body, checked against the answer's own status and required members."""
    body = answer.json()
    code = str(body["type"]).removeprefix("https://ns.adobe.com/aep/errors/FLOW-")
    assert body["status"] == answer.status_code, body
    assert code.endswith(f"-{answer.status_code}"), body
    assert body["report"]["detailed-message"] == body["errorMessage"] == body["errorDetails"]
    assert len(body["report"]["request-id"]) > 0
    return code
