import base64
import json
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from control_plane import ORG, START_MS, ControlPlane
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from capstream.aep.gateway import GatewayOptions
from capstream.aep.limits import RateLimit

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"


def form(plane: ControlPlane, **changed: str | None) -> dict[str, str]:
    wanted: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "client_id": plane.client.client_id,
        "client_secret": plane.secret,
        "scope": "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session",
    } | changed
    return {name: value for name, value in wanted.items() if value is not None}


def payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


@pytest.mark.parametrize(
    ("path", "expires_in"),
    [
        ("/ims/token/v3", 86_399),
        ("/ims/token/v2", 86_399),
        ("/ims/token/v2/", 86_399),
        ("/ims/token/v9", 86_399),
        ("/ims/token/v1", 86_399_999),
        ("/ims/token", 86_399_999),
    ],
)
def test_expires_in_has_the_unit_of_its_endpoint(plane: ControlPlane, path: str, expires_in: int) -> None:
    answer = plane.call("POST", path, data=form(plane), headers={})
    assert answer.status_code == 200
    body = answer.json()
    assert (body.keys(), body["token_type"]) == ({"access_token", "token_type", "expires_in"}, "bearer")
    assert body["expires_in"] == expires_in
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"


def test_claims_are_those_clients_read(plane: ControlPlane) -> None:
    token = plane.call("POST", "/ims/token/v3", data=form(plane, scope="session openid,openid"), headers={}).json()[
        "access_token"
    ]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "ims_na1-key-at-1", "itt": "at"}
    claims = payload(token)
    assert claims.pop("id").startswith(f"{START_MS}_")
    assert claims == {
        "type": "access_token",
        "client_id": plane.client.client_id,
        "user_id": plane.client.user_id,
        "as": "ims-na1",
        "org": ORG,
        "scope": "openid,session",
        "created_at": str(START_MS),
        "expires_in": "86400000",
    }


def test_the_token_opens_the_gateway(plane: ControlPlane) -> None:
    token = plane.call("POST", "/ims/token/v3", data=form(plane), headers={}).json()["access_token"]
    assert plane.call("GET", SANDBOXES, headers=plane.headers(authorization=f"Bearer {token}")).status_code == 200


class TestParameters:
    def test_may_stand_in_the_query_with_an_empty_body(self, plane: ControlPlane) -> None:
        assert plane.call("POST", "/ims/token/v2", params=form(plane), headers={}).status_code == 200

    def test_may_be_split_and_the_body_wins(self, plane: ControlPlane) -> None:
        query = {"client_id": "someone else", "scope": "openid"}
        answer = plane.call("POST", "/ims/token/v3", params=query, data=form(plane, scope=None), headers={})
        assert payload(answer.json()["access_token"])["scope"] == "openid"

    def test_may_be_multipart(self, plane: ControlPlane) -> None:
        parts = {name: (None, value) for name, value in form(plane).items()}
        assert plane.call("POST", "/ims/token/v3", files=parts, headers={}).status_code == 200

    def test_may_be_json(self, plane: ControlPlane) -> None:
        assert plane.call("POST", "/ims/token/v3", json=form(plane), headers={}).status_code == 200

    def test_may_lack_a_content_type(self, plane: ControlPlane) -> None:
        text = "&".join(f"{name}={value}" for name, value in form(plane).items())
        assert plane.call("POST", "/ims/token/v3", content=text.encode(), headers={}).status_code == 200

    @pytest.mark.parametrize(
        "kind",
        ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"],
    )
    def test_a_body_that_cannot_be_read_counts_as_empty(self, plane: ControlPlane, kind: str) -> None:
        answer = plane.call("POST", "/ims/token/v3", content=b'--\xff{"', headers={"content-type": kind})
        assert answer.status_code == 400

    def test_a_huge_body_is_413(self, plane: ControlPlane) -> None:
        assert plane.call("POST", "/ims/token/v3", content=b"x" * 70_000, headers={}).status_code == 413


REFUSED = [
    ({"client_id": None}, "invalid_client", "invalid client_id parameter"),
    ({"client_id": "nobody"}, "invalid_client", "invalid client_id parameter"),
    ({"client_secret": None}, "invalid_client", "invalid client_secret parameter"),
    ({"client_secret": "p8e-wrong"}, "invalid_client", "invalid client_secret parameter"),
    ({"org_id": "F" * 24 + "@AdobeOrg"}, "invalid_client", "invalid client_id parameter"),
    ({"grant_type": None}, "invalid_request", "missing grant_type parameter"),
    ({"grant_type": "password"}, "unsupported_grant_type", "unsupported grant_type"),
    ({"grant_type": "authorization_code"}, "invalid_grant", "invalid authorization code"),
    ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant", "invalid authorization code"),
    ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant", "invalid authorization code"),
]


@pytest.mark.parametrize(("changed", "error", "description"), REFUSED)
def test_refusals_have_the_documented_body(
    plane: ControlPlane, changed: dict[str, str | None], error: str, description: str
) -> None:
    answer = plane.call("POST", "/ims/token/v3", data=form(plane, **changed), headers={})
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "error_description": description}


