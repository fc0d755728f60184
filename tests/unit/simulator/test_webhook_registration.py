"""Webhooks registered through the simulator's Capillary API receive its events, as their settings say."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import httpx
import pytest

from capstream.capillary.vocabulary import OF_ONE_MEMBER
from capstream.kernel.json import Json, dumps, loads
from capstream.relay.faults import NO_FAULTS
from capstream.relay.sender import Rate, SenderOptions
from capstream.relay.simulate import Simulation, SimulationOptions, SimulationSummary
from capstream.relay.webhook_settings import HIDDEN

ALL = sorted(OF_ONE_MEMBER)


def registration(**changed: Json) -> dict[str, Any]:
    """Return a body of `POST /v3/webHooks`; a member that is None is left out."""
    body = {
        "active": True,
        "name": "mine",
        "webHookType": "HTTP",
        "methodType": "POST",
        "webHookUrl": "http://127.0.0.1:9/hook",
        "eventNames": ALL,
        "webHookHeaders": {"Authorization": "Bearer mine", "Content-Type": "application/json"},
        "maxAllowedConnections": 2,
        "customerIdentifiersToBeEnriched": [{"source": "INSTORE"}],
    } | changed
    return {name: value for name, value in body.items() if value is not None}


class Door:
    """A receiver of webhooks."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Json]] = []
        self.status = 200
        self.url = ""

    async def __aenter__(self) -> "Door":
        self.server = await asyncio.get_running_loop().create_server(lambda: Wire(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    def ids(self) -> list[str]:
        return [body["eventId"] for _, _, body in self.requests]

    def kinds(self) -> set[str]:
        return {body["eventName"] for _, _, body in self.requests}


class Wire(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self.door = door
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[str, str] = {}
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.door.status == 200:
            self.door.requests.append((self.parser.get_method().decode(), self.headers, loads(self.body)))
        self.headers, self.body = {}, b""
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % self.door.status)


class World:
    """A paused run without a webhook of its own, unless it has an address, and its API."""

    def __init__(self, run: Simulation, api: httpx.AsyncClient) -> None:
        self.run = run
        self.api = api
        self.stop = asyncio.Event()
        self.sending: asyncio.Task[SimulationSummary] | None = None

    async def begin(self) -> None:
        self.sending = asyncio.create_task(self.run.send(lambda _: None, self.stop))
        assert (await self.api.post("/_sim/start")).status_code == 200

    async def end(self) -> SimulationSummary:
        assert self.sending is not None
        return await self.sending

    async def more_events(self) -> None:
        wanted = self.run.engine.bills_booked + 10
        await until(lambda: self.run.engine.bills_booked > wanted)

    async def register(self, **changed: Json) -> dict[str, Any]:
        answer = await self.api.post("/v3/webHooks", json=registration(**changed))
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    async def put(self, webhook: dict[str, Any], **changed: Json) -> dict[str, Any]:
        answer = await self.api.put(f"/v3/webHooks/{webhook['webHookId']}", json=changed)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    async def metrics(self, webhook: dict[str, Any]) -> dict[str, Any]:
        answer = await self.api.get(f"/v3/events/consumer-groups/{webhook['consumerGroupId']}/metrics")
        return dict(answer.json()["data"])


def story(tell: Callable[[World], Awaitable[None]], *, url: str = "", rate: str = "max", days: int = 5) -> None:
    async def go() -> None:
        sender = SenderOptions(url=url, rate=Rate.of(rate), connections=2, backoff_s=0.01, ack_loss=0.0, drain_s=1.0)
        options = SimulationOptions(sender=sender, faults=NO_FAULTS, customers=20, days=days, is_paused=True)
        async with Simulation(options) as run, httpx.AsyncClient(base_url=run.api_url) as api:
            login = await api.post("/v3/oauth/token/generate", json={"key": "k", "secret": "s"})
            api.headers["X-CAP-API-OAUTH-TOKEN"] = login.json()["data"]["accessToken"]
            await tell(World(run, api))

    asyncio.run(asyncio.wait_for(go(), 60))


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_a_registered_webhook_gets_every_event_it_names() -> None:
    async def tell(world: World) -> None:
        async with Door() as all_of_them, Door() as bills:
            webhook = await world.register(webHookUrl=all_of_them.url)
            headers = {"X-Key": "second"}
            await world.register(
                name="bills", webHookUrl=bills.url, methodType="PUT", webHookHeaders=headers, eventNames=["transactionAdded"]
            )
            await world.begin()
            summary = await world.end()
            wanted = {kind: count for kind, count in summary.kinds.items() if kind in ALL}
            assert len(all_of_them.ids()) == len(set(all_of_them.ids())) == sum(wanted.values()) > 100
            assert all_of_them.kinds() == set(wanted)
            assert len(bills.ids()) == summary.kinds["transactionAdded"]
            method, head, _ = bills.requests[0]
            assert (method, head["x-key"], bills.kinds()) == ("PUT", "second", {"transactionAdded"})
            assert all_of_them.requests[0][1]["authorization"] == "Bearer mine"
            counts = await world.metrics(webhook)
            assert counts["deliveredEvents"] == counts["totalEvents"] == len(all_of_them.ids())
            log = (await world.api.get(f"/v3/webHooks/eventLog/{bills.ids()[0]}")).json()["data"]
            assert log["consumerResponse"]["webhookHttpStatus"] == 200

    story(tell)


def test_both_the_runs_own_webhook_and_a_registered_one_get_the_events() -> None:
    async def go() -> None:
        async with Door() as own, Door() as other:

            async def tell(world: World) -> None:
                shown = (await world.api.get("/v3/webHooks")).json()["data"]
                assert [each["webHookUrl"] for each in shown] == [own.url]
                await world.register(webHookUrl=other.url, eventNames=sorted({*ALL, "customerSubscription"}))
                await world.begin()
                await world.end()
                assert set(other.ids()) == {body["eventId"] for _, _, body in own.requests if body["eventName"] in ALL}

            sender = SenderOptions(url=own.url, connections=2)
            options = SimulationOptions(sender=sender, faults=NO_FAULTS, customers=20, days=3, is_paused=True)
            async with Simulation(options) as run, httpx.AsyncClient(base_url=run.api_url) as api:
                login = await api.post("/v3/oauth/token/generate", json={"key": "k", "secret": "s"})
                api.headers["X-CAP-API-OAUTH-TOKEN"] = login.json()["data"]["accessToken"]
                await tell(World(run, api))

    asyncio.run(asyncio.wait_for(go(), 60))


def test_changes_are_followed_while_events_flow() -> None:
    async def tell(world: World) -> None:
        async with Door() as first, Door() as second:
            first.status = 503
            webhook = await world.register(webHookUrl=first.url)
            await world.begin()
            await until(lambda: bool(world.run.engine.events))
            changed = await world.put(webhook, webHookUrl=second.url, maxAllowedConnections=5)
            assert (changed["webHookUrl"], changed["maxAllowedConnections"], changed["name"]) == (second.url, 5, "mine")
            assert changed["attribution"]["createdOn"] == webhook["attribution"]["createdOn"]
            await until(lambda: len(second.ids()) > 20)
            await world.put(webhook, active=False)
            await world.more_events()  # what was on its way has arrived
            before = len(second.ids())
            await world.more_events()
            assert len(second.ids()) == before
            await world.put(webhook, active=True, eventNames=["transactionAdded"])
            await until(lambda: len(second.ids()) > before)
            assert {body["eventName"] for _, _, body in second.requests[before:]} == {"transactionAdded"}
            answer = await world.api.delete(f"/v3/webHooks/{webhook['webHookId']}")
            assert answer.json()["data"]["webHookId"] == webhook["webHookId"]
            after = len(second.ids())
            await world.more_events()
            assert len(second.ids()) == after
            assert (await world.api.get("/v3/webHooks")).json()["data"] == []
            assert (await world.api.get(f"/v3/webHooks/{webhook['webHookId']}")).status_code == 400
            world.stop.set()
            await world.end()

    story(tell, rate="200/s", days=400)


def test_without_enrichment_an_event_has_only_the_customer_id() -> None:
    async def tell(world: World) -> None:
        async with Door() as plain, Door() as rich:
            await world.register(name="plain", webHookUrl=plain.url, customerIdentifiersToBeEnriched=[])
            await world.register(
                name="rich",
                webHookUrl=rich.url,
                storeDetailsEnrichmentEnabled=True,
                tillDetailsEnrichmentEnabled=True,
                availablePointsBalanceEnrichmentEnabled=True,
            )
            await world.begin()
            await world.end()
            bare = {body["eventId"]: body for _, _, body in plain.requests}
            full = {body["eventId"]: body for _, _, body in rich.requests}
            assert bare.keys() == full.keys()
            assert not any(b'"instore"' in dumps(body) or b'"till"' in dumps(body) for body in bare.values())
            for body in full.values():
                data, less = body["data"], bare[body["eventId"]]["data"]
                assert "instore" in data["customerIdentifiers"]
                assert less["customerIdentifiers"]["customerId"] == data["customerIdentifiers"]["customerId"]
                if body["eventName"] == "pointsIssued":
                    assert data["AvailablePointsBalance"] == data["programCurrentPoints"]
                if body["eventName"] == "transactionAdded":
                    assert data["enteredBy"].keys() == {"id", "till", "store"}
                    assert less["enteredBy"].keys() == {"id"}

    story(tell)


def test_a_queue_webhook_is_kept_and_never_called() -> None:
    async def tell(world: World) -> None:
        async with Door() as door:
            webhook = await world.register(webHookUrl=door.url, webHookType="QUEUE_INT")
            await world.begin()
            await world.end()
            assert (door.requests, (await world.metrics(webhook))["totalEvents"]) == ([], 0)

    story(tell)


def test_the_answer_has_the_documented_shape() -> None:
    async def tell(world: World) -> None:
        answer = await world.api.post("/v3/webHooks", json=registration(slaInSeconds=30, eventNmaes=[]))
        body = answer.json()
        assert (body["errors"], body["warnings"]) == (None, [{"code": 400, "message": "eventNmaes is unknown and was left out"}])
        data = body["data"]
        assert data["webHookHeaders"] == {"Authorization": HIDDEN, "Content-Type": HIDDEN}
        assert (len(data["webHookId"]), data["noOfRetryAttempts"], data["slaInSeconds"]) == (24, 0, 30)
        assert data["attribution"]["createdBy"]["type"] == "TILL"
        again = await world.api.put("/v3/webHooks", json=data)  # what was shown may be sent back
        assert again.json()["data"] | {"attribution": {}} == data | {"attribution": {}}
        assert (await world.api.get(f"/v3/webHooks/{data['webHookId']}")).json()["data"]["name"] == "mine"
        clash = await world.api.post("/v3/webHooks", json=registration())
        assert (clash.status_code, "unique" in clash.json()["errors"][0]["message"]) == (400, True)

    story(tell)


REFUSED: list[tuple[Json, int, str]] = [
    (registration(eventNames=None), 51003, "eventNames"),
    (registration(eventNames=[]), 51003, "eventNames"),
    (registration(eventNames=["pointsIsued"]), 400, "pointsIsued"),
    (registration(eventNames=[{}]), 400, "eventNames"),
    (registration(maxAllowedConnections=None), 300004, "maxAllowedConnections"),
    (registration(maxAllowedConnections=0), 51007, "maxAllowedConnections"),
    (registration(maxAllowedConnections=True), 51007, "maxAllowedConnections"),
    (registration(maxAllowedConnections=10**9), 400, "maxAllowedConnections"),
    (registration(name=None), 400, "name"),
    (registration(name=" "), 400, "name"),
    (registration(active=None), 400, "active"),
    (registration(active="yes"), 400, "active"),
    (registration(webHookUrl=None), 400, "webHookUrl"),
    (registration(webHookUrl="ftp://example.com"), 400, "webHookUrl"),
    (registration(webHookUrl="http://[::1"), 400, "webHookUrl"),
    (registration(webHookUrl="http://example.com:99999/"), 400, "webHookUrl"),
    (registration(webHookUrl="http://example.com/ HTTP/1.1\r\nX: y"), 400, "webHookUrl"),
    (registration(webHookUrl=7), 400, "webHookUrl"),
    (registration(webHookType="MAIL"), 400, "webHookType"),
    (registration(methodType="PATCH"), 400, "methodType"),
    (registration(methodType={}), 400, "methodType"),
    (registration(webHookHeaders=None), 400, "webHookHeaders"),
    (registration(webHookHeaders=["Authorization"]), 400, "webHookHeaders"),
    (registration(webHookHeaders={"X": "a\r\nY: b"}), 400, "webHookHeaders"),
    (registration(webHookHeaders={"X: y": "a"}), 400, "webHookHeaders"),
    (registration(webHookHeaders={"Content-Length": "1"}), 400, "Content-Length"),
    (registration(webHookHeaders={"X": 1}), 400, "webHookHeaders"),
    (registration(customerIdentifiersToBeEnriched="INSTORE"), 400, "customerIdentifiersToBeEnriched"),
    (registration(customerIdentifiersToBeEnriched=[{}]), 400, "customerIdentifiersToBeEnriched"),
    (registration(slaInSeconds=-1), 400, "slaInSeconds"),
    (registration(neoEnrichment={"label": "x", "value": "y"}), 501, "neoEnrichment"),
    (registration(awardedReferenceEnrichmentEnabled=True), 501, "awardedReferenceEnrichmentEnabled"),
    ([registration()], 400, "object"),
    (None, 400, "object"),
]


@pytest.mark.parametrize(("body", "code", "named"), REFUSED)
def test_a_wrong_registration_is_refused_by_name(body: Json, code: int, named: str) -> None:
    async def tell(world: World) -> None:
        answer = await world.api.post("/v3/webHooks", json=body)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == (501 if code == 501 else 400, code)
        assert named in error["message"]
        assert (await world.api.get("/v3/webHooks")).json()["data"] == []

    story(tell)


def test_wrong_requests_are_refused() -> None:
    async def tell(world: World) -> None:
        assert (await world.api.post("/v3/webHooks", content=b"{")).status_code == 400
        assert (await world.api.post("/v3/webHooks", content=b" " * 2_000_000)).status_code == 413
        assert (await world.api.put("/v3/webHooks/none", json={})).status_code == 400
        assert (await world.api.put("/v3/webHooks", json={"webHookId": []})).status_code == 400
        assert (await world.api.delete("/v3/webHooks/none")).status_code == 400
        webhook = await world.register()
        answer = await world.api.put(f"/v3/webHooks/{webhook['webHookId']}", json={"maxAllowedConnections": 0})
        assert answer.json()["errors"][0]["code"] == 51007
        world.api.headers["X-CAP-API-OAUTH-TOKEN"] = "made-up"
        path = f"/v3/webHooks/{webhook['webHookId']}"
        for method, where in (("GET", "/v3/webHooks"), ("POST", "/v3/webHooks"), ("PUT", path), ("DELETE", path)):
            assert (await world.api.request(method, where)).status_code == 401

    story(tell)


def test_an_event_that_nobody_takes_any_more_ends_the_run_all_the_same() -> None:
    async def tell(world: World) -> None:
        webhook = await world.register()  # nothing listens at its address
        await world.begin()
        await world.end()
        counts = await world.metrics(webhook)
        assert counts["deliveredEvents"] == 0
        assert counts["failedEvents"] > 0

    story(tell, days=1)
