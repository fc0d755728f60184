"""What holds for every test: a slow machine is no failure, and compiled modules are those of the source beside them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("capstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("capstream")

_PACKAGE = Path(__file__).parents[1] / "capstream"


_TOGETHER = ("tests/parity/", "tests/contract/test_services_openapi.py")


@pytest.hookimpl(tryfirst=True)  # before the runner reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file whose tests share a server, or add up what they verified, on one core."""
    for item in items:
        place = item.path.relative_to(_PACKAGE.parent).as_posix() if item.path.is_relative_to(_PACKAGE.parent) else ""
        if place.startswith(_TOGETHER):
            item.add_marker(pytest.mark.xdist_group(place))


def pytest_configure() -> None:
    """Refuse to test anything but the source as it stands."""
    for compiled in _PACKAGE.rglob("*.so"):
        source = compiled.with_name(f"{compiled.name.partition('.')[0]}.py")
        if not source.exists() or source.stat().st_mtime > compiled.stat().st_mtime:
            pytest.exit(f"{compiled.name} is older than its source: run `make setup`", returncode=4)
