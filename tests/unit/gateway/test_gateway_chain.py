import gzip
import logging
from pathlib import Path
from typing import Any

import pytest
from control_plane import ORG, START_MS, ControlPlane

from capstream.aep.call import Operation
from capstream.aep.gateway import Gateway, GatewayOptions
from capstream.aep.limits import RateLimit

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
DATASETS = "/data/foundation/catalog/dataSets"

# In the documented order: each row mends what the row before complained about.
ORDER: list[tuple[dict[str, str | None], int, str, str]] = [
    ({"x_api_key": None, "authorization": None, "x_gw_ims_org_id": None}, 403, "403000", "Api Key is required"),
    ({"x_api_key": "unknown", "authorization": None, "x_gw_ims_org_id": None}, 403, "403003", "Api Key is invalid"),
    ({"authorization": None, "x_gw_ims_org_id": None}, 403, "403010", "Oauth token is missing."),
    ({"authorization": "Bearer nonsense", "x_gw_ims_org_id": None}, 401, "401013", "Oauth token is not valid"),
    ({"x_gw_ims_org_id": None}, 400, "400003", "Missing header"),
    ({"x_gw_ims_org_id": "demo"}, 403, "403027", "User region is missing"),
    ({"x_gw_ims_org_id": "F" * 24 + "@AdobeOrg"}, 403, "403025", "Profile is not valid"),
]


@pytest.mark.parametrize(("changed", "status", "code", "message"), ORDER, ids=[row[2] for row in ORDER])
def test_header_checks_come_in_the_documented_order(
    plane: ControlPlane, changed: dict[str, str | None], status: int, code: str, message: str
) -> None:
    answer = plane.call("GET", SANDBOXES, headers=plane.headers(**changed))
    assert answer.status_code == status
    assert answer.json() == {"error_code": code, "message": message}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_compared_without_case(plane: ControlPlane, scheme: str) -> None:
    headers = plane.headers(authorization=f"{scheme} {plane.token()}")
    assert plane.call("GET", SANDBOXES, headers=headers).status_code == 200


def test_the_interface_client_may_send_anybodys_token(plane: ControlPlane) -> None:
    assert plane.call("GET", SANDBOXES, headers=plane.headers(x_api_key="exc_app")).status_code == 200


def test_a_client_in_no_product_profile_has_no_region(plane: ControlPlane) -> None:
    import msgspec

    plane.clients.save(msgspec.structs.replace(plane.client, product_profiles=()))
    assert plane.call("GET", SANDBOXES).json()["error_code"] == "403027"


def test_an_expired_token_is_not_valid(plane: ControlPlane) -> None:
    headers = plane.headers()
    assert plane.call("GET", SANDBOXES, headers=headers).status_code == 200
    plane.now_ms += plane.tokens.ttl_ms
    assert plane.call("GET", SANDBOXES, headers=headers).json()["error_code"] == "401013"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/data/foundation/catalog/nothing", 404, {"type": "/placeholder/type/uri", "status": 404, "title": "NotFoundError"}),
        ("/data/foundation/sandbox-management/nothing", 404, {"status": 404}),
        ("/data/foundation/nothing", 404, {"error_code": "404000"}),
    ],
)
def test_an_unknown_path_answers_in_the_shape_of_its_service(
    plane: ControlPlane, path: str, status: int, body: dict[str, Any]
) -> None:
    answer = plane.call("GET", path)
    assert answer.status_code == status
    assert body.items() <= answer.json().items()


def test_outside_every_service_no_header_is_asked_for(plane: ControlPlane) -> None:
    assert plane.call("GET", "/favicon.ico", headers={}).status_code == 404
    assert plane.call("GET", "/data/foundation/nothing", headers={}).json()["error_code"] == "403000"


