"""`doctor` against the embedded platform: every finding by breaking the real thing."""

from collections.abc import Callable
from typing import Any

import pytest
from connect_world import World
from test_connect_as_code import named

from capstream.relay import doctor, provision
from capstream.relay.doctor import CHECKS, Report

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
