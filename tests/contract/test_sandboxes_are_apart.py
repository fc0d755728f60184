"""Two sandboxes of the whole platform: nothing of one is seen in the other, and a reset or deleted one really loses its data."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from whole_platform import CATALOG, FLOWS, PROFILE, Platform, platform

from capstream import config, platform_side
from capstream.aep.sandbox.model import Sandboxes, State
from capstream.layout import Layout
from capstream.storage.sqlite import SqliteDocuments

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
REGISTRY = "/data/foundation/schemaregistry/tenant"
CONVERSION = "/data/foundation/conversion"

IDENTITY = "/data/core/identity"
ENTITIES = "/data/core/ups/access/entities"
SUBSCRIPTIONS = "/capstream/api/alerts/subscriptions"
MAIL = "member-0001@example.com"

OF_THE_ORGANISATION = {
    "organisations": "the organisation itself",
    "clients": "technical accounts work in every sandbox their roles include",
    "roles": "a role names its sandboxes",
    "sandboxes": "the sandboxes themselves",
    "namespaces": "identity namespaces belong to the organisation (identity.md 2.1, ASSUMPTION)",
    "cursors": "how far the pipeline has read the one log of all inlets",
}
UNDER_IDS_OF_THEIR_OWN = {
    "inlets": "a producer knows the inlet alone; what it holds says whose it is",
    "inlet_aliases": "by base connection",
    "inlet_flows": "by inlet and dataflow",
    "routes": "by dataflow",
    "windows": "by dataset and dataflow",
    "open_runs": "by hour, so that those due come first",
    "run_signals": "in the order they were written",
    "audit_events": "what is done to sandboxes is the organisation's",
    "audit_names": "a sandbox's name is the organisation's",
}
"""Collections whose keys do not start with a sandbox, and why."""

LISTS = [
    f"{FLOWS}/connections",
    f"{FLOWS}/sourceConnections",
    f"{FLOWS}/targetConnections",
    f"{FLOWS}/flows",
    f"{FLOWS}/runs",
    f"{CATALOG}/dataSets",
    f"{CATALOG}/batches",
    f"{REGISTRY}/schemas",
    f"{CONVERSION}/mappingSets",
]


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Platform]:
    with platform(tmp_path) as made:
        made.call("POST", SANDBOXES, json={"name": "dev", "title": "Development", "type": "development"})
        yield made


def fill(whole: Platform) -> dict[str, str]:
    """Make something in every service of the sandbox the calls work in, and stream records through it."""
    schema = {
        "title": "Own",
        "type": "object",
        "allOf": [{"$ref": PROFILE}, {"$ref": "https://ns.adobe.com/xdm/context/identitymap"}],
        "meta:class": PROFILE,
        "meta:immutableTags": ["union"],
    }
    answer = whole.call("POST", f"{REGISTRY}/schemas", json=schema)
    assert answer.status_code == 201, answer.text
    schema_id = answer.json()["$id"]
    tags = {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}
    identities = {"Email": [{"id": MAIL, "primary": True}], "Phone": [{"id": "+15550100001"}]}
    made = whole.flow_to_a_dataset(schema_id, tags, {"identityMap": identities}) | {"schema": schema_id}
    flow_alerts = {"flowId": made["flow"], "ruleIds": ["sources-flow-run-failure"]}
    assert whole.call("PUT", SUBSCRIPTIONS, json=flow_alerts).status_code == 200
    asked = whole.call("GET", f"{IDENTITY}/identity?namespace=Email&id=never-seen@example.com")
    assert asked.status_code == 200, asked.text
    mapping = {
        "outputSchema": {"schemaRef": {"id": PROFILE, "contentType": "application/vnd.adobe.xed-full+json;version=1"}},
        "mappings": [{"sourceType": "ATTRIBUTE", "source": "id", "destination": "_id"}],
    }
    answer = whole.call("POST", f"{CONVERSION}/mappingSets", json=mapping)
    assert answer.status_code in {200, 201}, answer.text
    return made | {"mapping": answer.json()["id"]}


def seen(whole: Platform, sandbox: str) -> dict[str, Any]:
    """Return what the lists of a sandbox show."""
    found: dict[str, Any] = {}
    for path in LISTS:
        accept = {"accept": "application/vnd.adobe.xed-id+json"} if REGISTRY in path else {}
        answer = whole.call("GET", path, headers={"x-sandbox-name": sandbox} | accept)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found[path] = next((body[key] for key in ("items", "results", "data") if key in body), body)
    return found


def documents(whole: Platform) -> Iterator[tuple[str, str, bytes]]:
    """Yield collection, key and body of every document of every store of the platform."""
    layout = Layout(whole.folder)
    for file in sorted(layout.control.parent.glob("*.db")):
        if file == layout.inlet:
            continue  # the log of what the inlets took, whole envelopes
        store = SqliteDocuments(file, readonly=True)
        yield from ((name, key, body) for name in store.collections() for key, body in store.scan(name))
        store.close()


def rows(whole: Platform, sandbox: str) -> httpx.Response:
    query = {"sql": "select count(*) as n from profiles", "limit": 1}
    return whole.call("POST", "/capstream/query", headers={"x-sandbox-name": sandbox}, json=query)


def settle(whole: Platform) -> None:
    """Let the pipeline carry out what it was ordered."""
    for _ in range(200):
        whole.pipeline.run_once()


def left(whole: Platform, sandbox_id: str) -> list[str]:
    """Return the collections of all stores that hold something under the sandbox; who changed what outlives it."""
    kept = ("audit_events", "audit_names")
    return sorted({collection for collection, key, _ in documents(whole) if sandbox_id in key and collection not in kept})


def test_nothing_of_one_sandbox_is_seen_in_another(whole: Platform) -> None:
    fill(whole)
    here, there = seen(whole, "prod"), seen(whole, "dev")
    assert all(here.values()), {path for path, items in here.items() if not items}
    assert {path for path, items in there.items() if items} == set()
    assert rows(whole, "prod").json()["rows"] == [{"n": 1}]
    assert rows(whole, "dev").status_code == 400


def test_no_store_keeps_things_of_two_sandboxes_together(whole: Platform) -> None:
    """Walks every document of every store: whose it is can be told, and none of one sandbox speaks of the other."""
    own: dict[str, set[bytes]] = {}
    for name in ("prod", "dev"):
        whole.credentials = replace(whole.credentials, sandbox=name)
        made = fill(whole)
        own[name] = {whole.call("GET", f"{SANDBOXES}/{name}").json()["id"].encode(), *(each.encode() for each in made.values())}
    ids = {name: whole.call("GET", f"{SANDBOXES}/{name}").json()["id"] for name in own}
    kept: dict[str, set[str]] = {}
    for collection, key, body in documents(whole):
        speaks_of = {name for name, marks in own.items() if any(mark in key.encode() + b" " + body for mark in marks)}
        owner = next((name for name, one in ids.items() if key.startswith(f"{one}/")), None)
        if collection in OF_THE_ORGANISATION:
            continue
        assert len(speaks_of) <= 1, (collection, key)
        assert owner or collection in UNDER_IDS_OF_THEIR_OWN, (collection, key)
        assert owner is None or speaks_of == {owner}, (collection, key)
        kept.setdefault(collection, set()).update(speaks_of)
    assert {name for name, found in kept.items() if found not in (set(own), set())} == set()
    assert {"fragments", "profiles", "identities", "graphs", "alert_subscriptions", "asked_identities"} <= set(kept)


def test_one_persons_profiles_and_graphs_are_apart(whole: Platform) -> None:
    fill(whole)
    elsewhere = {"x-sandbox-name": "dev"}
    person = f"{ENTITIES}?schema.name=_xdm.context.profile&entityId={MAIL}&entityIdNS=Email"
    graph = {"composite_xids": [{"ns": "Email", "id": MAIL}], "projection_type": "graph"}
    here = whole.call("POST", f"{IDENTITY}/v2/graph", json=graph).json()
    there = whole.call("POST", f"{IDENTITY}/v2/graph", json=graph, headers=elsewhere).json()
    assert (len(here["graphs"]), len(there["graphs"])) == (1, 0)
    (entity,) = whole.call("GET", person).json().values()
    assert entity["entity"]["_id"] == "good"
    assert whole.call("GET", person, headers=elsewhere).status_code == 404


def test_what_one_sandbox_has_cannot_be_reached_from_another(whole: Platform) -> None:
    made = fill(whole)
    elsewhere = {"x-sandbox-name": "dev"}
    paths = [
        f"{FLOWS}/connections/{made['base']}",
        f"{FLOWS}/sourceConnections/{made['source']}",
        f"{FLOWS}/targetConnections/{made['target']}",
        f"{FLOWS}/flows/{made['flow']}",
        f"{CATALOG}/dataSets/{made['dataset']}",
        f"{CONVERSION}/mappingSets/{made['mapping']}",
    ]
    for path in paths:
        assert whole.call("GET", path).status_code == 200, path
        assert whole.call("GET", path, headers=elsewhere).status_code == 404, path
        assert whole.call("DELETE", path, headers=elsewhere).status_code == 404, path


def emptied(whole: Platform, name: str, how: str) -> httpx.Response:
    if how == "delete":
        return whole.call("DELETE", f"{SANDBOXES}/{name}")
    return whole.call("PUT", f"{SANDBOXES}/{name}", json={"action": "reset"})


@pytest.mark.parametrize(("name", "how", "passing"), [("prod", "reset", "resetting"), ("dev", "delete", "deleted")])
def test_a_sandbox_that_is_emptied_really_loses_its_data(whole: Platform, name: str, how: str, passing: str) -> None:
    other = "dev" if name == "prod" else "prod"
    for each in (other, name):
        whole.credentials = replace(whole.credentials, sandbox=each)
        made = fill(whole)
    before = seen(whole, other)
    sandbox = whole.call("GET", f"{SANDBOXES}/{name}").json()
    inlet = httpx.URL(whole.call("GET", f"{FLOWS}/connections/{made['base']}").json()["items"][0]["auth"]["params"]["inletUrl"])
    assert left(whole, sandbox["id"])
    answer = emptied(whole, name, how)
    assert (answer.status_code, answer.json()["state"]) == (202, passing)
    assert whole.call("GET", f"{SANDBOXES}/{name}").json()["state"] == passing
    assert whole.call("GET", f"{FLOWS}/flows").status_code == 404
    assert whole.call("POST", inlet.path, json={"header": {}, "body": {}}).status_code == 404
    settle(whole)
    assert left(whole, sandbox["id"]) == []
    assert not list((Layout(whole.folder).lake / name).rglob("*.parquet"))
    assert list((Layout(whole.folder).lake / other).rglob("*.parquet"))
    assert seen(whole, other) == before
    if how == "reset":
        assert whole.call("GET", f"{SANDBOXES}/{name}").json()["state"] == "active"
        assert {path for path, items in seen(whole, name).items() if items} == set()
        fill(whole)
        assert rows(whole, name).json()["rows"] == [{"n": 1}]


def test_an_emptying_that_was_cut_off_is_done_at_the_next_start(whole: Platform) -> None:
    fill(whole)
    layout = Layout(whole.folder)
    control = SqliteDocuments(layout.control)
    sandboxes = Sandboxes(control, is_erased=lambda _: False)
    (record,) = [one for one in sandboxes.records(whole.credentials.org_id) if one.name == "prod"]
    sandboxes.change(record, state=State.RESETTING, erasure="order", user_id="u", now_ms=record.created_ms)
    whole.app = platform_side.build(config.load({}, data=whole.folder), layout).gateway([])
    settle(whole)
    assert left(whole, record.id) == []
    assert not list(layout.lake.rglob("*.parquet"))
    control.close()