def test_a_forbidden_scope_is_refused_and_an_unknown_one_ignored(plane: ControlPlane) -> None:
    plane.clients.save(msgspec.structs.replace(plane.client, forbidden_scopes=("session",)))
    refused = plane.call("POST", "/ims/token/v3", data=form(plane), headers={})
    granted = plane.call("POST", "/ims/token/v3", data=form(plane, scope="openid,made_up"), headers={})
    assert refused.json()["error"] == "invalid_scope"
    assert payload(granted.json()["access_token"])["scope"] == "openid"


def test_a_documented_scope_that_is_not_the_clients_is_refused(plane: ControlPlane) -> None:
    plane.clients.save(msgspec.structs.replace(plane.client, scopes=("openid", "AdobeID")))
    refused = plane.call("POST", "/ims/token/v3", data=form(plane), headers={})
    assert (refused.status_code, refused.json()) == (400, {"error": "invalid_scope", "error_description": "invalid_scope"})
    for asked in ("openid, AdobeID", None):
        granted = plane.call("POST", "/ims/token/v3", data=form(plane, scope=asked), headers={})
        assert payload(granted.json()["access_token"])["scope"] == "AdobeID,openid"


def test_a_client_that_asks_too_often_is_told_when_to_ask_again(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, options=GatewayOptions(rate_limits={"ims": RateLimit(rate=0.5, burst=2)}))
    answers = [plane.call("POST", "/ims/token/v3", data=form(plane), headers={}) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[2].json() == {"error": "too_many_requests", "error_description": "request limit reached"}
    assert answers[2].headers["retry-after"] == "2"
    assert plane.call("POST", "/ims/token/v3", data=form(plane, client_id="other"), headers={}).status_code == 400
    plane.now_ms += 2000
    assert plane.call("POST", "/ims/token/v3", data=form(plane), headers={}).status_code == 200
    plane.close()


@pytest.mark.parametrize("path", ["/ims/authorize/v1", "/ims/authorize/v2"])
def test_browser_login_is_not_built(plane: ControlPlane, path: str) -> None:
    answer = plane.call("GET", path, headers={})
    assert (answer.status_code, answer.json()["error"]) == (501, "server_error")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/ims/token/v3", 405), ("GET", "/ims/nothing", 404)])
def test_unknown_paths_and_methods_have_a_body(plane: ControlPlane, method: str, path: str, status: int) -> None:
    answer = plane.call(method, path, headers={})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


class TestRevocation:
    def test_an_invalidated_token_is_refused_everywhere_and_for_good(self, plane: ControlPlane) -> None:
        token = plane.token()
        headers = plane.headers(authorization=f"Bearer {token}")
        assert plane.call("GET", SANDBOXES, headers=headers).status_code == 200
        body = {"token_type": "access_token", "token": token, "client_id": plane.client.client_id}
        body["client_secret"] = plane.secret
        answer = plane.call("POST", "/ims/invalidate_token/v2", data=body, headers={})
        assert (answer.status_code, answer.json()) == (200, {})
        assert plane.call("GET", SANDBOXES, headers=headers).json()["error_code"] == "401013"
        from control_plane import key_ring

        from capstream.aep.ims.model import Tokens

        assert Tokens(plane.documents, key_ring()).verify(token, START_MS) is None

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"client_secret": "wrong"}, "invalid_client"),
            ({"client_id": "nobody", "client_secret": ""}, "invalid_client"),
            ({"token": "nonsense"}, "invalid_token"),
        ],
    )
    def test_only_the_owner_can_revoke(self, plane: ControlPlane, changed: dict[str, str], error: str) -> None:
        token = plane.token()
        body = {"token": token, "client_id": plane.client.client_id, "client_secret": plane.secret} | changed
        answer = plane.call("POST", "/ims/invalidate_token/v2", data=body, headers={})
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert plane.tokens.verify(token, START_MS) is not None

    def test_revocations_of_expired_tokens_are_forgotten(self, plane: ControlPlane) -> None:
        first = plane.tokens.inspect(plane.token(), START_MS)[1]
        assert first is not None
        plane.tokens.revoke(first, START_MS)
        later = START_MS + plane.tokens.ttl_ms + 1
        plane.now_ms = later
        second = plane.tokens.inspect(plane.token(), later)[1]
        assert second is not None
        plane.tokens.revoke(second, later)
        assert [key for key, _ in plane.documents.scan("ims_revoked")] == [second.id]


