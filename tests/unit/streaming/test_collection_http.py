"""The HTTP edge of the collection endpoints. Source: streaming-ingestion.md 1, 2, 4-7, 12, 17."""

import asyncio
import gzip
import hmac
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from collection_plane import BASE, EVENT, FLOW, ORG, PROFILE, RAW, START_MS, XDM, CollectionPlane, message_of

from capstream.aep.flow_service.model import Route
from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteLog

RECORD = {"memberId": "M-0001"}
LIMIT = 1_048_576
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "path",
    [
        f"/collection/{RAW}",
        f"/collection/{RAW}/",
        f"/collection//{RAW}",
        f"/data/foundation/import/collection/{RAW}",
        f"/collection/{BASE}",
    ],
)
def test_every_way_to_a_single_endpoint(plane: CollectionPlane, path: str) -> None:
    answer = plane.send(path, RECORD)
    assert answer.status_code == 200
    assert answer.json()["inletId"] == RAW


@pytest.mark.parametrize(
    "path",
    [
        f"/collection/batch/{RAW}",
        f"/collection/batch/{RAW}/",
        f"/collection/batch/batch/{RAW}",
        f"/data/foundation/import/collection/batch/{RAW}",
    ],
)
def test_every_way_to_a_batch_endpoint(plane: CollectionPlane, path: str) -> None:
    answer = plane.send(path, {"messages": [RECORD, RECORD]})
    assert answer.status_code == 207
    assert len(answer.json()["responses"]) == 2


@pytest.mark.parametrize("path", [f"/collection/{'0' * 64}", "/collection/batch", "/collection/a/b", "/collection/"])
def test_unknown_inlets(plane: CollectionPlane, path: str) -> None:
    answer = plane.send(path, RECORD)
    assert answer.status_code == 404
    assert answer.json()["title"] == "Inlet not found"
    assert message_of(answer)


def test_a_disabled_inlet_is_not_found(plane: CollectionPlane) -> None:
    plane.change_inlet(plane.raw, enabled=False)
    assert plane.send(f"/collection/{RAW}", RECORD).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods(plane: CollectionPlane, method: str) -> None:
    answer = plane.send(f"/collection/{RAW}", method=method)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert message_of(answer)
    assert plane.send(f"/collection/{RAW}", method="HEAD").status_code == 405


def test_preflight(plane: CollectionPlane) -> None:
    wanted = {"origin": "https://shop.example.com", "access-control-request-headers": "content-type,x-adobe-flow-id"}
    answer = plane.send(f"/collection/{RAW}", method="OPTIONS", headers=wanted)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "content-type,x-adobe-flow-id"
    assert plane.send(f"/collection/{RAW}", RECORD, headers=wanted).headers["access-control-allow-origin"] == "*"
    refused = plane.send(f"/collection/{RAW}", [], headers=wanted)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "*")
    plane.change_inlet(plane.raw, authentication_required=True)
    assert "access-control-allow-origin" not in plane.send(f"/collection/{RAW}", method="OPTIONS", headers=wanted).headers


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_media_types_that_are_taken(plane: CollectionPlane, media: str) -> None:
    assert plane.send(f"/collection/{RAW}", content=b"{}", headers={"content-type": media}).status_code == 200


@pytest.mark.parametrize("media", ["text/plain", "application/x-jackson-smile", "application/xml", ""])
def test_media_types_that_are_not(plane: CollectionPlane, media: str) -> None:
    answer = plane.send(f"/collection/{RAW}", content=b"{}", headers={"content-type": media})
    assert answer.status_code == 415
    assert message_of(answer)


def sized(size: int) -> bytes:
    head, tail = b'{"note":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_the_size_limit_of_the_received_body(plane: CollectionPlane) -> None:
    assert plane.send(f"/collection/{RAW}", content=sized(LIMIT), headers=JSON).status_code == 200
    answer = plane.send(f"/collection/{RAW}", content=sized(LIMIT + 1), headers=JSON)
    assert answer.status_code == 413
    assert message_of(answer)
    assert answer.json()["title"] == "Payload Too Large"


def test_gzip_and_its_limit(plane: CollectionPlane) -> None:
    packed = JSON | {"content-encoding": "gzip"}
    assert plane.send(f"/collection/{RAW}", content=gzip.compress(sized(LIMIT)), headers=packed).status_code == 200
    assert len(plane.stored()[0].message) == LIMIT
    assert plane.send(f"/collection/{RAW}", content=gzip.compress(sized(LIMIT + 1)), headers=packed).status_code == 413
    assert plane.send(f"/collection/{RAW}", content=b"{}", headers=packed).status_code == 400
    assert plane.send(f"/collection/{RAW}", content=gzip.compress(b"{}")[:-3], headers=packed).status_code == 400
    assert plane.send(f"/collection/{RAW}", content=b"{}", headers=JSON | {"content-encoding": "br"}).status_code == 415


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":\xff}', b'{"a":"\xff"}', b'{"messages":[{}]}x', b"nul"])
def test_malformed_json(plane: CollectionPlane, body: bytes) -> None:
    for path in (f"/collection/{RAW}", f"/collection/batch/{RAW}"):
        answer = plane.send(path, content=body, headers=JSON)
        assert answer.status_code == 400
        assert "Invalid XDM Message Format" in message_of(answer)
    assert plane.stored() == []


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": {}}, {"messages": None}, [], {"message": [{}]}])
def test_a_batch_without_messages(plane: CollectionPlane, body: Any) -> None:
    answer = plane.send(f"/collection/batch/{RAW}", body)
    assert answer.status_code == 400
    assert "The 'messages' field is mandatory" in message_of(answer)


