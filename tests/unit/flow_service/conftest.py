import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from flow_plane import FlowPlane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FlowPlane]:
    made = FlowPlane(tmp_path)
    yield made
    made.close()
