"""Enrichment: the courier never waits long, held events come later, modes decide what happens without an answer."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import FakeEdge

from capstream.relay import dead_letters
from capstream.relay.capillary_api import CapillaryClient, NotEver, NotNow
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.dead_letters import Filter
from capstream.relay.journal import Entry, encode
from capstream.relay.ledger import read_cursor, read_waiting
from capstream.relay.sources import CapillaryApi, Sources
from capstream.relay.status import status_of
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

API = {"host": "https://capillary.test", "key": "key", "secret": "api-secret"}
TOKEN = {"data": {"accessToken": "cap-token", "ttlSeconds": 300}, "errors": None}
BILL = {
    "id": 880100001,
    "customerId": 900000101,
    "type": "REGULAR",
    "billDetails": {
        "billNumber": "B-1",
        "billingTime": "2024-11-07T17:20:01Z",
        "amount": 90.0,
        "grossAmount": 100.0,
        "discount": 10.0,
    },
    "lineItems": [
        {
            "id": 1,
            "details": {
                "itemCode": "85123A",
                "description": "Holder",
                "qty": 2.0,
                "rate": 50.0,
                "value": 100.0,
                "discount": 10.0,
                "amount": 90.0,
            },
        }
    ],
    "paymentModes": [],
}


class FakeApi:
    """Capillary's API: gives the bill, or what the next of `failures` says."""

    def __init__(self) -> None:
        self.failures: list[httpx.Response | Exception] = []
        self.paths: list[str] = []
        self.tokens = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v3/oauth/token/generate":
            self.tokens += 1
            assert json.loads(request.content) == {"key": "key", "secret": "api-secret"}
            return httpx.Response(200, json=TOKEN)
        assert request.headers["x-cap-api-oauth-token"] == "cap-token"
        self.paths.append(request.url.path)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        if request.url.path.startswith("/v2/transactions/"):
            return httpx.Response(200, json=BILL)
        return httpx.Response(404, json={"errors": [{"code": 8015, "message": "not found"}]})


class Rig:
    """A courier whose source has a Capillary API."""

    def __init__(self, folder: Path, sources: Sources, clock: Any, mode: str) -> None:
        self.journal = SqliteLog(folder / "journal.db")
        self.documents = SqliteDocuments(folder / "courier.db")
        self.sources = sources
        self.clock = clock
        self.api = FakeApi()
        self.edge = FakeEdge(api=self.api)
        source = sources.table["nw"]
        sources.put(
            "nw",
            {
                "orgId": source.org_id,
                "ims": {"url": source.ims.url, "clientId": "client-1"},
                "inletUrl": source.inlet_url,
                "profileFlowId": "flow-profile",
                "eventFlowId": "flow-event",
                "capillaryApi": {**API, "mode": mode},
                "translation": {"enrichment.member_state": False},
            },
        )

    def run(self, *bodies: bytes, seconds: float = 0.0) -> None:
        """Journal `bodies`, let `seconds` pass, and let a courier work until nothing is left."""
        self.journal.append([encode(Entry("nw", self.clock(), 0, b"", body)) for body in bodies])
        self.clock.advance(seconds)

        async def main() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.edge)) as client:
                world = World(client=client, clock=self.clock, sleep=lambda _: asyncio.sleep(0), jitter=lambda: 0.5)
                settings = CourierSettings(enrichment_wait_s=0.5)
                courier = Courier(self.journal, self.documents, self.sources, world=world, settings=settings)
                await courier.drain()

        asyncio.run(main())

    def letters(self) -> list[dead_letters.DeadLetter]:
        return dead_letters.find(self.documents, Filter())

    def held(self) -> int:
        return read_waiting(self.documents)["held"]


@pytest.fixture
def make_rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Callable[[str], Rig]]:
    made: list[Rig] = []

    def make(mode: str = "best_effort") -> Rig:
        made.append(Rig(tmp_path, sources, clock, mode))
        return made[-1]

    yield make
    for rig in made:
        rig.journal.close()
        rig.documents.close()


@pytest.fixture
def bill(make_event: Any) -> bytes:
    body: bytes = make_event(
        1, name="transactionAdded", transactionId=880100001, billNumber="B-1", amount=90.0, grossAmount=100.0, discount=10.0,
        billType="REGULAR", billDate=1_731_000_001_000, enteredAt=1_731_000_001_000, currencyCode="GBP", lineItemCount=1,
    )  # fmt: skip
    return body


