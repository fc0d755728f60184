"""Every built operation of Access Control and Sandbox against the specification, on good and bad paths."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_platform import Platform, Spec, operations_of, platform, violations

ACCESS = "/data/foundation/access-control"
ADMIN = f"{ACCESS}/administration"
SANDBOX = "/data/foundation/sandbox-management"
PRODUCT = f"{ADMIN}/products/4525859963018"
RULE = {"effect": "Permit", "resource": "/orgs/o/sandboxes/*", "condition": "{}", "actions": ["com.adobe.action.read"]}
# The specification declares an object or a text here; its own examples print an array, and clients read the array.
KNOWN = (
    "rules: ",
    "items.0.rules: ",
    "subjectAttributes.labels: ",
    "items.0.subjectAttributes.labels: ",
    "categories: ",
    "permission-sets: ",
)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Platform]:
    with platform(tmp_path) as made:
        yield made


def access_control(whole: Platform) -> None:
    says = whole.says
    says("listPolicyNames", "GET", f"{ACCESS}/acl/reference")
    says("listEffectiveAclPolicies", "POST", f"{ACCESS}/acl/effective-policies", json=["/permissions/manage-datasets"])
    says("listEffectiveAclPolicies", "POST", f"{ACCESS}/acl/effective-policies", json={})
    body = {"name": "r", "description": "d", "roleType": "user-defined"}
    for kind, create, one in (("roles", "createRole", body), ("policies", "createPolicy", {"name": "p", "rules": [RULE]})):
        made = says(create, "POST", f"{ADMIN}/{kind}", json=one).json()
        says(create, "POST", f"{ADMIN}/{kind}", json={})
        names = {
            "roles": ("listExistingRoles", "retrieveRole", "updateRoleByRoleId", "updateRole", "deleteRole"),
            "policies": ("listExistingPolicies", "retrievePolicy", "updatePolicyByPolicyId", "updatePolicy", "deletePolicy"),
        }[kind]
        says(names[0], "GET", f"{ADMIN}/{kind}?limit=1&start=0")
        says(names[0], "GET", f"{ADMIN}/{kind}?limit=x")
        for path in (f"{ADMIN}/{kind}/{made['id']}", f"{ADMIN}/{kind}/unknown"):
            says(names[1], "GET", path)
            says(names[2], "PUT", path, json=one)
            says(names[3], "PATCH", path, json={"op": "replace", "path": "/description", "value": "other"})
            if kind == "roles":
                says("updateSubjects", "PATCH", f"{path}/subjects", json={"op": "add", "path": "/user", "value": "1@AdobeID"})
                says("retrieveSubjects", "GET", f"{path}/subjects")
            says(names[4], "DELETE", path)
    says("listEntitledProducts", "GET", f"{ADMIN}/products")
    says("listPermissionCategories", "GET", f"{PRODUCT}/categories")
    says("listPermissionSets", "GET", f"{PRODUCT}/permission-sets")
    says("listPermissionSets", "GET", f"{ADMIN}/products/1/permission-sets")


def sandboxes(whole: Platform) -> None:
    says = whole.says
    says("listAvailableSandboxes", "GET", f"{SANDBOX}/")
    says("listSandboxTypes", "GET", f"{SANDBOX}/sandboxTypes")
    for body in (
        {"name": "dev", "title": "Dev", "type": "development"},
        {"name": "dev", "title": "D", "type": "development"},
        {},
    ):
        says("createSandbox", "POST", f"{SANDBOX}/sandboxes", json=body)
    says("listSandboxes", "GET", f"{SANDBOX}/sandboxes")
    says("listSandboxes", "GET", f"{SANDBOX}/sandboxes?limit=1")
    for path in (f"{SANDBOX}/sandboxes/dev", f"{SANDBOX}/sandboxes/unknown"):
        says("retrieveSandbox", "GET", path)
        says("patchSandbox", "PATCH", path, json={"title": "Other"})
        says("patchSandbox", "PATCH", path, json={"name": "other"})
        says("deleteSandbox", "DELETE", path)
    says("deleteSandbox", "DELETE", f"{SANDBOX}/sandboxes/prod")
    says("resetSandbox", "PUT", f"{SANDBOX}/sandboxes/prod", json={"action": "other"})
    says("resetSandbox", "PUT", f"{SANDBOX}/sandboxes/prod", json={"action": "reset"})


SERVICES = [("access-control.yaml", access_control, 19), ("sandbox.yaml", sandboxes, 8)]


@pytest.mark.parametrize(("file", "drive", "count"), SERVICES, ids=[row[0] for row in SERVICES])
def test_answers_are_as_specified(
    whole: Platform, specification: Callable[[str], Spec], file: str, drive: Callable[[Platform], None], count: int
) -> None:
    spec = specification(file)
    drive(whole)
    described = operations_of(spec)
    assert len({operation for operation, _ in whole.seen}) == count
    found: list[Any] = []
    for operation, answer in whole.seen:
        assert answer.status_code < 500, (operation, answer.text)
        wrong = [one for one in violations(spec, described[operation], answer) if not one.startswith(KNOWN)]
        found += [(operation, answer.status_code, wrong)] if wrong else []
        if answer.status_code >= 400:
            assert set(answer.json()) == {"status", "title", "type"}
            assert answer.json()["status"] == answer.status_code
    assert found == []
