"""The operation tables name what the specifications name: same operationId, method and path."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from capstream.aep import operations

METHODS = {"get", "put", "post", "patch", "delete", "head"}
TABLES = [
    ("access_control", "access-control.yaml", "/data/foundation/access-control"),
    ("audit_query", "audit-query.yaml", "/data/foundation"),
    ("batch_ingestion", "batch-ingestion.yaml", "/data/foundation/import"),
    ("catalog", "catalog.yaml", "/data/foundation/catalog"),
    ("data_access", "data-access.yaml", "/data/foundation/export"),
    ("flow_service", "flow-service.yaml", "/data/foundation/flowservice"),
    ("data_hygiene", "data-hygiene.yaml", "/data/core/hygiene"),
    ("dataset_service", "dataset-service.yaml", "/data/foundation/dataset"),
    ("observability_insights", "observability-insights.yaml", "/data/infrastructure/observability/insights"),
    ("policy_service", "policy-service.yaml", "/data/foundation/dulepolicy"),
    ("privacy_service", "privacy-service.yaml", "/data/core/privacy"),
    ("query_service", "query-service.yaml", "/data/foundation/query"),
    ("sandbox", "sandbox.yaml", "/data/foundation"),
    ("segmentation", "segmentation.yaml", "/data/core/ups"),
]


def nameless(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


@pytest.mark.parametrize(("service", "file", "base"), TABLES, ids=[row[0] for row in TABLES])
def test_every_operation_of_the_specification_is_in_the_table(
    specification: Callable[[str], dict[str, Any]], service: str, file: str, base: str
) -> None:
    specified = {
        (found["operationId"], method.upper(), nameless(base + path))
        for path, methods in specification(file)["paths"].items()
        for method, found in methods.items()
        if method in METHODS
    }
    listed = {(one.id, one.method, nameless(one.path)) for one in operations.load() if one.service == service}
    assert specified - listed == set()
