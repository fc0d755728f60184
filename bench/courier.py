"""How fast the relay is: webhooks taken in, and events translated and posted to an endpoint that only answers.

Run: python -m bench.courier
"""

import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import httptools
import httpx
import msgspec
import uvloop
from cryptography.fernet import Fernet

from capstream.kernel.clock import system_clock
from capstream.process import tune_collector
from capstream.relay import lines
from capstream.relay.back_pressure import Gate
from capstream.relay.courier import Courier, World
from capstream.relay.journal import Entry, encode
from capstream.relay.receiver import Receiver
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.serving.exchange import ThinRequest
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

EVENTS = 30_000
MEMBERS = 10_000
GROUP = 32


def body(number: int) -> bytes:
    """Return a webhook of about 1 KB: every third is a bill, the others issue points."""
    customer = 900_000_000 + (number * 7919) % MEMBERS
    identifiers = {
        "customerId": customer,
        "loyaltyType": "loyalty",
        "instore": {
            "mobile": f"44770{customer % 10**7:07d}",
            "email": f"member-{customer}@example.com",
            "externalId": f"CRM-{customer}",
        },
    }
    till = {"code": "till.nw.014.02", "name": "till.nw.014.02"}
    store = {"code": "str.nw.014", "name": "Harbour Street", "externalId": "NW014"}
    created = 1_726_585_471_220 + number * 50
    entered = {"id": 75000214, "till": till, "store": store}
    if number % 3 == 0:
        name, data = (
            "transactionAdded",
            {
                "transactionId": 880_000_000 + number,
                "billNumber": f"NW014-{number}",
                "amount": 148.5,
                "grossAmount": 165.0,
                "discount": 16.5,
                "billDate": created,
                "enteredAt": created,
                "billType": "REGULAR",
                "deliveryStatus": "PLACED",
                "lineItemCount": 3,
                "currencyCode": "GBP",
                "outlierStatus": "NORMAL",
                "enteredBy": entered,
                "customFields": [{"key": "basket_channel", "value": "store"}],
            },
        )
    else:
        name, data = (
            "pointsIssued",
            {
                "totalPointsIssued": 148,
                "regularPointsIssued": 148,
                "regularPointsBreakup": [{"points": 148, "expiryAt": "2025-09-30"}],
                "promotionalPointsIssued": [],
                "promisedPointsIssued": [],
                "programCurrentPoints": number,
                "programLifetimePoints": number,
                "loyaltyProgramId": 4101,
                "entityInformation": {"entityType": "USER", "entityId": customer},
                "triggeringActivity": {
                    "name": "TransactionAdd",
                    "identifiers": [{"key": "billId", "value": "880100001"}],
                    "enteredBy": entered,
                },
                "loyaltyProgramDetails": {
                    "id": 4101,
                    "name": "Circle",
                    "isDefault": True,
                    "pointsToCurrencyRatio": 0.05,
                    "tiers": [{"tierNumber": 1, "tierName": "Bronze"}, {"tierNumber": 2, "tierName": "Silver"}],
                },
            },
        )
    event = {
        "eventName": name,
        "eventId": f"28d0b173-bd7f-5bd1-908e-{number:012d}",
        "orgId": 700123,
        "refId": f"700123_{number}",
        "apiRequestId": "7da685001e153f41a83eb6255069dc3d",
        "createdAt": created,
        "data": {**data, "customerIdentifiers": identifiers},
    }
    return json.dumps(event, separators=(",", ":")).encode()


_processes = multiprocessing.get_context("fork")


class _Stub(asyncio.Protocol):
    """Answers every batch with a 207 of as many successes, or 503 while it is down, and every token request with a token."""

    def __init__(self, down: Path | None) -> None:
        self._down = down

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        if body.startswith(b"grant_type"):
            answer = b'{"access_token":"token","expires_in":86399}'
        elif self._down is not None and self._down.exists():
            self._transport.write(b"HTTP/1.1 503 Down\r\ncontent-length: 2\r\n\r\n{}")
            return
        else:
            count = len(_messages(body).messages)
            answer = b'{"inletId":"i","responses":[%s]}' % b",".join([b'{"xactionId":"u-0"}'] * count)
        self._transport.write(b"HTTP/1.1 207 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))


class _Messages(msgspec.Struct):
    messages: list[msgspec.Raw]


_messages = msgspec.json.Decoder(_Messages).decode


def _serve(listener: socket.socket, down: Path | None) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Stub(down), sock=listener)
        await server.serve_forever()

    uvloop.run(main())


@contextmanager
def stub(down: Path | None = None) -> Iterator[str]:
    """Run an endpoint that takes everything, but while the file `down` exists; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = _processes.Process(target=_serve, args=(listener, down), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.join()


def sources(folder: Path, url: str) -> Sources:
    """Return the one source `nw`, which delivers to `url`."""
    found = Sources(SqliteDocuments(folder / "sources.db"), Vault(Fernet.generate_key()))
    ims = {"url": url, "clientId": "client", "clientSecret": "secret"}
    flows = {"inletUrl": f"{url}/collection/9d41", "profileFlowId": "flow-profile", "eventFlowId": "flow-event"}
    found.put("nw", {"orgId": "org", "auth": {"secrets": ["webhook-secret"]}, "ims": ims, **flows})
    return found


async def _receive(folder: Path) -> float:
    journal = SqliteLog(folder / "receiver.db")
    receiver = Receiver(journal, sources(folder, "http://localhost"), clock=system_clock, gate=Gate(lambda: 0, lambda: 10**12))
    headers = {
        b"authorization": b"Bearer webhook-secret",
        b"content-type": b"application/json",
        b"host": b"relay",
        b"content-length": b"1000",
    }
    requests = [ThinRequest("POST", "/webhooks/capillary/nw", headers, body(number), "127.0.0.1") for number in range(EVENTS)]
    answers: list[int] = []

    def respond(status: int, _body: bytes, _extra: bytes) -> None:
        answers.append(status)

    start = time.perf_counter()
    for first in range(0, EVENTS, GROUP):
        for request in requests[first : first + GROUP]:
            receiver.handle(request, respond)
        await asyncio.sleep(0)
    elapsed = time.perf_counter() - start
    assert answers == [200] * EVENTS
    journal.close()
    return EVENTS / elapsed


async def _deliver(folder: Path, url: str) -> dict[str, float]:
    journal, documents = SqliteLog(folder / "journal.db"), SqliteDocuments(folder / "courier.db", shrinks=True)
    now = system_clock()
    for first in range(0, EVENTS, 500):
        journal.append([encode(Entry("nw", now, 0, b"", body(number))) for number in range(first, first + 500)])
    async with lines.client(httpx.Timeout(60)) as client:
        courier = Courier(journal, documents, sources(folder, url), world=World(client=client, clock=system_clock))
        start, cpu = time.perf_counter(), time.process_time()
        await courier.drain()
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    journal.close()
    documents.close()
    return {"courier_events_per_s": EVENTS / elapsed, "courier_cpu_us_per_event": cpu / EVENTS * 1e6}


def measure() -> dict[str, float]:
    """Return webhooks a second through `Receiver.handle` and its commits, and events a second through the courier."""
    with tempfile.TemporaryDirectory() as name, stub() as url:
        tune_collector()
        received = uvloop.run(_receive(Path(name) / "receiver"))
        return {"receiver_webhooks_per_s": received} | uvloop.run(_deliver(Path(name) / "courier", url))


if __name__ == "__main__":
    for metric, value in measure().items():
        print(f"{metric}: {value:,.1f}")
