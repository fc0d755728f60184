from typing import Any

import pytest
from control_plane import ORG, START_MS, ControlPlane
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.access_control import rules
from capstream.aep.access_control.model import PRODUCTION_ACCESS, Role, Subject

BASE = "/data/foundation/access-control"
ROLES = f"{BASE}/administration/roles"


def system_role(plane: ControlPlane) -> Role:
    return next(role for role in plane.roles.all(ORG) if role.name == PRODUCTION_ACCESS)


def test_the_reference_names_every_resource_type_a_permission_uses(plane: ControlPlane) -> None:
    body = plane.call("GET", f"{BASE}/acl/reference").json()
    used = {kind for types in body["permissions"].values() for kind in types}
    assert used == body["resource-types"].keys()
    assert body["permissions"]["view-schemas"]["schemas"] == ["read"]
    assert body["resource-types"]["schemas"] == ["read", "write", "delete"]
    assert body["resource-types"]["monitoring"] == ["read"]


class TestEffectivePolicies:
    asked = ("/permissions/manage-datasets", "resource-types/schemas", "/resource-types/connections", "/permissions/invented")

    def test_nobody_without_a_role_has_any(self, plane: ControlPlane) -> None:
        assert plane.call("POST", f"{BASE}/acl/effective-policies", json=self.asked).json() == {"policies": {}}

    def test_a_role_grants_in_its_sandboxes_only(self, plane: ControlPlane) -> None:
        plane.roles.give(system_role(plane), Subject(type="api-integration", id=plane.client.client_id), START_MS)
        granted = plane.call("POST", f"{BASE}/acl/effective-policies", json=self.asked).json()["policies"]
        assert granted == {
            "/permissions/manage-datasets": ["*"],
            "resource-types/schemas": ["read", "write", "delete"],
            "/resource-types/connections": ["read", "write", "delete"],
        }
        plane.sandboxes.create(ORG, "dev", title="Dev", kind="development", user_id="u", now_ms=START_MS)
        elsewhere = plane.headers(x_sandbox_name="dev")
        assert plane.call("POST", f"{BASE}/acl/effective-policies", json=self.asked, headers=elsewhere).json() == {"policies": {}}

    @pytest.mark.parametrize("body", [{}, "text", [1]])
    def test_the_body_must_be_an_array_of_names(self, plane: ControlPlane, body: Any) -> None:
        answer = plane.call("POST", f"{BASE}/acl/effective-policies", json=body)
        assert (answer.status_code, answer.json()["status"]) == (400, 400)


@pytest.mark.parametrize(
    ("held", "needed", "enough"),
    [
        (["manage-datasets"], "view-datasets", True),
        (["view-datasets"], "manage-datasets", False),
        (["view-datasets"], "manage-datasets view-datasets", True),
        (["manage-datasets"], "view-schemas", True),
        (["manage-profiles"], "view-datasets", True),
        (["manage-datasets"], "manage-schemas", False),
        ([], "view-datasets", False),
    ],
)
def test_managing_includes_viewing(held: list[str], needed: str, enough: bool) -> None:
    assert rules.is_enough(held, needed) is enough


@given(st.sets(st.sampled_from(sorted(rules.PERMISSIONS))), st.sampled_from(sorted(rules.PERMISSIONS)))
def test_more_permissions_never_allow_less(held: set[str], more: str) -> None:
    assert rules.widened(held) <= rules.widened(held | {more})
    assert rules.widened(rules.widened(held)) == rules.widened(held)


