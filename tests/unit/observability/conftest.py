"""Fixtures of these tests: a platform behind its inlet log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
