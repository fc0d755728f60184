"""The fault suite: the courier against the fault switch on a real port, one row of cases/faults.toml each.

Afterwards every event is delivered or a dead letter, has one effect, and the order of each member is kept.
"""

import asyncio
import random
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import SOURCE
from fake_edge import FakeEdge
from relay_rig import Rig
from running import free_port

from capstream.faults.layer import with_faults
from capstream.faults.model import Switch
from capstream.own_api import no_relay
from capstream.relay import ims, inlet
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.ledger import read_cursor, read_health, read_waiting
from capstream.relay.lines import Lines
from capstream.relay.sources import Sources
from capstream.serving.port import serve

ROWS = tomllib.loads((Path(__file__).parents[3] / "cases" / "faults.toml").read_text())["fault"]
MEMBERS, EVENTS = 3, 12
UNREACHABLE = {"dns": "[Errno -2] Name or service not known", "refused": "[Errno 111] Connection refused"}


class Broken(httpx.AsyncBaseTransport):
    """A network that fails at first."""

    def __init__(self, transport: httpx.AsyncBaseTransport, reason: str, times: int) -> None:
        self._transport, self._reason, self._times = transport, reason, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._times -= 1
        if self._times >= 0:
            raise httpx.ConnectError(self._reason)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


TRANSPORTS = {"own": Lines, "behind a proxy": httpx.AsyncHTTPTransport}


class FaultRig(Rig):
    """The rig with the far side on a port, behind the switch."""

    def __init__(self, folder: Path, sources: Sources, clock: Any) -> None:
        super().__init__(folder, sources, clock)
        self.port = free_port()
        self.switch = Switch(["ims", "streaming_ingestion"], lambda: 0, random.Random(7).random)  # noqa: S311
        self.revoked: set[str] = set()
        self.states: set[str] = set()
        self.clock_jump_s = 0
        url = f"http://127.0.0.1:{self.port}"
        sources.put("nw", SOURCE | {"inletUrl": f"{url}/collection/9d41", "ims": SOURCE["ims"] | {"url": url}})

    async def _far_side(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        host = "ims.test" if scope["path"].startswith("/ims") else "platform.test"
        request = httpx.Request(scope["method"], f"https://{host}{scope['path']}", headers=scope["headers"], content=body)
        is_revoked = request.headers.get("authorization", "").removeprefix("Bearer ") in self.revoked
        response = httpx.Response(401, json={}) if is_revoked else await self.edge(request)
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.headers.raw})
        await send({"type": "http.response.body", "body": response.content})

    def drain_over_http(self, transport: httpx.AsyncBaseTransport) -> None:
        async def sleep(seconds: float) -> None:
            self.states |= {each["state"] for each in read_health(self.documents).values()}
            jump_s, self.clock_jump_s = self.clock_jump_s, 0
            self.clock.advance(seconds + jump_s)
            await asyncio.sleep(0)

        async def main() -> None:
            stop, ready = asyncio.Event(), asyncio.Event()
            layer = with_faults(self._far_side, self.switch, _service_of, self.revoked.add)
            options = {"host": "127.0.0.1", "port": self.port, "body_limit": 1000, "stop": stop, "ready": ready.set}
            serving = asyncio.create_task(serve(layer, no_relay, **options))  # type: ignore[arg-type]
            await ready.wait()
            async with httpx.AsyncClient(transport=transport) as client:
                world = World(client=client, clock=self.clock, sleep=sleep, jitter=lambda: 0.0)
                settings = CourierSettings(portion=4, portions=1)
                for _ in range(8):
                    await Courier(self.journal, self.documents, self.sources, world=world, settings=settings).drain()
                    self.clock.advance(600)
                    if not read_waiting(self.documents)["parked"]:
                        break
            stop.set()
            await serving

        asyncio.run(main())


def _service_of(_: str, path: str) -> str:
    return "streaming_ingestion" if path.startswith("/collection") else "ims"


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultRig]:
    for module in (inlet, ims):
        monkeypatch.setattr(module, "_TIMEOUT", httpx.Timeout(0.3))
        monkeypatch.setattr(module, "_WHOLE_S", 0.6)
    found = FaultRig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_nothing_is_lost_done_twice_or_out_of_order(
    rig: FaultRig, make_event: Callable[..., bytes], row: dict[str, Any], transport: Callable[[], httpx.AsyncBaseTransport]
) -> None:
    rig.receive(*(make_event(number, customer=900 + number % MEMBERS) for number in range(1, EVENTS + 1)))
    if "set" in row:
        rig.switch.set([row["set"]], replace=True)
    rig.clock_jump_s = row.get("clock_jump_s", 0)
    rig.drain_over_http(Broken(transport(), UNREACHABLE.get(row.get("network", ""), ""), 4 if "network" in row else 0))

    dead = {letter.event_id for letter in rig.letters() if letter.flow == "event"}
    delivered = {_id(number) for number in range(1, EVENTS + 1)} & set(rig.edge.events())
    assert "network" in row or rig.switch.is_off() or rig.switch.all()[0].hits > 0, "the fault struck"
    assert read_cursor(rig.documents) == EVENTS
    assert read_waiting(rig.documents)["parked"] == 0
    assert len(delivered) + len(dead) == EVENTS, "each event is delivered or a dead letter, none is both"
    assert {"none": dead == set(), "some": 0 < len(dead) < EVENTS, "all": len(dead) == EVENTS}[row["dead"]], dead
    assert rig.states - {"ok"} == {row["state"]} - {"ok"}
    assert rig.status()["balanced"]
    _one_effect(rig.edge)
    _in_order(rig.edge, row["order"])
    if row["dead"] == "none":
        points = {each["capillary"]["customerId"]: each["loyalty"]["points"] for each in rig.edge.profiles().values()}
        assert points == {str(900 + number % MEMBERS): 10 * number for number in range(EVENTS - MEMBERS + 1, EVENTS + 1)}


def _id(number: int) -> str:
    return f"capillary:700123:pointsIssued:event-{number}"


def _one_effect(edge: FakeEdge) -> None:
    """What was sent twice is the same record under the same `_id`, which the platform counts once."""
    for message in edge.accepted.get("flow-event", []):
        assert message == edge.events()[message["_id"]]


def _in_order(edge: FakeEdge, order: str) -> None:
    if order == "state":
        return
    firsts: dict[str, list[int]] = defaultdict(list)
    for message in edge.events().values():
        number = int(message["_id"].rpartition("-")[2])
        firsts[f"{number % MEMBERS}"].append(number)
    assert all(numbers == sorted(numbers) for numbers in firsts.values()), firsts
    snapshots: dict[str, list[str]] = defaultdict(list)
    for message in edge.accepted.get("flow-profile", []):
        snapshots[message["_id"]].append(message["capillary"]["asOf"])
    assert all(times == sorted(times) for times in snapshots.values()), snapshots
