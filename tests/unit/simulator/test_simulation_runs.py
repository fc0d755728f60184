"""Whole runs: engine, façade and sender against a receiver in the same loop."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httptools
import httpx
import pytest

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, loads
from capstream.relay.faults import NO_FAULTS, Faults
from capstream.relay.sender import Rate, SenderOptions
from capstream.relay.simulate import Progress, Simulation, SimulationOptions, SimulationSummary, simulate

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
FILE = HEADER + "".join(
    f"{1000 + number},A{number % 7},thing,{1 + number % 3},2011-0{1 + number // 28}-{1 + number % 28:02d} 1{number % 10}:15:00,"
    f"{5 + number},{100 + number % 9}.0,United Kingdom\n"
    for number in range(200)
)
WITH_REJECTS = FILE + "5000,X,,-5,2011-09-01 10:00:00,0.0,,United Kingdom\nA5001,B,,1,2011-09-01 10:00:00,-11,,United Kingdom\n"


class Receiver(asyncio.Protocol):
    def __init__(self, received: list[Json]) -> None:
        self.received = received
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.received.append(loads(self.body))
        self.body = b""
        self.transport.write(b'HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{"status":"accepted"}')


async def listening(received: list[Json]) -> tuple[asyncio.Server, str]:
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(received), "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/capillary/demo"


def run(
    progress: Callable[[Progress], None] = lambda _: None, *, rate: str = "max", **options: object
) -> tuple[SimulationSummary, list[Json]]:
    received: list[Json] = []

    async def go() -> SimulationSummary:
        server, url = await listening(received)
        try:
            sender = SenderOptions(url=url, rate=Rate.of(rate), connections=3)
            return await simulate(SimulationOptions(sender=sender, **options), progress, asyncio.Event())  # type: ignore[arg-type]
        finally:
            server.close()

    return asyncio.run(go()), received


def test_every_row_is_accounted_for_and_every_event_arrives(tmp_path: Path) -> None:
    path = tmp_path / "bills.csv"
    path.write_text(WITH_REJECTS)
    summary, received = run(transactions=path, out=tmp_path / "out")
    assert (summary.rows.read, summary.rows.bill_lines) == (202, 200)
    assert summary.rows.rejected == {"stock_write_off": 1, "accounting_adjustment": 1}
    assert summary.rows.bills == summary.rows.bills_booked == 200
    assert summary.sent["accepted"] == summary.events == sum(summary.kinds.values())
    assert (
        len({body["eventId"] for body in received if "eventId" in body}) + sum("eventId" not in body for body in received)
        >= summary.events
    )
    assert len((tmp_path / "out" / "events.jsonl").read_bytes().splitlines()) == summary.events
    assert len((tmp_path / "out" / "deliveries.jsonl").read_bytes().splitlines()) == summary.sent["requests"]
    assert len((tmp_path / "out" / "rejects.jsonl").read_bytes().splitlines()) == 2
    assert [loads(line) for line in (tmp_path / "out" / "truth" / "members.jsonl").read_bytes().splitlines()] == summary.truth
    assert loads((tmp_path / "out" / "summary.json").read_bytes())["events"] == summary.events


def test_the_same_run_twice_writes_the_same_events(tmp_path: Path) -> None:
    path = tmp_path / "bills.csv"
    path.write_text(FILE)
    for name in ("one", "two"):
        run(transactions=path, out=tmp_path / name)
    assert (tmp_path / "one" / "events.jsonl").read_bytes() == (tmp_path / "two" / "events.jsonl").read_bytes()


def newest_balances(bodies: list[Json]) -> dict[int, float]:
    """Return each member's last stated balance, from the bodies alone."""
    newest: dict[int, tuple[int, float]] = {}
    for body in bodies:
        data = body["data"]
        balance = data.get("programCurrentPoints")
        if balance is None and "redemptionFromEarningPrograms" in data:
            balance = data["redemptionFromEarningPrograms"][0]["programCurrentPoints"]
        if balance is not None:
            customer_id = data["customerIdentifiers"]["customerId"]
            newest[customer_id] = max(newest.get(customer_id, (0, 0.0)), (body["createdAt"], balance))
    return {customer_id: balance for customer_id, (_, balance) in newest.items()}


def test_a_run_that_is_stopped_ends_with_the_ledger_of_what_was_sent() -> None:
    summary, received = run(
        rate="200/s", seconds=0.5, start_ms=1_700_000_000_000, faults=Faults(out_of_order=0.3, duplicates=0.2)
    )
    assert 40 < summary.events < 250
    distinct = {body["eventId"]: body for body in received if "eventId" in body}
    assert len(distinct) + sum("eventId" not in body for body in received) >= summary.events == summary.sent["accepted"]
    truth = {row["customerId"]: row["points"] for row in summary.truth}
    assert newest_balances(received) == {customer_id: truth[customer_id] for customer_id in newest_balances(received)}
    members = {body["data"]["customerIdentifiers"]["customerId"] for body in received if body["eventName"] == "customerAdded"}
    assert members == set(truth)


