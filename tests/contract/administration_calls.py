"""Calls of every operation of Sandbox and Access Control, good and bad."""

from whole_platform import Platform

ACCESS = "/data/foundation/access-control"
SANDBOXES = "/data/foundation/sandbox-management"
NONE = "00000000-0000-4000-8000-000000000000"
RULE = {"effect": "Permit", "resource": "/orgs/o/sandboxes/*", "condition": "{}", "actions": ["com.adobe.action.read"]}


def sandboxes(it: Platform) -> None:
    it.says("listAvailableSandboxes", "GET", f"{SANDBOXES}/")
    it.says("listSandboxTypes", "GET", f"{SANDBOXES}/sandboxTypes")
    body = {"name": "contract", "title": "Contract", "type": "development"}
    it.says("createSandbox", "POST", f"{SANDBOXES}/sandboxes", json=body)
    it.says("createSandbox", "POST", f"{SANDBOXES}/sandboxes", json=body)
    it.says("createSandbox", "POST", f"{SANDBOXES}/sandboxes", json=body | {"name": "Not Good"})
    it.says("createSandbox", "POST", f"{SANDBOXES}/sandboxes", json=body | {"name": "to-go"})
    it.says("deleteSandbox", "DELETE", f"{SANDBOXES}/sandboxes/to-go")
    for query in ("", "?limit=1", "?limit=1&offset=1"):
        it.says("listSandboxes", "GET", f"{SANDBOXES}/sandboxes{query}")
    it.says("listSandboxes", "GET", f"{SANDBOXES}/sandboxes?limit=x")
    for name in ("prod", "none"):
        it.says("retrieveSandbox", "GET", f"{SANDBOXES}/sandboxes/{name}")
        it.says("patchSandbox", "PATCH", f"{SANDBOXES}/sandboxes/{name}", json={"title": "Renamed"})
    it.says("patchSandbox", "PATCH", f"{SANDBOXES}/sandboxes/prod", json={"name": "other"})
    it.says("resetSandbox", "PUT", f"{SANDBOXES}/sandboxes/contract", json={"action": "reset"})
    it.says("resetSandbox", "PUT", f"{SANDBOXES}/sandboxes/contract", json={"action": "burn"})
    it.says("deleteSandbox", "DELETE", f"{SANDBOXES}/sandboxes/contract")
    it.says("deleteSandbox", "DELETE", f"{SANDBOXES}/sandboxes/prod")


def access_control(it: Platform) -> None:
    it.says("listPolicyNames", "GET", f"{ACCESS}/acl/reference")
    it.says("listEffectiveAclPolicies", "POST", f"{ACCESS}/acl/effective-policies", json=["/permissions/manage-datasets"])
    it.says("listEffectiveAclPolicies", "POST", f"{ACCESS}/acl/effective-policies", json={})
    roles = f"{ACCESS}/administration/roles"
    body = {"name": "Contract", "description": "", "roleType": "user-defined"}
    role = it.says("createRole", "POST", roles, json=body).json()["id"]
    it.says("createRole", "POST", roles, json={"description": 5})
    it.says("listExistingRoles", "GET", f"{roles}?limit=1")
    it.says("listExistingRoles", "GET", f"{roles}?limit=x")
    rename = {"op": "replace", "path": "/description", "value": "renamed"}
    for which in (role, NONE):
        it.says("retrieveRole", "GET", f"{roles}/{which}")
        it.says("updateRole", "PATCH", f"{roles}/{which}", json={"operations": [rename]})
        it.says("updateRoleByRoleId", "PUT", f"{roles}/{which}", json=body)
        it.says("retrieveSubjects", "GET", f"{roles}/{which}/subjects")
        subject = {"op": "add", "path": "/user", "value": "0001@AdobeID"}
        it.says("updateSubjects", "PATCH", f"{roles}/{which}/subjects", json=subject)
    _policies(it)
    products = f"{ACCESS}/administration/products"
    product = it.says("listEntitledProducts", "GET", products).json()["products"][0]["id"]
    for which in (product, "none"):
        it.says("listPermissionCategories", "GET", f"{products}/{which}/categories")
        it.says("listPermissionSets", "GET", f"{products}/{which}/permission-sets")
    it.says("deleteRole", "DELETE", f"{roles}/{role}")
    it.says("deleteRole", "DELETE", f"{roles}/{role}")


def _policies(it: Platform) -> None:
    policies = f"{ACCESS}/administration/policies"
    body = {"name": "Contract", "rules": [RULE]}
    policy = it.says("createPolicy", "POST", policies, json=body).json()["id"]
    it.says("createPolicy", "POST", policies, json={"name": "No rules"})
    it.says("listExistingPolicies", "GET", f"{policies}?limit=1")
    it.says("listExistingPolicies", "GET", f"{policies}?limit=x")
    rename = {"op": "replace", "path": "/description", "value": "renamed"}
    for which in (policy, NONE):
        it.says("retrievePolicy", "GET", f"{policies}/{which}")
        it.says("updatePolicyByPolicyId", "PUT", f"{policies}/{which}", json=body)
        it.says("updatePolicy", "PATCH", f"{policies}/{which}", json=rename)
        it.says("deletePolicy", "DELETE", f"{policies}/{which}")
