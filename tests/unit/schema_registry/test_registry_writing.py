"""Creating, changing and deleting resources. Source: schema-registry.md 5, 6."""

from collections.abc import Callable

import pytest
from registry_client import FULL, STORED, XDM, Registry, encoded, group, schema

from capstream.kernel.json import Json

POINTS = {"points": {"type": "number"}, "tier": {"type": "string", "maxLength": 20}}


def test_the_capillary_schemas_compose_and_take_the_union_tag(
    registry: Registry, capillary_schemas: Callable[[], tuple[Json, Json]]
) -> None:
    for document in capillary_schemas():
        assert document["version"] == "1.0"
        step = {"op": "add", "path": "/meta:immutableTags", "value": ["union"]}
        tagged = registry.ok("PATCH", f"/tenant/schemas/{document['meta:altId']}", [step])
        assert (tagged["version"], tagged["meta:immutableTags"]) == ("1.1", ["union"])
        assert registry.model.has_union_tag(registry.sandbox.id, document["$id"])
        assert "status" not in tagged
    unions = registry.ok("GET", "/tenant/unions")
    classes = {XDM + "context/profile", XDM + "context/experienceevent"}
    assert {one["$id"] for one in unions["results"]} == {f"{uri}__union" for uri in classes}
    union = registry.ok("GET", f"/tenant/unions/{encoded(XDM + 'context/profile__union')}", accept=FULL)
    assert {"identityMap", "segmentMembership", "timeSeriesEvents", "loyalty", "_capstream"} <= set(union["properties"])
    events = union["properties"]["timeSeriesEvents"]["items"]["properties"]
    assert "productListItems" in events
    assert registry.ok("GET", "/tenant/schemas/_xdm.context.profile__union", accept=STORED)["meta:resourceType"] == "unions"


def test_a_created_schema_has_what_the_server_computes(registry: Registry) -> None:
    parts = schema("Members", "context/identitymap")
    document = registry.ok("POST", "/tenant/schemas", {**parts, "$id": "ignored", "meta:extends": []})
    assert document["$id"].startswith("https://ns.adobe.com/capstream/schemas/")
    assert len(document["$id"].rsplit("/", 1)[1]) == 48
    assert document["meta:altId"] == "_capstream.schemas." + document["$id"].rsplit("/", 1)[1]
    assert document["meta:class"] == XDM + "context/profile"
    assert XDM + "data/record" in document["meta:extends"]
    assert document["refs"] == [XDM + "context/profile", XDM + "context/identitymap"]
    assert (document["meta:extensible"], document["meta:abstract"]) == (False, False)
    assert document["meta:registryMetadata"]["xdm:createdClientId"] == "client"
    assert document["meta:sandboxId"] == registry.sandbox.id


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "1600-400"),
        ({"allOf": [{"$ref": XDM + "context/profile"}]}, "1600-400"),
        ({"title": "Empty"}, "1600-400"),
        (schema("Unknown", "context/nothing"), "1601-400"),
        (schema("Two classes", "context/experienceevent"), "1605-400"),
        (schema("No class", of="context/identitymap"), "1605-400"),
        (schema("Wrong class", "context/experienceevent-commerce"), "1605-400"),
    ],
)
def test_bad_schemas_are_refused(registry: Registry, body: Json, code: str) -> None:
    assert registry.code("POST", "/tenant/schemas", body) == code
    assert registry.model.tenant(registry.sandbox.id) == []


def test_titles_are_unique_over_all_kinds(registry: Registry) -> None:
    registry.ok("POST", "/tenant/fieldgroups", group("Members", POINTS))
    assert registry.code("POST", "/tenant/schemas", schema("Members")) == "1521-400"
    registry.other_sandbox().ok("POST", "/tenant/schemas", schema("Members"))


