"""What the measurements run on: the real processes in a temporary folder, and bodies to send."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from capstream import app, config, credentials
from capstream.cli.client import PlatformClient
from capstream.kernel.json import dumps, loads
from capstream.supervisor import Supervisor

EXAMPLES = Path(__file__).parents[1] / "cases" / "capillary-events"
MEMBERS = 5000


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Rig:
    """Some roles of a server, started fresh and removed afterwards."""

    roles: list[str]
    port: int = field(default_factory=free_port)
    seconds_to_ready: float = 0.0

    def __enter__(self) -> "Rig":
        self.data = Path(tempfile.mkdtemp(prefix="capstream-bench-"))
        settings = config.load({}, data=self.data, overrides={"server": {"port": self.port, "log_level": "warning"}})
        started = time.perf_counter()
        app.prepare(settings)
        self._supervisor = Supervisor(self.roles, settings.data, app.child_environment(settings))
        self._supervisor.__enter__()
        self.url = settings.base_url
        while not self._is_ready():
            time.sleep(0.01)
        self.seconds_to_ready = time.perf_counter() - started
        self.credentials = credentials.read(self.data / "credentials.json")
        return self

    def _is_ready(self) -> bool:
        self._supervisor.tick()
        try:
            missing = httpx.get(f"{self.url}/health").json().get("missing", [])
            return not set(missing) & set(self.roles)  # a measurement may do without some roles
        except httpx.TransportError:
            return False

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._supervisor.__exit__()
        shutil.rmtree(self.data)

    def client(self) -> PlatformClient:
        """Return a client with the server's own credentials."""
        return PlatformClient(self.credentials)

    def peak_mb(self) -> dict[str, float]:
        """Return each process's peak resident memory."""
        return {role: _peak_mb(self._supervisor.pid(role)) for role in self.roles}

    def command(self, *arguments: str) -> Any:
        """Run a capstream command against this server and return its JSON."""
        line = [sys.executable, "-m", "capstream.cli.main", *arguments, "--credentials", str(self.data / "credentials.json")]
        return loads(subprocess.run(line, check=True, capture_output=True).stdout)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@dataclass
class Stub:
    """The stub inlet in a process of its own."""

    port: int = field(default_factory=free_port)

    def __enter__(self) -> "Stub":
        self._process = subprocess.Popen([sys.executable, "-m", "bench.stub", str(self.port)], cwd=Path(__file__).parents[1])
        self.url = f"http://127.0.0.1:{self.port}"
        while True:
            try:
                httpx.get(self.url)
                return self
            except httpx.TransportError:
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def source(self) -> dict[str, Any]:
        """Return a relay source that delivers here."""
        return {
            "orgId": "0A7D42FC5DB9D3360A495FD3@AdobeOrg",
            "auth": {"form": "bearer", "secrets": ["bench"]},
            "inletUrl": f"{self.url}/collection/{'0' * 64}",
            "profileFlowId": "11111111-1111-4111-8111-111111111111",
            "eventFlowId": "22222222-2222-4222-8222-222222222222",
            "ims": {"url": self.url, "clientId": "bench", "clientSecret": "bench"},
        }


def webhooks(members: int = MEMBERS) -> Iterator[bytes]:
    """Yield `pointsIssued` webhooks of about 1 KB, each new, members in turn, balances rising."""
    example = loads((EXAMPLES / "pointsIssued.json").read_bytes())
    example.pop("traceAttributes", None)
    example |= {"eventId": "@EVENT@", "createdAt": 1_700_000_000_000, "eventLogId": 1}
    example["data"]["customerIdentifiers"] = {"customerId": 900_000_000, "instore": {"email": "member-@M@@example.com"}}
    example["data"] |= {"programCurrentPoints": 77_777_777, "programLifetimePoints": 77_777_777}
    text = dumps(example)
    run = os.urandom(6).hex().encode()
    base = int(time.time() * 1000) - 3_600_000
    for index in range(100_000_000):
        member = b"%09d" % (900_000_001 + index % members)
        body = text.replace(b"@EVENT@", run + b"-%012d" % index).replace(b"900000000", member).replace(b"@M@", member)
        yield body.replace(b"1700000000000", b"%d" % (base + index // 10)).replace(b"77777777", b"%d" % (100 + index // members))
