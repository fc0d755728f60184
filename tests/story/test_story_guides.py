"""The guides run as they are written, and come to what they say."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import Server, free_port

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]
MEMBER = "member-0001@example.com"

Run = Callable[..., str]


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def guide(server: Server, work: Path) -> Run:
    """Runs the bash blocks of a guide against the server; returns what they print."""

    def run(name: str, **more: str) -> str:
        text = (ROOT / "docs" / "howto" / f"{name}.md").read_text()
        script = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
        environment = dict(os.environ, CREDENTIALS=str(server.data / "credentials.json"), WORK=str(work), **more)
        done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_guide_to_connecting_capillary(server: Server, guide: Run, work: Path) -> None:
    *answers, shown = guide("connect-capillary").split("\n", 3)
    assert [json.loads(answer)["status"] for answer in answers] == ["accepted", "accepted", "duplicate"]
    profile = json.loads(shown)
    assert profile["profile"]["entity"]["loyalty"]["points"] == 198
    assert [event["eventType"] for event in profile["events"]] == ["loyalty.pointsIssued", "loyalty.customerAdded"]
    webhook = json.loads((work / "webhook.json").read_text())
    assert webhook["webHookUrl"].endswith("/webhooks/capillary/capillary")
    assert len(webhook["eventNames"]) == 14
    assert webhook["webHookHeaders"]["Authorization"].startswith("Bearer ")
    assert server.drained()["balanced"]


def test_the_guide_to_a_simulated_capillary(server: Server, guide: Run, work: Path) -> None:
    counts = json.loads(guide("simulate-capillary"))["data"]
    assert counts["deliveredEvents"] == counts["totalEvents"] > 20
    books = server.drained()["sources"]["capillary"]
    assert books["received"] - books["duplicates"] == counts["deliveredEvents"]
    assert set(books["events"]) <= {"customerAdded", "transactionAdded", "pointsIssued", "pointsRedeemed", "tierUpgraded"}
    assert (books["deadLettered"], json.loads((work / "registered.json").read_text())["errors"]) == (0, None)


def test_the_guide_to_failures(server: Server, guide: Run) -> None:
    printed = guide("find-and-replay-failures")
    assert printed.count('"status":"accepted"') == 4
    assert "1 of 1 events would come out differently" in printed
    (left,) = server.run("dead-letters", "list", "--json")
    assert (left["class"], left["eventId"], left["attempts"]) == ("UNKNOWN_EVENT", "misspelt", 2)
    shown = server.run("profile", "show", "--id", MEMBER, "--json")
    assert shown["profile"]["entity"]["loyalty"]["points"] == 198
    (rejected,) = server.run("rejected", "list", "--json")
    assert rejected["id"] == "guide-1"
    assert "timestamp" in rejected["reasons"][0]["field"] + rejected["reasons"][0]["reason"]


def test_the_guide_to_real_transactions(server: Server, guide: Run, work: Path) -> None:
    printed = guide("stream-real-transactions")
    summary = json.loads((work / "summary.json").read_text())
    assert summary["ok"]
    assert summary["membersCompared"] == 2
    assert summary["rows"]["read"] == 8
    rejects = lines_of(work / "run" / "rejects.jsonl")
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [(7, "stock_write_off"), (8, "bad_quantity")]
    truth = {row["customerId"]: row for row in lines_of(work / "run" / "truth" / "members.jsonl")}
    loyalty = server.run("profile", "show", "--id", "900017001", "--json")["profile"]["entity"]["loyalty"]
    assert (loyalty["points"], loyalty["tier"]) == (truth[900017001]["points"], truth[900017001]["tier"])
    skus = [line.partition(",")[2] for line in printed.split("_id,sku\n", 1)[1].split()]
    assert sorted(skus) == ["22423", "71053", "84406B", "85123A"]


def test_the_guide_to_the_relay_alone(server: Server, guide: Run, tmp_path: Path) -> None:
    account = str(server.data / "credentials.json")
    printed = guide("run-the-relay-alone", ACCOUNT=account, DATA=str(tmp_path / "relay"), PORT=str(free_port()))
    shown = server.run("profile", "show", "--id", MEMBER, "--json")
    assert shown["profile"]["entity"]["loyalty"]["points"] == 198
    assert '"points": 198' in printed
    with server.client() as client:
        assert client.relay("GET", "/relay/status")["sources"] == {}  # it went through the other relay


def test_the_guide_to_monitoring_and_alerts(server: Server, guide: Run, work: Path) -> None:
    printed = guide("monitor-and-alert")
    assert "delivered: HTTP 200 (attempt 1)" in printed
    events = [each["event"] for each in lines_of(work / "events.jsonl")]
    assert [each["header"]["_adobeio"]["eventCode"].removeprefix("sources_flow_run_") for each in events] == [
        "start",
        "start",
        "success",
    ]
    assert [each.get("test", False) for each in events] == [True, False, False]
    counted = events[-1]["metrics"]["recordSummary"]
    assert (counted["inputRecordCount"], counted["outputRecordCount"], counted["failedRecordCount"]) == (2, 1, 1)
    (alert,) = json.loads((work / "alerts.json").read_text())["alerts"]
    assert (alert["state"], alert["values"]["errorRate"]) == ("triggered", 50.0)
    reports = json.loads((work / "metrics.json").read_text())["metricResponses"]
    assert [sum(sum(each["dps"].values()) for each in report["datapoints"]) for report in reports] == [1, 1, 1, 2]
    assert server.run("alerts", "list", "--json")["webhooks"] == []


def test_the_guide_to_connecting_as_code(server: Server, guide: Run, work: Path) -> None:
    printed = guide("connect-as-code")
    assert "+ create dataset Club Members" in printed
    assert json.loads((work / "connection.json").read_text())["profile_dataset_name"] == "Club Members"
    planned = json.loads((work / "plan.json").read_text())
    assert {name: count for name, count in planned["counts"].items() if count} == {"keep": len(planned["changes"])}
    assert "FOUND" not in printed
    assert printed.count(" ok\n") == 9
    assert "- delete dataset Club Members" in printed
    with server.client() as client:
        assert client.platform("GET", "/data/foundation/flowservice/flows")["items"] == []
        assert client.relay("GET", "/relay/sources")["sources"] == []


def test_the_guide_to_operating_the_relay(server: Server, guide: Run, work: Path) -> None:
    printed = guide("operate-the-relay", DATA=str(server.data))
    made, rotated = (json.loads((work / name).read_text()) for name in ("eu.json", "rotated.json"))
    assert made["webhookUrl"].endswith("/webhooks/capillary/eu")
    assert made["webhookHeaders"]["Authorization"].startswith("Basic ")
    assert rotated["webhookHeaders"] != made["webhookHeaders"]
    assert rotated["liveSecrets"] == 2
    for line in (
        '"liveSecrets": 1',
        "200\n",
        "\nok\n",
        "\nprocessed\n",
        'capstream_relay_flow_up{flow="event",source="capillary"} 1.0',
    ):
        assert line in printed
    log = (server.data.parent / f"{server.data.name}.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if '"reloaded"' in line]
    assert {tuple(line["changed"]) for line in lines} == {("relay.journal_days", "alerts.dead_letters")}
    assert len(lines) == 5  # gateway, worker, courier, clerk, translator
    acts = [act["act"] for act in server.run("audit", "list", "--json")]
    assert acts[:3] == ["put_source", "rotate_secret", "retire_secret"]
    assert {"rotate_secret", "delete_source", "get_event"} <= set(acts)
    assert "member-0001" not in log


def test_the_guide_to_importing_history(server: Server, guide: Run, work: Path) -> None:
    printed = guide("import-history")
    rows = json.loads((work / "first.json").read_text())["rows"]
    assert rows["delivered"] > 0
    assert rows["rejected"] == 0
    assert rows["read"] == sum(count for name, count in rows.items() if name != "read")
    assert '"read":0' in printed
    assert "no day of the calendar" in printed
    assert "read 1 · delivered 1" in printed
    assert server.drained()["balanced"]


def test_the_guide_to_reconciling(guide: Run) -> None:
    printed = guide("reconcile")
    assert printed.count('"drifted":0') == 2
    assert '"members":1' in printed
