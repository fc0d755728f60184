"""Calls of every operation of Sandbox and Access Control, good and bad."""

from whole_platform import CATALOG, PROFILE, Platform

ACCESS = "/data/foundation/access-control"
SANDBOXES = "/data/foundation/sandbox-management"
EXIM = "/data/foundation/exim"
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
    _packages(it)
    _sharing(it)
    it.says("resetSandbox", "PUT", f"{SANDBOXES}/sandboxes/contract", json={"action": "reset"})
    it.says("resetSandbox", "PUT", f"{SANDBOXES}/sandboxes/contract", json={"action": "burn"})
    it.says("deleteSandbox", "DELETE", f"{SANDBOXES}/sandboxes/contract")
    it.says("deleteSandbox", "DELETE", f"{SANDBOXES}/sandboxes/prod")


def _packages(it: Platform) -> None:
    dataset = it.made(f"{CATALOG}/dataSets", {"name": "Packed", "schemaRef": {"id": PROFILE}})
    artifact = {"type": "CATALOG_DATASET", "id": dataset}
    body = {"name": "Contract", "packageType": "PARTIAL", "sourceSandbox": {"name": "prod"}, "artifacts": [artifact]}
    package = it.says("createPackage", "POST", f"{EXIM}/packages", json=body).json()["id"]
    it.says("createPackage", "POST", f"{EXIM}/packages", json=body)
    for change in ({"action": "DELETE", "artifacts": [artifact]}, {"action": "ADD", "artifacts": [artifact]}, {"action": "BURN"}):
        it.says("updatePackage", "PUT", f"{EXIM}/packages", json={"id": package} | change)
    public = {"action": "UPDATE", "packageVisibility": "PUBLIC"}
    for which in (package, NONE):
        it.says("makePackagePublic", "PUT", f"{EXIM}/packages/update", json={"id": which} | public)
        it.says("publishPackage", "GET", f"{EXIM}/packages/{which}/export")
        it.says("lookUpPackage", "GET", f"{EXIM}/packages/{which}")
        it.says("importPackage", "GET", f"{EXIM}/packages/{which}/import?targetSandbox=contract")
        it.says("dependentObjects", "POST", f"{EXIM}/packages/{which}/children", json=[artifact])
        it.says("packagePayload", "GET", f"{EXIM}/packages/payload/{which}")
        it.says("checkImportPermissions", "GET", f"{EXIM}/packages/preflight/{which}/export?targetSandbox=contract")
        target = {"name": "contract", "imsOrgId": it.credentials.org_id}
        job = it.says("submitImport", "PUT", f"{EXIM}/packages/import", json={"id": which, "destinationSandbox": target}).json()
        it.says("fetchJob", "GET", f"{EXIM}/tools/job/{job.get('jobId', NONE)}")
    for query in ("limit=1", "start=x"):
        it.says("listPackages", "GET", f"{EXIM}/packages?{query}")
        it.says("listJobs", "GET", f"{EXIM}/packages/jobs?{query}")
    for which in (package, NONE):
        it.says("deletePackage", "DELETE", f"{EXIM}/packages/{which}")


def _sharing(it: Platform) -> None:
    source = {"id": it.credentials.org_id, "name": "here"}
    for targets in ([f"{'F' * 24}@AdobeOrg"], []):
        body = {"targetIMSOrgIds": targets, "sourceIMSDetails": source}
        it.says("partnershipRequest", "POST", f"{EXIM}/handshake/bulkCreate", json=body)
    it.says("approveShareRequests", "POST", f"{EXIM}/handshake/action", json={"linkingID": "x", "status": "APPROVED"})
    for query in ("requestType=INCOMING", "limit=0"):
        it.says("listPartnershipRequests", "GET", f"{EXIM}/handshake/list?{query}")
        it.says("fetchShareList", "GET", f"{EXIM}/transfer/list?{query}")
    it.says("createShareRequest", "POST", f"{EXIM}/transfer", json={"packageId": "x", "targets": [{"imsOrgId": "F@AdobeOrg"}]})
    it.says("fetchShareByID", "GET", f"{EXIM}/transfer/x")
    it.says("importPublicPackage", "POST", f"{EXIM}/transfer/pullRequest", json={"imsOrgId": "F@AdobeOrg", "packageId": "x"})


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
