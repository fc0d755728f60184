"""Every operation of the control plane's data services, on good and bad paths, against the official specifications.

Statuses and shapes that a specification does not know are listed in `deviations.py` with the reason; any other fails.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

import httpx
import pytest
from administration_calls import access_control, sandboxes
from catalog_calls import catalog, data_access, dataset_service, observability
from data_prep_calls import data_prep
from deviations import DEVIATIONS, ENVELOPES, NEVER_BAD, NEVER_GOOD, UNLISTED
from flow_service_calls import flow_service
from verified import verify
from whole_platform import Platform, Spec, operations_of, platform, violations

Specification = Callable[[str], Spec]
Script = Callable[[Platform], None]
Answers = Callable[[Script], list[tuple[str, httpx.Response]]]

SERVICES: list[tuple[str, Script]] = [
    ("data-prep.yaml", data_prep),
    ("sandbox.yaml", sandboxes),
    ("access-control.yaml", access_control),
    ("flow-service.yaml", flow_service),
    ("catalog.yaml", catalog),
    ("dataset-service.yaml", dataset_service),
    ("data-access.yaml", data_access),
    ("observability-insights.yaml", observability),
]


@pytest.fixture(scope="module")
def conforming(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """Operations whose good answers were found to be as specified; compared with what the coverage table says.

    Only where all files were judged here: not where a specification is absent, or another process judged some of them.
    """
    found: set[str] = set()
    yield found
    if {operation.partition("/")[0] for operation in found} == {_service(file) for file, _ in SERVICES}:
        verify(request, "contract", found)


def _service(file: str) -> str:
    return file.removesuffix(".yaml").replace("-", "_")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return a function from a script to what a platform of its own has answered it; each is run once."""

    @cache
    def run(script: Script) -> list[tuple[str, httpx.Response]]:
        with platform(tmp_path_factory.mktemp("platform")) as it:
            script(it)
            return it.seen

    return run


@pytest.mark.parametrize(("file", "script"), SERVICES, ids=[row[0] for row in SERVICES])
def test_every_answer_is_as_specified(
    answers: Answers, specification: Specification, conforming: set[str], file: str, script: Script
) -> None:
    spec = specification(file)
    known = operations_of(spec)
    seen = answers(script)
    wrong: dict[str, list[str]] = {}
    for operation, answer in seen:
        said = f"{operation} {answer.status_code}"
        documented = {str(code) for code in known[operation]["responses"]}
        if str(answer.status_code) not in documented and answer.status_code not in UNLISTED[file]:
            wrong.setdefault(said, []).append(f"undocumented: {answer.text[:200]}")
        pattern = DEVIATIONS.get(operation, ("(?!)", ""))[0]
        found = violations(spec, known[operation], answer)
        wrong.setdefault(said, []).extend(each for each in found if not re.fullmatch(pattern, each.partition(":")[0]))
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            assert answer.json().keys() >= ENVELOPES.get(file, set()), said
    assert {said: problems for said, problems in wrong.items() if problems} == {}
    conforming |= {f"{_service(file)}/{operation}" for operation, answer in seen if answer.status_code < 300}


@pytest.mark.parametrize(("file", "script"), SERVICES, ids=[row[0] for row in SERVICES])
def test_every_operation_is_called_and_answers(answers: Answers, specification: Specification, file: str, script: Script) -> None:
    seen = answers(script)
    good = {operation for operation, answer in seen if answer.status_code < 300}
    bad = {operation for operation, answer in seen if answer.status_code >= 400}
    known = set(operations_of(specification(file)))
    assert known - good <= NEVER_GOOD.keys()
    assert known - bad <= NEVER_BAD.keys()
