"""The control plane on real storage in a folder, driven through its ASGI application."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa

from capstream.aep.access_control import api as access_control_api
from capstream.aep.access_control import policies
from capstream.aep.access_control.model import Roles
from capstream.aep.call import Handler
from capstream.aep.catalog import api as catalog_api
from capstream.aep.catalog.batch_form import Batches
from capstream.aep.catalog.batches import BatchRecord, store
from capstream.aep.catalog.model import Datasets
from capstream.aep.dataset_service import api as dataset_service_api
from capstream.aep.dataset_service.model import Labels
from capstream.aep.gateway import Gateway, GatewayOptions
from capstream.aep.ims import accounts
from capstream.aep.ims.api import ims_app
from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.model import Client, Clients, Organisations, Tokens
from capstream.aep.sandbox import api as sandbox_api
from capstream.aep.sandbox.model import Sandboxes
from capstream.aep.sandbox_tooling import api as sandbox_tooling
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.storage.sqlite import SqliteDocuments

ORG = "ABCDEF0123456789ABCDEF01@AdobeOrg"
START_MS = 1_721_300_000_000
PROFILE_SCHEMA = "https://ns.adobe.com/xdm/context/profile"
EVENT_SCHEMA = "https://ns.adobe.com/xdm/context/experienceevent"


@cache
def key_ring() -> KeyRing:
    """Return one key for all tests: making one takes long."""
    return KeyRing(Path(tempfile.mkdtemp()) / "ims.pem")


def signing_key() -> rsa.RSAPrivateKey:
    """Return that key."""
    return key_ring().newest()[1]


class ControlPlane:
    """IMS, gateway, sandboxes, access control and Catalog over one store."""

    def __init__(self, folder: Path, *, options: GatewayOptions | None = None, handlers: Mapping[str, Any] | None = None) -> None:
        self.now_ms = START_MS
        self.documents = SqliteDocuments(folder / "control.db")
        self.organisations = Organisations(self.documents)
        self.organisations.create("Demo Org", "demo", now_ms=self.now_ms, org_id=ORG)
        self.clients = Clients(self.documents)
        self.client, self.secret = self.clients.create(ORG, name="tests", now_ms=self.now_ms)
        self.tokens = Tokens(self.documents, key_ring(), account_exists=self.clients.is_known)
        self.sandboxes = Sandboxes(self.documents)
        self.prod = self.sandboxes.ensure_default(ORG, self.now_ms)
        self.roles = Roles(self.documents)
        self.roles.ensure_system_roles(ORG, self.now_ms)
        self.datasets = Datasets(self.documents)
        self.schemas = SchemaRegistry(self.documents, "demo")
        self.state = SqliteDocuments(folder / "state.db")
        self.erased: list[str] = []
        limits = options.rate_limits if options else {}
        ims = ims_app(self.organisations, self.clients, tokens=self.tokens, clock=self.clock, rate_limits=limits)
        self.gateway = Gateway(
            {**self._services(), **(handlers or {})},
            self.tokens,
            self.clients,
            self.sandboxes,
            self.clock,
            [("/ims", ims)],
            options,
        )

    def clock(self) -> int:
        return self.now_ms

    def close(self) -> None:
        self.documents.close()
        self.state.close()

    def add_batches(self, *batches: BatchRecord) -> None:
        """Store batches as the pipeline does."""
        with self.state.transaction() as change:
            for batch in batches:
                store(change, batch)

    def _services(self) -> dict[str, dict[str, Handler]]:
        return {
            "sandbox": {
                **sandbox_api.handlers(self.sandboxes, erase=lambda record: self.erased.append(record.id)),
                **sandbox_tooling.handlers(self.documents, self.sandboxes, {}, tenant_id="demo"),
            },
            "access_control": {
                **access_control_api.handlers(
                    self.roles,
                    sandbox_exists=lambda org_id, name: self.sandboxes.by_name(org_id, name) is not None,
                    enabled=True,
                ),
                **policies.handlers(self.documents),
            },
            "accounts": accounts.handlers(self.organisations, self.clients, self.tokens),
            "catalog": catalog_api.handlers(
                self.datasets,
                self.schemas,
                documents=self.documents,
                batches=Batches(self.state),
                forget=lambda documents, *which: Labels(documents).remove(*which) and None,
            ),
            "dataset_service": dataset_service_api.handlers(Labels(self.documents), self.datasets),
        }

    def token(self, client: Client | None = None) -> str:
        """Return a fresh access token."""
        from capstream.aep.call import Caller

        one = client or self.client
        caller = Caller(org_id=one.org_id, client_id=one.client_id, user_id=one.user_id, scopes=frozenset({"openid"}))
        return self.tokens.issue(caller, self.now_ms)

    def headers(self, **changed: str | None) -> dict[str, str]:
        """Return the four headers of a good call, with some changed or (None) left out; `_` in a name means `-`."""
        wanted: dict[str, str | None] = {
            "authorization": f"Bearer {self.token()}",
            "x-api-key": self.client.client_id,
            "x-gw-ims-org-id": ORG,
            "x-sandbox-name": "prod",
        } | {name.replace("_", "-"): value for name, value in changed.items()}
        return {name: value for name, value in wanted.items() if value is not None}

    def http(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """Return a client that talks to the gateway in this process."""
        transport = httpx.ASGITransport(app=self.gateway)
        return httpx.AsyncClient(transport=transport, base_url="http://platform.test", headers=dict(headers or {}))

    def call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **body: Any) -> httpx.Response:
        """Return the answer to one request with good headers, or with exactly `headers`."""
        import asyncio

        async def send() -> httpx.Response:
            async with self.http() as client:
                return await client.request(method, path, headers=self.headers() if headers is None else dict(headers), **body)

        return asyncio.run(send())
