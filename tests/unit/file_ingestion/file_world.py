"""File flows end to end in one process: a real SFTP server, the Flow Service, the collector, the pipeline, the lake."""

from functools import cache
from pathlib import Path
from typing import Any

import paramiko
from pipeline_world import MEMBERS, PROD, World, ask, body_of
from sftp_server import PASSWORD, USER, SftpServer

from capstream.aep.catalog.model import Datasets
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.file_ingestion.collector import Collector
from capstream.aep.flow_service import sftp
from capstream.aep.flow_service.api import handlers
from capstream.aep.flow_service.entities import FlowService
from capstream.aep.flow_service.landing_zone import Zones
from capstream.aep.flow_service.secrets import Vault
from capstream.kernel.json import Json

SFTP = {"id": "b7bf2577-4520-42c9-bae9-cad01560f7bc", "version": "1.0"}
ZONE = {"id": "26f526f2-58f4-4712-961d-e41bf1ccc0e8", "version": "1.0"}
LAKE = {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"}
FILE_FLOW = {"id": "9753525b-82c7-4dce-8a9b-5ccfce2b9876", "version": "1.0"}
SET = "6f2c" * 8
ROWS = [
    {"sourceType": "ATTRIBUTE", "source": "memberId", "destination": "_id"},
    {
        "sourceType": "EXPRESSION",
        "source": 'to_map("memberId", [to_object("id", memberId, "primary", true)])',
        "destination": "identityMap",
    },
    {"sourceType": "EXPRESSION", "source": "to_integer(points)", "destination": "loyalty.points"},
    {"sourceType": "ATTRIBUTE", "source": "tier", "destination": "loyalty.tier"},
]


@cache
def _key() -> paramiko.RSAKey:
    return paramiko.RSAKey.generate(2048)


class LogOfWorld:
    """The inlet log for the collector, in the test's own thread; `limit` appends are taken, then the process dies."""

    def __init__(self, world: "FileWorld") -> None:
        self._world = world
        self.left = 1_000_000

    def append(self, messages: list[bytes], keys: list[bytes]) -> int:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self._world.inlet.append(messages, keys=keys) + len(messages) - 1

    def seen(self, key: bytes) -> int:
        return self._world.inlet.seen([key]).get(key, 0)

    def end(self) -> int:
        return self._world.inlet.end()

    def pending(self) -> int:
        return 0


class FileWorld(World):
    """Adds an SFTP server and what runs file flows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.remote = folder / "remote"
        self.remote.mkdir()
        self.server = SftpServer(self.remote, _key())
        MappingSets(self.control).save(
            PROD.id,
            {
                "id": SET,
                "version": 0,
                "mappings": ROWS,
                "outputSchema": {"schemaRef": {"id": "https://ns.adobe.com/demo/schemas/members"}},
            },
        )
        self.change_dataset(MEMBERS, {"basePath": f"lake://{PROD.name}/{MEMBERS}"})
        self.rows_of_log = LogOfWorld(self)

    @property
    def service(self) -> FlowService:
        return FlowService(
            documents=self.control,
            datasets=Datasets(self.control),
            mapping_sets=MappingSets(self.control),
            runs=self.runs,
            vault=Vault.open(self.folder / "vault.key"),
            can_obtain_token=lambda _id, _secret: True,
            open_files=sftp.opened,
            zones=Zones(self.folder / "dlz"),
        )

    def close(self) -> None:
        self.server.close()
        super().close()

    def restart(self) -> None:
        for store in (self.control, self.state, self.inlet):
            store.close()
        self._open()

    def ask(self, operation: str, body: Json = None, *, query: dict[str, str] | None = None, **params: str) -> Any:
        """Return (status, body) of an operation of the Flow Service."""
        asked = tuple((query or {}).items())
        found = ask(handlers(self.service), operation, params=params, query=asked, body=body, now_ms=self.now_ms)
        return found.status, body_of(found) if found.body is not None else None

    def made(self, operation: str, body: Json) -> str:
        status, answer = self.ask(operation, body)
        assert status == 201, answer
        return str(answer["id"])

    def account(self) -> str:
        params = {"host": "127.0.0.1", "port": self.server.port, "userName": USER, "password": PASSWORD}
        auth = {"specName": "Basic Authentication for sftp", "params": params}
        return self.made("createConnection", {"name": "history", "connectionSpec": SFTP, "auth": auth})

    def flow(self, path: str, *, zone: bool = False, schedule: Json = None, data: Json = None, **changed: Any) -> str:
        """Return the id of a flow that fetches `path`."""
        source: dict[str, Json] = {"name": "files", "connectionSpec": ZONE if zone else SFTP, "params": {"path": path}}
        source["data"] = data or {"format": "delimited"}
        if not zone:
            source["baseConnectionId"] = self.account()
        source["params"] |= changed.pop("params", {})
        target = {"name": "lake", "connectionSpec": LAKE, "params": {"dataSetId": MEMBERS}}
        body = {
            "name": "history",
            "flowSpec": FILE_FLOW,
            "sourceConnectionIds": [self.made("createSourceConnection", source)],
            "targetConnectionIds": [self.made("createTargetConnection", target)],
            "transformations": [{"name": "Mapping", "params": {"mappingId": SET, "mappingVersion": 0}}],
            "scheduleParams": schedule or {"startTime": self.now_ms // 1000, "frequency": "once"},
            "options": {"errorDiagnosticsEnabled": True},
        } | changed
        return self.made("createFlow", body)

    def put(self, name: str, content: bytes) -> None:
        file = self.remote / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def collect(self) -> None:
        """Let the collector work once, and the pipeline until nothing waits; twice, so that what is closed is settled."""
        collector = self.collector()
        try:
            for _ in range(2):
                collector.run_once()
                collector.fetches.wait()
                collector.run_once()
                self.drain()
        finally:
            collector.fetches.close()

    def collector(self) -> Collector:
        return Collector(self.service, self.rows_of_log, self.folder / "spool", clock=lambda: self.now_ms)

    def runs_of(self, flow_id: str) -> list[dict[str, Any]]:
        status, answer = self.ask("listFlowRuns", query={"property": f"flowId=={flow_id}", "orderby": "createdAt"})
        assert status == 200, answer
        return list(answer["items"])

    def counts(self, run: dict[str, Any]) -> tuple[int, int, int, int]:
        """Return received, written, failed, skipped."""
        summary = run["metrics"]["recordSummary"]
        names = ("inputRecordCount", "outputRecordCount", "failedRecordCount", "skippedRecordCount")
        return tuple(summary[name] for name in names)  # type: ignore[return-value]


def csv(count: int, *, first: int = 0, points: str = "10") -> bytes:
    """Return a delimited file of `count` members."""
    lines = [f"M-{number},{points},gold" for number in range(first, first + count)]
    return "\r\n".join(["memberId,points,tier", *lines, ""]).encode()
