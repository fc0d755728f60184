"""Servers of their own for the stories."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server, stopped at the end."""
    running = Server(tmp_path / "data").start()
    yield running
    running.stop()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with an environment of their own; all are stopped at the end."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        started.append(Server(tmp_path / f"data{len(started)}", environment).start())
        return started[-1]

    yield start
    for each in started:
        each.stop()
