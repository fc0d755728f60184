"""A large control plane: pages of a list of 10,000 flows, and what 1,000 datasets cost the pipeline.

All figures are CPU time of one process, so that what else runs on the machine does not count.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import pipeline
from capstream.aep.call import Call, Caller, Operation, Sandbox
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service import sftp
from capstream.aep.flow_service.api import handlers
from capstream.aep.flow_service.entities import FLOWS as FLOWS_KIND
from capstream.aep.flow_service.entities import FlowService
from capstream.aep.flow_service.landing_zone import Zones
from capstream.aep.flow_service.runs import Runs
from capstream.aep.flow_service.secrets import Vault
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.sqlite import SqliteDocuments

FLOWS = 10_000
DATASETS = 1000
RECORDS = 16_000
_ROUNDS = 3
_NOW_MS = 1_726_585_200_000
_PROD = Sandbox(id="4f1c8b52-0000-4000-8000-000000000001", name="prod", default=True)
_LAKE = {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"}
_SOURCE = {"id": "6360f136-5980-4111-8bdf-15d29eab3b5a", "version": "1.0"}
_IS_SOURCE = ("property", "inheritedAttributes.properties.isSourceFlow==true")


def measure() -> dict[str, float]:
    """Return milliseconds of CPU a page, and the pipeline's CPU a record with many datasets as a share of that with two."""
    with TemporaryDirectory(prefix="capstream-bench-") as folder:
        found = _pages(Path(folder))
    plain = min(pipeline.run(RECORDS)[1] for _ in range(_ROUNDS))
    many = min(pipeline.run(RECORDS, furnish=_furnish)[1] for _ in range(_ROUNDS))
    busy = min(pipeline.run(RECORDS, furnish=_furnish, between=_commit)[1] for _ in range(_ROUNDS))
    return found | {
        f"pipeline CPU a record with {DATASETS + 2:,} datasets, % of that with 2": 100 * many / plain,
        "the same while the control plane changes after every micro-batch, %": 100 * busy / plain,
    }


def _furnish(control: SqliteDocuments) -> None:
    pipeline.add_datasets(control, DATASETS)


def _commit(control: SqliteDocuments) -> None:
    with control.transaction() as change:
        change.put("anything", [("key", b"%d" % time.perf_counter_ns())])


def _pages(folder: Path) -> dict[str, float]:
    documents, state = SqliteDocuments(folder / "control.db"), SqliteDocuments(folder / "state.db")
    _fill(documents)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as every process does
    service = _service(documents, state, folder)
    started = time.process_time()
    service.shelf(FLOWS_KIND).warm("createdAt")  # as the gateway does at its start
    warming = time.process_time() - started
    list_flows = handlers(service)["listFlows"]

    def page(*query: tuple[str, str]) -> Json:
        return loads(list_flows(_call(query)).content())

    started = time.process_time()
    page(("limit", "100"))
    cold = time.process_time() - started
    walked = list(_walk(page))
    assert len({each["id"] for items, _ in walked for each in items}) == FLOWS
    spent = [cpu for _, cpu in walked]

    def after_a_commit() -> Json:
        _commit(documents)
        return page(("limit", "100"))

    name = ("property", f"name==flow {FLOWS // 2}")
    return {
        f"{FLOWS:,} flows: read at a start, ms": 1e3 * warming,
        f"{FLOWS:,} flows: first page after a start, ms": 1e3 * cold,
        f"{FLOWS:,} flows: a page of 100 in aepp's form, median, ms": 1e3 * median(spent),
        f"{FLOWS:,} flows: a page of 100 in aepp's form, longest, ms": 1e3 * max(spent),
        f"{FLOWS:,} flows: one found by its name, ms": 1e3 * _cpu_s(lambda: page(name)),
        f"{FLOWS:,} flows: a page of 100 by name, ms": 1e3 * _cpu_s(lambda: page(("limit", "100"), ("orderby", "-name"))),
        f"{FLOWS:,} flows: count, ms": 1e3 * _cpu_s(lambda: page(("count", "true"))),
        f"{FLOWS:,} flows: a page of 100 after a commit, ms": 1e3 * _cpu_s(after_a_commit),
    }