def test_an_authenticated_inlet(plane: CollectionPlane) -> None:
    plane.change_inlet(plane.raw, authentication_required=True)
    empty = plane.send(f"/collection/{RAW}", RECORD)
    assert empty.status_code == 401
    assert empty.json() == {
        "type": "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization",
        "status": "401",
        "title": "Authorization",
        "report": {"message": "[id] Ims service token is empty"},
    }
    for sent in ("Bearer", "Bearer ", "Basic abc"):
        assert plane.send(f"/collection/{RAW}", RECORD, headers={"authorization": sent}).json() == empty.json()
    invalid = plane.send(f"/collection/batch/{RAW}", {"messages": [RECORD]}, headers={"authorization": "Bearer bad"})
    assert (invalid.status_code, invalid.json()["status"]) == (401, "401")
    assert invalid.json()["report"]["message"] == "[id] Ims service token is not valid"
    foreign = plane.send(f"/collection/{RAW}", RECORD, headers={"authorization": "Bearer foreign"})
    assert foreign.status_code == 403
    assert foreign.json()["title"] == "Forbidden"
    good = {"authorization": "bearer good", "x-gw-ims-org-id": ORG, "x-api-key": "anything"}
    assert plane.send(f"/collection/{RAW}", RECORD, headers=good).status_code == 200
    assert plane.send(f"/collection/{RAW}", RECORD, headers=good | {"x-gw-ims-org-id": "x"}).status_code == 403
    (stored,) = plane.stored()
    assert stored.authenticated


def test_a_token_on_an_open_inlet_is_ignored(plane: CollectionPlane) -> None:
    """aepp always sends one."""
    assert plane.send(f"/collection/{RAW}", RECORD, headers={"authorization": "Bearer bad"}).status_code == 200
    assert not plane.stored()[0].authenticated


def test_a_signed_inlet(plane: CollectionPlane) -> None:
    plane.change_inlet(plane.raw, hmac_secret="sealed:s3cret")
    body = b'{"a":1}'
    signature = hmac.new(b"s3cret", body, sha256).hexdigest()
    assert plane.send(f"/collection/{RAW}", content=body, headers=JSON | {"x-hmac-sha256": signature}).status_code == 200
    for wrong in (JSON, JSON | {"x-hmac-sha256": signature[:-1] + "g"}):
        assert plane.send(f"/collection/{RAW}", content=body, headers=wrong).status_code == 401


def test_the_request_id_is_echoed(plane: CollectionPlane) -> None:
    headers = {"x-request-id": "abc-1"}
    assert plane.send(f"/collection/{RAW}", RECORD, headers=headers).headers["x-request-id"] == "abc-1"
    assert plane.send("/collection/none", RECORD, headers=headers).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("parameter", ["syncValidation", "synchronousValidation"])
@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_synchronous_validation(plane: CollectionPlane, parameter: str, value: str) -> None:
    query = {parameter: value, "x-adobe-flow-id": FLOW}
    good = plane.send(f"/collection/{RAW}", RECORD, params=query)
    assert good.status_code == 200
    assert good.json()["syncValidation"] == {"status": "pass"}
    bad = plane.send(f"/collection/{RAW}", {"nickname": "x", "_id": 5}, params=query)
    assert bad.status_code == 400
    assert message_of(bad) == f"inletId: [{RAW}] imsOrgId: [{ORG}] Message is invalid"
    (cause,) = bad.json()["report"]["cause"]["_streamingValidation"]
    assert (cause["message"], cause["schemaLocation"]) == ("2 schema violations found", "#")
    assert cause["causingExceptions"] == [
        {
            "schemaLocation": "#",
            "pointerToViolation": "#",
            "causingExceptions": [],
            "keyword": "additionalProperties",
            "message": "extraneous key [nickname] is not permitted",
            "hint": "leave the member out",
        },
        {
            "schemaLocation": "#/properties/_id",
            "pointerToViolation": "#/_id",
            "causingExceptions": [],
            "keyword": "type",
            "message": "expected type: String, found: Long",
        },
    ]
    assert len(plane.stored()) == 1  # what fails is dropped, not kept


def test_one_violation_stands_for_itself(plane: CollectionPlane) -> None:
    answer = plane.send(f"/collection/{RAW}?syncValidation=True", {"nickname": "x"})
    (cause,) = answer.json()["report"]["cause"]["_streamingValidation"]
    assert cause["keyword"] == "additionalProperties"


