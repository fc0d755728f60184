"""Tells systemd how the server is: ready, reloading, stopping, alive. Source: sd_notify(3), systemd.service(5).

Each message is one datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Started by hand, there is none, and
nothing is told. The server counts as ready when its own /health says so, and as alive as long as its port is answered.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from capstream.kernel import log
from capstream.probe import Health

_EXTENDS_S = 60
_EXTEND_EVERY_S = 20.0
_ASK_EVERY_S = 5.0
_ASK_SOON_S = 0.2
_SEND_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """Where the service manager listens; `address` as in NOTIFY_SOCKET (a path, or @name of an abstract socket), empty: none."""

    address: str = ""
    watchdog_s: float = 0.0  #: it kills the service when it hears nothing for so long; 0: it does not

    def tell(self, *lines: str) -> None:
        """Send one message. A service manager that cannot be reached is a warning: the server goes on."""
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_S)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning(f"the service manager cannot be told: {error}", action="notify_failed")

    @contextlib.contextmanager
    def extending(self, status: str) -> Iterator[None]:
        """Ask for more time to start, again and again: an upgrade of a large data folder must not be killed half-way."""
        ended = threading.Event()

        def extend() -> None:
            while True:
                self.tell(f"EXTEND_TIMEOUT_USEC={_EXTENDS_S * 1_000_000}", f"STATUS={status}")
                if ended.wait(_EXTEND_EVERY_S):
                    return

        thread = threading.Thread(target=extend, daemon=True)
        if self.address:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if self.address:
                thread.join()


class Reports:
    """What the service manager hears of a running server, as a context manager; `tick` is called every few milliseconds.

    The server is asked in a thread of its own, for a slow answer must not keep the supervisor from its processes. Messages are
    sent by `tick`: a supervisor that hangs is not alive either.
    """

    def __init__(self, manager: ServiceManager, ask: Callable[[], Health]) -> None:
        self._manager = manager
        self._ask = ask
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, daemon=True)
        self._answer: Health | None = None  #: of the thread, until `tick` has told it
        self._status = ""
        self._is_ready = False
        self.is_reloading = False

    def __enter__(self) -> "Reports":
        if self._manager.address:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._manager.tell("STOPPING=1", "STATUS=stopping")

    def tick(self) -> None:
        """Tell what is new since the last time."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        lines = ["READY=1"] if answer.is_ready and not self._is_ready else []
        self._is_ready |= answer.is_ready
        if answer.has_answered and self._manager.watchdog_s:
            lines.append("WATCHDOG=1")
        status = "ready" if answer.is_ready else f"not ready: {' '.join(answer.text.split())}"
        if status != self._status:
            lines.append(f"STATUS={status}")
            self._status = status
        if lines:
            self._manager.tell(*lines)

    def reloading(self) -> None:
        """Tell that the settings are being read again; before the server is ready there is nothing to tell."""
        if self._is_ready:
            self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self.is_reloading = True

    def reloaded(self) -> None:
        """Tell that they have been read."""
        self._manager.tell("READY=1")
        self.is_reloading = False

    def _keep_asking(self) -> None:
        calm = min(_ASK_EVERY_S, self._manager.watchdog_s / 4) if self._manager.watchdog_s else _ASK_EVERY_S
        while not self._ended.wait(calm if self._is_ready else _ASK_SOON_S):
            self._answer = self._ask()