def test_progress_is_told_and_ends() -> None:
    told: list[Progress] = []
    summary, _ = run(told.append, seconds=0.3, rate="100/s", start_ms=1_700_000_000_000, progress_every_s=0.05, faults=NO_FAULTS)
    assert [one.is_done for one in told].count(True) == 1
    assert told[-1].events == summary.events
    assert len(told) >= 4


def test_the_api_stays_up_after_the_last_event() -> None:
    async def go() -> tuple[int, int]:
        received: list[Json] = []
        server, url = await listening(received)
        options = SimulationOptions(
            sender=SenderOptions(url=url, rate=Rate.of("200/s")), seconds=0.2, start_ms=1_700_000_000_000, faults=NO_FAULTS
        )
        async with Simulation(options) as simulation:
            summary = await simulation.send(lambda _: None, asyncio.Event())
            async with httpx.AsyncClient(base_url=simulation.api_url) as client:
                login = await client.post("/v3/oauth/token/generate", json={"key": "k", "secret": "s"})
                token = login.json()["data"]["accessToken"]
                for row in summary.truth:
                    path = f"/v2/customers/{row['customerId']}/loyaltyDetails"
                    answer = await client.get(path, headers={"X-CAP-API-OAUTH-TOKEN": token})
                    assert answer.json()["data"][0]["loyaltyPoints"] == row["points"]
                state = await client.get("/_sim/state")
        server.close()
        return summary.events, state.json()["events"]

    told, shown = asyncio.run(go())
    assert told == shown > 0


def test_a_stop_from_outside_ends_a_paused_run() -> None:
    async def go() -> int:
        received: list[Json] = []
        server, url = await listening(received)
        stop = asyncio.Event()
        async with (
            Simulation(SimulationOptions(sender=SenderOptions(url=url, rate=Rate.of("50/s")), start_ms=1_700_000_000_000)) as run,
            httpx.AsyncClient(base_url=run.api_url) as client,
        ):
            sending = asyncio.create_task(run.send(lambda _: None, stop))
            await asyncio.sleep(0.1)
            await client.post("/_sim/pause")
            await asyncio.sleep(0.1)
            before = len(received)
            await asyncio.sleep(0.1)
            assert len(received) == before
            stop.set()
            summary = await sending
        server.close()
        return int(summary.sent["undelivered"])

    assert asyncio.run(go()) == 0


@pytest.mark.parametrize("name", ["missing.csv", "wrong.csv"])
def test_a_bad_file_is_refused_before_anything_starts(tmp_path: Path, name: str) -> None:
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")

    async def go() -> None:
        Simulation(SimulationOptions(sender=SenderOptions(url="http://127.0.0.1:9/x"), transactions=tmp_path / name))

    with pytest.raises(InputError):
        asyncio.run(go())


def test_a_port_in_use_is_refused() -> None:
    async def go() -> None:
        server, url = await listening([])
        port = server.sockets[0].getsockname()[1]
        try:
            async with Simulation(SimulationOptions(sender=SenderOptions(url=url), facade_port=port)):
                pass
        finally:
            server.close()

    with pytest.raises(InputError, match="not free"):
        asyncio.run(go())


def test_the_api_counts_what_was_delivered() -> None:
    received: list[Json] = []

    async def go() -> tuple[SimulationSummary, Json]:
        server, url = await listening(received)
        options = SimulationOptions(
            sender=SenderOptions(url=url, connections=3), customers=20, days=5, faults=Faults(duplicates=0.2)
        )
        try:
            async with Simulation(options) as simulation, httpx.AsyncClient(base_url=simulation.api_url) as client:
                summary = await simulation.send(lambda _: None, asyncio.Event())
                login = await client.post("/v3/oauth/token/generate", json={"key": "k", "secret": "s"})
                client.headers["X-CAP-API-OAUTH-TOKEN"] = login.json()["data"]["accessToken"]
                (webhook,) = (await client.get("/v3/webHooks")).json()["data"]
                return summary, (await client.get(f"/v3/events/consumer-groups/{webhook['consumerGroupId']}/metrics")).json()
        finally:
            server.close()

    summary, found = asyncio.run(go())
    assert found["data"]["deliveredEvents"] == found["data"]["totalEvents"] == summary.events > 0
