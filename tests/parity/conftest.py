"""One running server for all clients of a file, and an unmodified `aepp` pointed at it."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from running import Server
from verified import answered, verify

from capstream import credentials

aepp = pytest.importorskip("aepp", reason="aepp is not installed: it is one of the development requirements")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, stopped when the file is done; what it answered is compared with what the coverage table says."""
    running = Server(tmp_path_factory.mktemp("parity") / "data").start()
    yield running
    seen = answered(running)
    running.stop()
    verify(request, getattr(request.module, "CLIENT", "aepp"), seen)


@pytest.fixture(scope="module")
def client(server: Server) -> ModuleType:
    """The aepp package, its hosts set to the server: three addresses, nothing else is changed. Source: ims.md 8, way B."""
    from aepp import config

    account = credentials.read(Path(server.data) / "credentials.json")
    aepp.configure(
        org_id=account.org_id,
        secret=account.client_secret,
        client_id=account.client_id,
        scopes=account.scopes,
        sandbox=account.sandbox,
        environment="prod",
    )
    config.endpoints["global"] = account.platform_url
    config.endpoints["streaming"]["collection"] = account.platform_url
    config.config_object["oauthTokenEndpointV2"] = f"{account.ims_url}/ims/token/v3"
    return aepp
