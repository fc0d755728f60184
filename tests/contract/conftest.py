"""Contract tests compare answers with Adobe's published specifications, which this repository does not contain."""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

_SHARED = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[2].parent / "shared"))


@cache
def _load(path: Path) -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


@pytest.fixture(scope="session")
def specification() -> Callable[[str], dict[str, Any]]:
    """Return a function from a specification's file name to its contents; skips the test when the file is not there."""

    def load(name: str) -> dict[str, Any]:
        path = _SHARED / "openapi" / name
        if not path.exists():
            pytest.skip(f"{path} is not there: set CAPSTREAM_SHARED to the folder that holds openapi/")
        return _load(path)

    return load
