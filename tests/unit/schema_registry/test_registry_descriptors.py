"""Descriptors and the remote procedures. Source: schema-registry.md 7, 9."""

from collections.abc import Callable

import pytest
from registry_client import XDM, Registry, capillary, group, schema

from capstream.kernel.json import Json
from capstream.xdm.validate import compile_validator

VND = "application/vnd.adobe."


@pytest.fixture
def person(registry: Registry) -> Json:
    parts = ("context/identitymap", "context/profile-personal-details", "mixins/profile/profile-loyalty-details")
    return registry.ok("POST", "/tenant/schemas", schema("Person", *parts))


def identity(document: Json, path: str = "/personalEmail/address", **more: Json) -> Json:
    return {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": document["$id"],
        "xdm:sourceProperty": path,
        "xdm:namespace": "Email",
        **more,
    }


def test_the_shipped_descriptors_fit_the_shipped_schemas(
    registry: Registry, capillary_schemas: Callable[[], tuple[Json, Json]]
) -> None:
    profile, events = capillary_schemas()
    for body in capillary("descriptors.json", PROFILE_SCHEMA=profile["$id"], EVENTS_SCHEMA=events["$id"]):
        made = registry.ok("POST", "/tenant/descriptors", body)
        assert len(made["@id"]) == 40
        assert made["xdm:isPrimary"] is False
    assert len(registry.model.descriptors(registry.sandbox.id, profile["$id"])) == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"@type": "xdm:descriptorOther"}, "1604-400"),
        ({"xdm:sourceSchema": "https://ns.adobe.com/capstream/schemas/0"}, "1604-400"),
        ({"xdm:sourceProperty": "/nothing"}, "1604-400"),
        ({"xdm:sourceProperty": "/loyalty/points"}, "1604-400"),
        ({"xdm:sourceProperty": ""}, "1604-400"),
        ({"xdm:namespace": ""}, "1604-400"),
        ({"xdm:namespace": "Unknown"}, "1604-400"),
        ({"xdm:sourceProperty": "/loyalty/loyaltyID[*]", "xdm:isPrimary": True}, "1604-400"),
        ({"xdm:sourceProperty": "/loyalty/loyaltyID[*]"}, None),
        ({"xdm:sourceProperty": "personalEmail.address"}, None),
    ],
)
def test_identity_descriptors_are_checked(registry: Registry, person: Json, change: Json, code: str | None) -> None:
    body = {**identity(person), **change}
    if code is None:
        assert registry.ok("POST", "/tenant/descriptors", body)["xdm:sourceProperty"].startswith("/")
    else:
        assert registry.code("POST", "/tenant/descriptors", body) == code


def test_one_descriptor_per_field_and_one_primary_per_schema(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person, **{"xdm:isPrimary": True}))
    assert registry.code("POST", "/tenant/descriptors", identity(person)) == "1604-400"
    second = identity(person, "/mobilePhone/number", **{"xdm:namespace": "Phone", "xdm:isPrimary": True})
    assert registry.code("POST", "/tenant/descriptors", second) == "1527-400"
    changed = registry.ok("PUT", f"/tenant/descriptors/{made['@id']}", {**made, "xdm:isPrimary": False})
    assert (changed["@id"], changed["created"]) == (made["@id"], made["created"])
    registry.ok("POST", "/tenant/descriptors", second)


def test_a_primary_identity_is_required_with_its_parents(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person, **{"xdm:isPrimary": True}))

    def complaints(record: Json) -> list[str]:
        found = registry.model.schema(registry.sandbox.id, person["$id"])
        assert found is not None
        return [one.message for one in compile_validator(found)(record)]

    assert complaints({}) == ["required key [personalEmail] not found"]
    assert complaints({"personalEmail": {}}) == ["required key [address] not found"]
    registry.ok("DELETE", f"/tenant/descriptors/{made['@id']}")
    assert complaints({}) == []


