"""Requests that the official specifications allow, at random, to every operation of the control plane's data services.

None is answered with a failure, and none with a status that neither its specification nor the list of deviations knows. Ids in
paths are mostly those of things that exist, or a random request would hardly get past "not found".
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from specifications import ABSENT, FOLDER

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from deviations import UNLISTED
from whole_platform import Platform, platform

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is one of the development requirements")

EXAMPLES = 6  # of each operation: more find little more and cost CI minutes
BASES = {
    "flow-service.yaml": "/data/foundation/flowservice",
    "catalog.yaml": "/data/foundation/catalog",
    "sandbox.yaml": "/data/foundation",
    "access-control.yaml": "/data/foundation/access-control",
    "dataset-service.yaml": "/data/foundation/dataset",
    "data-access.yaml": "/data/foundation/export",
    "observability-insights.yaml": "/data/infrastructure/observability/insights",
    "data-prep.yaml": "/data/foundation/conversion",
}
OURS = {"authorization", "x-api-key", "x-gw-ims-org-id", "x-sandbox-name", "x-sandbox-id", "x-user-token", "content-length"}
"""Headers of a good call, which no random ones replace."""


def operations(file: str) -> list[Any]:
    """Return the operations of a specification; two of Sandbox are written so that nobody can read them."""
    if not (FOLDER / file).exists():
        return []
    return [each.ok() for each in schemathesis.openapi.from_path(FOLDER / file).get_all_operations() if hasattr(each, "ok")]


ALL = [(file, operation) for file in BASES for operation in operations(file)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, list[str]]]:
    """A platform with a dataflow in it, and the ids of its parts."""
    with platform(tmp_path_factory.mktemp("platform")) as it:
        yield it, sorted(it.flow_to_a_dataset().values())


def sent(it: Platform, case: Any, base: str) -> Any:
    request = case.as_transport_kwargs(base_url=f"http://localhost{base}")
    headers = {name.lower(): str(value) for name, value in request["headers"].items()}
    kept = {name: value for name, value in headers.items() if name not in OURS and value.isascii() and value.isprintable()}
    more = {name: request[name] for name in ("json", "data", "params") if request.get(name) is not None}
    if isinstance(more.get("data"), (bytes, str)):
        more["content"] = more.pop("data")
    return it.call(case.method, request["url"], headers=kept, **more)


@pytest.mark.skipif(not ALL, reason=ABSENT)
@pytest.mark.parametrize(("file", "operation"), ALL, ids=[f"{file} {operation.label}" for file, operation in ALL])
def test_no_allowed_request_fails(world: tuple[Platform, list[str]], file: str, operation: Any) -> None:
    it, ids = world
    documented = {int(code) for code in operation.definition.raw["responses"] if str(code).isdigit()} | UNLISTED[file].keys()

    @settings(max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), chosen=st.integers(0, 2**16))
    def send(case: Any, chosen: int) -> None:
        if chosen % 4:
            case.path_parameters = {name: ids[chosen % len(ids)] for name in case.path_parameters or {}}
        answer = sent(it, case, BASES[file])
        assert answer.status_code in documented | {501}, (answer.status_code, answer.text[:300])

    send()
