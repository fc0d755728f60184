"""Definitions nobody can use are refused with the field and the keyword; arrays and maps as data types."""

from typing import Any

import pytest
from registry_client import FULL, XDM, Registry, group, schema

from capstream.kernel.json import Json

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"type": "integer", "minimum": "5"}, "minimum must be a number"),
        ({"type": "integer", "maximum": True}, "maximum must be a number"),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "minimum 5 is above maximum 1"),
        ({"type": "string", "minLength": -1}, "minLength must be a whole number of at least 0"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength 3 is above maxLength 2"),
        ({"type": "array", "items": TEXT, "minItems": 1.5}, "minItems must be a whole number of at least 0"),
        ({"type": "array", "items": [TEXT]}, "items must be a JSON object"),
        ({"type": "string", "enum": []}, "enum must be a list of at least one value"),
        ({"type": "string", "enum": ["a", 1]}, "enum holds 1, which is no string"),
        ({"type": "integer", "enum": [1, True]}, "enum holds True, which is no integer"),
        ({"type": "string", "meta:enum": ["a"]}, "meta:enum must be a JSON object"),
        ({"type": "string", "pattern": 5}, "pattern must be a text"),
        ({"type": "string", "title": 5}, "title must be a text"),
        ({"type": "object", "properties": []}, "properties must be a JSON object"),
        ({"type": "object", "properties": {"a": TEXT}, "required": True}, "required must be a list of member names"),
        ({"type": "object", "additionalProperties": 5}, "additionalProperties must be true, false or a JSON object"),
        ({"$ref": "#/definitions/customFields"}, "#/definitions/customFields: a definition cannot contain itself"),
    ],
)
def test_a_keyword_of_the_wrong_form_is_refused_by_name(registry: Registry, field: dict[str, Any], told: str) -> None:
    answer = registry.send("POST", "/tenant/fieldgroups", group("Fields", {"x": field}))
    assert answer.body["type"].endswith("XDM-1600-400")
    assert told in answer.body["detail"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"allOf": [{"$ref": 5}]}, "allOf: $ref must be a text"),
        ({"allOf": "x"}, "allOf must be a list of JSON objects"),
        ({"meta:intendedToExtend": [5]}, "meta:intendedToExtend: must be a list of texts"),
        ({"meta:immutableTags": "union"}, "meta:immutableTags: must be a list of texts"),
        ({"definitions": {"x": {"properties": []}}}, "properties must be a JSON object"),
    ],
)
def test_a_body_of_the_wrong_form_is_refused_by_name(registry: Registry, body: Json, told: str) -> None:
    answer = registry.send("POST", "/tenant/fieldgroups", group("Fields", {"x": TEXT}) | body)
    assert answer.status == 400
    assert told in answer.body["detail"]


def test_a_component_cannot_contain_itself(registry: Registry) -> None:
    inner = registry.ok("POST", "/tenant/datatypes", {"title": "Inner", "properties": {"a": TEXT}})
    outer = registry.ok("POST", "/tenant/datatypes", {"title": "Outer", "properties": {"in": {"$ref": inner["$id"]}}})
    for uri in (inner["$id"], outer["$id"]):
        step = {"op": "add", "path": "/properties/again", "value": {"type": "array", "items": {"$ref": uri}}}
        assert registry.code("PATCH", f"/tenant/datatypes/{inner['meta:altId']}", [step]) == "1600-400"


def test_a_data_type_may_be_an_array_or_a_map(registry: Registry) -> None:
    codes = registry.ok("POST", "/tenant/datatypes", {"title": "Codes", "type": "array", "items": TEXT})
    counts = registry.ok("POST", "/tenant/datatypes", {"title": "Counts", "additionalProperties": {"type": "integer"}})
    assert registry.ok("GET", f"/tenant/datatypes/{codes['meta:altId']}", accept=FULL)["items"]["type"] == "string"
    fields = group("Uses", {"codes": {"$ref": codes["$id"]}, "counts": {"$ref": counts["$id"]}})
    made = registry.ok("POST", "/tenant/fieldgroups", fields)
    document = registry.ok("POST", "/tenant/schemas", schema("Shops", made["$id"]))
    shown = registry.ok("GET", f"/tenant/schemas/{document['meta:altId']}", accept=FULL)["properties"]["_capstream"]["properties"]
    assert {name: node["meta:xdmType"] for name, node in shown.items()} == {"codes": "array", "counts": "map"}


def test_the_tag_union_is_never_taken_off(registry: Registry) -> None:
    document = registry.ok("POST", "/tenant/schemas", schema("People", XDM + "context/identitymap"))
    path = f"/tenant/schemas/{document['meta:altId']}"
    registry.ok("PATCH", path, [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}])
    assert registry.code("PATCH", path, [{"op": "remove", "path": "/meta:immutableTags"}]) == "1602-400"
    assert registry.code("PATCH", path, [{"op": "remove", "path": "/meta:immutableTags/0"}]) == "1602-400"
    assert registry.ok("PUT", path, schema("People", XDM + "context/identitymap"))["meta:immutableTags"] == ["union"]


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("descriptorIdentity", {"xdm:namespace": "Email", "xdm:property": "xdm:name"}, "xdm:property: xdm:code or xdm:id"),
        ("descriptorIdentity", {"xdm:namespace": "Email", "xdm:isPrimary": "false"}, "xdm:isPrimary: must be true or false"),
        ("descriptorDeprecated", {"xdm:sourceProperty": "/_capstream/x"}, "/_capstream/x is a custom field; PATCH meta:status"),
        ("descriptorLabel", {}, "xdm:labels is required"),
        ("alternateDisplayInfo", {"xdm:title": "Tier"}, "xdm:title: must be texts by locale"),
        ("descriptorTimeSeriesGranularity", {"xdm:granularity": ["day"]}, "xdm:granularity: one of day, hour"),
        (
            "descriptorOneToOne",
            {"xdm:destinationSchema": 5, "xdm:destinationVersion": 1},
            "xdm:destinationSchema: must be the $id",
        ),
    ],
)
def test_a_descriptor_of_the_wrong_form_is_refused_by_name(registry: Registry, kind: str, more: Json, told: str) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Fields", {"x": TEXT}))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    body = {"@type": f"xdm:{kind}", "xdm:sourceSchema": document["$id"], "xdm:sourceProperty": "/personID", **more}
    answer = registry.send("POST", "/tenant/descriptors", body)
    assert answer.body["type"].endswith("XDM-1604-400")
    assert told in answer.body["detail"]