def test_the_primary_identity_of_an_enabled_schema_stays(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person, **{"xdm:isPrimary": True}))
    step = {"op": "add", "path": "/meta:immutableTags", "value": ["union"]}
    registry.ok("PATCH", f"/tenant/schemas/{person['meta:altId']}", [step])
    assert registry.code("DELETE", f"/tenant/descriptors/{made['@id']}") == "1606-403"


def test_lists_of_descriptors_have_four_forms(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person))
    path, kind = "/tenant/descriptors", "xdm:descriptorIdentity"
    assert registry.ok("GET", path, accept=f"{VND}xdm-id+json") == {kind: [made["@id"]]}
    assert registry.ok("GET", path, accept=f"{VND}xdm-link+json") == {kind: [f"/tenant/descriptors/{made['@id']}"]}
    assert registry.ok("GET", path, accept=f"{VND}xdm+json") == {kind: [made]}
    query = f"property=@type=={kind},xdm:sourceSchema=={person['$id']}"
    found = registry.ok("GET", path, accept=f"{VND}xdm-v2+json", query=query)
    assert found["results"] == [made]
    assert found["_page"]["next"] is None
    assert registry.ok("GET", path, accept=f"{VND}xdm-v2-link-id+json", query="property=@type==xdm:none")["results"] == []
    assert registry.ok("GET", "/global/descriptors", accept=f"{VND}xdm+json") == {}
    assert registry.ok("GET", f"{path}/{made['@id']}") == made


def test_deleting_a_schema_deletes_its_descriptors(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person))
    registry.ok("DELETE", f"/tenant/schemas/{person['meta:altId']}")
    assert registry.code("GET", f"/tenant/descriptors/{made['@id']}") == "1014-404"


def test_descriptors_show_in_the_full_form(registry: Registry, person: Json) -> None:
    made = registry.ok("POST", "/tenant/descriptors", identity(person))
    body = {"@type": "xdm:descriptorDeprecated", "xdm:sourceSchema": person["$id"], "xdm:sourceProperty": ["/loyalty/status"]}
    registry.ok("POST", "/tenant/descriptors", body)
    accept = f"{VND}xed-full-desc+json; version=1"
    found = registry.ok("GET", f"/tenant/schemas/{person['meta:altId']}", accept=accept)
    assert made in found["meta:descriptors"]
    assert found["properties"]["loyalty"]["properties"]["status"]["meta:status"] == "deprecated"


def test_a_one_to_one_relationship_needs_a_reference_identity(registry: Registry, person: Json) -> None:
    target = registry.ok("POST", "/tenant/schemas", schema("Target", of="classes/product"))
    relation = {
        "@type": "xdm:descriptorOneToOne",
        "xdm:sourceSchema": person["$id"],
        "xdm:sourceProperty": "/loyalty/program",
        "xdm:destinationSchema": target["$id"],
        "xdm:destinationVersion": 1,
        "xdm:destinationProperty": "/productID",
    }
    registry.ok("POST", "/tenant/descriptors", relation)
    step = [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}]
    assert registry.code("PATCH", f"/tenant/schemas/{person['meta:altId']}", step) == "1528-400"
    reference = {
        "@type": "xdm:descriptorReferenceIdentity",
        "xdm:sourceSchema": target["$id"],
        "xdm:sourceProperty": "/productID",
        "xdm:identityNamespace": "ECID",
    }
    registry.ok("POST", "/tenant/descriptors", reference)
    registry.ok("PATCH", f"/tenant/schemas/{person['meta:altId']}", step)


UNION = [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}]


