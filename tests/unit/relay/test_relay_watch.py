"""Lag, tokens, disk and alerts follow from the stores; settings change without a restart."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import failing, refusing
from relay_rig import Rig

from capstream import config
from capstream.kernel.errors import InputError
from capstream.relay.alerting import AlertLog, Thresholds
from capstream.relay.back_pressure import Gate, HighWater
from capstream.relay.ledger import read_cursor, read_lanes
from capstream.relay.sources import Sources
from capstream.relay.watch import Watch

NO_BOUND = HighWater(free_bytes=0)


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def watch(rig: Rig) -> Any:
    def look(free: int = 10**12, mark: HighWater = NO_BOUND, **limits: Any) -> Any:
        gate = Gate(lambda: 0, lambda: free, mark, lanes=lambda: read_lanes(rig.documents))
        return Watch(
            journal=rig.journal,
            courier=rig.documents,
            clock=rig.clock,
            free_bytes=lambda: free,
            thresholds=lambda: Thresholds(**limits),
            stores={"journal": rig.journal, "courier": rig.documents},
            refusing=gate.refusing,
            sources=lambda: ["nw"],
        ).state()

    return look


def names(state: Any) -> list[tuple[str, str]]:
    return [(alert["name"], alert["about"]) for alert in state["alerts"]]


def test_a_relay_that_is_well_raises_nothing(rig: Rig, watch: Any, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.drain()
    found = watch()
    assert (found["health"], found["alerts"], found["oldestPendingS"]) == ("ok", [], 0.0)
    assert found["lag"] == {"nw/event": 0.0, "nw/profile": 0.0}
    assert found["tokens"]["client-1"]["expiresInS"] > 80_000


def test_lag_is_the_age_of_the_oldest_that_waits(rig: Rig, watch: Any, make_event: Any) -> None:
    rig.receive(make_event(1))
    rig.clock.advance(200)
    rig.receive(make_event(2))
    rig.clock.advance(101)
    found = watch()
    assert found["oldestPendingS"] == 301
    assert found["lag"] == {"nw/event": 301, "nw/profile": 301}
    assert names(found) == [("lag", "")]
    assert names(watch(lag_s=302)) == []


def test_a_parked_payload_is_the_lag_of_its_own_flow(rig: Rig, watch: Any, make_event: Any) -> None:
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-1"), status=500))
    rig.receive(make_event(1))
    rig.drain()
    rig.clock.advance(400)
    found = watch()
    assert found["lag"]["nw/event"] > 399
    assert found["lag"]["nw/profile"] == 0
    assert names(found) == [("parked", "nw/event")]


def test_dead_letters_and_disk(rig: Rig, watch: Any) -> None:
    rig.receive(b"not json", b"neither")
    rig.drain()
    assert names(watch()) == [("dead_letters", "")]
    assert names(watch(dead_letters=2)) == []
    assert names(watch(free=10, dead_letters=2)) == [("disk", "")]


def test_space_that_is_free_in_the_files_is_no_lack_of_disk(rig: Rig, watch: Any) -> None:
    with rig.documents.transaction() as transaction:
        transaction.put("x", [(f"{number}", bytes(4000)) for number in range(100)])
    with rig.documents.transaction() as transaction:
        transaction.delete("x", [f"{number}" for number in range(100)])
    free = rig.documents.free_bytes()
    assert free > 300_000
    assert watch()["disk"]["stores"]["courier"] == {"bytes": rig.documents.size_bytes(), "freeBytes": free}
    assert names(watch(free=10, free_bytes=300_000)) == []
    assert names(watch(free=10, free_bytes=free + rig.journal.free_bytes() + 11)) == [("disk", "")]


def test_a_source_whose_outbox_takes_too_much_is_told_with_the_reason(rig: Rig, watch: Any, make_event: Any) -> None:
    rig.edge.down["flow-event"] = httpx.Response(503)
    rig.receive(make_event(1))
    rig.work(lambda: read_cursor(rig.documents) == 1)
    taken = read_lanes(rig.documents)["nw/event"]["bytes"]
    assert watch()["refusing"] == {}
    found = watch(mark=HighWater(outbox_bytes=taken - 1))
    assert found["delivery"]["nw/event"]["waitingBytes"] == taken
    assert found["refusing"].keys() == {"nw"}
    assert f"takes {taken} bytes" in found["refusing"]["nw"]
    assert ("refusing", "nw") in names(found)
    assert watch(mark=HighWater(free_bytes=10**13))["refusing"].keys() == {"*"}


def test_trouble_of_a_dataflow_and_of_the_token(rig: Rig, watch: Any, make_event: Any) -> None:
    states: list[Any] = []

    def look(_: float) -> None:
        rig.clock.advance(700)
        states.append(watch())
        if len(states) == 2:
            rig.edge.refuse_tokens = None

    rig.on_wait = look
    rig.edge.refuse_tokens = httpx.Response(400, json={"error": "invalid_client"})
    rig.receive(make_event(1))
    rig.drain()
    assert {name for name, _ in names(states[1])} == {"lag", "flow", "token"}
    token = next(alert for alert in states[1]["alerts"] if alert["name"] == "token")
    assert "invalid_client" in token["reason"]
    assert "ims-secret" not in str(states)
    assert watch()["health"] == "ok"


def test_a_dataflow_that_only_retries_for_a_moment_raises_nothing(rig: Rig, watch: Any, make_event: Any) -> None:
    states: list[Any] = []
    rig.on_wait = lambda _: states.append(watch())
    rig.edge.script(failing("flow-event", httpx.Response(503)))
    rig.receive(make_event(1))
    rig.drain()
    assert "retrying" in [state["delivery"]["nw/event"]["state"] for state in states]
    assert [names(state) for state in states] == [[]] * len(states)


def test_alerts_are_told_once_when_raised_and_once_when_over(caplog: pytest.LogCaptureFixture) -> None:
    alert = {"name": "disk", "about": "", "reason": "10 bytes of disk are free", "cure": "free space"}
    teller = AlertLog()
    with caplog.at_level(logging.INFO, logger="capstream"):
        for alerts in ([], [alert], [alert], []):
            teller.tell(alerts)
    assert [record.facts["action"] for record in caplog.records] == ["alert_raised", "alert_over"]  # type: ignore[attr-defined]


def test_settings_are_read_again_and_those_that_need_a_restart_are_named(tmp_path: Path) -> None:
    file = tmp_path / "capstream.toml"
    live = config.Live(config.load({}, data=tmp_path))
    heard: list[config.Settings] = []
    live.listen(heard.append)
    file.write_text('[server]\nport = 9000\nlog_level = "debug"\n[relay]\nbacklog_limit = 7\nbody_limit = 8\n')
    taken, waiting = live.reload()
    assert (sorted(taken), sorted(waiting)) == (["relay.backlog_limit", "server.log_level"], ["relay.body_limit", "server.port"])
    assert (live.now.relay.backlog_limit, live.now.server.port) == (7, 8787)
    assert heard == [live.now]
    file.write_text("[relay]\nbaklog_limit = 9\n")
    with pytest.raises(InputError, match="unknown setting"):
        live.reload()
    assert live.now.relay.backlog_limit == 7


def test_a_setting_that_is_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "capstream.toml").write_text("[relay]\ndedupe_days = 7\n")
    with pytest.raises(InputError, match="at least 8"):
        config.load({}, data=tmp_path)