def the_bill(rig: Rig) -> dict[str, Any]:
    (found,) = rig.edge.accepted["flow-event"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("mode", ["best_effort", "required"])
def test_lines_come_with_the_bill_when_the_api_answers(make_rig: Any, bill: bytes, mode: str) -> None:
    rig = make_rig(mode)
    rig.run(bill)
    assert [line["SKU"] for line in the_bill(rig)["productLineItems"]] == ["85123A"]
    assert rig.held() == 0
    assert rig.api.paths == ["/v2/transactions/880100001"]


FAILURES = [
    httpx.ConnectError("x"),
    httpx.Response(500, json={}),
    httpx.Response(429, json={}),
    httpx.Response(200, json={"errors": [{"code": 521}]}),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize("mode", ["best_effort", "required"])
def test_a_bill_without_an_answer_is_held_and_comes_later(
    make_rig: Any, bill: bytes, make_event: Any, failure: Any, mode: str
) -> None:
    rig = make_rig(mode)
    rig.api.failures = [failure]
    rig.run(bill, make_event(2))
    assert read_cursor(rig.documents) == 2
    assert rig.held() == 1
    assert [message["eventType"] for message in rig.edge.accepted["flow-event"]] == ["loyalty.pointsIssued"]
    rig.run(seconds=1)
    assert rig.held() == 0
    lines = [message for message in rig.edge.accepted["flow-event"] if "productLineItems" in message]
    assert len(lines) == 1
    assert len(rig.edge.accepted["flow-event"]) == 2
    assert status_of(rig.documents, rig.journal, {})["balanced"]


def exhaust(rig: Rig) -> None:
    for seconds in (1, 4, 15, 60, 300, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60):
        rig.run(seconds=seconds)


def test_best_effort_sends_the_bill_without_lines_in_the_end(make_rig: Any, bill: bytes) -> None:
    rig = make_rig("best_effort")
    rig.api.failures = [httpx.Response(500, json={}) for _ in range(50)]
    rig.run(bill)
    exhaust(rig)
    found = the_bill(rig)
    assert "productLineItems" not in found
    assert "no_line_items" in found["capillary"]["quality"]
    assert len(rig.api.paths) == 6
    assert rig.held() == 0
    assert not rig.letters()


def test_required_makes_a_dead_letter_in_the_end_that_can_be_replayed(make_rig: Any, bill: bytes) -> None:
    from capstream.relay.journal import command

    rig = make_rig("required")
    rig.api.failures = [httpx.Response(500, json={}) for _ in range(50)]
    rig.run(bill)
    exhaust(rig)
    (letter,) = rig.letters()
    assert (letter.class_, letter.payload) == ("ENRICHMENT_FAILED", bill)
    assert not rig.edge.accepted.get("flow-event")
    status = status_of(rig.documents, rig.journal, {})
    assert status["balanced"]
    assert status["sources"]["nw"]["deadLettered"] == 1
    rig.api.failures.clear()
    rig.clock.advance(600)
    rig.journal.append([command("replay_letters", rig.clock(), filter={"ids": [letter.id]})])
    rig.run()
    assert the_bill(rig)["productLineItems"]
    assert not rig.letters()
    assert status_of(rig.documents, rig.journal, {})["balanced"]


def test_an_answer_that_will_never_come_is_not_waited_for(make_rig: Any, bill: bytes) -> None:
    rig = make_rig("best_effort")
    rig.api.failures = [httpx.Response(403, json={"errors": [{"code": 4000, "message": "Not authorized"}]})]
    rig.run(bill)
    assert "no_line_items" in the_bill(rig)["capillary"]["quality"]
    assert rig.held() == 0


def test_off_and_no_api_ask_nothing(make_rig: Any, bill: bytes) -> None:
    rig = make_rig("off")
    rig.run(bill)
    assert not rig.api.paths
    assert "productLineItems" not in the_bill(rig)


def call(api: Callable[[httpx.Request], httpx.Response], clock: Any, times: int = 1, **settings: Any) -> list[Any]:
    async def main() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as client:
            found = CapillaryClient(client, CapillaryApi(**API, **settings), clock)
            return list(await asyncio.gather(*(found.get("/v2/transactions/1", {"type": "REGULAR"}) for _ in range(times))))

    return asyncio.run(main())


def test_token_is_fetched_once_and_once_more_after_a_401(clock: Any) -> None:
    api = FakeApi()
    assert len(call(api, clock, 5)) == 5
    assert api.tokens == 1
    api = FakeApi()
    api.failures = [httpx.Response(401, json={})]
    (found,) = call(api, clock)
    assert found.body == BILL
    assert api.tokens == 2


def test_calls_above_the_rate_are_not_made(clock: Any) -> None:
    api = FakeApi()
    found = call(api, clock, 50, per_minute=100)
    refused = [reply for reply in found if isinstance(reply, NotNow) and not reply.was_called]
    assert (len(refused), len(api.paths)) == (40, 10)


def test_the_answers_own_time_is_its_time(clock: Any) -> None:
    def api(request: httpx.Request) -> httpx.Response:
        body = TOKEN if request.method == "POST" else {"id": 1}
        return httpx.Response(200, json=body, headers={"X-Capstream-Time": "1700000000000"})

    (found,) = call(api, clock)
    assert found.as_of_ms == 1_700_000_000_000


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(503, json={"errors": [{"code": 4001}]}), NotNow),
        (httpx.Response(400, json={"errors": [{"code": 461}]}), NotNow),
        (httpx.Response(200, text="<html>"), NotNow),
        (httpx.Response(404, json={"errors": [{"code": 8015}]}), NotEver),
        (httpx.Response(200, json={"errors": [{"code": 8069, "message": "merged"}]}), NotEver),
    ],
)
def test_which_refusals_are_for_now(clock: Any, answer: httpx.Response, kind: type) -> None:
    api = FakeApi()
    api.failures = [answer]
    (found,) = call(api, clock)
    assert isinstance(found, kind)
