"""Policies through their life, and what is refused, by name."""

from typing import Any

import pytest
from control_plane import ORG, ControlPlane

BASE = "/data/foundation/access-control/administration/policies"
RULE = {
    "effect": "Permit",
    "resource": f"/orgs/{ORG}/sandboxes/*",
    "condition": '{"adobe.match_any_labels_by_prefix":[{"var":"subject.roles.labels"},"core/",{"var":"resource.labels"}]}',
    "actions": ["com.adobe.action.read"],
}
POLICY = {"name": "acme-integration-policy", "description": "For tests.", "imsOrgID": ORG, "rules": [RULE]}


def test_through_its_life(plane: ControlPlane) -> None:
    made = plane.call("POST", BASE, json=POLICY).json()
    assert (made["imsOrgId"], made["imsOrgID"], made["status"], made["subjectCondition"]) == (ORG, ORG, "active", None)
    path = f"{BASE}/{made['id']}"
    assert plane.call("GET", f"{path}/").json() == made
    changed = plane.call("PATCH", path, json={"op": "replace", "path": "/description", "value": "Other."}).json()
    assert changed == made | {"description": "Other."}
    both = {"operations": [{"op": "replace", "path": "/status", "value": "inactive"}, {"op": "remove", "path": "/description"}]}
    changed = plane.call("PATCH", path, json=both).json()
    assert (changed["status"], changed["description"]) == ("inactive", "")
    plane.now_ms += 1000
    put = plane.call(
        "PUT", path, json={"id": made["id"], "name": "Other", "rules": RULE | {"actions": "com.adobe.action.view"}}
    ).json()
    assert (put["name"], put["createdAt"], put["modifiedAt"]) == ("Other", made["createdAt"], plane.now_ms)
    assert put["rules"] == [RULE | {"actions": ["com.adobe.action.view"]}]
    assert plane.call("DELETE", path).status_code == 204
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert plane.call(method, path, json=POLICY).status_code == 404


def test_pages_and_filters(plane: ControlPlane) -> None:
    for number in range(5):
        plane.now_ms += 1
        plane.call("POST", BASE, json=POLICY | {"name": f"p{number}", "status": "active" if number % 2 else "inactive"})
    first = plane.call("GET", f"{BASE}?limit=3").json()
    assert [one["name"] for one in first["items"]] == ["p4", "p3", "p2"]
    rest = plane.call("GET", f"{BASE}{first['_links']['next']['href'].removeprefix('/policies')}").json()
    assert [one["name"] for one in rest["items"]] == ["p1", "p0"]
    assert "next" not in rest["_links"]
    assert [one["name"] for one in plane.call("GET", f"{BASE}?property=status==active").json()["items"]] == ["p3", "p1"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        (POLICY | {"name": " "}, "name"),
        (POLICY | {"status": "on"}, "status"),
        (POLICY | {"description": 5}, "description"),
        (POLICY | {"colour": "red"}, "colour"),
        (POLICY | {"rules": []}, "rules"),
        (POLICY | {"rules": [RULE | {"effect": "Perhaps"}]}, "rules[0].effect"),
        (POLICY | {"rules": [RULE, RULE | {"resource": ""}]}, "rules[1].resource"),
        (POLICY | {"rules": [RULE | {"actions": [1]}]}, "rules[0].actions"),
        (POLICY | {"rules": [RULE | {"condition": "{"}]}, "rules[0].condition"),
        (POLICY | {"rules": [RULE | {"condition": "[]"}]}, "rules[0].condition"),
    ],
)
def test_what_is_wrong_is_named(plane: ControlPlane, body: Any, named: str) -> None:
    answer = plane.call("POST", BASE, json=body)
    assert (answer.status_code, answer.json()["type"]) == (400, "http://ns.adobe.com/aep/errors/ACS-1000-400")
    assert named in answer.json()["title"]
    assert plane.call("GET", BASE).json()["items"] == []


@pytest.mark.parametrize("body", [[], {}, {"op": "move", "path": "/name"}, {"op": "replace", "path": "/id", "value": "x"}, [5]])
def test_a_change_that_cannot_be_made_changes_nothing(plane: ControlPlane, body: Any) -> None:
    made = plane.call("POST", BASE, json=POLICY).json()
    assert plane.call("PATCH", f"{BASE}/{made['id']}", json=body).status_code == 400
    assert plane.call("GET", f"{BASE}/{made['id']}").json() == made