@pytest.mark.parametrize("kind", ["xdm:descriptorOneToOne", "xdm:descriptorRelationship"])
@pytest.mark.parametrize(
    ("far", "fits"),
    [
        ({"@type": "xdm:descriptorReferenceIdentity", "xdm:identityNamespace": "Phone"}, False),
        ({"@type": "xdm:descriptorReferenceIdentity", "xdm:identityNamespace": "EMAIL"}, True),
        ({"@type": "xdm:descriptorIdentity", "xdm:namespace": "Phone"}, False),
        ({"@type": "xdm:descriptorIdentity", "xdm:namespace": "email", "xdm:isPrimary": True}, True),
    ],
)
def test_the_namespaces_of_both_ends_match(registry: Registry, person: Json, kind: str, far: Json, fits: bool) -> None:
    target = registry.ok("POST", "/tenant/schemas", schema("Target", of="classes/product"))
    other = {"xdm:sourceSchema": target["$id"], "xdm:sourceProperty": "/productID"}
    near = {"xdm:sourceSchema": person["$id"], "xdm:sourceProperty": "/personalEmail/address"}
    registry.ok(
        "POST", "/tenant/descriptors", {"@type": "xdm:descriptorReferenceIdentity", "xdm:identityNamespace": "Email", **near}
    )
    registry.ok("POST", "/tenant/descriptors", {**far, **other})
    if far["@type"] == "xdm:descriptorIdentity" and kind == "xdm:descriptorOneToOne":
        own = {"@type": "xdm:descriptorReferenceIdentity", "xdm:identityNamespace": far["xdm:namespace"]}
        registry.ok("POST", "/tenant/descriptors", {**own, **other})
    relation = {
        "@type": kind,
        **near,
        "xdm:destinationSchema": target["$id"],
        "xdm:destinationVersion": 1,
        "xdm:destinationProperty": "productID",
        "xdm:cardinality": "M:1",
    }
    registry.ok("POST", "/tenant/descriptors", relation)
    answer = registry.send("PATCH", f"/tenant/schemas/{person['meta:altId']}", UNION)
    if fits:
        assert answer.status == 200, answer.body
        return
    assert answer.body["type"].endswith("XDM-1528-400")
    for told in ("/personalEmail/address", "/productID", "email", "phone", "give both ends the same"):
        assert told in answer.body["detail"]


def test_a_relationship_of_an_enabled_schema_is_checked_at_once(registry: Registry, person: Json) -> None:
    target = registry.ok("POST", "/tenant/schemas", schema("Target", of="classes/product"))
    registry.ok("PATCH", f"/tenant/schemas/{person['meta:altId']}", UNION)
    registry.ok("POST", "/tenant/descriptors", identity(person))
    far = {"@type": "xdm:descriptorIdentity", "xdm:sourceSchema": target["$id"], "xdm:sourceProperty": "/productID"}
    registry.ok("POST", "/tenant/descriptors", {**far, "xdm:namespace": "Phone"})
    relation = {
        **identity(person, **{"@type": "xdm:descriptorRelationship", "xdm:cardinality": "M:1"}),
        "xdm:destinationSchema": target["meta:altId"],
        "xdm:destinationProperty": "/productID",
    }
    assert registry.code("POST", "/tenant/descriptors", relation) == "1528-400"
    made = registry.ok("POST", "/tenant/descriptors", {**relation, "xdm:sourceProperty": "/mobilePhone/number"})
    assert made["xdm:destinationSchema"] == target["$id"]


@pytest.mark.parametrize(
    "change",
    [
        {"xdm:destinationSchema": "https://ns.adobe.com/capstream/schemas/0"},
        {"xdm:destinationProperty": "/nothing"},
        {"xdm:destinationProperty": 7},
        {"xdm:destinationNamespace": "Unknown"},
        {"@type": "xdm:descriptorReferenceIdentity", "xdm:identityNamespace": "Unknown"},
        {"xdm:cardinality": ""},
    ],
)
def test_ends_of_relationships_are_checked(registry: Registry, person: Json, change: Json) -> None:
    body = {
        **identity(person, **{"@type": "xdm:descriptorRelationship", "xdm:cardinality": "M:1"}),
        "xdm:destinationSchema": person["$id"],
        "xdm:destinationProperty": "/loyalty/program",
    }
    assert registry.code("POST", "/tenant/descriptors", {**body, **change}) == "1604-400"
    registry.ok("POST", "/tenant/descriptors", body)


def test_display_descriptors_take_what_clients_send(registry: Registry, person: Json) -> None:
    body = {
        "@type": "xdm:alternateDisplayInfo",
        "xdm:sourceSchema": person["$id"],
        "xdm:sourceProperty": "/loyalty/points",
        "xdm:title": {"en_us": "Balance"},
        "xdm:excludeMetaEnum": "",
    }
    assert "xdm:excludeMetaEnum" not in registry.ok("POST", "/tenant/descriptors", body)


