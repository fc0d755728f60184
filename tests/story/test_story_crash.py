"""Crash every process at every durable step while events flow; afterwards nothing is lost and nothing counts twice."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from running import Server, eventually

from capstream.kernel.json import dumps

MEMBERS = 8
ROUNDS = 40
START_MS = 1_726_585_471_000

pytestmark = pytest.mark.story


def identifiers(member: int) -> dict[str, Any]:
    instore = {"email": f"member-{member:04d}@example.com", "mobile": f"44770090{member:04d}", "externalId": f"CRM-{member:04d}"}
    return {"customerId": 900_000_000 + member, "instore": instore}


def events() -> list[dict[str, Any]]:
    """One enrolment and then ROUNDS issues of points for each member; every event states the balance after itself."""
    found = []
    for member in range(1, MEMBERS + 1):
        data = {"customerIdentifiers": identifiers(member), "loyaltyType": "loyalty", "source": "INSTORE", "enteredAt": START_MS}
        found.append(
            {"eventName": "customerAdded", "eventId": f"add-{member}", "orgId": 700123, "createdAt": START_MS, "data": data}
        )
    for turn in range(1, ROUNDS + 1):
        for member in range(1, MEMBERS + 1):
            data = {
                "customerIdentifiers": identifiers(member),
                "entityInformation": {"entityType": "USER", "entityId": 900_000_000 + member},
                "loyaltyProgramId": 4101,
                "loyaltyProgramDetails": {"id": 4101, "name": "CircleDefaultProgram", "isDefault": True},
                "totalPointsIssued": member,
                "regularPointsIssued": member,
                "programCurrentPoints": member * turn,
                "programLifetimePoints": member * turn,
            }
            at = START_MS + turn * 1000 + member
            found.append(
                {"eventName": "pointsIssued", "eventId": f"pts-{member}-{turn}", "orgId": 700123, "createdAt": at, "data": data}
            )
    return found


def send(connection: dict[str, Any], bodies: list[dict[str, Any]], pause_s: float) -> dict[str, int]:
    """Send each webhook until it is acknowledged, as Capillary does; return how it was answered."""
    answers = {"accepted": 0, "duplicate": 0}
    with httpx.Client(timeout=10) as http:
        for body in bodies:
            while True:
                try:
                    answer = http.post(connection["webhook_url"], headers=connection["webhook_headers"], content=dumps(body))
                except httpx.TransportError:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    answers[answer.json()["status"]] += 1
                    break
                assert answer.status_code in (429, 503), answer.text
                time.sleep(0.05)
            time.sleep(pause_s)
    return answers


def check(server: Server, connection: dict[str, Any], sent: int) -> None:
    """Compare profile, lake and the relay's books with what was sent."""
    status = server.drained()
    books = status["sources"]["capillary"]
    assert status["balanced"], books
    assert (books["processed"], books["deadLettered"], books["skipped"]) == (sent, 0, 0)
    assert books["received"] == sent + books["duplicates"]
    for member in range(1, MEMBERS + 1):
        shown = server.run("profile", "show", "--id", str(900_000_000 + member), "--json", "--events", "1000")
        loyalty = shown["profile"]["entity"]["loyalty"]
        assert (loyalty["points"], loyalty["lifetimePoints"]) == (member * ROUNDS, member * ROUNDS)
        ids = [event["_id"] for event in shown["events"]]
        assert len(ids) == len(set(ids)) == ROUNDS + 1
    tables = {name: connection[f"{name}_dataset_name"].lower().replace(" ", "_") for name in ("event", "profile")}
    rows = server.run("query", "--format", "json", f"select count(distinct _id) as n from {tables['event']}")
    assert rows == [{"n": sent}]


def connect(server: Server) -> dict[str, Any]:
    return server.run("connect", "capillary", "--json")  # type: ignore[no-any-return]


STEPS = [
    "courier:translated:2",
    "courier:posted:2",
    "courier:settled:2",
    "worker:read:2",
    "worker:lake_committed:2",
    "worker:state_committed:2",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_a_durable_step_loses_nothing_and_counts_nothing_twice(step: str, make_server: Callable[..., Server]) -> None:
    server = make_server(CAPSTREAM_SERVER_CRASH_AT=step)
    connection = connect(server)
    bodies = events()
    answers = send(connection, bodies, pause_s=0.002)
    assert answers == {"accepted": len(bodies), "duplicate": 0}
    role, *_ = step.split(":")
    eventually((server.data / "run" / f"crashed-{role}").exists, what=f"the crash at {step}")
    check(server, connection, len(bodies))


@pytest.mark.parametrize("role", ["gateway", "worker", "courier"])
def test_kill_minus_nine_at_any_moment(role: str, server: Server) -> None:
    connection = connect(server)
    bodies = events()
    done = threading.Event()
    crashes = 0

    def crash() -> None:
        nonlocal crashes
        while not done.wait(0.7):
            server.kill(role)
            crashes += 1
            eventually(server.is_ready, what="the server")

    killer = threading.Thread(target=crash)
    killer.start()
    try:
        send(connection, bodies, pause_s=0.005)
    finally:
        done.set()
        killer.join()
    assert crashes >= 2
    check(server, connection, len(bodies))


@pytest.mark.parametrize("step", ["translator:translated:2", "translator:translated:9"])
def test_a_translator_that_is_killed_while_a_backlog_is_shared_takes_nothing_with_it(
    step: str, make_server: Callable[..., Server]
) -> None:
    server = make_server(CAPSTREAM_SERVER_CRASH_AT=step, CAPSTREAM_RELAY_BATCH_EVENTS="10")
    connection, bodies = connect(server), events()
    courier = server.pid("courier")
    os.kill(courier, signal.SIGSTOP)
    send(connection, bodies, pause_s=0)
    os.kill(courier, signal.SIGCONT)
    eventually((server.data / "run" / "crashed-translator").exists, what=f"the crash at {step}")
    check(server, connection, len(bodies))


def test_kill_minus_nine_while_a_dataflow_is_off_and_while_it_catches_up(server: Server) -> None:
    connection = connect(server)
    bodies = events()
    flow = f"/data/foundation/flowservice/flows/{connection['event_flow_id']}/action"
    with server.client() as client:
        client.platform("POST", flow, query={"op": "disable"})
        send(connection, bodies[: len(bodies) // 2], pause_s=0)
        server.kill("courier")
        send(connection, bodies[len(bodies) // 2 :], pause_s=0)
        eventually(lambda: _behind(client) == {"event": len(bodies), "profile": 0}, what="the profile flow's end")
        server.kill("courier")
        status = client.relay("GET", "/relay/status")
        assert (status["journal"]["pending"], status["waiting"]["outbox"]) == (0, len(bodies))
        client.platform("POST", flow, query={"op": "enable"})
    server.kill("courier")
    check(server, connection, len(bodies))


def _behind(client: Any) -> dict[str, int]:
    return {key.rpartition("/")[2]: behind for key, behind in client.relay("GET", "/relay/status")["behind"].items()}


def test_everything_stands_again_after_the_whole_server_was_killed(server: Server) -> None:
    connection = connect(server)
    bodies = events()
    send(connection, bodies[: len(bodies) // 2], pause_s=0)
    server.process.kill()
    server.process.wait()
    for role in ("gateway", "worker", "courier", "translator-1"):
        pid = server.pid(role)
        eventually(lambda pid=pid: not _alive(pid), what=f"the end of {role}")
    again = Server(server.data, port=server.port).start()
    try:
        send(connection, bodies, pause_s=0)
        check(again, connection, len(bodies))
    finally:
        again.stop()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False
