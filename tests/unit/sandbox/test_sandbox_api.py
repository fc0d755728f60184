import re
from typing import Any

import pytest
from control_plane import ORG, START_MS, ControlPlane

BASE = "/data/foundation/sandbox-management"
DEV = {"name": "dev", "title": "Development", "type": "development"}


def test_the_first_start_makes_prod_once(plane: ControlPlane) -> None:
    assert plane.sandboxes.ensure_default(ORG, START_MS + 1) == plane.prod
    assert (plane.prod.name, plane.prod.default, plane.prod.type) == ("prod", True, "production")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", plane.prod.id)


def test_a_sandbox_through_its_life(plane: ControlPlane) -> None:
    created = plane.call("POST", f"{BASE}/sandboxes", json=DEV)
    assert (created.status_code, created.json()["state"]) == (202, "creating")
    found = plane.call("GET", f"{BASE}/sandboxes/dev").json()
    assert found.items() >= {"state": "active", "eTag": 1, "etag": 1, "isDefault": False, "region": "VA7"}.items()
    assert found["createdDate"] == "2024-07-18 10:53:20"
    assert found["createdBy"] == plane.client.user_id
    plane.now_ms += 1000
    changed = plane.call("PATCH", f"{BASE}/sandboxes/dev", json={"title": "Sandbox of Dev"}).json()
    assert (changed["title"], changed["eTag"], changed["lastModifiedDate"]) == ("Sandbox of Dev", 2, "2024-07-18 10:53:21")
    deleted = plane.call("DELETE", f"{BASE}/sandboxes/dev")
    assert (deleted.status_code, deleted.json()["state"]) == (202, "deleted")
    assert plane.call("GET", f"{BASE}/sandboxes/dev").json()["state"] == "deleted"
    assert plane.call("POST", f"{BASE}/sandboxes", json=DEV).status_code == 409
    assert plane.call("PATCH", f"{BASE}/sandboxes/dev", json={"title": "x"}).status_code == 404
    assert [sandbox.name for sandbox in plane.sandboxes.all(ORG)] == ["prod"]


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "sandboxes", DEV | {"name": "Dev"}, 400, "SMS-1000-400"),
    ("POST", "sandboxes", DEV | {"name": "d v"}, 400, "SMS-1000-400"),
    ("POST", "sandboxes", {"name": "dev", "type": "development"}, 400, "SMS-1000-400"),
    ("POST", "sandboxes", DEV | {"type": "staging"}, 400, "SMS-1000-400"),
    ("POST", "sandboxes", [], 400, "SMS-1000-400"),
    ("POST", "sandboxes", DEV | {"name": "prod"}, 409, "SMS-1002-409"),
    ("PATCH", "sandboxes/prod", {"title": "x", "name": "y"}, 400, "SMS-1000-400"),
    ("PATCH", "sandboxes/prod", {"title": ""}, 400, "SMS-1000-400"),
    ("PATCH", "sandboxes/none", {"title": "x"}, 404, "SMS-1001-404"),
    ("GET", "sandboxes/none", None, 404, "SMS-1001-404"),
    ("PUT", "sandboxes/prod", {"action": "explode"}, 400, "SMS-1000-400"),
    ("DELETE", "sandboxes/prod", None, 400, "SMS-1003-400"),
    ("GET", "sandboxes?limit=5", None, 400, "SMS-1000-400"),
    ("GET", "sandboxes?offset=5", None, 400, "SMS-1000-400"),
    ("GET", "sandboxes?limit=0&offset=0", None, 400, "SMS-1000-400"),
    ("GET", "sandboxes?limit=x&offset=0", None, 400, "SMS-1000-400"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED)
def test_refusals(plane: ControlPlane, method: str, path: str, body: Any, status: int, code: str) -> None:
    answer = plane.call(method, f"{BASE}/{path}", **({} if body is None else {"json": body}))
    assert answer.status_code == status
    assert answer.json().keys() == {"status", "title", "type"}
    assert answer.json()["status"] == status
    assert answer.json()["type"] == f"http://ns.adobe.com/aep/errors/{code}"


