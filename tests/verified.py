"""Which operations a file of tests has answered well to a client: compared with, or recorded in, the committed data.

`capstream coverage` and the README's table read the data. `make record` runs the files and records anew.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from running import Server

ROOT = Path(__file__).parents[1]
FILE = ROOT / "capstream" / "aep" / "operations" / "verified.json"


def is_whole(request: pytest.FixtureRequest) -> bool:
    """Return whether every test of the file runs here: neither picked by name, cut short by a failure, nor shared by processes.

    A parallel run keeps such a file on one process (tests/conftest.py) when it distributes by group, as `make test` does.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and not request.config.getoption("loadgroup"):
        return False
    options = request.config.option
    picked = options.keyword or any("::" in argument for argument in request.config.args)
    return not picked and not request.session.testsfailed


def answered(server: Server) -> set[str]:
    """Return `service/operationId` of everything a server answered with success."""
    with server.client() as client:
        answers = client.platform("GET", "/capstream/status")["answers"]
    return {f"{each['service']}/{each['operation']}" for each in answers if each["status"] < 300}


def verify(request: pytest.FixtureRequest, client: str, operations: Iterable[str]) -> None:
    """Record what the file of a test verified, or fail when the committed data says something else."""
    if not is_whole(request):
        return
    name = request.path.relative_to(ROOT).as_posix()
    data: dict[str, Any] = json.loads(FILE.read_text())
    found = {"client": client, "operations": sorted(operations)}
    if os.environ.get("CAPSTREAM_RECORD"):
        data[name] = found
        FILE.write_text(json.dumps(dict(sorted(data.items())), indent=1) + "\n")
    assert data.get(name) == found, f"{FILE.name} is not what {name} has verified: run `make record`"
