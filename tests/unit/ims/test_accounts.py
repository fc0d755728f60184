"""Technical accounts over HTTP: what an administrator may do with them, and what becomes of tokens and secrets."""

from typing import Any

import pytest
from control_plane import ORG, ControlPlane

ACCOUNTS = "/capstream/api/accounts"
DATASETS = "/data/foundation/catalog/dataSets"


def token(plane: ControlPlane, client_id: str, secret: str) -> Any:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return plane.call("POST", "/ims/token/v3", headers={}, data=form)


def test_a_new_account_earns_a_token_and_its_secret_is_never_shown_again(plane: ControlPlane) -> None:
    answer = plane.call("POST", ACCOUNTS, json={"name": "streamer"})
    made = answer.json()
    secret = made.pop("clientSecret")
    assert (answer.status_code, made["orgAdmin"], made["orgId"]) == (201, False, ORG)
    assert token(plane, made["clientId"], secret).status_code == 200
    shown = plane.call("GET", f"{ACCOUNTS}/{made['clientId']}")
    assert shown.json() == made
    listed = plane.call("GET", ACCOUNTS)
    assert made in listed.json()["items"]
    assert secret not in shown.text + listed.text


def test_two_secrets_live_at_once_and_the_last_one_stays(plane: ControlPlane) -> None:
    made = plane.call("POST", ACCOUNTS, json={"name": "streamer"}).json()
    path = f"{ACCOUNTS}/{made['clientId']}"
    second = plane.call("POST", f"{path}/secrets").json()
    assert plane.call("POST", f"{path}/secrets").status_code == 409
    for secret in (made["clientSecret"], second["clientSecret"]):
        assert token(plane, made["clientId"], secret).status_code == 200
    old, new = (each["id"] for each in second["secrets"])
    assert plane.call("DELETE", f"{path}/secrets/{old}").status_code == 204
    refused = token(plane, made["clientId"], made["clientSecret"])
    assert (refused.status_code, refused.json()["error_description"]) == (400, "invalid client_secret parameter")
    assert token(plane, made["clientId"], second["clientSecret"]).status_code == 200
    assert plane.call("DELETE", f"{path}/secrets/{old}").status_code == 404
    assert plane.call("DELETE", f"{path}/secrets/{new}").status_code == 409


