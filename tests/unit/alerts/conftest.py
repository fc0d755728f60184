import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from alert_world import AlertWorld


@pytest.fixture
def alerts(tmp_path: Path) -> Iterator[AlertWorld]:
    made = AlertWorld(tmp_path)
    yield made
    made.close()
