"""The files for Grafana and Prometheus name only metrics and labels that `/metrics` has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_edge import refusing
from prometheus_client.parser import text_string_to_metric_families
from relay_rig import Rig

from capstream.kernel.metrics import exposition
from capstream.measures import ALERTS, of_relay
from capstream.relay.alerting import Thresholds, alerts_of
from capstream.relay.drift import Notice, with_drift
from capstream.relay.sources import Sources
from capstream.relay.watch import Watch

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = re.compile(r"capstream_\w+")


@pytest.fixture
def labels(tmp_path: Path, sources: Sources, clock: Any, make_event: Any) -> Iterator[dict[str, set[str]]]:
    """The label names of every metric of a relay that has delivered, parked and given up something."""
    rig = Rig(tmp_path, sources, clock)
    rig.edge.script(refusing(lambda message: message["_id"].endswith("event-2"), status=500))
    rig.receive(make_event(1), make_event(2), b"not json")
    rig.drain()
    limits = {"free_bytes": lambda: 10**12, "thresholds": Thresholds, "sources": lambda: ["nw"]}
    watch = Watch(journal=rig.journal, courier=rig.documents, clock=clock, stores={"journal": rig.journal}, **limits)
    seen = {"source_key": "nw", "first_ms": 1, "first_offset": 1, "last_ms": 1}
    notice = Notice(**seen, event_name="pointsIssued", what="unknown_field", path="/data/x", count=1)
    text = exposition(of_relay(with_drift(rig.status() | watch.state(), [notice], {}))).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    yield found
    rig.close()


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "capstream.rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "capstream-relay.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return [*panels, *variables, *(rule["expr"] for rule in rules())]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_exists(labels: dict[str, set[str]], expression: str) -> None:
    names = NAME.findall(expression)
    assert names
    assert set(names) <= labels.keys()
    selected = {label for part in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)=", part)}
    grouped = {label.strip() for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(",")}
    known = set.union({"instance"}, *(labels[name] for name in names))
    assert selected | grouped <= known


def test_every_metric_of_the_relay_is_on_the_dashboard(labels: dict[str, set[str]]) -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}
    assert {name for name in labels if name.startswith("capstream_")} - shown == set()


def test_every_rule_says_what_to_do() -> None:
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) == 11
    for rule in found:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_every_alert_the_relay_can_raise_has_a_metric() -> None:
    flow = {"state": "paused", "reason": "", "sinceS": 1e6, "parkedS": 1e6, "waiting": 1, "waitingS": 0.0}
    token = {"failingS": 1e6, "expiresInS": -1, "reason": ""}
    disk = {"freeBytes": 0, "reusableBytes": 0}
    state: dict[str, Any] = {"oldestPendingS": 1e6, "delivery": {"nw/event": flow}, "tokens": {"c": token}, "disk": disk}
    state["refusing"] = {"nw": "x"}
    state["privacy"] = {"due": 1, "overdueS": 1e6}
    assert {alert.name for alert in alerts_of(state, 1, Thresholds())} | {"schema_drift"} == set(ALERTS)