def test_an_export_is_imported_once(registry: Registry, capillary_schemas: Callable[[], tuple[Json, Json]]) -> None:
    profile, _ = capillary_schemas()
    exported = registry.ok("GET", f"/rpc/export/{profile['meta:altId']}")
    assert [one["meta:resourceType"] for one in exported] == ["mixins", "schemas"]
    assert not any({"imsOrg", "refs", "meta:registryMetadata"} & set(one) for one in exported)
    assert all("<XDM_TENANTID_PLACEHOLDER>" in one["$id"] for one in exported)
    assert "capstream" not in str(exported)
    other = registry.other_sandbox()
    loaded = other.ok("POST", "/rpc/import", exported)
    assert loaded[-1]["$id"] == profile["$id"]
    assert other.model.schema(other.sandbox.id, profile["$id"]) is not None
    assert other.code("POST", "/rpc/export", exported) == "3005-400"


def test_an_enabled_schema_whose_primary_identity_is_a_descriptor_arrives_to_be_enabled(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/schemas", schema("Reachable", "context/profile-personal-details"))
    primary = identity(made, **{"xdm:isPrimary": True})
    registry.ok("POST", "/tenant/descriptors", primary)
    registry.ok("PATCH", f"/tenant/schemas/{made['meta:altId']}", UNION)
    exported = registry.ok("GET", f"/rpc/export/{made['meta:altId']}")
    assert exported[-1]["meta:immutableTags"] == ["union"]
    other = registry.other_sandbox()
    (loaded,) = other.ok("POST", "/rpc/import", exported)
    assert (loaded["$id"], loaded.get("meta:immutableTags")) == (made["$id"], None)
    assert other.code("PATCH", f"/tenant/schemas/{made['meta:altId']}", UNION) == "1526-400"
    other.ok("POST", "/tenant/descriptors", primary)
    assert other.ok("PATCH", f"/tenant/schemas/{made['meta:altId']}", UNION)["meta:immutableTags"] == ["union"]


def test_a_failing_import_leaves_nothing(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", {"points": {"type": "number"}}))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    exported = registry.ok("GET", f"/rpc/export/{document['meta:altId']}")
    exported[-1]["allOf"].append({"$ref": XDM + "context/nothing"})
    other = registry.other_sandbox()
    assert other.code("POST", "/rpc/import", exported) == "3005-400"
    assert other.model.tenant(other.sandbox.id) == []


def test_sample_data_is_valid(registry: Registry, capillary_schemas: Callable[[], tuple[Json, Json]]) -> None:
    for document in capillary_schemas():
        record = registry.ok("GET", f"/rpc/sampledata/{document['meta:altId']}", accept=f"{VND}xed+json; version=1")
        found = registry.model.schema(registry.sandbox.id, document["$id"])
        assert found is not None
        assert compile_validator(found)(record) == []
        assert set(record) == set(found.root.children)
    standard = registry.ok("GET", "/rpc/sampledata/_xdm.context.profile", accept=f"{VND}xdm+json")
    assert {"@id", "xdm:personID", "repo:createDate"} <= set(standard)
    assert registry.code("GET", "/rpc/sampledata/_xdm.context.nothing") == "1012-404"


def test_the_audit_log_has_changes_of_parts_too(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", {"points": {"type": "number"}}))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    step = {"op": "add", "path": "/description", "value": "new"}
    registry.ok("PATCH", f"/tenant/fieldgroups/{made['meta:altId']}", [step])
    log = registry.ok("GET", f"/rpc/auditlog/{document['meta:altId']}")
    assert [entry["id"] for entry in log] == [made["$id"], document["$id"], made["$id"]]
    assert log[0]["updates"] == [
        {"id": made["$id"], "xdmType": "mixins", "action": "add", "path": "/description", "value": "new"}
    ]
    assert log[0]["updatedTime"] == "09-17-2024 15:04:34"
