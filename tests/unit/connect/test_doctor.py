"""`doctor` against the embedded platform: every finding by breaking the real thing."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from connect_world import World
from test_connect_as_code import named

from capstream.aep.schema_registry.model import RESOURCES
from capstream.kernel.json import dumps, loads
from capstream.layout import Layout
from capstream.relay import doctor, provision
from capstream.relay.doctor import CHECKS, Report
from capstream.storage.sqlite import SqliteDocuments

FLOWS, CATALOG = "/data/foundation/flowservice", "/data/foundation/catalog"
MAPPINGS = "/data/foundation/conversion/mappingSets"
Made = dict[str, Any]


def examined(world: World, key: str, **more: Any) -> Report:
    return world.run(doctor.examine, wanted=named(key), **more)


def test_nothing_is_found_about_a_whole_connection(world: World) -> None:
    world.run(provision.connect, wanted=named("healthy"))
    report = examined(world, "healthy")
    assert report.findings == []
    assert (sorted(report.passed), report.skipped) == (sorted(CHECKS), [])
    assert all(call.startswith(("GET ", "POST /collection/")) or call.endswith(("policies", "/v3")) for call in world.requests)


@pytest.mark.parametrize(
    ("changed", "check", "finding"),
    [
        ({"client_id": ""}, "credentials", "client_id is missing"),
        ({"platform_url": "localhost:1"}, "credentials", "platform_url is no URL: localhost:1"),
        ({"client_secret": "wrong"}, "token", "invalid_client"),
        ({"sandbox": "nowhere"}, "sandbox", "there is no active sandbox 'nowhere'"),
    ],
)
def test_an_account_that_is_wrong_ends_the_examination(world: World, changed: dict[str, str], check: str, finding: str) -> None:
    report = examined(world, "healthy", account=world.account | changed)
    (found,) = report.findings
    assert found.check == check
    assert finding in found.finding
    assert found.cure
    assert report.skipped == list(CHECKS[CHECKS.index(check) + 1 :])


def disable_flow(world: World, made: Made) -> None:
    assert world.it.call("POST", f"{FLOWS}/flows/{made['event_flow_id']}/action?op=disable").status_code < 300


def delete_flow(world: World, made: Made) -> None:
    assert world.it.call("DELETE", f"{FLOWS}/flows/{made['profile_flow_id']}").status_code < 300


def delete_dataset(world: World, made: Made) -> None:
    assert world.it.call("DELETE", f"{CATALOG}/dataSets/{made['event_dataset_id']}").status_code < 300


def untag_dataset(world: World, made: Made) -> None:
    body = {"tags": {"unifiedProfile": ["enabled:false"]}}
    assert world.it.call("PATCH", f"{CATALOG}/dataSets/{made['profile_dataset_id']}", json=body).status_code < 300


def empty_mapping(world: World, made: Made) -> None:
    path = f"{MAPPINGS}/{made['event_mapping_id']}"
    body = world.it.call("GET", path).json()
    rows = [{"sourceType": "ATTRIBUTE", "source": "timestamp", "destination": "timestamp"}]
    answer = world.it.call("PUT", path, json={"outputSchema": body["outputSchema"], "mappings": rows})
    assert answer.status_code < 300, answer.text


def unmark_identity(world: World, made: Made) -> None:
    registry = "/data/foundation/schemaregistry/tenant/descriptors"
    accept = {"accept": "application/vnd.adobe.xdm+json"}
    listed = world.it.call("GET", registry, headers=accept).json()["xdm:descriptorIdentity"]
    for each in listed:
        if each["xdm:sourceSchema"] == made["event_schema_id"]:
            assert world.it.call("DELETE", f"{registry}/{each['@id']}").status_code < 300


def forget_source(world: World, made: Made) -> None:
    del world.sources[made["source_key"]]


def send_elsewhere(world: World, made: Made) -> None:
    world.sources[made["source_key"]] |= {"profileFlowId": "other", "inletUrl": "https://other.example/collection/1"}


def nothing_made(world: World, made: Made) -> None:
    world.run(provision.destroy, wanted=named(made["source_key"]))


def control(world: World) -> SqliteDocuments:
    return SqliteDocuments(Layout(world.it.folder).control)


def lose(world: World, collection: str, ending: str) -> None:
    """Delete documents behind the platform's back: what its APIs never let happen, a restored backup may."""
    documents = control(world)
    keys = [key for key, _ in documents.scan(collection) if key.endswith(ending) or ending in key]
    assert keys
    with documents.transaction() as change:
        change.delete(collection, keys)
    documents.close()


