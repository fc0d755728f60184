"""The embedded platform in this process, with a relay's source records beside it, as `capstream connect` sees them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import httpx
import pytest
from whole_platform import Platform, platform

from capstream.kernel.json import loads

Result = TypeVar("Result")
NOT_CHANGING = ("/acl/effective-policies", "/ims/token/v3")


class Broken(httpx.AsyncBaseTransport):
    """Hands requests on; the one numbered `fail_at` is lost, before or after the server had it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._platform = httpx.ASGITransport(app=world.it.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world = self._world
        number = len(world.requests)
        world.requests.append(f"{request.method} {request.url.path}")
        if number == world.fail_at and not world.lost_answer:
            raise httpx.ConnectError("cut before")
        for path, status in world.refused.items():
            if request.url.path.startswith(path):
                return httpx.Response(status, json={"reason": "as the test wants it"})
        at_relay = request.url.path.startswith("/relay/")
        answer = world.at_relay(request) if at_relay else await self._platform.handle_async_request(request)
        if number == world.fail_at:
            raise httpx.ReadError("cut after")
        return answer


@dataclass
class World:
    """A platform, the relay's source records, and a network that can be cut."""

    it: Platform
    sources: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail_at: int | None = None
    lost_answer: bool = False
    refused: dict[str, int] = field(default_factory=dict)  #: beginnings of paths, and the status they are answered with

    @property
    def account(self) -> dict[str, Any]:
        return asdict(self.it.credentials)

    def run(self, act: Callable[..., Awaitable[Result]], **more: Any) -> Result:
        """Run `act(credentials, http=...)` over this network."""
        self.requests.clear()

        async def main() -> Result:
            async with httpx.AsyncClient(transport=Broken(self)) as http:
                return await act(more.pop("account", self.account), http=http, **more)

        return asyncio.run(main())

    def changing(self) -> list[str]:
        """Return the requests since the last run began that change something."""
        return [each for each in self.requests if not each.startswith("GET ") and not each.endswith(NOT_CHANGING)]

    def at_relay(self, request: httpx.Request) -> httpx.Response:
        key = request.url.path.rpartition("/")[2]
        if request.method == "PUT":
            self.sources[key] = loads(request.content)
        if key not in self.sources:
            return httpx.Response(404, json={"reason": "no such source"})
        if request.method == "DELETE":
            del self.sources[key]
            return httpx.Response(204)
        return httpx.Response(200, json=self.sources[key])

    def inventory(self) -> dict[str, list[str]]:
        """Return the names of everything in the sandbox that a connection makes."""
        flows, catalog = "/data/foundation/flowservice", "/data/foundation/catalog"
        found = {
            kind: [item["name"] for item in self.it.call("GET", f"{flows}/{kind}?limit=100").json()["items"]]
            for kind in ("flows", "sourceConnections", "targetConnections", "connections")
        }
        found["dataSets"] = [each["name"] for each in self.it.call("GET", f"{catalog}/dataSets?limit=100").json().values()]
        sets = self.it.call("GET", "/data/foundation/conversion/mappingSets?limit=100").json()["data"]
        found["mappingSets"] = [each.get("name") for each in sets]
        for kind in ("schemas", "fieldgroups"):
            listed = self.it.call("GET", f"/data/foundation/schemaregistry/tenant/{kind}")
            found[kind] = [each["title"] for each in listed.json()["results"]]
        return {kind: sorted(map(str, names)) for kind, names in found.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One platform for a file; tests use names of their own."""
    with platform(tmp_path_factory.mktemp("connect")) as it:
        yield World(it)
