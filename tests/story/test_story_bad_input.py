"""Bad input gets its documented answer, is kept where a person can see it, and leaves the system running."""

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Server, eventually

from capstream.kernel.json import dumps, loads

pytestmark = pytest.mark.story
EXAMPLES = Path(__file__).parents[2] / "cases" / "capillary-events"


def example(name: str, **changes: Any) -> dict[str, Any]:
    return loads((EXAMPLES / f"{name}.json").read_bytes()) | changes  # type: ignore[no-any-return]


@pytest.fixture
def connection(server: Server) -> dict[str, Any]:
    return server.run("connect", "capillary", "--json")  # type: ignore[no-any-return]


def hook(connection: dict[str, Any], content: bytes, **headers: str) -> httpx.Response:
    return httpx.post(connection["webhook_url"], headers=connection["webhook_headers"] | headers, content=content)


def still_works(server: Server, connection: dict[str, Any]) -> None:
    """A good event still goes the whole way."""
    assert hook(connection, dumps(example("customerAdded", eventId=os.urandom(8).hex()))).json()["status"] == "accepted"
    assert server.drained()["balanced"]
    shown = server.run("profile", "show", "--id", "member-0001@example.com", "--json")
    assert shown["profile"]["entity"]["loyalty"]["status"] == "active"


def test_unreadable_webhooks_are_accepted_kept_and_replayable(server: Server, connection: dict[str, Any]) -> None:
    issued = example("pointsIssued")["data"]
    bodies = {
        "INVALID_BODY": [
            b'{"eventName":',
            b"",
            b"not json",
            b"\xff\xfe",
            b"[1, 2",
            b'{"eventName": "pointsIssued", "data": NaN}',
            dumps(example("pointsIssued", eventName="", eventId="e-noname")),
        ],
        "UNKNOWN_EVENT": [dumps(example("pointsIssued", eventName="somethingNew", eventId="e-new"))],
        "UNMAPPED_EVENT": [dumps(example("pointsIssued", eventName="cardUpdated", eventId="e-card"))],
        "NO_IDENTITY": [dumps(example("pointsIssued", eventId="e-nobody", data={"totalPointsIssued": 1}))],
        "INVALID_FIELD": [
            dumps(example("pointsIssued", eventId="e-field", data=issued | {"programCurrentPoints": "many"})),
        ],
    }
    for each in [body for group in bodies.values() for body in group]:
        answer = hook(connection, each)
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted"), each
    status = server.drained()
    books = status["sources"]["capillary"]
    assert status["balanced"]
    assert books["received"] == sum(len(group) for group in bodies.values())
    assert books["deadLettered"] + books["skipped"] == books["received"], books
    assert books["deadByClass"]["INVALID_BODY"] == len(bodies["INVALID_BODY"])
    letters = server.run("dead-letters", "list", "--json")
    assert {letter["class"] for letter in letters} >= {"INVALID_BODY", "NO_IDENTITY", "INVALID_FIELD"}
    assert all(letter["reason"] for letter in letters)
    field = next(letter for letter in letters if letter["class"] == "INVALID_FIELD")
    assert field["pointer"].endswith("/programCurrentPoints")
    still_works(server, connection)


def test_the_receivers_refusals(server: Server, connection: dict[str, Any]) -> None:
    good = dumps(example("customerAdded"))
    assert httpx.post(connection["webhook_url"], content=good).status_code == 401
    assert httpx.post(connection["webhook_url"], headers={"Authorization": "Bearer wrong"}, content=good).status_code == 401
    assert httpx.post(connection["webhook_url"] + "x", headers=connection["webhook_headers"], content=good).status_code == 404
    assert httpx.delete(connection["webhook_url"], headers=connection["webhook_headers"]).status_code == 405
    assert hook(connection, b"x" * (10 * 1024 * 1024 + 1)).status_code == 413
    assert hook(connection, gzip.compress(good), **{"content-encoding": "gzip"}).json()["status"] == "accepted"
    assert hook(connection, good).json()["status"] == "duplicate"
    changed = dumps(example("customerAdded", data=example("customerAdded")["data"] | {"firstName": "changed"}))
    assert hook(connection, changed).json()["status"] == "accepted"
    server.drained()
    classes = {letter["class"] for letter in server.run("dead-letters", "list", "--json")}
    assert classes == {"TOO_LARGE", "CONFLICTING_DUPLICATE"}
    still_works(server, connection)


