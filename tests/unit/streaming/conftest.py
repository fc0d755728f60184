import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from collection_plane import CollectionPlane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[CollectionPlane]:
    made = CollectionPlane(tmp_path)
    yield made
    made.close()
