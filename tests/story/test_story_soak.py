"""SIGKILL at random moments while events flow, for CAPSTREAM_SOAK_S seconds: 8 by default, 10 minutes by `make soak`."""

import os
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from running import Server, eventually

from capstream.kernel.json import dumps

SECONDS = float(os.environ.get("CAPSTREAM_SOAK_S", "8"))
SEED = int(os.environ.get("CAPSTREAM_SOAK_SEED", "1"))
MEMBERS = 12  #: each is compared at the end by a command of its own
ROUND_S = 0.7  #: so that the events of a member in 10 minutes stay below the page of `profile show --events 1000`
START_MS = 1_726_585_471_000

pytestmark = [pytest.mark.story, pytest.mark.timeout(SECONDS + 600)]


def issue(member: int, turn: int) -> dict[str, Any]:
    """Return the points a member earned in a round; the event states the balance after itself."""
    customer = 910_000_000 + member
    instore = {"email": f"member-{member:04d}@example.com", "mobile": f"44770090{member:04d}", "externalId": f"CRM-{member:04d}"}
    data = {
        "customerIdentifiers": {"customerId": customer, "instore": instore},
        "entityInformation": {"entityType": "USER", "entityId": customer},
        "loyaltyProgramId": 4101,
        "loyaltyProgramDetails": {"id": 4101, "name": "CircleDefaultProgram", "isDefault": True},
        "totalPointsIssued": member,
        "regularPointsIssued": member,
        "programCurrentPoints": member * turn,
        "programLifetimePoints": member * turn,
    }
    at = START_MS + turn * 1000 + member
    return {"eventName": "pointsIssued", "eventId": f"pts-{member}-{turn}", "orgId": 700123, "createdAt": at, "data": data}


def deliver(http: httpx.Client, connection: dict[str, Any], body: dict[str, Any]) -> None:
    """Post a webhook until it is acknowledged, as Capillary does."""
    while True:
        try:
            answer = http.post(connection["webhook_url"], headers=connection["webhook_headers"], content=dumps(body))
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            return
        assert answer.status_code in (429, 503), answer.text
        time.sleep(0.05)


class Killer:
    """Kills a process of the server at random moments until it is told to stop."""

    def __init__(self, server: Server) -> None:
        self.kills: Counter[str] = Counter()
        self._server = server
        self._dice = random.Random(SEED)  # noqa: S311 - a run must be repeatable
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while not self._done.wait(self._dice.uniform(0.0, 2.0)):
                role = self._dice.choice(["gateway", "worker", "courier", "translator-1"])
                self._server.kill(role)
                self.kills[role] += 1
                eventually(self._server.is_ready, what="the server")
        except BaseException as error:  # noqa: BLE001 - told to the test by `stop`
            self._failure = error


def test_kills_at_random_moments_lose_nothing_and_count_nothing_twice(server: Server) -> None:
    connection = server.run("connect", "capillary", "--json")
    until, turn = time.monotonic() + SECONDS, 0
    killer = Killer(server)
    try:
        with httpx.Client(timeout=10) as http:
            while time.monotonic() < until:
                turn += 1
                next_round = time.monotonic() + ROUND_S
                for member in range(1, MEMBERS + 1):
                    deliver(http, connection, issue(member, turn))
                time.sleep(max(next_round - time.monotonic(), 0))
    finally:
        killer.stop()
    print(f"{turn * MEMBERS} events, kills: {dict(killer.kills)}")
    assert killer.kills.total() >= 2
    _nothing_is_missing(server, connection, turn)


def _nothing_is_missing(server: Server, connection: dict[str, Any], turns: int) -> None:
    status = server.drained(seconds=300)  # a busy machine may have kept thousands of events waiting
    books = status["sources"]["capillary"]
    assert status["balanced"], books
    assert (books["processed"], books["deadLettered"], books["skipped"]) == (turns * MEMBERS, 0, 0)
    table = connection["event_dataset_name"].lower().replace(" ", "_")
    rows = server.run("query", "--format", "json", f"select count(distinct _id) as n from {table}")
    assert rows == [{"n": turns * MEMBERS}]
    for member in range(1, MEMBERS + 1):
        shown = server.run("profile", "show", "--id", str(910_000_000 + member), "--json", "--events", "1000")
        loyalty = shown["profile"]["entity"]["loyalty"]
        assert (loyalty["points"], loyalty["lifetimePoints"]) == (member * turns, member * turns)
        ids = [event["_id"] for event in shown["events"]]
        assert len(ids) == len(set(ids)) == turns
