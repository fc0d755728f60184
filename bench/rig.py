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

from bench.memory import peak_mb
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
        self._environment = app.child_environment(settings)
        started = time.perf_counter()
        app.prepare(settings)
        self._supervise()
        self.url = settings.base_url
        while not self._is_ready():
            time.sleep(0.01)
        self.seconds_to_ready = time.perf_counter() - started
        self.credentials = credentials.read(self.data / "credentials.json")
        self._wait_for_all()
        return self

    def _supervise(self) -> None:
        self._supervisor = Supervisor(self.roles, self.data, self._environment)
        self._supervisor.__enter__()

    def _wait_for_all(self) -> None:
        while not all((self.data / "run" / f"{role}.pid").exists() for role in self.roles):  # some come later
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the processes; the folder stays."""
        self._supervisor.__exit__()

    def start(self, roles: list[str]) -> None:
        """Start others in the same folder, after `stop`."""
        self.roles = roles
        self._supervise()
        self._wait_for_all()

    def tick(self) -> None:
        """Start again what has died."""
        self._supervisor.tick()

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

    def register(self, stub: "Stub") -> None:
        """Make the source `bench`, which delivers to the stub."""
        with self.client() as client:
            client.relay("PUT", "/relay/sources/bench", body=stub.source())

    def peak_mb(self) -> dict[str, float]:
        """Return each process's peak resident memory."""
        return {role: peak_mb(self._supervisor.pid(role)) for role in self.roles}

    def command(self, *arguments: str) -> Any:
        """Run a capstream command against this server and return its JSON."""
        line = [sys.executable, "-m", "capstream.cli.main", *arguments, "--credentials", str(self.data / "credentials.json")]
        return loads(subprocess.run(line, check=True, capture_output=True).stdout)


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
    """Yield `pointsIssued` webhooks, each new, members in turn, balances rising.

    Shape: 1.2 KB: the documented event with three tiers, without promotions and without what it repeats or leaves blank.
    What changes from one to the next is put between pieces made once: the generator shares the machine with what is measured.
    """
    example = loads((EXAMPLES / "pointsIssued.json").read_bytes())
    example.pop("traceAttributes", None)
    example |= {"eventId": "@EVENT@", "createdAt": "@AT@", "eventLogId": 1}
    data = example["data"]
    data["customerIdentifiers"] = {"customerId": "@MEMBER@", "instore": {"email": "member-@M@@example.com"}}
    data |= {"programCurrentPoints": "@POINTS@", "programLifetimePoints": "@POINTS@", "totalPointsIssued": 148.0}
    data |= {"promotionalPointsIssued": [], "promisedPointsIssued": []}
    data["entityInformation"] = {"entityType": "USER", "entityId": "@MEMBER@"}
    data["loyaltyProgramDetails"]["tiers"] = data["loyaltyProgramDetails"]["tiers"][:3]
    _shorten(data["triggeringActivity"])
    run = os.urandom(6).hex().encode()
    base = int(time.time() * 1000) - 3_600_000
    text = dumps(example).replace(b"@EVENT@", run + b"-@EVENT@").replace(b"@M@", b"@MEMBER@")
    for name in (b'"@MEMBER@"', b'"@POINTS@"', b'"@AT@"'):
        text = text.replace(name, name.strip(b'"'))
    head, rest = text.split(b"@EVENT@")
    middle, rest = rest.split(b"@AT@")
    before, balance, after = rest.split(b"@POINTS@")
    known = [before.replace(b"@MEMBER@", b"%09d" % (900_000_001 + index)) for index in range(members)]
    for turn in range(100_000_000 // members):
        first, points = turn * members, b"%d" % (100 + turn)
        tail = points + balance + points + after
        for index, member in enumerate(known, first):
            yield b"".join((head, b"%012d" % index, middle, b"%d" % (base + index // 10), member, tail))


def _shorten(activity: dict[str, Any]) -> None:
    """Leave out of a trigger what the example repeats or leaves blank."""
    activity.pop("entityInformation", None)
    activity.pop("additionalAttributes", None)
    store = activity["enteredBy"]["store"]
    activity["enteredBy"]["store"] = {name: value for name, value in store.items() if value}
