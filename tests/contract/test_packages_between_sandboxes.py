"""Sandbox tooling on the whole platform: what a package makes in another sandbox, what it finds, and what a failure leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from whole_platform import CATALOG, PROFILE, Platform, platform

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
REGISTRY = "/data/foundation/schemaregistry/tenant"
CONVERSION = "/data/foundation/conversion/mappingSets"
EXIM = "/data/foundation/exim"
FULL_SCHEMA = "application/vnd.adobe.xed-full+json;version=1"
DEV = {"x-sandbox-name": "dev"}
ID_LIST = {"accept": "application/vnd.adobe.xed-id+json"}


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Platform]:
    with platform(tmp_path) as made:
        made.call("POST", SANDBOXES, json={"name": "dev", "title": "Development", "type": "development"})
        yield made


@pytest.fixture
def made(it: Platform) -> dict[str, str]:
    """A schema with a field group and an identity, a dataset of it enabled for profile, and a mapping set into it."""
    fields = {"_capstream": {"type": "object", "properties": {"card": {"type": "string"}}}}
    group = {
        "title": "Card",
        "type": "object",
        "meta:intendedToExtend": [PROFILE],
        "definitions": {"own": {"type": "object", "properties": fields}},
        "allOf": [{"$ref": "#/definitions/own"}],
    }
    group_id = it.call("POST", f"{REGISTRY}/fieldgroups", json=group).json()["$id"]
    schema = {"title": "Members", "type": "object", "allOf": [{"$ref": PROFILE}, {"$ref": group_id}]}
    identity = {"@type": "xdm:descriptorIdentity", "xdm:sourceVersion": 1, "xdm:sourceProperty": "/_capstream/card"}
    identity |= {"xdm:namespace": "Email", "xdm:property": "xdm:code", "xdm:isPrimary": True}
    schema_id = it.call("POST", f"{REGISTRY}/schemas", json=schema).json()["$id"]
    described = it.call("POST", f"{REGISTRY}/descriptors", json=identity | {"xdm:sourceSchema": schema_id})
    assert described.status_code == 201, described.text
    reference = {"id": schema_id, "contentType": FULL_SCHEMA}
    dataset = it.made(f"{CATALOG}/dataSets", {"name": "Members", "description": "d", "schemaRef": reference})
    rules = [{"sourceType": "ATTRIBUTE", "source": "card", "destination": "_capstream.card"}]
    mapping = it.call("POST", CONVERSION, json={"outputSchema": {"schemaRef": reference}, "mappings": rules}).json()["id"]
    return {"group": group_id, "schema": schema_id, "dataset": dataset, "mapping": mapping}


def packed(it: Platform, *artifacts: tuple[str, str], **more: Any) -> str:
    """Return the id of a published package."""
    body = {"name": "p", "packageType": "PARTIAL", "sourceSandbox": {"name": "prod"}}
    body |= {"artifacts": [{"type": kind, "id": name} for kind, name in artifacts]} | more
    answer = it.call("POST", f"{EXIM}/packages", json=body)
    assert answer.status_code == 201, answer.text
    package = str(answer.json()["id"])
    published = it.call("GET", f"{EXIM}/packages/{package}/export")
    assert job(it, published.json()["jobId"])["jobStatus"] == "SUCCESS", job(it, published.json()["jobId"])
    return package


def job(it: Platform, job_id: str) -> Any:
    return it.call("GET", f"{EXIM}/tools/job/{job_id}").json()["object"]


def loaded(it: Platform, package: str, **more: Any) -> Any:
    body = {"id": package, "destinationSandbox": {"name": "dev", "imsOrgId": it.credentials.org_id}} | more
    answer = it.call("PUT", f"{EXIM}/packages/import", json=body)
    assert answer.status_code == 202, answer.text
    return job(it, answer.json()["jobId"])


def titles(it: Platform, kind: str) -> list[str]:
    return [each["title"] for each in it.call("GET", f"{REGISTRY}/{kind}", headers=DEV | ID_LIST).json()["results"]]


def test_a_package_makes_everything_its_artifacts_need(it: Platform, made: dict[str, str]) -> None:
    done = loaded(it, packed(it, ("CATALOG_DATASET", made["dataset"]), ("MAPPING_SET", made["mapping"])))
    assert done["jobStatus"] == "SUCCESS", done
    kinds = [task["artifact"]["type"] for task in done["completedTasks"]]
    assert kinds == ["REGISTRY_MIXIN", "REGISTRY_SCHEMA", "REGISTRY_DESCRIPTOR", "CATALOG_DATASET", "MAPPING_SET"]
    assert (titles(it, "schemas"), titles(it, "fieldgroups")) == (["Members"], ["Card"])
    new = done["importReplacementMap"]
    dataset = it.call("GET", f"{CATALOG}/dataSets/{new[made['dataset']]}", headers=DEV).json()[new[made["dataset"]]]
    assert (dataset["name"], dataset["description"], dataset["schemaRef"]["id"]) == ("Members", "d", made["schema"])
    mapping = it.call("GET", f"{CONVERSION}/{new[made['mapping']]}", headers=DEV).json()
    assert [(each["source"], each["destination"]) for each in mapping["mappings"]] == [("card", "_capstream.card")]
    listed = it.call("GET", f"{REGISTRY}/descriptors", headers=DEV | {"accept": "application/vnd.adobe.xdm+json"}).json()
    assert [each["xdm:sourceProperty"] for each in listed["xdm:descriptorIdentity"]] == ["/_capstream/card"]


def test_a_schema_of_the_union_is_one_there_too(it: Platform, made: dict[str, str]) -> None:
    tag = [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}]
    assert it.call("PATCH", f"{REGISTRY}/schemas/{quote(made['schema'], safe='')}", json=tag).status_code == 200
    package = packed(it, ("CATALOG_DATASET", made["dataset"]))
    assert not any(
        each["artifact"]["found"] for each in it.call("GET", f"{EXIM}/packages/{package}/import?targetSandbox=dev").json()
    )
    assert loaded(it, package)["jobStatus"] == "SUCCESS"
    listed = it.call("GET", f"{REGISTRY}/schemas", headers=DEV | {"accept": "application/vnd.adobe.xed+json"}).json()["results"]
    assert [each["meta:immutableTags"] for each in listed] == [["union"]]
    assert all(task["artifact"]["found"] for task in loaded(it, package)["completedTasks"])


def test_what_is_there_is_found_and_left_as_it_is(it: Platform, made: dict[str, str]) -> None:
    package = packed(it, ("CATALOG_DATASET", made["dataset"]))
    first = loaded(it, package)
    conflicts = it.call("GET", f"{EXIM}/packages/{package}/import?targetSandbox=dev").json()
    assert all(each["artifact"]["found"] for each in conflicts)
    again = loaded(it, package)
    assert {task["artifact"]["found"] for task in again["completedTasks"]} == {True}
    assert again["importReplacementMap"] == first["importReplacementMap"]
    assert len(it.call("GET", f"{CATALOG}/dataSets?name=Members", headers=DEV).json()) == 1


def test_a_whole_sandbox_and_alternatives(it: Platform, made: dict[str, str]) -> None:
    package = packed(it, packageType="FULL", artifacts=[])
    listed = it.call("GET", f"{EXIM}/packages/{package}").json()["artifactsList"]
    assert {each["id"] for each in listed} == set(made.values())
    other = it.call("POST", f"{CATALOG}/dataSets", headers=DEV, json={"name": "Mine", "schemaRef": {"id": PROFILE}})
    mine = other.json()[0].rpartition("/")[2]
    done = loaded(it, package, alternatives={made["dataset"]: {"id": mine}})
    assert done["jobStatus"] == "SUCCESS", done
    assert done["importReplacementMap"][made["dataset"]] == mine
    assert it.call("GET", f"{CATALOG}/dataSets?name=Members", headers=DEV).json() == {}


def test_an_import_that_is_refused_leaves_nothing(it: Platform, made: dict[str, str]) -> None:
    package = packed(it, ("CATALOG_DATASET", made["dataset"]))
    taken = {"title": "Members", "type": "object", "allOf": [{"$ref": PROFILE}]}
    assert it.call("POST", f"{REGISTRY}/schemas", json=taken, headers=DEV).status_code == 201
    done = loaded(it, package)
    assert done["jobStatus"] == "FAILED"
    last = done["completedTasks"][-1]["artifact"]
    assert (last["type"], last["messages"][0]["status"]) == ("REGISTRY_SCHEMA", "FAILED")
    assert "same title" in last["messages"][0]["message"]
    assert titles(it, "fieldgroups") == []
    assert it.call("GET", f"{CATALOG}/dataSets?name=Members", headers=DEV).json() == {}


def test_a_package_that_cannot_be_copied_whole_is_not_published(it: Platform) -> None:
    body = {"name": "p", "packageType": "PARTIAL", "artifacts": [{"type": "CATALOG_DATASET", "id": "none"}]}
    package = it.call("POST", f"{EXIM}/packages", json=body).json()["id"]
    done = job(it, it.call("GET", f"{EXIM}/packages/{package}/export").json()["jobId"])
    assert done["jobStatus"] == "FAILED"
    assert it.call("GET", f"{EXIM}/packages/{package}").json()["status"] == "PUBLISH_FAILED"
    assert it.call("GET", f"{EXIM}/packages/{package}/import?targetSandbox=dev").status_code == 400


ARTIFACT = {"type": "CATALOG_DATASET", "id": "x"}
BAD = [
    ("POST", "/packages", {"name": "q"}, "packageType"),
    ("POST", "/packages", {"name": "", "packageType": "FULL"}, "name"),
    ("POST", "/packages", {"name": "taken", "packageType": "FULL"}, "taken"),
    ("POST", "/packages", {"name": "q", "packageType": "PARTIAL", "artifacts": [{"type": "JOURNEY", "id": "x"}]}, "JOURNEY"),
    ("POST", "/packages", {"name": "q", "packageType": "FULL", "expiry": "tomorrow"}, "expiry"),
    ("POST", "/packages", {"name": "q", "packageType": "FULL", "sourceSandbox": {"name": "none"}}, "none"),
    ("PUT", "/packages", {"id": "{package}", "action": "BURN"}, "action"),
    ("PUT", "/packages", {"id": "{package}", "action": "ADD", "artifacts": "x"}, "artifacts"),
    ("PUT", "/packages", {"id": "{package}", "action": "DELETE", "artifacts": [ARTIFACT]}, "not in the package"),
    ("PUT", "/packages", {"id": "none", "action": "UPDATE"}, "none"),
    ("PUT", "/packages/import", {"id": "{package}", "destinationSandbox": {"name": "dev"}}, "PUBLISHED"),
    ("POST", "/packages/{package}/children", [ARTIFACT], "draft"),
    ("GET", "/packages/{package}/export", None, "artifacts"),
    ("GET", "/packages?orderBy=colour", None, "colour"),
    ("GET", "/packages?limit=0", None, "limit"),
    ("GET", "/packages/jobs?start=x", None, "start"),
    ("POST", "/handshake/bulkCreate", {"targetIMSOrgIds": "x"}, "targetIMSOrgIds"),
    ("POST", "/transfer", {"packageId": "x", "targets": [{"imsOrgId": "F@AdobeOrg"}]}, "F@AdobeOrg"),
]


@pytest.mark.parametrize(("method", "path", "body", "named"), BAD)
def test_bad_requests_are_refused_by_name(it: Platform, method: str, path: str, body: Any, named: str) -> None:
    made = it.call("POST", f"{EXIM}/packages", json={"name": "taken", "packageType": "PARTIAL"}).json()["id"]
    if isinstance(body, dict) and body.get("id") == "{package}":
        body = body | {"id": made}
    answer = it.call(method, EXIM + path.replace("{package}", made), **({} if body is None else {"json": body}))
    assert answer.status_code in {400, 404}, answer.text
    assert named in answer.json()["title"]