class TestRoles:
    def test_a_sandbox_that_does_not_exist_is_refused(self, plane: ControlPlane) -> None:
        role = plane.call("POST", f"{BASE}/administration/roles", json={"name": "analysts"}).json()["id"]

        change = {"op": "add", "path": "/sandboxes", "value": ["prod", "nosuch"]}
        refused = plane.call("PATCH", f"{BASE}/administration/roles/{role}", json=change)

        assert refused.status_code == 400
        assert "nosuch" in refused.json()["title"]
        assert plane.call("GET", f"{BASE}/administration/roles/{role}").json()["sandboxes"] == []

    def test_through_its_life(self, plane: ControlPlane) -> None:
        made = plane.call("POST", ROLES, json={"name": "Streamers", "description": "d", "roleType": "user-defined"}).json()
        path = f"{ROLES}/{made['id']}/"
        assert (made["roleType"], made["permissionSets"], made["sandboxes"]) == ("user-defined", [], [])
        plane.call("PATCH", path, json={"op": "add", "path": "/permissionSets", "value": ["manage-sources", "manage-datasets"]})
        body = {"operations": [{"op": "add", "path": "/sandboxes", "value": "prod"}]}
        plane.call("PATCH", path, json=body)
        plane.call("PATCH", path, json=[{"op": "Remove", "path": "/permissionSets", "value": "manage-datasets"}])
        found = plane.call("GET", path).json()
        assert (found["permissionSets"], found["sandboxes"]) == (["manage-sources"], ["prod"])
        renamed = plane.call("PUT", path, json={"name": "Others", "description": "", "roleType": "user-defined"}).json()
        assert (renamed["name"], renamed["permissionSets"]) == ("Others", ["manage-sources"])
        gone = plane.call("DELETE", path)
        assert (gone.status_code, gone.content) == (204, b"")
        assert plane.call("GET", path).status_code == 404

    def test_lists_have_both_keys_and_page_until_no_next(self, plane: ControlPlane) -> None:
        for number in range(5):
            plane.now_ms += 1
            plane.call("POST", ROLES, json={"name": f"r{number}"})
        names, url = [], f"{ROLES}?limit=3"
        while url:
            body = plane.call("GET", url).json()
            assert body["items"] == body["roles"]
            names += [role["name"] for role in body["items"]]
            href = body["_links"].get("next", {}).get("href", "")
            assert href.count("roles") <= 1
            url = ROLES + href.split("roles")[1] if href else ""
        assert names[:5] == ["r4", "r3", "r2", "r1", "r0"]
        assert len(names) == 7

    def test_subjects_honour_start(self, plane: ControlPlane) -> None:
        path = f"{ROLES}/{system_role(plane).id}/subjects"
        for number in range(3):
            plane.call("PATCH", path, json={"op": "add", "path": "/user", "value": f"000{number}@AdobeID"})
        pages = [plane.call("GET", f"{path}?start={start}&limit=2").json() for start in (0, 2, 4)]
        assert [len(page["items"]) for page in pages] == [2, 1, 0]
        assert "page" in pages[2]["_links"]
        plane.call("PATCH", path, json={"op": "remove", "path": "/user", "value": "0001@AdobeID"})
        assert [one["subjectId"] for one in plane.call("GET", path).json()["items"]] == ["0000@AdobeID", "0002@AdobeID"]

    @pytest.mark.parametrize(
        ("method", "body", "status"),
        [("PUT", {"name": "x"}, 403), ("PATCH", {"op": "add", "path": "/name", "value": "x"}, 403), ("DELETE", None, 403)],
    )
    def test_system_roles_cannot_be_edited(self, plane: ControlPlane, method: str, body: Any, status: int) -> None:
        answer = plane.call(method, f"{ROLES}/{system_role(plane).id}", **({"json": body} if body else {}))
        assert (answer.status_code, answer.json()["status"]) == (status, status)

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "add", "path": "/permissionSets", "value": "manage-everything"},
            {"op": "add", "path": "/id", "value": "x"},
            {"op": "move", "path": "/sandboxes", "value": "x"},
            {"op": "add"},
            "text",
        ],
    )
    def test_bad_patches_change_nothing(self, plane: ControlPlane, operation: Any) -> None:
        made = plane.call("POST", ROLES, json={"name": "r"}).json()
        assert plane.call("PATCH", f"{ROLES}/{made['id']}", json=operation).status_code == 400
        assert plane.call("GET", f"{ROLES}/{made['id']}").json() == made


def test_products_lead_to_every_permission_set(plane: ControlPlane) -> None:
    (product,) = plane.call("GET", f"{BASE}/administration/products").json()["products"]
    path = f"{BASE}/administration/products/{product['id']}"
    categories = {one["name"] for one in plane.call("GET", f"{path}/categories").json()["categories"]}
    sets = plane.call("GET", f"{path}/permission-sets").json()["permission-sets"]
    assert {one["category"] for one in sets} <= categories
    assert {one["id"] for one in sets} == rules.PERMISSIONS.keys()
    assert plane.call("GET", f"{BASE}/administration/products/1/categories").status_code == 404
