"""Schemas as code: what a file describes. Bodies, references, and what is wrong with a file."""

from typing import Any

import pytest

from capstream.kernel.errors import InputError
from capstream.xdm.blueprint import read, same, standard
from capstream.xdm.catalogue import standard_id
from capstream.xdm.names import XDM

IDS = {"Till": "https://ns.adobe.com/acme/datatypes/1", "Visits fields": "https://ns.adobe.com/acme/mixins/2"}
FIELDS = 'visit object "Visit"\n  code! string maxLength=12 "Code"\n  till ->Till\n'
FILE: dict[str, Any] = {
    "namespaces": [{"code": "visitor"}],
    "dataTypes": [{"title": "Till", "fields": {"number": "integer", "open!": "boolean"}}],
    "fieldGroups": [{"title": "Visits fields", "classes": ["experienceevent"], "fields": FIELDS}],
    "schemas": [
        {
            "title": "Visits",
            "class": "experienceevent",
            "fieldGroups": ["Visits fields", "identitymap"],
            "identities": [{"path": "_tenant.visit.code", "namespace": "visitor", "primary": True}],
            "profile": True,
        }
    ],
}


def resolve(name: str) -> str:
    return IDS.get(name) or standard(name) or f"missing {name}"


def test_bodies() -> None:
    plan = read(FILE)
    assert plan.namespaces[0] == {"code": "visitor", "name": "visitor", "idType": "CROSS_DEVICE", "description": ""}
    till, visits = (part.body("acme", resolve) for part in plan.parts)
    assert till["properties"] == {"number": {"type": "integer"}, "open": {"type": "boolean"}}
    assert till["required"] == ["open"]
    own = visits["definitions"]["customFields"]["properties"]["_acme"]["properties"]["visit"]
    assert own["required"] == ["code"]
    assert own["properties"]["till"]["$ref"] == IDS["Till"]
    assert visits["meta:intendedToExtend"] == [XDM + "context/experienceevent"]
    (schema,) = plan.schemas
    assert [entry["$ref"] for entry in schema.body(resolve)["allOf"]] == [
        XDM + "context/experienceevent",
        IDS["Visits fields"],
        XDM + "context/identitymap",
    ]
    (identity,) = schema.descriptor_bodies("the id", "acme")
    assert (identity["xdm:sourceProperty"], identity["xdm:sourceSchema"]) == ("/_acme/visit/code", "the id")
    assert identity["xdm:isPrimary"] is True


def test_a_class() -> None:
    (branch,) = read({"classes": [{"title": "Branch", "behaviour": "time-series", "fields": {"city": "string"}}]}).parts
    assert [entry["$ref"] for entry in branch.body("acme", resolve)["allOf"]] == [
        XDM + "data/time-series",
        "#/definitions/customFields",
    ]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "file"),
        ({"schema": []}, "schema"),
        ({"schemas": {}}, "schemas"),
        ({"schemas": ["x"]}, "schemas[0]"),
        ({"schemas": [{"title": "x", "class": "profile", "groups": []}]}, "schemas[0].groups"),
        ({"schemas": [{"title": " ", "class": "profile"}]}, "schemas[0].title"),
        ({"schemas": [{"title": "x"}]}, "schemas[0].class"),
        ({"schemas": [{"title": "x", "class": "profile", "profile": "yes"}]}, "schemas[0].profile"),
        ({"schemas": [{"title": "x", "class": "profile", "identities": [{}]}]}, "schemas[0].identities[0].path"),
        ({"schemas": [{"title": "x", "class": "profile", "fieldGroups": "y"}]}, "schemas[0].fieldGroups"),
        ({"classes": [{"title": "x", "behaviour": "adhoc"}]}, "classes[0].behaviour"),
        ({"fieldGroups": [{"title": "x"}]}, "fieldGroups[0].fields"),
        ({"fieldGroups": [{"title": "x", "fields": "a"}]}, "fieldGroups[0].fields"),
        ({"fieldGroups": [{"title": "x", "fields": {"a": "string size=3"}}]}, "fieldGroups[0].fields"),
        ({"namespaces": [{"name": "x"}]}, "namespaces[0].code"),
    ],
)
def test_a_bad_file_is_refused_by_place(document: Any, place: str) -> None:
    with pytest.raises(InputError) as caught:
        read(document)
    assert caught.value.path == place


STORED = {"title": "A", "properties": {"x": {"type": "string", "maxLength": 3, "meta:xdmType": "string"}}, "version": "1.3"}


@pytest.mark.parametrize(
    ("wanted", "equal"),
    [
        ({"title": "A", "description": "", "properties": {"x": {"type": "string", "maxLength": 3}}}, True),
        ({"title": "A", "description": "new", "properties": {"x": {"type": "string", "maxLength": 3}}}, False),
        ({"title": "A", "properties": {"x": {"type": "string"}}}, False),
        ({"title": "A", "properties": {"x": {"type": "string", "maxLength": 4}}}, False),
        ({"title": "A", "properties": {}}, False),
        ({"title": "A", "properties": {"x": {"type": "string", "maxLength": 3}, "y": {"type": "string"}}}, False),
    ],
)
def test_a_stored_resource_is_compared_by_what_a_file_can_say(wanted: Any, equal: bool) -> None:
    assert same(wanted, STORED) is equal


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("profile", XDM + "context/profile"),
        ("experienceevent", XDM + "context/experienceevent"),
        ("XDM Individual Profile", XDM + "context/profile"),
        ("_xdm.context.profile", XDM + "context/profile"),
        ("context/profile", XDM + "context/profile"),
        ("Loyalty Details", XDM + "mixins/profile/profile-loyalty-details"),
        ("_schema.org.GeoShape", "http://schema.org/GeoShape"),
        ("nothing", None),
    ],
)
def test_standard_components_are_found_by_many_names(name: str, uri: str | None) -> None:
    assert standard_id(name) == uri