def _walk(page: Callable[..., Json]) -> Iterator[tuple[Json, float]]:
    """Yield (items, seconds of CPU) of every page, asked for as aepp does."""
    token = ""
    while True:
        started = time.process_time()
        more = [("continuationToken", token)] if token else []
        answer = page(("limit", "100"), ("count", "False"), _IS_SOURCE, *more)
        yield answer["items"], time.process_time() - started
        href = answer["_links"].get("next", {}).get("href", "")
        if not href:
            return
        token = href.split("=")[1]


def _cpu_s(action: Callable[[], object]) -> float:
    spent = []
    for _ in range(7):
        started = time.process_time()
        action()
        spent.append(time.process_time() - started)
    return median(spent)


def _fill(documents: SqliteDocuments) -> None:
    with documents.transaction() as change:
        for number in range(FLOWS):
            flow = _flow(number)
            change.put("flows", [(f"{_PROD.id}/{flow['id']}", dumps(flow))])


def _flow(number: int) -> dict[str, Any]:
    flow_id, source, target = (f"{number:08x}-{part}-4000-8000-000000000000" for part in ("aaaa", "bbbb", "cccc"))
    etag = f'"{number:08x}-0000-0200-0000-66e9a4300000"'
    return {
        "id": flow_id,
        "createdAt": _NOW_MS + number,
        "updatedAt": _NOW_MS + number,
        "createdBy": "bench@techacct.adobe.com",
        "updatedBy": "bench@techacct.adobe.com",
        "createdClient": "bench",
        "updatedClient": "bench",
        "sandboxId": _PROD.id,
        "sandboxName": "prod",
        "imsOrgId": "A1B2C3D4E5F60718293A4B5C@AdobeOrg",
        "name": f"flow {number}",
        "description": "Capillary to Experience Platform",
        "flowSpec": {"id": "e77fde5a-22a8-11ed-861d-0242ac120002", "version": "1.0"},
        "state": "enabled",
        "version": etag,
        "etag": etag,
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "inheritedAttributes": {
            "properties": {"isSourceFlow": True},
            "sourceConnections": [{"id": source, "connectionSpec": _SOURCE}],
            "targetConnections": [{"id": target, "connectionSpec": _LAKE}],
        },
        "options": {"errorDiagnosticsEnabled": True},
        "transformations": [
            {"name": "Mapping", "params": {"mappingId": "79a623960d3f4969835c9e00dc90c8df", "mappingVersion": "0"}}
        ],
        "runs": f"/runs?property=flowId=={flow_id}",
        "lastOperation": {"started": _NOW_MS, "updated": _NOW_MS, "operation": "create"},
    }


def _service(documents: SqliteDocuments, state: SqliteDocuments, folder: Path) -> FlowService:
    return FlowService(
        documents=documents,
        datasets=Datasets(documents),
        mapping_sets=MappingSets(documents),
        runs=Runs(state),
        vault=Vault.open(folder / "key"),
        can_obtain_token=lambda *_: True,
        open_files=sftp.opened,
        zones=Zones(folder / "dlz"),
    )


def _call(query: Sequence[tuple[str, str]]) -> Call:
    return Call(
        operation=Operation(id="listFlows", service="flow_service", method="GET", path="/"),
        method="GET",
        path="/",
        params={},
        query=query,
        headers={},
        body=b"",
        caller=Caller(org_id="org", client_id="bench", user_id="bench"),
        sandbox=_PROD,
        base_url="http://localhost",
        request_id="bench",
        now_ms=_NOW_MS,
    )


if __name__ == "__main__":
    for label, figure in measure().items():
        print(f"{label}: {figure:,.1f}")