def test_synchronous_validation_looks_at_the_record_of_each_form(plane: CollectionPlane) -> None:
    envelope = plane.envelope()
    envelope["body"]["xdmEntity"]["nickname"] = "x"
    assert plane.send(f"/collection/{XDM}?syncValidation=true", envelope).status_code == 400
    wrapped = {"header": {"flowId": FLOW}, "body": {"nickname": "x"}}
    assert plane.send(f"/collection/{RAW}?syncValidation=true", wrapped).status_code == 400
    assert plane.send(f"/collection/{RAW}?syncValidation=False", wrapped).status_code == 200


def test_the_validator_learns_where_a_record_goes(tmp_path: Path) -> None:
    seen: list[Route] = []

    def remember(route: Route, record: Any) -> list[Any]:
        seen.append(route)
        return []

    plane = CollectionPlane(tmp_path, validate=remember)
    plane.send(f"/collection/{XDM}?syncValidation=true", plane.envelope(plane.events, schema=EVENT))
    plane.send(f"/collection/{RAW}?syncValidation=true", RECORD)
    assert [(each.flow_id, each.dataset_id, each.schema_id, each.mapping_id) for each in seen] == [
        ("", plane.events, EVENT, ""),
        (FLOW, plane.profiles, PROFILE, "m0"),
    ]
    plane.close()


def test_a_batch_ignores_synchronous_validation(plane: CollectionPlane) -> None:
    answer = plane.send(f"/collection/batch/{RAW}?syncValidation=True", {"messages": [{"nickname": "x"}]})
    assert answer.status_code == 207
    assert "status" not in answer.json()["responses"][0]


def test_sixty_synchronous_validations_a_minute(plane: CollectionPlane) -> None:
    path = f"/collection/{RAW}?syncValidation=true"
    for _ in range(60):
        plane.now_ms += 100
        assert plane.send(path, RECORD).status_code == 200
    refused = plane.send(path, RECORD)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "55"
    assert message_of(refused)
    assert plane.send(f"/collection/{RAW}", RECORD).status_code == 200
    assert plane.send(f"/collection/{XDM}?syncValidation=true", plane.envelope()).status_code == 200
    plane.now_ms = START_MS + 60_100
    assert plane.send(path, RECORD).status_code == 200
    assert plane.send(path, RECORD).status_code == 429


class FullLog(SqliteLog):
    """A log whose disk is full."""

    def append(self, records: Any, *, keys: Any = ()) -> int:
        raise StorageUnavailable("disk full")


def test_no_success_without_durability(tmp_path: Path) -> None:
    full = FullLog(tmp_path / "full.db")
    plane = CollectionPlane(tmp_path, log=full)
    for path, body in ((f"/collection/{RAW}", RECORD), (f"/collection/batch/{RAW}", {"messages": [RECORD]})):
        answer = plane.send(path, body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert message_of(answer)
    counts = plane.app.metrics()[RAW]
    assert (counts.received, counts.success, counts.failure) == (2, 0, 2)
    full.close()
    plane.close()


def test_an_answer_means_that_another_reader_finds_the_message(plane: CollectionPlane, tmp_path: Path) -> None:
    reader = SqliteLog(tmp_path / "inlet.db", readonly=True)
    requests: list[tuple[str, Any]] = [(f"/collection/{RAW}", {"n": index}) for index in range(20)]
    requests.append((f"/collection/batch/{RAW}", {"messages": [{"n": 20}, {"n": 21}]}))
    answers = plane.send_all(requests)
    assert {answer.status_code for answer in answers} == {200, 207}
    assert reader.end() == 22
    ids = [each.xaction_id for each in plane.stored()]
    assert len(set(ids)) == 22
    singles = {answer.json()["xactionId"] for answer in answers[:20]}
    assert singles <= set(ids)
    reader.close()


def test_messages_of_one_request_keep_their_order(plane: CollectionPlane) -> None:
    plane.send(f"/collection/batch/{RAW}", {"messages": [{"n": index} for index in range(50)]})
    assert [each.message for each in plane.stored()] == [b'{"n":%d}' % index for index in range(50)]


@pytest.mark.parametrize("status", [503, 500])
def test_back_pressure(tmp_path: Path, status: int) -> None:
    plane = CollectionPlane(tmp_path, backlog_limit=10, overload_status=status)
    plane.backlog = 11
    answer = plane.send(f"/collection/{RAW}", RECORD)
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "5"
    assert message_of(answer)
    plane.backlog = 10
    plane.now_ms += 100
    assert plane.send(f"/collection/{RAW}", RECORD).status_code == 200
    plane.close()


def test_a_defect_still_gives_a_body(tmp_path: Path) -> None:
    def broken() -> int:
        raise RuntimeError("defect")

    plane = CollectionPlane(tmp_path, backlog=broken)
    answer = plane.send(f"/collection/{RAW}", RECORD)
    assert answer.status_code == 500
    assert "defect" not in message_of(answer)
    plane.close()


def test_a_sender_that_leaves_before_its_request_is_whole_is_not_stored(plane: CollectionPlane) -> None:
    received = iter([{"type": "http.request", "body": b'{"a":1}', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(received)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": f"/collection/{RAW}",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(plane.app(scope, receive, send))
    assert sent == []
    assert plane.stored() == []