def item(world: World, path: str) -> Any:
    return world.it.call("GET", f"{FLOWS}/{path}").json()["items"][0]


def lose_source(world: World, made: Made) -> None:
    lose(world, "source_connections", item(world, f"flows/{made['profile_flow_id']}")["sourceConnectionIds"][0])


def lose_target(world: World, made: Made) -> None:
    lose(world, "target_connections", item(world, f"flows/{made['event_flow_id']}")["targetConnectionIds"][0])


def lose_mapping(world: World, made: Made) -> None:
    for collection in ("mapping_sets", "mapping_set_versions"):
        lose(world, collection, made["profile_mapping_id"])


def lose_inlet(world: World, made: Made) -> None:
    lose(world, "inlets", world.sources[made["source_key"]]["inletUrl"].rpartition("/")[2])


def disable_schema(world: World, made: Made) -> None:
    documents = control(world)
    (key,) = [key for key, _ in documents.scan(RESOURCES) if key.endswith(made["profile_schema_id"])]
    body = loads(documents.get(RESOURCES, key) or b"")
    body["meta:immutableTags"] = []
    with documents.transaction() as change:
        change.put(RESOURCES, [(key, dumps(body))])
    documents.close()


def rename_base(world: World, made: Made) -> None:
    path = f"{FLOWS}/connections/{made['base_connection_id']}"
    etag = {"if-match": item(world, f"connections/{made['base_connection_id']}")["etag"]}
    rename = [{"op": "replace", "path": "/name", "value": "another"}]
    assert world.it.call("PATCH", path, json=rename, headers=etag).status_code == 200


def remake_flow(world: World, made: Made, *, query: str = "", target: str = "", transformations: Any = None) -> None:
    """Put another dataflow of the same name in the place of the profile dataflow."""
    old = item(world, f"flows/{made['profile_flow_id']}")
    delete_flow(world, made)
    body = {name: old[name] for name in ("name", "description", "flowSpec", "sourceConnectionIds", "targetConnectionIds")}
    body |= {"options": {"errorDiagnosticsEnabled": True}}
    body["transformations"] = old["transformations"] if transformations is None else transformations
    world.it.made(f"{FLOWS}/flows{query}", body | ({"targetConnectionIds": [target]} if target else {}))


def draft_flow(world: World, made: Made) -> None:
    remake_flow(world, made, query="?mode=draft")


