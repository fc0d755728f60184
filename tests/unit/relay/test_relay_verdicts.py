"""What each documented answer of the inlet means. Source: streaming-ingestion.md 5, 6, 16."""

import json
from typing import Any

import pytest

from capstream.relay.answers import DELIVERED, Halve, Judged, Later, Pause, Rejected, TryAgain, Unauthorised
from capstream.relay.inlet import batch_url, body_size, request_body
from capstream.relay.verdicts import judge

OK = {"xactionId": "u-0"}


def batch(*elements: Any) -> bytes:
    return json.dumps({"inletId": "i", "batchId": "b", "receivedTimeMs": 1, "responses": list(elements)}).encode()


def problem(message: str, status: int = 400) -> bytes:
    return json.dumps({"type": "t", "status": status, "title": "T", "report": {"message": message}}).encode()


def failed(message: str, **status: Any) -> dict[str, Any]:
    return {"xactionId": "u-1", "message": message, **status}


def test_elements_of_a_207_are_judged_one_by_one() -> None:
    answer = judge(
        207,
        batch(
            OK,
            failed("bad", status=400, statusCode=400),
            failed("bad", statusCode=400),
            failed("bad", status="422"),
            failed("busy", status=429),
            failed("down", status=503),
            {"id": "x", "status": "success", "message": "Profile record ingested successfully"},
            {"id": "x", "status": "error", "message": "no"},
            {"xactionId": "u", "status": 200},
        ),
        records=9,
    )
    assert isinstance(answer, Judged)
    kinds = [type(verdict) for verdict in answer.verdicts]
    delivered = type(DELIVERED)
    assert kinds == [delivered, Rejected, Rejected, Rejected, Later, Later, delivered, Rejected, delivered]
    first = answer.verdicts[1]
    assert isinstance(first, Rejected)
    assert (first.status, first.reason) == (400, "bad")
    assert json.loads(first.body)["message"] == "bad"


@pytest.mark.parametrize(
    "message",
    [
        "inletId: [x] imsOrgId: [y] Message has an invalid flow id",
        "inletId: [x] imsOrgId: [y] Message has an invalid dataset id",
        "Flow id is missing for the raw inlet",
    ],
)
def test_flow_refusals_pause_and_settle_nobody(message: str) -> None:
    assert isinstance(judge(207, batch(OK, failed(message, status=400)), records=2), Pause)
    assert isinstance(judge(400, problem(message), records=2), Pause)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"x","status":"success","message":"Profile record ingested successfully"}',
        b'{"inletId":"i","xactionId":"1:2:3","receivedTimeMs":1}',
    ],
)
def test_success_without_elements_delivers_all(body: bytes) -> None:
    assert judge(200, body, records=3) == Judged([DELIVERED] * 3)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'"ok"', batch(OK), batch(OK, OK, OK), b'{"responses":{}}'])
def test_an_answer_that_says_nothing_about_the_records_is_repeated(body: bytes) -> None:
    assert isinstance(judge(207, body, records=2), TryAgain)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Halve),
        (401, Unauthorised),
        (403, Unauthorised),
        (404, Pause),
        (405, Pause),
        (408, TryAgain),
        (413, Halve),
        (415, Pause),
        (429, TryAgain),
        (500, TryAgain),
        (501, Pause),
        (502, TryAgain),
        (503, TryAgain),
        (504, TryAgain),
        (301, Pause),
    ],
)
@pytest.mark.parametrize("body", [b"", b"no json", problem("why")])
def test_statuses_of_whole_requests(status: int, kind: type, body: bytes) -> None:
    assert isinstance(judge(status, body, records=2, retry_after_s=3.0), kind)


def test_retry_after_and_reason_are_kept() -> None:
    assert judge(429, problem("slow down"), records=1, retry_after_s=7.0) == TryAgain("429: slow down", 7.0)
    answer = judge(400, problem("Message has unknown xdm format"), records=1)
    assert isinstance(answer, Halve)
    assert answer.alone.reason == "Message has unknown xdm format"
    assert "unknown xdm" in answer.alone.body


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://dcs.test/collection/9d41", "https://dcs.test/collection/batch/9d41"),
        ("https://dcs.test/collection/9d41/", "https://dcs.test/collection/batch/9d41"),
        ("https://dcs.test/collection/batch/9d41", "https://dcs.test/collection/batch/9d41"),
        ("https://p.test/data/foundation/import/collection/9d41", "https://p.test/data/foundation/import/collection/batch/9d41"),
    ],
)
def test_batch_form_of_the_inlet_url(url: str, expected: str) -> None:
    assert batch_url(url) == expected


@pytest.mark.parametrize("records", [[], [b"{}"], [b"{}", b'{"a":1}']])
def test_body_size_is_the_size_of_the_body(records: list[bytes]) -> None:
    assert body_size(records) == len(request_body(records))
    assert len(json.loads(request_body(records))["messages"]) == len(records)
