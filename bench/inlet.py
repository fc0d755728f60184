"""How many messages a second one process takes in: batches of 500 through the ASGI application into a durable log."""

import asyncio
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from statistics import median
from typing import Any

from capstream.aep.call import Sandbox
from capstream.aep.catalog.model import Datasets
from capstream.aep.flow_service.model import Flows, Inlet, Inlets, Route, State, save_inlet, save_route
from capstream.aep.streaming_ingestion.api import Collection, CollectionApp, collection_app
from capstream.kernel.clock import system_clock
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

BATCH = 500
ROUNDS = 60
_SANDBOX = Sandbox(id="5d1e0000-0000-11ef-8000-0242ac120002", name="prod", default=True)
_INLET_ID = "9f" * 32
_FLOW_ID = "0a1b2c3d-1111-4222-8333-444455556666"
_ORG_ID = "A1B2C3D4E5F60718293A4B5C@AdobeOrg"


def _prepare(documents: SqliteDocuments) -> None:
    """Store one raw inlet and one mapped flow on it."""
    inlet = Inlet(
        id=_INLET_ID,
        org_id=_ORG_ID,
        sandbox=_SANDBOX,
        source_id="bench",
        data_type="raw",
        authentication_required=False,
        connection_id="70c1a0f2-1111-4222-8333-444455556666",
    )
    route = Route(
        flow_id=_FLOW_ID,
        sandbox=_SANDBOX,
        org_id=_ORG_ID,
        state=State.ENABLED,
        inlet_id=_INLET_ID,
        dataset_id="66f0a1b2c3d4e5f60718293a",
        mapping_id="79a623960d3f4969835c9e00dc90c8df",
        mapping_version=0,
        schema_id="https://ns.adobe.com/acme/schemas/3f9a7c2b51",
        flow_spec_id="e77fde5a-22a8-11ed-861d-0242ac120002",
        source_connection_id="34ec0000-1111-4222-8333-444455556666",
        target_connection_id="07f20000-1111-4222-8333-444455556666",
    )
    with documents.transaction() as change:
        save_inlet(change, inlet)
        save_route(change, route)


def _app(folder: Path) -> CollectionApp:
    documents = SqliteDocuments(folder / "control.db")
    _prepare(documents)
    return collection_app(
        Collection(
            log=SqliteLog(folder / "inlet.db"),
            flows=Flows(documents),
            inlets=Inlets(documents),
            datasets=Datasets(documents),
            verify=lambda token, now_ms: None,
            validate=lambda route, record: [],
            clock=system_clock,
            backlog=lambda: 0,
            unseal=lambda token: token,
        )
    )


def _message(index: int) -> bytes:
    filler = "x" * 180
    return (
        b'{"_id":"T-%06d","timestamp":"2024-07-18T12:00:00-06:00","identityMap":{"email":{"id":"member-%04d@example.com",'
        b'"primary":true}},"commerce":{"commerceScope":{"storeCode":"S-17"},"order":{"priceTotal":90}},"note":"%b",'
        b'"productLineItems":[{"SKU":"sku-01","quantity":1,"priceTotal":100,"name":"Item 1","discountAmount":10}]}'
    ) % (index, index % 10_000, filler.encode())


async def _post(app: CollectionApp, body: bytes) -> int:
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": f"/collection/batch/{_INLET_ID}",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"x-adobe-flow-id", _FLOW_ID.encode())],
    }
    await app(scope, receive, send)
    return status


def measure() -> dict[str, float]:
    """Return messages a second and microseconds a message, median of the rounds; every message is durable when counted."""
    body = b'{"messages":[' + b",".join(map(_message, range(BATCH))) + b"]}"
    with tempfile.TemporaryDirectory() as folder:
        app = _app(Path(folder))

        async def rounds() -> list[float]:
            times = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                status = await _post(app, body)
                times.append(time.perf_counter() - started)
                assert status == 207
            return times

        each = median(asyncio.run(rounds()))
        taken = app.metrics()[_INLET_ID].success
    assert taken == BATCH * ROUNDS
    return {"messages_per_s": BATCH / each, "us_per_message": each / BATCH * 1e6, "bytes_per_message": len(body) / BATCH}