def fill_another(world: World, made: Made) -> None:
    schema = {"id": made["profile_schema_id"], "contentType": "application/vnd.adobe.xed+json;version=1"}
    dataset = world.it.made(f"{CATALOG}/dataSets", {"name": "quite another", "schemaRef": schema})
    spec = {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"}
    target = {"name": "quite another", "params": {"dataSetId": dataset}, "connectionSpec": spec}
    remake_flow(world, made, target=world.it.made(f"{FLOWS}/targetConnections", target))


BREAKS: list[tuple[Callable[[World, Made], None], dict[str, list[str]]]] = [
    (disable_flow, {"dataflow": ["dataflow '{} event dataflow' is disabled"]}),
    (delete_flow, {"dataflow": ["there is no dataflow '{} profile dataflow'"]}),
    (delete_dataset, {"dataset": ["there is no dataset '{} event dataset' of schema '{} event schema'"]}),
    (untag_dataset, {"dataset": ["dataset '{} profile dataset' is not enabled: unifiedProfile and unifiedIdentity"]}),
    (
        empty_mapping,
        {
            "mapping": [
                "the mapping of '{} event dataflow' fills no _id",
                "the mapping of '{} event dataflow' fills no identityMap",
            ]
        },
    ),
    (unmark_identity, {"schema": ["/_capstream/capillary/customerId of schema '{} event schema' is marked as no identity"]}),
    (forget_source, {"endpoint": ["the relay knows no source '{}': webhooks are answered 404"]}),
    (
        send_elsewhere,
        {
            "endpoint": [
                "the relay's source '{}' sends to another profile dataflow",
                "the relay delivers to https://other.example/",
            ]
        },
    ),
    (lose_source, {"dataflow": ["the source connection of '{} profile dataflow' is gone"]}),
    (lose_target, {"dataflow": ["the target connection of '{} event dataflow' is gone"]}),
    (lose_mapping, {"mapping": ["mapping set "]}),
    (lose_inlet, {"endpoint": ["POST /collection/"]}),
    (disable_schema, {"schema": ["schema '{} profile schema' is not enabled for Profile"]}),
    (rename_base, {"endpoint": ["there is no connection '{} base'"]}),
    (
        draft_flow,
        {
            "dataflow": ["dataflow '{} profile dataflow' is draft"],
            "endpoint": ["the relay's source '{}' sends to another profile dataflow"],
        },
    ),
    (
        fill_another,
        {
            "dataflow": ["dataflow '{} profile dataflow' fills another dataset than '{} profile dataset'"],
            "endpoint": ["the relay's source '{}' sends to another profile dataflow"],
        },
    ),
    (
        nothing_made,
        {
            "dataset": ["there is no dataset '{} profile", "there is no dataset '{} event"],
            "dataflow": ["there is no dataflow '{} profile", "there is no dataflow '{} event"],
            "endpoint": ["the relay knows no source '{}'"],
        },
    ),
]


@pytest.mark.parametrize(("damage", "expected"), BREAKS, ids=[damage.__name__ for damage, _ in BREAKS])
def test_each_finding_names_what_is_broken_and_the_cure(
    world: World, damage: Callable[[World, Made], None], expected: dict[str, list[str]]
) -> None:
    key = damage.__name__.replace("_", "-")
    made = world.run(provision.connect, wanted=named(key))
    damage(world, made)
    report = examined(world, key)
    found: dict[str, list[str]] = {}
    for finding in report.findings:
        assert finding.cure
        found.setdefault(finding.check, []).append(finding.finding)
    assert found.keys() == expected.keys(), report.findings
    for check, texts in expected.items():
        assert len(found[check]) == len(texts), found
        for said, text in zip(found[check], texts, strict=True):
            assert said.startswith(text.replace("{}", key)), said
    assert not {finding.check for finding in report.findings} & set(report.passed)
    for finding in report.findings:
        follow(world, key, finding.cure, made)
    assert examined(world, key).findings == []


def follow(world: World, key: str, cure: str, made: Made) -> None:
    """Do what a cure says: its calls in their order, then `capstream connect capillary` when it names it."""
    wanted = named(key)
    if cure.startswith("add a row"):
        rows = {half.kind: half.mapping for half in wanted.halves}
        half = replace(wanted.event, mapping=rows["event"], replaces_mapping=True)
        wanted = replace(wanted, event=half)
    if cure.startswith("delete both dataflows"):
        for kind in ("profile", "event"):
            assert world.it.call("DELETE", f"{FLOWS}/flows/{made[f'{kind}_flow_id']}").status_code == 204
        assert world.it.call("DELETE", f"{FLOWS}/connections/{made['base_connection_id']}").status_code == 204
    calls = [] if cure.startswith("run `capstream") else re.findall(r"(POST|PATCH|DELETE) (/data[^ ,;]+)(?: with (.*?\]))?", cure)
    for method, path, body in calls:
        etag = {} if method == "DELETE" else {"if-match": "*"}
        more = {"content": body, "headers": etag | {"content-type": "application/json"}} if body else {"headers": etag}
        answer = world.it.call(method, path, **more)
        assert answer.status_code < 300 or (method == "DELETE" and answer.status_code == 404), answer.text
    if "capstream connect capillary" in cure:
        world.run(provision.connect, wanted=wanted)


def test_a_connection_that_was_never_made_is_made_by_the_cure(world: World) -> None:
    report = examined(world, "never")
    said = {(finding.check, finding.finding) for finding in report.findings}
    assert ("schema", "there is no schema 'never profile schema'") in said
    assert {finding.cure for finding in report.findings} == {doctor._APPLY}
    world.run(provision.connect, wanted=named("never"))
    assert examined(world, "never").findings == []


def test_a_dataflow_without_a_mapping_set_gets_one(world: World) -> None:
    made = world.run(provision.connect, wanted=named("unmapped"))
    remake_flow(world, made, query="?mode=draft", transformations=[])
    report = examined(world, "unmapped")
    (found,) = [finding for finding in report.findings if finding.check == "mapping"]
    assert found.finding == "dataflow 'unmapped profile dataflow' has no mapping set"
    follow(world, "unmapped", found.cure, made)
    assert "mapping" in examined(world, "unmapped").passed


def test_a_draft_of_the_base_connection_has_no_endpoint(world: World) -> None:
    made = world.run(provision.connect, wanted=named("drafted"))
    old = item(world, f"connections/{made['base_connection_id']}")
    rename_base(world, made)
    auth = {"specName": old["auth"]["specName"], "params": {"clientId": "c", "clientSecret": "s"}}
    draft = world.it.made(
        f"{FLOWS}/connections?mode=draft", {"name": "drafted base", "connectionSpec": old["connectionSpec"], "auth": auth}
    )
    source = {"name": "s", "baseConnectionId": draft, "connectionSpec": old["connectionSpec"]}
    flow = item(world, f"flows/{made['profile_flow_id']}")
    delete_flow(world, made)
    body = {name: flow[name] for name in ("name", "flowSpec", "targetConnectionIds", "transformations")}
    source_id = world.it.made(f"{FLOWS}/sourceConnections?mode=draft", source)
    world.it.made(f"{FLOWS}/flows?mode=draft", body | {"sourceConnectionIds": [source_id]})
    found = examined(world, "drafted").findings[-1]
    assert "neither the base connection nor the dataflow shows" in found.finding
    follow(world, "drafted", found.cure, made)
    assert item(world, f"connections/{draft}")["state"] == "enabled"
    assert "neither the base" not in str(examined(world, "drafted").findings)


@pytest.mark.parametrize(
    ("path", "status", "check", "cure"),
    [
        ("/data/foundation/catalog", 403, "dataset", "give the account's role the permission the answer names"),
        ("/data/foundation/catalog", 400, "dataset", "see the answer's own reason"),
        ("/data/foundation/flowservice/flows", 503, "dataflow", "see whether the server runs and answers"),
        ("/relay", 401, "endpoint", "give the account's role the permission"),
        ("/data/foundation/sandbox-management", 500, "sandbox", "see whether the server runs"),
    ],
)
def test_an_answer_that_is_a_refusal_becomes_a_finding(world: World, path: str, status: int, check: str, cure: str) -> None:
    world.run(provision.connect, wanted=named("refused"))
    world.refused = {path: status}
    try:
        report = examined(world, "refused")
    finally:
        world.refused = {}
    found = [finding for finding in report.findings if finding.check == check]
    assert found
    assert all(finding.cure.startswith(cure) for finding in found)
    assert all(str(status) in finding.finding for finding in found)