class TestValidation:
    def test_a_good_token(self, plane: ControlPlane) -> None:
        token = plane.token()
        body = {"type": "access_token", "client_id": plane.client.client_id, "token": token}
        in_form = plane.call("POST", "/ims/validate_token/v1", data=body, headers={}).json()
        del body["token"]
        bearer = {"authorization": f"Bearer {token}"}
        in_header = plane.call("POST", "/ims/validate_token/v1", data=body, headers=bearer).json()
        assert in_form == in_header
        assert (in_form["valid"], in_form["expires_at"]) == (True, START_MS + 86_400_000)
        assert in_form["token"]["client_id"] == plane.client.client_id

    def test_a_bad_token_is_still_200(self, plane: ControlPlane) -> None:
        token = plane.token()
        plane.now_ms += 86_400_000
        expired = plane.call("POST", "/ims/validate_token/v1", data={"token": token}, headers={})
        unknown = plane.call("POST", "/ims/validate_token/v1", data={"token": token[:-3]}, headers={})
        assert (expired.status_code, expired.json()) == (200, {"valid": False, "reason": "expired"})
        assert (unknown.status_code, unknown.json()) == (200, {"valid": False, "reason": "bad_token"})


class TestSignedJwt:
    @pytest.fixture
    def key(self, plane: ControlPlane) -> rsa.RSAPrivateKey:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        plane.clients.save(msgspec.structs.replace(plane.client, jwt_keys=(pem.decode(),)))
        return key

    @staticmethod
    def claims(plane: ControlPlane, **changed: object) -> dict[str, object]:
        good = {
            "iss": ORG,
            "sub": plane.client.user_id,
            "exp": START_MS // 1000 + 3600,
            "aud": f"https://ims-na1.adobelogin.com/c/{plane.client.client_id}",
            "https://ims-na1.adobelogin.com/s/ent_dataservices_sdk": True,
        }
        return good | changed

    @pytest.mark.parametrize("path", ["/ims/exchange/jwt", "/ims/exchange/jwt/", "/ims/exchange/v1/jwt"])
    def test_earns_a_token(self, plane: ControlPlane, key: rsa.RSAPrivateKey, path: str) -> None:
        signed = jwt.encode(self.claims(plane), key, algorithm="RS256")
        body = form(plane, jwt_token=signed, grant_type=None, scope=None)
        answer = plane.call("POST", path, files={name: (None, value) for name, value in body.items()}, headers={})
        assert answer.json()["expires_in"] == 86_399_999
        assert plane.tokens.verify(answer.json()["access_token"], START_MS) is not None

    @pytest.mark.parametrize(
        "changed",
        [
            {"iss": "F" * 24 + "@AdobeOrg"},
            {"sub": "someone@techacct.adobe.com"},
            {"exp": START_MS // 1000},
            {"exp": START_MS // 1000 + 90_000},
            {"exp": "soon"},
            {"aud": "https://ims-na1.adobelogin.com/c/other"},
        ],
    )
    def test_wrong_claims_are_refused(self, plane: ControlPlane, key: rsa.RSAPrivateKey, changed: dict[str, object]) -> None:
        signed = jwt.encode(self.claims(plane, **changed), key, algorithm="RS256")
        answer = plane.call("POST", "/ims/exchange/jwt", data=form(plane, jwt_token=signed), headers={})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_token")

    def test_another_key_is_refused(self, plane: ControlPlane, key: rsa.RSAPrivateKey) -> None:
        from control_plane import signing_key

        signed = jwt.encode(self.claims(plane), signing_key(), algorithm="RS256")
        answer = plane.call("POST", "/ims/exchange/jwt", data=form(plane, jwt_token=signed), headers={})
        assert answer.json()["error"] == "invalid_token"

    def test_without_registered_keys_the_secret_is_the_proof(self, plane: ControlPlane) -> None:
        from control_plane import signing_key

        signed = jwt.encode(self.claims(plane), signing_key(), algorithm="RS256")
        good = plane.call("POST", "/ims/exchange/jwt", data=form(plane, jwt_token=signed), headers={})
        bad = plane.call("POST", "/ims/exchange/jwt", data=form(plane, jwt_token=signed, client_secret="x"), headers={})
        none = plane.call("POST", "/ims/exchange/jwt", data=form(plane, jwt_token="a.b.c"), headers={})
        assert good.status_code == 200
        assert bad.json()["error"] == "invalid_client"
        assert none.json()["error"] == "invalid_token"


def test_account_endpoints_read_the_bearer_token(plane: ControlPlane) -> None:
    bearer = {"authorization": f"Bearer {plane.token()}"}
    (organisation,) = plane.call("GET", "/ims/organizations/v6", headers=bearer).json()
    profile = plane.call("GET", "/ims/profile/v1", headers=bearer).json()
    info = plane.call("GET", "/ims/userinfo/v2", headers=bearer).json()
    assert organisation["orgRef"] == {"ident": ORG.partition("@")[0], "authSrc": "AdobeOrg"}
    assert organisation["orgName"] == "Demo Org"
    assert (profile["userId"], profile["ownerOrg"]) == (plane.client.user_id, ORG)
    assert info["sub"] == plane.client.user_id
    refused = plane.call("GET", "/ims/profile/v1", headers={})
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")


def test_the_published_key_verifies_tokens(plane: ControlPlane) -> None:
    (published,) = plane.call("GET", "/ims/keys", headers={}).json()["keys"]
    key = jwt.PyJWK(published).key
    assert jwt.decode(plane.token(), key, algorithms=["RS256"])["org"] == ORG