def test_a_revoked_accounts_tokens_and_secrets_are_good_no_longer(plane: ControlPlane) -> None:
    made = plane.call("POST", ACCOUNTS, json={"name": "streamer"}).json()
    held = token(plane, made["clientId"], made["clientSecret"]).json()["access_token"]
    headers = plane.headers(authorization=f"Bearer {held}")
    assert plane.call("GET", DATASETS, headers=headers).status_code == 200
    assert plane.call("DELETE", f"{ACCOUNTS}/{made['clientId']}").status_code == 204
    assert plane.call("GET", DATASETS, headers=headers).json()["error_code"] == "401013"
    answer = token(plane, made["clientId"], made["clientSecret"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")
    checked = plane.call("POST", "/ims/validate_token/v1", headers={}, data={"type": "access_token", "token": held})
    assert checked.json() == {"valid": False, "reason": "revoked"}


def test_an_account_without_a_product_profile_passes_no_gateway(plane: ControlPlane) -> None:
    made = plane.call("POST", ACCOUNTS, json={"name": "streamer"}).json()
    path = f"{ACCOUNTS}/{made['clientId']}"
    held = token(plane, made["clientId"], made["clientSecret"]).json()["access_token"]
    headers = plane.headers(authorization=f"Bearer {held}")
    assert plane.call("PATCH", path, json={"productProfiles": []}).json()["productProfiles"] == []
    refused = plane.call("GET", DATASETS, headers=headers)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "403027")
    bound = plane.call("PATCH", path, json={"productProfiles": ["Analysts", " Analysts"], "name": "reader"}).json()
    assert (bound["productProfiles"], bound["name"]) == (["Analysts"], "reader")
    assert plane.call("GET", DATASETS, headers=headers).status_code == 200


def test_an_account_asks_for_the_scopes_it_was_left(plane: ControlPlane) -> None:
    made = plane.call("POST", ACCOUNTS, json={"name": "streamer"}).json()
    plane.call("PATCH", f"{ACCOUNTS}/{made['clientId']}", json={"scopes": ["openid"]})
    form = {"grant_type": "client_credentials", "client_id": made["clientId"], "client_secret": made["clientSecret"]}
    assert plane.call("POST", "/ims/token/v3", headers={}, data=form | {"scope": "openid"}).status_code == 200
    refused = plane.call("POST", "/ims/token/v3", headers={}, data=form | {"scope": "openid,session"})
    assert refused.json()["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        ({}, "body"),
        ({"name": ""}, "name"),
        ({"productProfiles": "x"}, "productProfiles"),
        ({"productProfiles": [""]}, "productProfiles"),
        ({"scopes": ["made_up"]}, "made_up"),
        ({"orgAdmin": True}, "orgAdmin"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_name(plane: ControlPlane, body: Any, named: str) -> None:
    made = plane.call("POST", ACCOUNTS, json={"name": "streamer"}).json()
    answer = plane.call("PATCH", f"{ACCOUNTS}/{made['clientId']}", json=body)
    assert (answer.status_code, named in answer.json()["detail"]) == (400, True)


def test_nobody_takes_their_own_last_product_profile(plane: ControlPlane) -> None:
    assert plane.call("PATCH", f"{ACCOUNTS}/{plane.client.client_id}", json={"productProfiles": []}).status_code == 409


def test_nobody_revokes_the_account_they_work_with(plane: ControlPlane) -> None:
    assert plane.call("DELETE", f"{ACCOUNTS}/{plane.client.client_id}").status_code == 409
    assert plane.call("GET", f"{ACCOUNTS}/{plane.client.client_id}").status_code == 200


def test_accounts_of_another_organisation_are_not_seen(plane: ControlPlane) -> None:
    foreign, _ = plane.clients.create("F" * 24 + "@AdobeOrg", name="foreign", now_ms=plane.now_ms)
    for method in ("GET", "DELETE"):
        assert plane.call(method, f"{ACCOUNTS}/{foreign.client_id}").status_code == 404
    assert foreign.client_id not in plane.call("GET", ACCOUNTS).text


@pytest.mark.parametrize("body", [[], {}, {"name": " "}, {"name": "x", "orgAdmin": "yes"}, {"name": "x", "colour": "red"}])
def test_an_account_that_cannot_be_made_is_refused(plane: ControlPlane, body: Any) -> None:
    answer = plane.call("POST", ACCOUNTS, json=body)
    assert (answer.status_code, answer.json()["title"]) == (400, "BadRequestError")


def test_the_organisation_is_shown_to_its_members(plane: ControlPlane) -> None:
    body = plane.call("GET", "/capstream/api/organization").json()
    assert (body["id"], body["name"], body["tenantId"]) == (ORG, "Demo Org", "demo")


class TestAuthorizationCodes:
    @pytest.fixture
    def form(self, plane: ControlPlane) -> dict[str, str]:
        made = plane.call("POST", ACCOUNTS, json={"name": "browser"}).json()
        code = plane.call("POST", f"{ACCOUNTS}/{made['clientId']}/codes").json()["code"]
        secrets = {"client_id": made["clientId"], "client_secret": made["clientSecret"]}
        return secrets | {"grant_type": "authorization_code", "code": code}

    def test_a_code_earns_tokens_once(self, plane: ControlPlane, form: dict[str, str]) -> None:
        body = plane.call("POST", "/ims/token/v1", headers={}, data=form).json()
        assert body["userId"].endswith("@techacct.adobe.com")
        headers = plane.headers(authorization=f"Bearer {body['access_token']}")
        assert plane.call("GET", DATASETS, headers=headers).status_code == 200
        again = plane.call("POST", "/ims/token/v1", headers={}, data=form)
        assert (again.status_code, again.json()) == (
            400,
            {"error": "invalid_grant", "error_description": "invalid authorization code"},
        )

    def test_a_refresh_token_earns_access_tokens_and_opens_nothing_itself(
        self, plane: ControlPlane, form: dict[str, str]
    ) -> None:
        refresh = plane.call("POST", "/ims/token/v2", headers={}, data=form).json()["refresh_token"]
        plane.now_ms += 2 * 86_400_000
        wanted = form | {"grant_type": "refresh_token", "refresh_token": refresh}
        body = plane.call("POST", "/ims/token/v2", headers={}, data=wanted).json()
        assert (body["expires_in"], body["refresh_token"]) == (86_399, refresh)
        good = plane.headers(authorization=f"Bearer {body['access_token']}")
        assert plane.call("GET", DATASETS, headers=good).status_code == 200
        bad = plane.headers(authorization=f"Bearer {refresh}")
        assert plane.call("GET", DATASETS, headers=bad).json()["error_code"] == "401013"
        as_code = form | {"code": refresh}
        assert plane.call("POST", "/ims/token/v2", headers={}, data=as_code).json()["error"] == "invalid_grant"
        for kind, valid in (("refresh_token", True), ("access_token", False)):
            checked = plane.call("POST", "/ims/validate_token/v1", headers={}, data={"type": kind, "token": refresh})
            assert checked.json()["valid"] is valid

    def test_a_code_is_good_for_ten_minutes_and_one_account(self, plane: ControlPlane, form: dict[str, str]) -> None:
        other = form | {"client_id": plane.client.client_id, "client_secret": plane.secret}
        assert plane.call("POST", "/ims/token/v1", headers={}, data=other).json()["error"] == "invalid_grant"
        plane.now_ms += 600_001
        assert plane.call("POST", "/ims/token/v1", headers={}, data=form).json()["error"] == "invalid_grant"
