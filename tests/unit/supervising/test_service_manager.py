"""What systemd hears: a real datagram socket in its place, a real server."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from capstream import config
from capstream.probe import Health
from capstream.service_manager import Reports, ServiceManager
from tests.running import Server

READY, STARTING, SILENT = Health(200, '{"status":"ready"}'), Health(503, '{"missing":\n["courier"]}'), Health(0, "refused")


class Listener:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def next(self, seconds: float = 60) -> dict[str, str]:
        """Return the next message."""
        self._socket.settimeout(seconds)
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))

    def until(self, name: str) -> list[dict[str, str]]:
        """Return the messages up to the first that has `name`."""
        heard = [self.next()]
        while name not in heard[-1]:
            heard.append(self.next())
        return heard

    def waiting(self) -> list[dict[str, str]]:
        """Return what was sent and not read yet."""
        found = []
        while True:
            try:
                found.append(self.next(0.001))
            except TimeoutError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify") if request.param == "path" else f"@capstream-test-{os.getpid()}")
    yield made
    made.close()


def reports(manager: ServiceManager, *answers: Health) -> tuple[Reports, Callable[[], None]]:
    """Return reports, and a step that lets the thread ask once more and tells the answer."""
    coming = list(answers)
    made = Reports(manager, lambda: coming.pop(0) if coming else answers[-1])

    def step() -> None:
        made._answer = made._ask()
        made.tick()

    return made, step


def test_a_message_reaches_a_socket_with_a_path_and_an_abstract_one(listener: Listener) -> None:
    ServiceManager(address=listener.address).tell("READY=1", "STATUS=ready")
    assert listener.waiting() == [{"READY": "1", "STATUS": "ready"}]


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@capstream-nobody-listens"])
def test_a_server_goes_on_without_a_service_manager(address: str) -> None:
    manager = ServiceManager(address=address)
    manager.tell("READY=1")
    with manager.extending("preparing"), Reports(manager, lambda: READY) as made:
        made.tick()


def test_readiness_is_told_once_the_status_when_it_changes_and_life_with_every_answer(listener: Listener) -> None:
    manager = ServiceManager(address=listener.address, watchdog_s=60)
    _, step = reports(manager, SILENT, STARTING, READY, READY, SILENT, STARTING)
    for _ in range(6):
        step()
    assert listener.waiting() == [
        {"STATUS": "not ready: refused"},
        {"WATCHDOG": "1", "STATUS": 'not ready: {"missing": ["courier"]}'},
        {"READY": "1", "WATCHDOG": "1", "STATUS": "ready"},
        {"WATCHDOG": "1"},
        {"STATUS": "not ready: refused"},
        {"WATCHDOG": "1", "STATUS": 'not ready: {"missing": ["courier"]}'},
    ]


def test_without_a_watchdog_nothing_is_told_while_nothing_changes(listener: Listener) -> None:
    _, step = reports(ServiceManager(address=listener.address), READY)
    for _ in range(3):
        step()
    assert listener.waiting() == [{"READY": "1", "STATUS": "ready"}]


def test_a_reload_before_the_server_is_ready_is_not_told(listener: Listener) -> None:
    made, step = reports(ServiceManager(address=listener.address), STARTING)
    step()
    made.reloading()
    assert not made.is_reloading
    assert [message for message in listener.waiting() if "RELOADING" in message] == []


def test_more_time_is_asked_for_while_the_data_folder_is_prepared(listener: Listener) -> None:
    with ServiceManager(address=listener.address).extending("upgrading"):
        assert listener.next() == {"EXTEND_TIMEOUT_USEC": "60000000", "STATUS": "upgrading"}


def test_the_variables_are_for_this_process_alone() -> None:
    mine = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert config.service_manager(mine) == ("/run/notify", 90.0)
    assert mine == {"HOME": "/"}
    assert config.service_manager({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}) == ("", 0.0)
    assert config.service_manager({"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "90000000"}) == ("@a", 90.0)
    assert config.service_manager({}) == ("", 0.0)


def test_a_server_tells_when_it_is_ready_reloads_and_stops(listener: Listener, tmp_path: Path) -> None:
    told = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "2000000"}
    server = Server(tmp_path / "data", environment=told).launch()
    try:
        first, *_, ready = listener.until("READY")
        assert first == {"EXTEND_TIMEOUT_USEC": "60000000", "STATUS": "preparing the data folder"}
        assert httpx.get(f"http://localhost:{server.port}/health").status_code == 200
        assert ready["WATCHDOG"] == "1"
        assert listener.until("WATCHDOG")[-1] == {"WATCHDOG": "1"}
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{server.pid('courier')}/environ").read_bytes()
        before = time.monotonic_ns() // 1000
        server.process.send_signal(signal.SIGHUP)
        assert before <= int(listener.until("RELOADING")[-1]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert listener.until("READY")[-1] == {"READY": "1"}
        server.process.send_signal(signal.SIGTERM)
        assert listener.until("STOPPING")[-1] == {"STOPPING": "1", "STATUS": "stopping"}
    finally:
        server.stop()


def test_a_reload_has_ended_when_every_process_has_read_its_settings(listener: Listener, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", environment={"NOTIFY_SOCKET": listener.address}).launch()
    try:
        listener.until("READY")
        os.kill(server.pid("clerk"), signal.SIGSTOP)
        server.process.send_signal(signal.SIGHUP)
        listener.until("RELOADING")
        with pytest.raises(TimeoutError):
            listener.next(1)
        os.kill(server.pid("clerk"), signal.SIGCONT)
        assert listener.until("READY")[-1] == {"READY": "1"}
    finally:
        os.kill(server.pid("clerk"), signal.SIGCONT)
        server.stop()
