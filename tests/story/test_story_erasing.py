"""A member is taken out beside traffic while processes are killed: nothing of theirs is left, nothing of the others is lost."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from running import Server, eventually
from test_story_crash import MEMBERS, ROUNDS, connect, events, send

from capstream.kernel.errors import CapstreamError

ORG, GONE = "700123", 900_000_001
MAIL = b"member-0001@example.com"

pytestmark = pytest.mark.story


def state(server: Server) -> Any:
    with server.client() as client:
        try:
            return client.relay("GET", f"/relay/privacy-requests/{ORG}/{GONE}")
        except CapstreamError:  # the gateway is away
            return {"state": "unknown"}


def asked(server: Server) -> None:
    body = {"orgId": ORG, "customerId": str(GONE), "reason": "request 7"}

    def accepted() -> bool:
        with server.client() as client:
            try:
                client.relay("POST", "/relay/privacy-requests", body=body)
            except CapstreamError:
                return False
        return True

    eventually(accepted, what="the request")


def is_clean(server: Server) -> bool:
    files = [path for path in (server.data / "relay").iterdir() if path.suffix != ".key"]
    return not any(MAIL in path.read_bytes() for path in files)


def check(server: Server) -> None:
    found = state(server)
    assert found["erased"]["states"] in (0, 1)  # 0: the order was given twice
    eventually(lambda: is_clean(server), seconds=30, what="a clean disk")
    status = server.drained()
    assert status["balanced"]
    (act,) = [act for act in server.run("audit", "list", "--json") if act["act"] == "erase_member"]
    assert act["details"]["journal"] == ROUNDS + 1
    assert str(GONE) not in str(act)
    for member in range(2, MEMBERS + 1):
        shown = server.run("profile", "show", "--id", str(900_000_000 + member), "--json")
        assert shown["profile"]["entity"]["loyalty"]["points"] == member * ROUNDS
    assert server.run("events", "list", "--member", str(GONE), "--json")["events"] == []


@pytest.mark.parametrize("step", ["courier:about_to_erase:1", "courier:erased:1"])
def test_a_crash_at_a_step_of_an_erasure(step: str, make_server: Callable[..., Server]) -> None:
    server = make_server(CAPSTREAM_SERVER_CRASH_AT=step)
    send(connect(server), events(), pause_s=0.0)
    asked(server)
    eventually(lambda: state(server)["state"] == "erased", what="the erasure")
    eventually((server.data / "run" / "crashed-courier").exists, what=f"the crash at {step}")
    check(server)


def test_every_process_is_killed_while_a_member_is_taken_out(server: Server) -> None:
    connection, bodies = connect(server), events()
    send(connection, [body for body in bodies if f"-{GONE % 100}-" in f"{body['eventId']}-"], pause_s=0.0)
    others = [body for body in bodies if f"-{GONE % 100}-" not in f"{body['eventId']}-"]
    traffic = threading.Thread(target=send, args=(connection, others, 0.01))
    traffic.start()
    asked(server)
    try:
        for role in ("clerk", "gateway", "courier") * 3:
            if state(server)["state"] == "erased":
                break
            server.kill(role)
            eventually(server.is_ready, what="the server")
    finally:
        traffic.join()
    eventually(lambda: state(server)["state"] == "erased", what="the erasure")
    check(server)