def test_the_platforms_refusals_and_rejects(server: Server, connection: dict[str, Any]) -> None:
    with server.client() as client:
        token = client._access_token()
    headers = {"authorization": f"Bearer {token}", "x-adobe-flow-id": connection["event_flow_id"]}
    url = connection["inlet_url"]

    def post(content: bytes, to: str = url, **more: str) -> httpx.Response:
        return httpx.post(to, headers={"content-type": "application/json"} | headers | more, content=content)

    assert post(b"{").status_code == 400
    assert post(b"{}", to=url[:-4] + "0000").status_code == 404
    assert post(b"{}", authorization="Bearer x").status_code == 401
    assert post(b"{}", **{"x-sandbox-name": "dev"}).status_code == 400
    assert post(b"{}", **{"content-type": "text/plain"}).status_code == 415
    assert post(b'{"a":"' + b"x" * 1_048_576 + b'"}').status_code == 413
    assert post(b"{}", **{"x-adobe-flow-id": "0a1b2c3d-1111-4222-8333-444455556666"}).status_code == 400
    for answer in (post(b"{"), post(b"{}", authorization="Bearer x")):
        assert answer.json()["report"]["message"]
    wrong = {"_id": "bad-1", "eventType": "commerce.purchases"}
    assert post(dumps(wrong)).status_code == 200
    server.drained()
    rejected = server.run("rejected", "list", "--json")
    assert [(record["id"], record["reasons"][0]["field"]) for record in rejected] == [("bad-1", "#")]
    assert rejected[0]["reasons"][0]["reason"] == "required key [timestamp] not found"
    assert rejected[0]["reasons"][0]["hint"] == "send timestamp (date-time), or map something to it"
    still_works(server, connection)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    """With back-pressure by free space switched off, the disk really fills: 503, nothing acknowledged is lost, and it goes on."""
    server = Server(small_disk / "data", {"CAPSTREAM_RELAY_MIN_FREE_BYTES": "0"}).start()
    try:
        connection = server.run("connect", "capillary", "--json")
        ballast = small_disk / "ballast"
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(b"\0" * max(free - 600_000, 0))
        answers = [hook(connection, dumps(example("customerAdded", eventId=f"f-{i}")) + b" " * 40_000) for i in range(60)]
        refused = [answer for answer in answers if answer.status_code == 503]
        accepted = [answer for answer in answers if answer.status_code == 200]
        assert refused, "the disk never filled"
        assert len(refused) + len(accepted) == 60
        ballast.unlink()
        eventually(lambda: hook(connection, dumps(example("customerAdded", eventId="after"))).status_code == 200, what="recovery")
        books = server.drained()["sources"]["capillary"]
        assert books["received"] == len(accepted) + 1 + books["duplicates"]
        assert books["processed"] + books["skipped"] + books["deadLettered"] + books["duplicates"] == books["received"]
        still_works(server, connection)
    finally:
        server.stop()


def test_too_little_free_space_is_back_pressure(make_server: Callable[..., Server]) -> None:
    server = make_server(CAPSTREAM_RELAY_MIN_FREE_BYTES=str(1 << 60))
    answer = hook(server.run("connect", "capillary", "--json"), dumps(example("customerAdded")))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")


def test_the_clock_may_jump(tmp_path: Path) -> None:
    """The clock a day back and a day ahead between runs on the same data: nothing is lost, repeated or stuck."""
    sent = 0
    for offset_s in (0, -86_400, 86_400, 0):
        server = Server(tmp_path / "data", {"CAPSTREAM_SERVER_CLOCK_OFFSET_S": str(offset_s)}).start()
        try:
            connection = server.run("connect", "capillary", "--json")
            still_works(server, connection)
            sent += 1
            books = server.drained()["sources"]["capillary"]
            assert (books["received"], books["processed"]) == (sent, sent)
        finally:
            server.stop()
