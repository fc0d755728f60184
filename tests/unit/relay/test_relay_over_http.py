"""What the webhook endpoint answers over a real connection, line by line as capillary.md 1.6 has it."""

import asyncio
import base64
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from running import free_port

from capstream.own_api import mounted
from capstream.relay.back_pressure import Gate, HighWater
from capstream.relay.journal import Flag, decode
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.sources import Sources
from capstream.serving.port import asgi_webhooks, serve
from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteLog

LIMIT = 200_000
BEARER = {"authorization": "Bearer webhook-secret"}
BASIC = {"authorization": "Basic " + base64.b64encode(b"hook:pass").decode()}
OPEN = Gate(lambda: 0, lambda: 10**12)
FULL = Gate(lambda: 11, lambda: 10**12, HighWater(backlog=10, free_bytes=1))
NO_DISK = Gate(lambda: 0, lambda: 5, HighWater(backlog=10, free_bytes=10))
HOOK = "/webhooks/capillary/nw"

Story = Callable[[httpx.AsyncClient], Awaitable[None]]


class FullDisk(SqliteLog):
    """A journal whose disk is full."""

    def append(self, records: Any, *, keys: Any = ()) -> int:
        raise StorageUnavailable("database or disk is full")


@pytest.fixture
def over_http(journal: SqliteLog, sources: Sources, clock: Any) -> Callable[..., None]:
    """Serves the receiver on a port and lets a story talk to it, on webhook connections and on ones that ASGI serves."""

    def run(story: Story, *, gate: Gate = OPEN, log: SqliteLog | None = None) -> None:
        async def main() -> None:
            receiver = Receiver(log or journal, sources, clock=clock, gate=gate, limits=ReceiverLimits(body_bytes=LIMIT))
            stop, ready, port = asyncio.Event(), asyncio.Event(), free_port()
            app = mounted([("/webhooks", asgi_webhooks(receiver.handle, LIMIT))])
            options = {"host": "127.0.0.1", "port": port, "body_limit": LIMIT, "stop": stop, "ready": ready.set}
            serving = asyncio.create_task(serve(app, receiver.handle, **options))
            await ready.wait()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await story(client)
            stop.set()
            await serving

        asyncio.run(main())

    return run


def bodies(journal: SqliteLog) -> list[tuple[int, bytes]]:
    return [(decode(record).flags, decode(record).body) for _, record in journal.read(0, 100)]


