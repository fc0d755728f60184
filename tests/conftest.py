"""What holds for every test: a slow machine is no failure, and compiled modules are those of the source beside them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("capstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("capstream")

_PACKAGE = Path(__file__).parents[1] / "capstream"


_TOGETHER = ("tests/parity/", "tests/contract/test_services_openapi.py", "tests/story/test_story_tutorial.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a file whose tests share a server, or add up what they verified, on one core (`--dist loadgroup`).

    The mark `xdist_group` cannot do it: pytest-xdist 3.8 writes the group into `Item._nodeid`, which pytest 9.2 no longer reads.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class TogetherOrAlone(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.startswith(_TOGETHER) else nodeid

    return TogetherOrAlone(config, log)


def pytest_configure() -> None:
    """Refuse to test anything but the source as it stands."""
    for compiled in _PACKAGE.rglob("*.so"):
        source = compiled.with_name(f"{compiled.name.partition('.')[0]}.py")
        if not source.exists() or source.stat().st_mtime > compiled.stat().st_mtime:
            pytest.exit(f"{compiled.name} is older than its source: run `make setup`", returncode=4)
