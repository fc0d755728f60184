"""Reconciliation finds drift made on purpose, names the events, and stays silent where there is none."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Server

from capstream.capillary.touching import ALWAYS

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]
ORG = "700123"
DETAILS = {"id": 4101, "name": "Circle", "isDefault": True, "tiers": [{"tierNumber": 1, "tierName": "Bronze"}]}


class Capillary:
    """Capillary's API as far as reconciliation asks it, on a port of its own."""

    def __init__(self) -> None:
        self.loyalty: dict[str, dict[str, Any]] = {}
        self.delivered = 0
        self.kinds: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                member = f"{self.path}/".split("/")[3].split("?")[0]
                if "/v3/webHooks" in self.path:
                    webhook = {"webHookUrl": "https://relay/webhooks/capillary/capillary", "consumerGroupId": "g"}
                    self.answer(200, {"data": [{**webhook, "eventNames": outer.kinds}]})
                elif "/metrics" in self.path:
                    self.answer(200, {"data": {"totalEvents": outer.delivered, "deliveredEvents": outer.delivered}})
                elif member in outer.loyalty:
                    self.answer(200, {"data": [outer.loyalty[member]], "errors": []})
                else:
                    self.answer(404, {"data": None, "errors": [{"code": 8015}]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.answer(200, {"data": {"accessToken": "token", "ttlSeconds": 300}, "errors": None})

            def answer(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def capillary() -> Iterator[Capillary]:
    found = Capillary()
    yield found
    found.server.shutdown()
    found.server.server_close()


def event(number: int, member: int, points: int, **more: Any) -> dict[str, Any]:
    data = {
        "customerIdentifiers": {"customerId": member},
        "totalPointsIssued": 10,
        "regularPointsIssued": 10,
        "programCurrentPoints": points,
        "programLifetimePoints": points,
        "loyaltyProgramId": 4101,
        "loyaltyProgramDetails": DETAILS,
    }
    base = {"eventName": "pointsIssued", "eventId": f"e-{number}", "orgId": int(ORG), "createdAt": 1_731_000_000_000 + number}
    return {**base, "data": data, **more}


def reconcile(server: Server, *arguments: str) -> tuple[int, list[Any]]:
    file = str(server.data / "credentials.json")
    command = [sys.executable, "-m", "capstream.cli.main", "reconcile", "--json", "--credentials", file, *arguments]
    keys = {"CAPSTREAM_CAPILLARY_KEY": "key", "CAPSTREAM_CAPILLARY_SECRET": "secret"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **keys}, cwd=ROOT)
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_drift_is_found_and_explained(server: Server, capillary: Capillary) -> None:
    connection = server.run("connect", "capillary", "--json")

    def hook(*events: Any) -> None:
        answer = httpx.post(connection["webhook_url"], json=list(events), headers=connection["webhook_headers"])
        assert answer.status_code == 200
        server.drained()

    survivors = {"survivorCustomerIdentifiers": {"customerId": 3}, "victimCustomerIdentifiers": {"customerId": 4}}
    summary = [{"loyaltyProgramId": 4101, "lifetimePoints": 70, "currentPoints": 70, "promisedPoints": 0, "tierNumber": 1}]
    merge = {"eventName": "loyaltyCustomerMerge", "data": {**survivors, "survivorCustomerLoyaltySummary": summary}}
    hook(event(1, 1, 10), event(2, 2, 20), event(3, 3, 30), event(4, 4, 40), event(5, 3, 0, **merge))
    capillary.loyalty = {
        "1": {"loyaltyPoints": 10, "lifetimePoints": 10},
        "2": {"loyaltyPoints": 20, "lifetimePoints": 20},
        "3": {"loyaltyPoints": 70, "lifetimePoints": 70, "currentSlab": "Bronze"},
    }
    assert reconcile(server) == (0, [{"members": 3, "merged": 1, "drifted": 0, "unknownToCapillary": 0}])

    with server.client() as client:  # from here on, so that no event is enriched
        api = {"host": capillary.url, "key": "key", "secret": "secret", "mode": "off"}
        held = client.relay("GET", "/relay/sources/capillary")
        held.pop("key")
        client.relay("PUT", "/relay/sources/capillary", body={**held, "capillaryApi": api})
    assert reconcile(server, "--capillary")[0] == 0

    capillary.loyalty["2"] = {"loyaltyPoints": 25, "lifetimePoints": 25}  # an event was lost on the way
    code, (drift, total) = reconcile(server, "--capillary")
    assert (code, total["drifted"], drift["member"]) == (1, 1, "2")
    assert drift["drift"][0] == {"field": "points", "events": 20, "profile": 20, "capillary": 25}
    assert [each["eventId"] for each in drift["events"]] == ["e-2"]

    _overwrite_profile(server, connection, "1")
    code, (drift, total) = reconcile(server, "--member", "1", "--org", ORG)
    assert (code, total["members"], drift["member"]) == (1, 1, "1")
    assert {"field": "points", "events": 10, "profile": 1} in drift["drift"]
    assert reconcile(server, "--member", "3", "--org", ORG)[0] == 0
    assert reconcile(server, "--since", "1h")[1] == [{"members": 0, "merged": 0, "drifted": 0, "unknownToCapillary": 0}]

    capillary.delivered, capillary.kinds = 7, sorted(ALWAYS - {"issuedPointsReversed", "tierRenewed"})
    code, (*_, total) = reconcile(server, "--capillary", "--days", "0", "--member", "3", "--org", ORG)
    assert code == 1
    assert (total["delivery"]["delivered"], total["delivery"]["journalled"], total["delivery"]["difference"]) == (7, 5, 2)
    assert total["delivery"]["notRegistered"] == ["issuedPointsReversed", "tierRenewed"]


def test_members_of_two_orgs_are_told_apart(server: Server) -> None:
    """Both orgs have a member 1; identities name the org."""
    file = server.data / "connection.yaml"
    file.write_text("relay: {translation: {identity: {customer_id_template: '{orgId}-{customerId}'}}}\n")
    connection = server.run("connect", "capillary", str(file), "--json")
    events = [event(1, 1, 10), event(2, 1, 20, orgId=700124)]
    assert httpx.post(connection["webhook_url"], json=events, headers=connection["webhook_headers"]).status_code == 200
    server.drained()
    assert reconcile(server) == (0, [{"members": 2, "merged": 0, "drifted": 0, "unknownToCapillary": 0}])
    _overwrite_profile(server, connection, "1", identity="700123-1")
    _, (drift, total) = reconcile(server)
    assert (total["drifted"], drift["member"]) == (1, "1")
    assert [each["eventId"] for each in drift["events"]] == ["e-1"]


def _overwrite_profile(server: Server, connection: Any, member: str, *, identity: str = "") -> None:
    """Somebody else writes into the profile dataset."""
    at = "2025-01-01T00:00:00.000Z"
    own = {"id": identity or member, "authenticatedState": "ambiguous", "primary": True}
    record = {
        "_id": f"capillary:{ORG}:member:{member}",
        "identityMap": {"capillaryUserId": [own]},
        "loyalty": {"points": 1, "loyaltyID": [member]},
        "capillary": {"orgId": ORG, "customerId": member, "asOf": at},
    }
    with server.client() as client:
        source = client.relay("GET", "/relay/sources/capillary")
        headers = {"authorization": f"Bearer {client._access_token()}", "x-adobe-flow-id": source["profileFlowId"]}
        headers |= {"x-gw-ims-org-id": client.credentials.org_id, "x-sandbox-name": client.credentials.sandbox}
        body = {"messages": [record]}
        url = source["inletUrl"].replace("/collection/", "/collection/batch/") + "?syncValidation=true"
        answer = httpx.post(url, json=body, headers=headers)
        assert answer.status_code in (200, 207), answer.text
    server.drained()
