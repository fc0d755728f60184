"""`aepp`, unmodified, against access control, observability and the Dataset Service."""

import time
from types import ModuleType

import pytest

pytestmark = pytest.mark.parity
PROFILE = "https://ns.adobe.com/xdm/context/profile"


def test_permissions_roles_and_products(client: ModuleType) -> None:
    from aepp.accesscontrol import AccessControl

    access = AccessControl()
    reference = access.getPermissions()
    assert reference["permissions"]["view-sandboxes"] == {"sandboxes": ["read"]}
    policies = access.getEffectivePolicies(["/permissions/manage-datasets", "/resource-types/schemas"])["policies"]
    assert policies["/permissions/manage-datasets"] == ["*"]
    assert set(policies["/resource-types/schemas"]) == {"read", "write", "delete"}
    roles = {role["name"]: role for role in access.getRoles()}
    assert {"Default production all access", "Sandbox Administrators"} <= roles.keys()
    first = roles["Sandbox Administrators"]
    assert access.getRole(first["id"])["name"] == "Sandbox Administrators"


@pytest.mark.filterwarnings("ignore:path is deprecated:DeprecationWarning")
def test_a_report_of_metrics(client: ModuleType) -> None:
    from aepp.observability import Observability

    name = "timeseries.ingestion.dataset.recordsuccess.count"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    body = {"start": "2024-01-01T00:00:00Z", "end": now, "granularity": "MONTH", "metrics": [{"name": name, "filters": []}]}
    report = Observability().createMetricsReport(body)
    assert [each["metric"] for each in report["metricResponses"]] == [name]


def test_labels_of_a_dataset(client: ModuleType) -> None:
    from aepp.catalog import Catalog
    from aepp.datasets import DataSets

    (link,) = Catalog().createDataSet(name="Labelled", schemaId=PROFILE)
    dataset, labels = link.rpartition("/")[2], DataSets()
    payload = {"labels": ["C1"], "optionalLabels": []}
    labels.createLabels(dataset, payload)
    assert labels.getLabelSchemaTests(dataset)["labels"] == ["C1"]
