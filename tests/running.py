"""Real processes in a temporary folder: start, connect, send, crash, wait, compare."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from capstream import credentials
from capstream.cli.client import PlatformClient
from capstream.cli.rehearsal import waiting


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], Any], *, seconds: float = 60, what: str = "it") -> Any:
    """Return the first true value of `holds`; fail when none comes in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := holds():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come about within {seconds} s")


@dataclass
class Server:
    """A `capstream up` of its own."""

    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    def start(self) -> "Server":
        self.launch()
        eventually(self.is_ready, what="the server")
        return self

    def launch(self) -> "Server":
        """Start it without waiting until it is ready."""
        command = [sys.executable, "-m", "capstream.cli.main", "up", "--data", str(self.data), "--port", str(self.port)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("CAPSTREAM_")}
        self._log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen(
            command, env=clean | self.environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        return self

    def is_ready(self) -> bool:
        assert self.process.poll() is None, (self.data.parent / f"{self.data.name}.log").read_text()[-3000:]
        try:
            return httpx.get(f"http://localhost:{self.port}/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self._log.close()

    def pid(self, role: str) -> int:
        return int((self.data / "run" / f"{role}.pid").read_text())

    def kill(self, role: str) -> None:
        """SIGKILL one process and wait until the supervisor has put another in its place."""
        old = self.pid(role)
        os.kill(old, signal.SIGKILL)
        eventually(lambda: self.pid(role) != old, what=f"a new {role}")

    def run(self, *arguments: str) -> Any:
        """Run a command against this server and return its JSON."""
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this server, whatever comes of it."""
        command = [sys.executable, "-m", "capstream.cli.main", *arguments, "--credentials", str(self.data / "credentials.json")]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def client(self) -> PlatformClient:
        return PlatformClient(credentials.read(self.data / "credentials.json"))

    def drained(self, *, seconds: float = 90) -> dict[str, Any]:
        """Wait until the relay and the pipeline have nothing left to do; return the relay's status."""
        with self.client() as client:

            def quiet() -> Any:
                try:
                    relay, platform = client.relay("GET", "/relay/status"), client.platform("GET", "/capstream/status")
                except Exception:  # noqa: BLE001 - a process that was just killed may be away
                    return None
                return relay if waiting(relay) + platform["pending"] == 0 else None

            return eventually(quiet, seconds=seconds, what="silence")  # type: ignore[no-any-return]
