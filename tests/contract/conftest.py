"""Contract tests compare answers with Adobe's published specifications, which this repository does not contain."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import specifications

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]


@cache
def _load(path: Path) -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


@pytest.fixture(scope="session")
def specification() -> Callable[[str], dict[str, Any]]:
    """Return a function from a specification's file name to its contents; skips the test when the file is not there."""

    def load(name: str) -> dict[str, Any]:
        path = specifications.FOLDER / name
        if not path.exists():
            pytest.skip(specifications.ABSENT)
        return _load(path)

    return load