def test_a_wrong_method_names_the_right_ones(plane: ControlPlane) -> None:
    answer = plane.call("PUT", DATASETS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert "GET, POST" in answer.json()["detail"]


def test_an_operation_nobody_wrote_answers_501_by_name(plane: ControlPlane, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="capstream"):
        answer = plane.call("GET", "/data/foundation/query/queries")
    assert answer.status_code == 501
    assert answer.json() == {"message": "listQueries (query_service) is not implemented.", "statusCode": 501}
    facts = [record.facts for record in caplog.records]  # type: ignore[attr-defined]
    assert facts == [{"action": "operation_missing", "service": "query_service", "operation": "listQueries"}]


UNFINISHED = [
    ("GET", "/data/foundation/flowservice/flows", "status"),
    ("GET", "/data/core/ups/segment/definitions", "status"),
    ("POST", "/data/infrastructure/observability/insights/metrics", "status"),
    ("GET", "/data/infrastructure/observability/insights/metrics", "httpStatus"),
    ("GET", "/data/foundation/audit/events", "status"),
    ("GET", "/data/foundation/dulepolicy/labels/core", "status"),
    ("GET", "/data/core/privacy/jobs", "status"),
]


@pytest.mark.parametrize(("method", "path", "member"), UNFINISHED, ids=[row[1] for row in UNFINISHED])
def test_501_has_an_integer_status_in_every_shape(plane: ControlPlane, method: str, path: str, member: str) -> None:
    answer = plane.call(method, path)
    assert (answer.status_code, answer.json()[member]) == (501, 501)


@pytest.mark.parametrize(
    "path",
    [
        "/data/foundation/conversion/mappingSets/1",
        "/data/foundation/mappingSets/1",
        "/data/foundation/connectors/mappingSets/1",
        "/flowservice/mappingSets/1",
        "/data/foundation/connectors/landingzone",
    ],
)
def test_aliases_lead_to_the_same_operation(tmp_path: Path, path: str) -> None:
    rows = [
        ("data_prep", "/data/foundation/conversion/mappingSets/{id}"),
        ("flow_service", "/data/foundation/flowservice/mappingSets/{id}"),
        ("flow_service", "/data/foundation/connectors/landingzone"),
    ]
    served = [Operation(id=f"o{number}", service=row[0], method="GET", path=row[1]) for number, row in enumerate(rows)]
    plane = ControlPlane(tmp_path)
    options = GatewayOptions(operations=served)
    plane.gateway = Gateway({}, plane.tokens, plane.clients, plane.sandboxes, plane.clock, (), options)
    assert plane.call("GET", path).status_code == 501
    plane.close()


def test_too_many_calls_are_429_with_a_time_to_wait(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, options=GatewayOptions(rate_limits={"*": RateLimit(rate=0.5, burst=2)}))
    answers = [plane.call("GET", SANDBOXES) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == {"error_code": "429050", "message": "Too many requests"}
    assert answers[2].headers["retry-after"] == "2"
    assert plane.call("GET", DATASETS).status_code == 200  # another service, another bucket
    plane.now_ms += 2000
    assert [plane.call("GET", SANDBOXES).status_code for _ in range(2)] == [200, 429]
    plane.close()


def test_the_request_id_is_echoed_or_made(plane: ControlPlane) -> None:
    given = plane.call("GET", SANDBOXES, headers=plane.headers(x_request_id="trace-1"))
    made = plane.call("GET", SANDBOXES)
    assert given.headers["x-request-id"] == "trace-1"
    assert len(made.headers["x-request-id"]) == 32
    assert made.headers["x-request-id"].isalnum()


@pytest.mark.parametrize("path", [SANDBOXES, "/data/foundation/nothing", "/nothing"])
def test_errors_carry_the_request_id_too(plane: ControlPlane, path: str) -> None:
    answer = plane.call("GET", path, headers={"x-request-id": "trace-2"})
    assert answer.status_code in {403, 404}
    assert answer.headers["x-request-id"] == "trace-2"


class TestSandboxes:
    def test_without_a_header_the_default_one_is_used(self, plane: ControlPlane) -> None:
        created = plane.call("POST", DATASETS, json={"schemaRef": {"id": "https://ns.adobe.com/xdm/context/profile"}})
        listed = plane.call("GET", DATASETS, headers=plane.headers(x_sandbox_name=None))
        assert created.status_code == 201
        assert len(listed.json()) == 1

    def test_an_unknown_one_is_the_services_404(self, plane: ControlPlane) -> None:
        answer = plane.call("GET", "/data/foundation/flowservice/flows", headers=plane.headers(x_sandbox_name="nope"))
        assert answer.status_code == 404
        assert answer.json()["type"] == "https://ns.adobe.com/aep/errors/FLOW-2100-404"
        assert answer.json()["title"] == "Sandbox not found"

    def test_a_deleted_one_is_not_found(self, plane: ControlPlane) -> None:
        plane.call("POST", SANDBOXES, json={"name": "dev", "title": "Dev", "type": "development"})
        assert plane.call("GET", DATASETS, headers=plane.headers(x_sandbox_name="dev")).status_code == 200
        plane.call("DELETE", f"{SANDBOXES}/dev")
        assert plane.call("GET", DATASETS, headers=plane.headers(x_sandbox_name="dev")).status_code == 404

    def test_the_id_must_fit_the_name(self, plane: ControlPlane) -> None:
        fits = plane.headers(x_sandbox_id=plane.prod.id)
        other = plane.headers(x_sandbox_id="d537df80-c5d7-11e9-aafb-87c71c35cac8")
        assert plane.call("GET", DATASETS, headers=fits).status_code == 200
        assert plane.call("GET", DATASETS, headers=other).status_code == 404

    def test_an_id_alone_finds_only_the_callers_own(self, plane: ControlPlane) -> None:
        foreign = plane.sandboxes.ensure_default("F" * 24 + "@AdobeOrg", START_MS)
        mine = plane.headers(x_sandbox_name=None, x_sandbox_id=plane.prod.id)
        theirs = plane.headers(x_sandbox_name=None, x_sandbox_id=foreign.id)
        assert plane.call("GET", DATASETS, headers=mine).status_code == 200
        assert plane.call("GET", DATASETS, headers=theirs).status_code == 404

    def test_organisation_level_operations_ignore_the_header(self, plane: ControlPlane) -> None:
        assert plane.call("GET", SANDBOXES, headers=plane.headers(x_sandbox_name="nope")).status_code == 200


class TestBodies:
    def test_text_that_is_no_json_is_the_services_400(self, plane: ControlPlane) -> None:
        for text in (b"", b"{", b'"\xff"', b"[" * 100_000):
            answer = plane.call("POST", DATASETS, content=text)
            assert answer.status_code == 400
            assert answer.json()["title"] == "BadRequestError"
            assert "not valid JSON" in answer.json()["detail"]

    def test_gzip_bodies_are_unpacked(self, plane: ControlPlane) -> None:
        body = gzip.compress(b'{"name":"zipped","schemaRef":{"id":"https://ns.adobe.com/xdm/context/profile"}}', mtime=0)
        answer = plane.call("POST", DATASETS, content=body, headers=plane.headers(content_encoding="gzip"))
        assert answer.status_code == 201

    @pytest.mark.parametrize(
        ("encoding", "body", "status"),
        [
            ("gzip", b"no gzip", 400),
            ("gzip", gzip.compress(b"x" * 1000, mtime=0)[:-12], 400),
            ("br", b"anything", 400),
            ("gzip", gzip.compress(b" " * 50_000, mtime=0), 413),
        ],
    )
    def test_what_cannot_be_unpacked_is_refused(self, tmp_path: Path, encoding: str, body: bytes, status: int) -> None:
        plane = ControlPlane(tmp_path, options=GatewayOptions(body_limit=10_000))
        answer = plane.call("POST", DATASETS, content=body, headers=plane.headers(content_encoding=encoding))
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        plane.close()

    @pytest.mark.parametrize(("size", "status"), [(10_000, 400), (10_001, 413)])
    def test_a_body_over_the_limit_is_413(self, tmp_path: Path, size: int, status: int) -> None:
        plane = ControlPlane(tmp_path, options=GatewayOptions(body_limit=10_000))
        assert plane.call("POST", DATASETS, content=b"x" * size).status_code == status
        plane.close()

    def test_large_answers_are_packed_for_clients_that_take_it(self, plane: ControlPlane) -> None:
        path = "/data/foundation/access-control/acl/reference"
        packed = plane.call("GET", path, headers=plane.headers(accept_encoding="gzip"))
        plain = plane.call("GET", path, headers=plane.headers(accept_encoding="identity"))
        assert "content-encoding" not in plain.headers
        assert packed.json() == plain.json()

    def test_head_answers_like_get_without_a_body(self, plane: ControlPlane) -> None:
        answer = plane.call("HEAD", SANDBOXES)
        assert (answer.status_code, answer.content) == (200, b"")


class TestStrict:
    @pytest.fixture
    def strict(self, tmp_path: Path) -> ControlPlane:
        return ControlPlane(tmp_path, options=GatewayOptions(strict=True))

    def test_the_sandbox_header_is_required(self, strict: ControlPlane) -> None:
        answer = strict.call("GET", "/data/foundation/flowservice/flows", headers=strict.headers(x_sandbox_name=None))
        assert answer.json()["type"].endswith("FLOW-2105-400")
        strict.close()

    def test_the_key_must_be_the_tokens(self, strict: ControlPlane) -> None:
        answer = strict.call("GET", SANDBOXES, headers=strict.headers(x_api_key="exc_app"))
        assert answer.json()["error_code"] == "403025"
        strict.close()

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("application/json", 201), ("application/vnd.adobe.xed+json", 201), ("text/plain", 400), ("", 400)],
    )
    def test_a_body_needs_a_type(self, strict: ControlPlane, kind: str, status: int) -> None:
        body = b'{"schemaRef":{"id":"https://ns.adobe.com/xdm/context/profile"}}'
        answer = strict.call("POST", DATASETS, content=body, headers=strict.headers(content_type=kind))
        assert answer.status_code == status
        strict.close()


