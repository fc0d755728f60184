"""Which operations answer, and which clients they have answered.

What answers is found by calling each operation of the tables once on a platform in a temporary folder; which clients have had
an answer is read from `operations/verified.json`, which runs of the test suites write.
"""

import asyncio
import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx

from capstream import app, config, platform_side
from capstream.aep import operations
from capstream.aep.call import Operation
from capstream.credentials import Credentials
from capstream.kernel.json import loads
from capstream.layout import Layout
from capstream.serving.port import AsgiApp

_NOT_BUILT = 501
_PARAMETER = re.compile(r"\{[^}]*\}")
_TITLES = {
    "alerts": "Alerts (capstream's own API)",
    "audit_query": "Audit Query",
    "catalog": "Catalog Service",
    "dataset_service": "Dataset Service",
    "io_events": "I/O Events",
    "monitoring": "Monitoring (capstream's own API)",
    "ims": "Identity management (IMS)",
    "profile": "Real-Time Customer Profile",
    "sandbox": "Sandbox",
    "segmentation": "Segmentation Service",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the tables, with what of it answers."""

    name: str  #: folder and table name, e.g. `flow_service`
    built: tuple[Operation, ...]
    missing: tuple[Operation, ...]
    verified: Mapping[str, frozenset[str]]  #: operationIds by the client they have answered with success

    @property
    def title(self) -> str:
        """The name people know it by."""
        return _TITLES.get(self.name) or self.name.replace("_", " ").title()


CLIENTS = {"curl": "curl guide", "aepp": "aepp", "newman": "newman", "contract": "contract suite"}
"""Who has verified operations, by the names of the data, with what people call them."""


def verified() -> dict[str, set[tuple[str, str]]]:
    """Return what each client has verified, as (service, operationId)."""
    found: dict[str, set[tuple[str, str]]] = {client: set() for client in CLIENTS}
    for run in loads((files(operations.__name__) / "verified.json").read_bytes()).values():
        found[run["client"]] |= {tuple(each.split("/", 1)) for each in run["operations"]}
    return found


def services() -> list[Service]:
    """Return every service in the order of its name."""
    with tempfile.TemporaryDirectory() as folder, _silent():
        settings = config.load({}, data=Path(folder))
        credentials = app.prepare(settings)
        side = platform_side.build(settings, Layout(settings.data))
        statuses = asyncio.run(_statuses(side.gateway(side.mounts), credentials))
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in statuses:
        found[operation.service].append(operation)
    clients = verified()
    return [_service(name, rows, statuses, clients) for name, rows in found.items()]


def _service(
    name: str, rows: list[Operation], statuses: dict[Operation, int], clients: Mapping[str, set[tuple[str, str]]]
) -> Service:
    built = tuple(row for row in rows if statuses[row] != _NOT_BUILT)
    missing = tuple(row for row in rows if statuses[row] == _NOT_BUILT)
    by = {client: frozenset(row.id for row in built if (name, row.id) in seen) for client, seen in clients.items()}
    return Service(name, built, missing, by)


async def _statuses(platform: AsgiApp, who: Credentials) -> dict[Operation, int]:
    transport = httpx.ASGITransport(app=platform)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        form = {"grant_type": "client_credentials", "client_id": who.client_id, "client_secret": who.client_secret}
        token = (await client.post("/ims/token/v3", data=form | {"scope": who.scopes})).raise_for_status().json()
        headers = {
            "authorization": f"Bearer {token['access_token']}",
            "x-api-key": who.client_id,
            "x-gw-ims-org-id": who.org_id,
            "x-sandbox-name": who.sandbox,
        }
        return {each: await _status(client, each, headers) for each in operations.load()}


async def _status(client: httpx.AsyncClient, operation: Operation, headers: dict[str, str]) -> int:
    path = _PARAMETER.sub("x", operation.path)
    body = b"" if operation.method in ("GET", "HEAD", "DELETE") else b"{}"
    more = {"content-type": "application/json"} if body else {}
    return (await client.request(operation.method, path, headers=headers | more, content=body)).status_code


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the refusals that are asked for out of the log."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