def test_conflicting_types_are_refused(registry: Registry) -> None:
    first = registry.ok("POST", "/tenant/fieldgroups", group("First", POINTS))
    second = registry.ok("POST", "/tenant/mixins", group("Second", {"points": {"type": "string"}}))
    assert registry.code("POST", "/tenant/schemas", schema("Both", first["$id"], second["$id"])) == "1413-400"
    reference = schema("Person twice", "context/profile-person-details", of="context/experienceevent")
    reference["allOf"].append({"$ref": XDM + "mixins/experienceevent-reference-keys"})
    registry.ok("POST", "/tenant/schemas", reference)  # both describe objects: they merge


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"points": {"type": "number"}}, "1021-400"),
        ({"loyalty": {"type": "object", "properties": {"extra": {"type": "number"}}}}, "1021-400"),
        ({"_capstream": {"type": "object", "properties": {"_x": {"type": "string"}}}}, "1600-400"),
        ({"_capstream": {"type": "object", "properties": {"a-b_C9": {"type": "string"}}}}, None),
        ({"_capstream": {"type": "object", "properties": {"__x": {"type": "string"}}}}, "1600-400"),
        ({"_capstream": {"type": "object", "properties": {"a b": {"type": "string"}}}}, "1600-400"),
        ({"_capstream": {"type": "object", "properties": {"a": {"type": "text"}}}}, "1600-400"),
        ({"_capstream": {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}}, "1600-400"),
        ({"_capstream": {"type": "object", "properties": {"a": {"$ref": XDM + "no/such"}}}}, "1601-400"),
        (
            {"_capstream": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"], "meta:enum": {"y": "Y"}}}}},
            "1600-400",
        ),
    ],
)
def test_field_groups_follow_the_rules_of_fields(registry: Registry, properties: Json, code: str | None) -> None:
    body = {**group("Fields", {}), "definitions": {"customFields": {"properties": properties}}}
    if code is None:
        registry.ok("POST", "/tenant/fieldgroups", body)
    else:
        assert registry.code("POST", "/tenant/fieldgroups", body) == code


def test_a_custom_field_may_stand_below_a_standard_object(registry: Registry) -> None:
    below = {"_capstream": {"type": "object", "properties": {"nickname": {"type": "string"}}}}
    body = {
        **group("Nickname", {}),
        "definitions": {"customFields": {"properties": {"person": {"type": "object", "properties": below}}}},
    }
    made = registry.ok("POST", "/tenant/fieldgroups", body)
    document = registry.ok("POST", "/tenant/schemas", schema("People", "context/profile-person-details", made["$id"]))
    person = registry.ok("GET", f"/tenant/schemas/{document['meta:altId']}", accept=FULL)["properties"]["person"]["properties"]
    assert {"name", "_capstream"} <= set(person)


def test_a_patch_that_changes_nothing_keeps_the_version(registry: Registry) -> None:
    document = registry.ok("POST", "/tenant/schemas", schema("Members"))
    path = f"/tenant/schemas/{document['meta:altId']}"
    assert registry.ok("PATCH", path, [{"op": "replace", "path": "title", "value": "Members"}])["version"] == "1.0"
    assert registry.ok("PUT", path, registry.ok("GET", path, accept=STORED))["version"] == "1.0"


@pytest.mark.parametrize(
    "step",
    [
        {"op": "add", "path": "/allOf/-", "value": {"$ref": XDM + "context/identitymap"}},
        {"op": "add", "path": "/allOf", "value": {"$ref": XDM + "context/identitymap"}},
        {"op": "add", "path": "/allOf/-", "value": {"$ref ": XDM + "context/identitymap"}},
    ],
)
def test_patch_adds_a_field_group(registry: Registry, step: Json) -> None:
    document = registry.ok("POST", "/tenant/schemas", schema("Members"))
    steps = [step, {"op": "add", "path": "/meta:extends/-", "value": XDM + "context/identitymap"}]
    changed = registry.ok("PATCH", f"/tenant/schemas/{encoded(document['$id'])}", steps)
    assert [entry["$ref"] for entry in changed["allOf"]] == [XDM + "context/profile", XDM + "context/identitymap"]
    assert XDM + "context/identitymap" in changed["meta:extends"]
    composed = registry.model.schema(registry.sandbox.id, document["$id"])
    assert composed is not None
    assert "identityMap" in composed.root.children


