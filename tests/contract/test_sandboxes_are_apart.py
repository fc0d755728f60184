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
        "allOf": [{"$ref": PROFILE}],
        "meta:class": PROFILE,
    }
    answer = whole.call("POST", f"{REGISTRY}/schemas", json=schema)
    assert answer.status_code == 201, answer.text
    made = whole.flow_to_a_dataset() | {"schema": answer.json()["$id"]}
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


def rows(whole: Platform, sandbox: str) -> httpx.Response:
    query = {"sql": "select count(*) as n from profiles", "limit": 1}
    return whole.call("POST", "/capstream/query", headers={"x-sandbox-name": sandbox}, json=query)


def settle(whole: Platform) -> None:
    """Let the pipeline carry out what it was ordered."""
    for _ in range(200):
        whole.pipeline.run_once()


def left(whole: Platform, sandbox_id: str) -> list[str]:
    """Return the collections of all stores that hold something under the sandbox."""
    layout = Layout(whole.folder)
    found = []
    for file in (layout.control, layout.state, layout.metrics):
        store = SqliteDocuments(file, readonly=True)
        found += [name for name in store.collections() if any(sandbox_id in key for key, _ in store.scan(name))]
        store.close()
    return sorted(found)


def test_nothing_of_one_sandbox_is_seen_in_another(whole: Platform) -> None:
    fill(whole)
    here, there = seen(whole, "prod"), seen(whole, "dev")
    assert all(here.values()), {path for path, items in here.items() if not items}
    assert {path for path, items in there.items() if items} == set()
    assert rows(whole, "prod").json()["rows"] == [{"n": 1}]
    assert rows(whole, "dev").status_code == 400


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
