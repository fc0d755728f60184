"""Keeps the processes of one data folder running: starts them, restarts those that die, stops them together.

Each child holds the read end of a pipe as its standard input; when the supervisor is gone, however it went, the pipe
closes and the child stops. So nothing is ever left running.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from capstream.kernel import log
from capstream.kernel.errors import InputError
from capstream.service_manager import Reports

_STOP_S = 20.0
_RELOAD_S = 10.0
_TICK_S = 0.05
_RESTART_MAX_S = 5.0


@dataclass(slots=True)
class _Child:
    role: str
    process: subprocess.Popen[bytes]
    started: float
    failures: int = 0
    due: float = field(default=0.0)  #: when to start it again; 0 while it runs


class Supervisor:
    """The processes of one data folder, as a context manager: entered they run, left they are gone.

    `environment` is added to each child's. Errors: InputError when another server already runs on `data`.
    """

    def __init__(self, roles: Sequence[str], data: Path, environment: Mapping[str, str]) -> None:
        self._roles = roles
        self._environment = {**environment, "CAPSTREAM_DATA": str(data)}
        self._lock = locked(data)
        self._run = data / "run"
        self._note = self._run / "supervisor.pid"
        self._children: list[_Child] = []
        self._reload_until = 0.0
        self._before: list[tuple[int, int]] = []  #: the notes of the children when they were asked to read their settings

    def __enter__(self) -> "Supervisor":
        self._lock.__enter__()
        self._note.write_text(f"{os.getpid()}\n")
        self._children = [_start(role, self._environment) for role in self._roles]
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self._children)
        self._note.unlink(missing_ok=True)
        self._lock.__exit__()

    def tick(self) -> None:
        """Start again what has died and is due; call it every few milliseconds."""
        _restart_dead(self._children, self._environment)

    def reload(self) -> None:
        """Let every process read its settings again."""
        self._reload_until = time.monotonic() + _RELOAD_S
        self._before = self._notes()
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGHUP)

    def has_reloaded(self) -> bool:
        """Return whether every process has done so, or has had 10 s for it: one that was down reads them when it starts."""
        pairs = zip(self._before, self._notes(), strict=True)
        return time.monotonic() > self._reload_until or all(before != after for before, after in pairs)

    def _notes(self) -> list[tuple[int, int]]:
        return [_identity(self._run / f"{role}.pid") for role in self._roles]

    def pid(self, role: str) -> int:
        """Return the process id of a role."""
        return next(child.process.pid for child in self._children if child.role == role)


def supervise(roles: Sequence[str], data: Path, environment: Mapping[str, str], reports: Reports) -> None:
    """Run `roles` until SIGINT or SIGTERM; SIGHUP lets them read their settings again."""
    received = _on_signal()
    with Supervisor(roles, data, environment) as running, reports:
        while not {signal.SIGINT, signal.SIGTERM}.intersection(received):
            if signal.SIGHUP in received:
                if _lost_terminal():
                    break
                received.remove(signal.SIGHUP)
                reports.reloading()
                running.reload()
            running.tick()
            reports.tick()
            if reports.is_reloading and running.has_reloaded():
                reports.reloaded()
            time.sleep(_TICK_S)


def reload(data: Path) -> None:
    """Let the server of a data folder read its settings again. Errors: InputError when none runs."""
    file = data / "run" / "supervisor.pid"
    try:
        os.kill(int(file.read_text()), signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise InputError(str(data), "no server runs on this folder", "start it, or give its --data") from error


def runs(data: Path) -> bool:
    """Return whether a server runs on a data folder."""
    try:
        os.kill(int((data / "run" / "supervisor.pid").read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _lost_terminal() -> bool:
    """Return whether the hang-up came from a terminal that was closed: nobody could stop the server any more."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) <= 0
    except OSError:
        return True


class locked:  # noqa: N801 - reads as a keyword where it is used
    """Keeps a data folder to one: a server, or a command that needs it stopped. Errors: InputError while another has it."""

    def __init__(self, data: Path) -> None:
        self._path = data / "run" / "lock"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            cure = "stop it, or choose another --data"
            raise InputError(str(self._path.parent.parent), "a server already runs on this folder", cure) from error

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _on_signal() -> list[int]:
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, note)
    return received


def _identity(file: Path) -> tuple[int, int]:
    """Return what differs between a file and the one that took its place."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)


def _start(role: str, environment: Mapping[str, str]) -> _Child:
    command = [sys.executable, "-m", "capstream.process", role]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **environment})  # noqa: S603 - our own module
    log.info(f"{role} started", action="process_started", role=role, pid=process.pid)
    return _Child(role, process, time.monotonic())


def _restart_dead(children: list[_Child], environment: Mapping[str, str]) -> None:
    now = time.monotonic()
    for index, child in enumerate(children):
        if child.due and now >= child.due:
            fresh = _start(child.role, environment)
            fresh.failures = child.failures
            children[index] = fresh
        elif not child.due and child.process.poll() is not None:
            child.failures = 0 if now - child.started > 60 else child.failures + 1
            child.due = now + min(_RESTART_MAX_S, 0.1 * 2**child.failures)
            code = child.process.returncode
            log.warning(f"{child.role} ended, starting it again", action="process_died", role=child.role, code=code)


def _stop(children: Sequence[_Child]) -> None:
    running = [child for child in children if child.process.poll() is None]
    for child in running:
        child.process.terminate()
    until = time.monotonic() + _STOP_S
    for child in running:
        try:
            child.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error(f"{child.role} did not stop, killing it", action="process_killed", role=child.role)
            child.process.kill()
            child.process.wait()