def test_patch_is_all_or_nothing(registry: Registry) -> None:
    document = registry.ok("POST", "/tenant/schemas", schema("Members"))
    steps = [{"op": "replace", "path": "/title", "value": "New"}, {"op": "remove", "path": "/nothing"}]
    assert registry.code("PATCH", f"/tenant/schemas/{document['meta:altId']}", steps) == "1600-400"
    assert registry.ok("GET", f"/tenant/schemas/{document['meta:altId']}", accept=STORED)["title"] == "Members"


def test_patch_creates_missing_parents(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", POINTS))
    path = "/definitions/customFields/properties/_capstream/properties/address/properties/city"
    step = {"op": "add", "path": path, "value": {"type": "string"}}
    registry.ok("PATCH", f"/tenant/fieldgroups/{made['meta:altId']}", [step])
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    found = registry.model.schema(registry.sandbox.id, document["$id"])
    assert found is not None
    assert found.root.children["_capstream"].children["address"].children["city"].kind == "string"


def tagged(registry: Registry) -> tuple[Json, Json]:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", POINTS))
    body = {**schema("People", "context/identitymap", made["$id"]), "meta:immutableTags": ["union"]}
    return made, registry.ok("POST", "/tenant/schemas", body)


FIELDS = "/definitions/customFields/properties/_capstream/properties"


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"op": "add", "path": f"{FIELDS}/extra", "value": {"type": "string"}}, None),
        ({"op": "add", "path": f"{FIELDS}/points/meta:status", "value": "deprecated"}, None),
        ({"op": "add", "path": f"{FIELDS}/points/title", "value": "Points"}, None),
        ({"op": "add", "path": "/definitions/customFields/properties/_capstream/required", "value": ["tier"]}, None),
        ({"op": "replace", "path": f"{FIELDS}/tier/maxLength", "value": 40}, None),
        ({"op": "remove", "path": f"{FIELDS}/points"}, "1602-400"),
        ({"op": "replace", "path": f"{FIELDS}/points/type", "value": "string"}, "1602-400"),
        ({"op": "replace", "path": f"{FIELDS}/tier/maxLength", "value": 10}, "1602-400"),
        ({"op": "add", "path": f"{FIELDS}/tier/pattern", "value": "^g"}, "1602-400"),
        ({"op": "add", "path": f"{FIELDS}/tier/enum", "value": ["gold"]}, "1602-400"),
    ],
)
def test_a_locked_component_takes_additive_changes_only(registry: Registry, step: Json, code: str | None) -> None:
    made, document = tagged(registry)
    before = registry.model.etag(registry.sandbox.id, document["$id"])
    path = f"/tenant/fieldgroups/{made['meta:altId']}"
    if code is None:
        assert registry.ok("PATCH", path, [step])["version"] == "1.1"
        assert registry.model.etag(registry.sandbox.id, document["$id"]) != before
    else:
        assert registry.code("PATCH", path, [step]) == code
        assert registry.model.etag(registry.sandbox.id, document["$id"]) == before