class TestPermissions:
    def test_a_user_token_is_checked_in_place_of_the_bearer(self, tmp_path: Path) -> None:
        asked: list[str] = []

        def permits(caller: Any, sandbox: Any, permission: str) -> bool:
            asked.append(caller.client_id)
            return True

        plane = ControlPlane(tmp_path, options=GatewayOptions(permits=permits))
        other, _ = plane.clients.create(ORG, name="other", now_ms=START_MS)
        foreign, _ = plane.clients.create("F" * 24 + "@AdobeOrg", name="foreign", now_ms=START_MS)
        good = plane.call("GET", DATASETS, headers=plane.headers(x_user_token=plane.token(other)))
        broken = plane.call("GET", DATASETS, headers=plane.headers(x_user_token="nonsense"))
        stranger = plane.call("GET", DATASETS, headers=plane.headers(x_user_token=plane.token(foreign)))
        assert [good.status_code, broken.status_code, stranger.status_code] == [200, 200, 403]
        assert asked == [other.client_id, plane.client.client_id]
        plane.close()

    def test_without_the_permission_the_service_refuses(self, tmp_path: Path) -> None:
        from capstream.aep.access_control.model import PRODUCTION_ACCESS, Roles, Subject

        plane = ControlPlane(tmp_path)
        roles = Roles(plane.documents)
        options = GatewayOptions(permits=roles.permits)
        handlers = plane._services()
        plane.gateway = Gateway(handlers, plane.tokens, plane.clients, plane.sandboxes, plane.clock, (), options)
        refused = plane.call("GET", DATASETS)
        assert refused.status_code == 403
        assert refused.json()["title"] == "ForbiddenError"
        assert "view-datasets" in refused.json()["detail"]
        (role,) = [role for role in roles.all(ORG) if role.name == PRODUCTION_ACCESS]
        roles.give(role, Subject(type="api-integration", id=plane.client.client_id), START_MS)
        assert plane.call("GET", DATASETS).status_code == 200
        assert plane.call("GET", SANDBOXES).status_code == 403  # sandbox administration is another role
        plane.close()


@pytest.mark.parametrize(("name", "sent"), [("mine", "mine"), ("%E4%BD%A0", "%E4%BD%A0"), ("a%0D%0Ab", "a%0D%0Ab")])
def test_an_id_a_client_has_chosen_never_breaks_a_header(plane: ControlPlane, name: str, sent: str) -> None:
    answer = plane.call("POST", f"/data/foundation/catalog/batches/{name}", json={"status": "success"})
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/batches/{sent}")