def test_reset_erases_everything_and_keeps_the_sandbox(plane: ControlPlane) -> None:
    trial = plane.call("PUT", f"{BASE}/sandboxes/prod?validationOnly=true", json={"action": "reset"})
    assert (trial.status_code, plane.erased) == (200, [])
    answer = plane.call("PUT", f"{BASE}/sandboxes/prod", json={"action": "reset"})
    assert (answer.status_code, answer.json()["state"]) == (202, "resetting")
    assert plane.erased == [plane.prod.id]
    assert plane.call("GET", f"{BASE}/sandboxes/prod").json()["state"] == "active"


def test_delete_can_be_tried(plane: ControlPlane) -> None:
    plane.call("POST", f"{BASE}/sandboxes", json=DEV)
    assert plane.call("DELETE", f"{BASE}/sandboxes/dev?validationOnly=True").status_code == 200
    assert plane.call("GET", f"{BASE}/sandboxes/dev").json()["state"] == "active"


class TestLists:
    @pytest.fixture
    def five(self, plane: ControlPlane) -> ControlPlane:
        for name in ("dev-b", "dev-a", "dev-d", "dev-c"):
            plane.now_ms += 1000
            plane.call("POST", f"{BASE}/sandboxes", json=DEV | {"name": name})
        return plane

    @pytest.mark.parametrize(
        ("query", "names", "links"),
        [
            ("", ["prod", "dev-b", "dev-a", "dev-d", "dev-c"], {"page"}),
            ("?limit=2&offset=0", ["prod", "dev-b"], {"page", "next"}),
            ("?limit=2&offset=2", ["dev-a", "dev-d"], {"page", "next", "prev"}),
            ("?limit=2&offset=4", ["dev-c"], {"page", "prev"}),
            ("?property=name==dev-a", ["dev-a"], {"page"}),
            ("?property=type==development&property=name!=dev-a", ["dev-b", "dev-d", "dev-c"], {"page"}),
            ("?orderBy=desc:created", ["dev-c", "dev-d", "dev-a", "dev-b", "prod"], {"page"}),
            ("?orderBy=asc:type,name", ["dev-a", "dev-b", "dev-c", "dev-d", "prod"], {"page"}),
        ],
    )
    def test_pages(self, five: ControlPlane, query: str, names: list[str], links: set[str]) -> None:
        body = five.call("GET", f"{BASE}/sandboxes{query}").json()
        assert [sandbox["name"] for sandbox in body["sandboxes"]] == names
        assert body["_page"]["count"] == len(names)
        assert body["_links"].keys() == links

    def test_next_leads_to_every_sandbox_once(self, five: ControlPlane) -> None:
        names, url = [], f"{BASE}/sandboxes?limit=2&offset=0"
        while url:
            body = five.call("GET", url).json()
            names += [sandbox["name"] for sandbox in body["sandboxes"]]
            url = body["_links"].get("next", {}).get("href", "")
        assert sorted(names) == ["dev-a", "dev-b", "dev-c", "dev-d", "prod"]

    def test_available_ones_are_active_and_without_ids(self, five: ControlPlane) -> None:
        five.call("DELETE", f"{BASE}/sandboxes/dev-a")
        sandboxes = five.call("GET", f"{BASE}/").json()["sandboxes"]
        assert [sandbox["name"] for sandbox in sandboxes] == ["prod", "dev-b", "dev-d", "dev-c"]
        assert all("id" not in sandbox and "createdDate" not in sandbox for sandbox in sandboxes)

    def test_types(self, plane: ControlPlane) -> None:
        types = plane.call("GET", f"{BASE}/sandboxTypes").json()["sandboxTypes"]
        assert [one["id"] for one in types] == ["production", "development"]

    @pytest.mark.parametrize(
        "path", ["/data/foundation/exim/packages/?start=0&orderby=-createdDate&limit=20", f"{BASE}/transfer/list"]
    )
    def test_tooling_has_nothing_and_says_both_spellings(self, plane: ControlPlane, path: str) -> None:
        body = plane.call("GET", path).json()
        assert (body["data"], body["hasNext"], body["hasNextPage"]) == ([], False, False)


def test_an_organisation_has_at_most_75(plane: ControlPlane) -> None:
    for number in range(74):
        made = plane.sandboxes.create(ORG, f"s-{number}", title="s", kind="development", user_id="u", now_ms=START_MS)
        assert made is not None
    answer = plane.call("POST", f"{BASE}/sandboxes", json=DEV)
    assert (answer.status_code, "75" in answer.json()["title"]) == (400, True)