def test_an_unlocked_component_takes_any_change(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", POINTS))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    step = {"op": "remove", "path": f"{FIELDS}/points"}
    registry.used.add(document["$id"])
    assert registry.code("PATCH", f"/tenant/fieldgroups/{made['meta:altId']}", [step]) == "1602-400"
    registry.used.clear()
    registry.ok("PATCH", f"/tenant/fieldgroups/{made['meta:altId']}", [step])


def test_a_tag_is_never_removed(registry: Registry) -> None:
    _, document = tagged(registry)
    path = f"/tenant/schemas/{document['meta:altId']}"
    assert registry.code("PATCH", path, [{"op": "remove", "path": "/meta:immutableTags/0"}]) == "1602-400"
    registry.ok("PUT", path, {**schema("People", *document["refs"][1:]), "description": "without tags in the body"})
    assert registry.model.has_union_tag(registry.sandbox.id, document["$id"])


def test_the_tag_needs_an_identity(registry: Registry) -> None:
    document = registry.ok("POST", "/tenant/schemas", schema("Anonymous", "context/profile-personal-details"))
    step = {"op": "add", "path": "/meta:immutableTags-", "value": "union"}
    path = f"/tenant/schemas/{document['meta:altId']}"
    assert registry.code("PATCH", path, [step]) == "1526-400"
    body = {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": document["$id"],
        "xdm:sourceProperty": "/personalEmail/address",
        "xdm:namespace": "Email",
        "xdm:isPrimary": True,
    }
    registry.ok("POST", "/tenant/descriptors", body)
    registry.ok("PATCH", path, [step])


def test_schemas_of_one_class_may_not_conflict_in_the_union(registry: Registry) -> None:
    tagged(registry)
    other = registry.ok("POST", "/tenant/fieldgroups", group("Other", {"points": {"type": "string"}}))
    body = {**schema("Others", "context/identitymap", other["$id"]), "meta:immutableTags": ["union"]}
    assert registry.code("POST", "/tenant/schemas", body) == "1413-400"


def test_what_is_used_cannot_be_deleted(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", POINTS))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    assert registry.code("DELETE", f"/tenant/fieldgroups/{made['meta:altId']}") == "1603-400"
    registry.used.add(document["$id"])
    assert registry.code("DELETE", f"/tenant/schemas/{document['meta:altId']}") == "1603-400"
    registry.used.clear()
    assert registry.send("DELETE", f"/tenant/schemas/{document['meta:altId']}").status == 204
    assert registry.send("DELETE", f"/tenant/fieldgroups/{encoded(made['$id'])}").status == 204
    assert registry.code("GET", f"/tenant/schemas/{document['meta:altId']}", accept=STORED) == "1012-404"
    assert not registry.model.exists(registry.sandbox.id, document["$id"])


def test_the_library_is_read_only(registry: Registry) -> None:
    assert registry.code("POST", "/global/schemas", schema("Members")) == "1606-403"
    step = [{"op": "replace", "path": "/meta:intendedToExtend", "value": []}]
    assert registry.code("PATCH", f"/tenant/fieldgroups/{encoded(XDM + 'context/identitymap')}", step) == "1606-403"


def test_an_adhoc_class_gets_a_namespace_of_its_own(registry: Registry) -> None:
    fields = {"_adhoc": {"type": "object", "properties": {"a": {"type": "string"}}}}
    body = {
        "title": "Ad hoc class",
        "type": "object",
        "definitions": {"fields": {"properties": fields}},
        "allOf": [{"$ref": XDM + "data/adhoc"}, {"$ref": "#/definitions/fields"}],
    }
    made = registry.ok("POST", "/tenant/classes", body)
    assert list(made["definitions"]["fields"]["properties"]) == [made["meta:datasetNamespace"]]
    document = registry.ok("POST", "/tenant/schemas", schema("Ad hoc", of=made["$id"]))
    found = registry.model.schema(registry.sandbox.id, document["$id"])
    assert found is not None
    assert (found.behaviour, found.class_id) == ("adhoc", made["$id"])


def test_a_data_type_is_composed_where_it_is_used(registry: Registry) -> None:
    body = {"title": "Voucher", "type": "object", "properties": {"code": {"type": "string"}, "worth": {"type": "number"}}}
    made = registry.ok("POST", "/tenant/datatypes", body)
    vouchers = {"vouchers": {"type": "array", "items": {"$ref": made["$id"]}}}
    fields = registry.ok("POST", "/tenant/fieldgroups", group("Vouchers", vouchers))
    document = registry.ok("POST", "/tenant/schemas", schema("People", fields["$id"]))
    shown = registry.ok("GET", f"/tenant/schemas/{document['meta:altId']}", accept=FULL)
    items = shown["properties"]["_capstream"]["properties"]["vouchers"]["items"]
    assert items["meta:referencedFrom"] == made["$id"]
    assert list(items["properties"]) == ["code", "worth"]
    assert registry.code("DELETE", f"/tenant/datatypes/{made['meta:altId']}") == "1603-400"