@pytest.mark.parametrize("by_asgi", [False, True], ids=["thin", "asgi"])
def test_every_answer_of_the_contract(
    over_http: Any, journal: SqliteLog, sources: Sources, make_event: Any, by_asgi: bool
) -> None:
    ims = {"url": "https://ims.test", "clientId": "c", "clientSecret": "s"}
    sources.put("eu", {"orgId": "o", "auth": {"form": "basic", "secrets": ["hook:pass"], "failureStatus": 503}, "ims": ims})
    sources.put(
        "us", {"orgId": "o", "auth": {"form": "header", "header": "X-Key", "secrets": ["k"]}, "ims": ims, "bodyBytes": 900}
    )
    large = b'{"a":"' + b"x" * LIMIT + b'"}'
    table: list[tuple[str, str, dict[str, str], bytes, int, str | None]] = [
        ("POST", HOOK, BEARER, make_event(1), 200, "accepted"),
        ("PUT", HOOK, BEARER, make_event(2), 200, "accepted"),
        ("POST", HOOK, BEARER, make_event(1), 200, "duplicate"),
        ("POST", HOOK, BEARER | {"content-encoding": "gzip"}, gzip.compress(make_event(3)), 200, "accepted"),
        ("POST", HOOK, BEARER | {"content-encoding": "br"}, b"\x1b\x1f\x00\xf8", 200, "accepted"),
        ("POST", HOOK, BEARER, b"not json", 200, "accepted"),
        ("POST", HOOK, BEARER, b"", 200, "accepted"),
        ("POST", HOOK, BEARER, b"[1, 2]", 200, "accepted"),
        ("POST", HOOK, BEARER, b"[" * 5000, 200, "accepted"),
        ("POST", HOOK, BEARER, b"[" + b'{"a":' * 700, 200, "accepted"),
        ("POST", HOOK, BEARER, make_event(4, name="pointsIsued"), 200, "accepted"),
        ("POST", HOOK, BEARER, make_event(5, customerIdentifiers={}), 200, "accepted"),
        ("POST", HOOK, BEARER | {"content-type": "text/plain"}, make_event(6), 200, "accepted"),
        ("POST", HOOK, {}, make_event(7), 401, "unauthenticated"),
        ("POST", HOOK, {"authorization": "Bearer wrong"}, make_event(7), 401, "unauthenticated"),
        ("POST", "/webhooks/capillary/eu", {}, make_event(8), 503, "unauthenticated"),
        ("POST", "/webhooks/capillary/eu", BASIC, make_event(8), 200, "accepted"),
        ("POST", "/webhooks/capillary/us", {"x-key": "k"}, make_event(9), 200, "accepted"),
        ("POST", "/webhooks/capillary/us", {"x-key": "k"}, make_event(10, note="x" * 900), 413, "too_large"),
        ("POST", "/webhooks/capillary/nobody", BEARER, make_event(11), 404, "unknown"),
        ("POST", HOOK, BEARER, large, 413, "too_large"),
        ("GET", HOOK, BEARER, b"", 405, "method_not_allowed"),
        ("DELETE", HOOK, BEARER, b"", 405, "method_not_allowed"),
        ("GET", f"{HOOK}/health", {}, b"", 200, "ok"),
    ]

    async def story(client: httpx.AsyncClient) -> None:
        if by_asgi:
            assert (await client.get("/elsewhere")).status_code == 404
        for method, path, headers, body, status, word in table:
            answer = await client.request(method, path, headers=headers, content=body)
            assert (answer.status_code, answer.json()["status"]) == (status, word), (method, path, body[:40])

    over_http(story)
    kept = bodies(journal)
    assert [body for flags, body in kept if flags & Flag.TOO_LARGE] == [make_event(10, note="x" * 900), large[: 64 * 1024]]
    assert {json.loads(body)["eventId"] for flags, body in kept if not flags and body[:1] == b"{"} == {
        f"event-{number}" for number in (1, 2, 3, 4, 5, 6, 8, 9)
    }


def test_the_answer_to_a_new_event(over_http: Any, make_event: Any) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post(HOOK, headers=BEARER, content=make_event(1))
        assert answer.json() == {"status": "accepted", "eventId": "event-1", "journalOffset": 1}
        assert answer.headers["content-type"] == "application/json"

    over_http(story)


@pytest.mark.parametrize("gate", [FULL, NO_DISK], ids=["backlog", "disk"])
def test_back_pressure(over_http: Any, make_event: Any, journal: SqliteLog, gate: Gate) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post(HOOK, headers=BEARER, content=make_event(1))
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["status"]) == (429, "5", "busy")
        assert (await client.get(f"{HOOK}/health")).json() == {"status": "busy"}

    over_http(story, gate=gate)
    assert journal.end() == 0


def test_a_journal_that_cannot_be_written(over_http: Any, make_event: Any, tmp_path: Any) -> None:
    log = FullDisk(tmp_path / "full.db")

    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post(HOOK, headers=BEARER, content=make_event(1))
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")

    over_http(story, log=log)
    log.close()


def test_a_rotation_has_no_gap(over_http: Any, sources: Sources, make_event: Any, clock: Any) -> None:
    async def statuses(client: httpx.AsyncClient, number: int, *given: str) -> list[int]:
        clock.advance(2)
        posts = [client.post(HOOK, headers={"authorization": f"Bearer {each}"}, content=make_event(number)) for each in given]
        return [(await each).status_code for each in posts]

    async def story(client: httpx.AsyncClient) -> None:
        _, new = sources.rotate("nw")
        assert await statuses(client, 1, "webhook-secret", new, "other") == [200, 200, 401]
        _, newer = sources.rotate("nw")
        assert await statuses(client, 2, "webhook-secret", new, newer) == [401, 200, 200]
        sources.retire("nw")
        assert await statuses(client, 3, new, newer) == [401, 200]

    over_http(story)
