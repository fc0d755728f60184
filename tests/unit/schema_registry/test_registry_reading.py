"""Lists, lookups, Accept forms, stats and the model's reads. Source: schema-registry.md 2, 3, 10, 12."""

from collections.abc import Callable

import pytest
from registry_client import FULL, STORED, XDM, Registry, encoded, group, schema

from capstream.kernel.json import Json

XED = "application/vnd.adobe.xed"
VND = "application/vnd.adobe."
PROFILE = XDM + "context/profile"
LOYALTY = f"/tenant/fieldgroups/{encoded(XDM + 'mixins/profile/profile-loyalty-details')}"


def test_an_empty_registry_answers_every_list(registry: Registry) -> None:
    for kind in ("schemas", "classes", "fieldgroups", "mixins", "datatypes", "unions"):
        found = registry.ok("GET", f"/tenant/{kind}/", accept=f"{XED}-id+json")
        assert found["results"] == []
        assert found["_page"] == {"orderby": "updated", "next": None, "count": 0}
    stats = registry.ok("GET", "/stats/")
    assert stats["tenantId"] == "capstream"
    assert stats["counts"] == {"schemas": 0, "mixins": 0, "datatypes": 0, "classes": 0, "unions": 0}


@pytest.mark.parametrize(("kind", "count"), [("behaviors", 3), ("classes", 5), ("fieldgroups", 23), ("datatypes", 50)])
def test_the_global_library_is_listed(registry: Registry, kind: str, count: int) -> None:
    found = registry.ok("GET", f"/global/{kind}", accept=f"{XED}-id+json")["results"]
    assert len(found) == count
    assert all(list(one) == ["title", "$id", "meta:altId", "version"] for one in found)


@pytest.mark.parametrize(
    "path",
    [
        "_xdm.context.profile",
        encoded(PROFILE),
        PROFILE,
    ],
)
def test_ids_may_be_spelt_in_several_ways(registry: Registry, path: str) -> None:
    for container in ("tenant", "global"):
        found = registry.ok("GET", f"/{container}/classes/{path}", accept=STORED)
        assert found["$id"] == PROFILE
        assert found["meta:extends"] == [XDM + "common/auditable", XDM + "data/record", "http://ns.adobe.com/adobecloud/core/1.0"]


def test_foreign_ids_keep_their_host(registry: Registry) -> None:
    shown = registry.ok("GET", "/tenant/datatypes/_schema.org.GeoShape", accept=STORED)
    assert shown["$id"] == "http://schema.org/GeoShape"


def test_stored_form_names(registry: Registry) -> None:
    xed = registry.ok("GET", "/tenant/classes/_xdm.context.profile", accept=STORED)
    assert xed["definitions"]["profile"]["properties"]["personID"]["meta:xdmField"] == "xdm:personID"
    xdm = registry.ok("GET", "/tenant/classes/_xdm.context.profile", accept=f"{VND}xdm+json; version=1")
    assert list(xdm["definitions"]["profile"]["properties"]) == ["xdm:personID"]
    geo = registry.ok("GET", f"/tenant/datatypes/{encoded('http://schema.org/GeoCoordinates')}", accept=STORED)
    prefix = geo["definitions"]["GeoCoordinates"]["properties"]["_schema"]
    assert prefix["meta:xedConverted"] is True
    assert prefix["properties"]["latitude"]["meta:xdmField"] == "schema:latitude"


def test_full_form_resolves_references(registry: Registry) -> None:
    full = registry.ok("GET", "/tenant/fieldgroups/_xdm.context.profile-personal-details", accept=FULL)
    assert not {"allOf", "definitions"} & set(full)
    email = full["properties"]["personalEmail"]
    assert (email["title"], email["meta:xdmField"]) == ("Personal Email", "xdm:personalEmail")
    assert email["meta:referencedFrom"] == XDM + "context/emailaddress"
    assert email["properties"]["address"]["format"] == "email"
    standard = registry.ok(
        "GET", "/tenant/fieldgroups/_xdm.context.profile-personal-details", accept=f"{VND}xdm-full+json;version=1.0"
    )
    assert "schema:latitude" in standard["properties"]["xdm:homeAddress"]["properties"]
    event = registry.ok("GET", "/tenant/classes/_xdm.context.experienceevent", accept=FULL)
    assert sorted(event["required"]) == ["_id", "timestamp"]


def test_flat_and_textless_forms(registry: Registry) -> None:
    flat = registry.ok("GET", LOYALTY, accept=f"{VND}xdm-full-flat+json; version=1")["properties"]
    assert "xdm:loyalty/xdm:pointsExpiration[*]/xdm:pointsExpiring" in flat
    assert "loyalty/rewards/coupons[*]/id" in registry.ok("GET", LOYALTY, accept=f"{XED}-full-flat+json; version=1")["properties"]
    textless = registry.ok("GET", LOYALTY, accept=f"{XED}-full-notext+json; version=1")
    assert "title" not in textless
    assert "title" not in textless["properties"]["loyalty"]["properties"]["points"]


def test_a_field_named_title_survives_without_texts(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Titles", {"title": {"type": "string", "title": "A title"}}))
    accept = f"{XED}-notext+json; version=1"
    found = registry.ok("GET", f"/tenant/fieldgroups/{made['meta:altId']}", accept=accept)
    fields = found["definitions"]["customFields"]["properties"]["_capstream"]["properties"]
    assert fields == {"title": {"type": "string", "meta:xdmType": "string"}}


@pytest.mark.parametrize(
    ("path", "accept", "strict", "code"),
    [
        ("/tenant/schemas", "text/html", False, "1006-400"),
        ("/tenant/schemas", "", True, "1006-400"),
        ("/tenant/schemas", f"{XED}+json;version=1", True, "1006-400"),
        ("/tenant/schemas", f"{XED}+json;version=1", False, None),
        ("/tenant/schemas", "*/*", False, None),
        (LOYALTY, f"{XED}+json", False, "1007-400"),
        (LOYALTY, "text/html", False, "1007-400"),
        (LOYALTY, f"{XED}-id+json", True, "1007-400"),
        (LOYALTY, f"{XED}-id+json", False, None),
        (LOYALTY, "application/json", False, None),
        (LOYALTY, f'{XED}-notext-full+json ; version="1"', True, None),
        (LOYALTY, f"{XED}+json; version=2", False, "1011-404"),
        ("/tenant/descriptors", f"{XED}+json", False, "1008-400"),
        ("/tenant/descriptors", f"{XED}-id+json", True, "1008-400"),
        ("/tenant/descriptors", f"{XED}-id+json", False, None),
        ("/tenant/descriptors/abc", f"{XED}+json", False, "1009-400"),
        ("/tenant/descriptors/abc", "", True, "1014-404"),
        ("/tenant/schemas/abc", STORED, False, "1012-404"),
        ("/tenant/classes/abc", STORED, False, "1010-404"),
        ("/tenant/datatypes/_xdm.context.profile", STORED, False, "1013-404"),
        ("/tenant/unions/_xdm.context.profile__union", STORED, False, "1015-404"),
        ("/elsewhere/schemas", STORED, False, "1017-404"),
    ],
)
def test_accept_and_not_found(registry: Registry, path: str, accept: str, strict: bool, code: str | None) -> None:
    registry.strict = strict
    if code is None:
        registry.ok("GET", path, accept=accept)
    else:
        assert registry.code("GET", path, accept=accept) == code


def test_the_error_envelope(registry: Registry) -> None:
    body = registry.send("GET", "/tenant/schemas/abc", accept=STORED).body
    assert (body["status"], body["title"]) == (404, "Resource Not Found")
    assert body["type"] == "http://ns.adobe.com/aep/errors/XDM-1012-404"
    assert body["report"]["detailed-message"] == body["detail"]
    assert body["report"]["timestamp"] == "09-17-2024 15:04:32"
    assert body["report"]["sub-errors"] == []


def test_the_media_type_is_echoed(registry: Registry) -> None:
    answer = registry.send("GET", "/tenant/schemas", accept=f"{XED}-id+json")
    assert answer.media_type == f"{XED}-id+json;charset=UTF-8"


@pytest.fixture
def people(registry: Registry) -> list[Json]:
    titles = ("Alpha", "Beta, second", "Gamma")
    return [registry.ok("POST", "/tenant/schemas", {**schema(title), "description": "d"}) for title in titles]


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("property=title==Alpha", ["Alpha"]),
        ("property=title==Beta, second", ["Beta, second"]),
        ("property=title!=Alpha", ["Beta, second", "Gamma"]),
        ("property=title~^[AB]", ["Alpha", "Beta, second"]),
        ("property=title~a$,title~^G", ["Gamma"]),
        (f"property=meta:extends=={XDM}data/record", ["Alpha", "Beta, second", "Gamma"]),
        (f"property=meta:extends!={XDM}data/record", []),
        (
            "property=meta:class==https%3A%2F%2Fns.adobe.com%2Fxdm%2Fcontext%2Fprofile&property=title>B",
            ["Beta, second", "Gamma"],
        ),
        ("property=meta:immutableTags==union", []),
        ("property=meta:immutableTags", []),
        ("property=meta:registryMetadata.repo:createdDate>0", ["Alpha", "Beta, second", "Gamma"]),
        ("property={{property}}&limit=", ["Alpha", "Beta, second", "Gamma"]),
        ("orderby=-title", ["Gamma", "Beta, second", "Alpha"]),
        ("orderby=title&start=Alpha", ["Beta, second", "Gamma"]),
        ("orderby=-title&start=Gamma", ["Beta, second", "Alpha"]),
        ("orderby=title&limit=2", ["Alpha", "Beta, second"]),
        ("orderby=description,-title&limit=1", ["Gamma", "Beta, second", "Alpha"]),
    ],
)
def test_filters_order_and_pages(registry: Registry, people: list[Json], query: str, titles: list[str]) -> None:
    found = registry.ok("GET", "/tenant/schemas", accept=f"{XED}-id+json", query=query)
    assert [one["title"] for one in found["results"]] == titles


def test_pages_lead_to_the_end(registry: Registry, people: list[Json]) -> None:
    seen: list[str] = []
    start = ""
    for _ in range(3):
        found = registry.ok("GET", "/tenant/schemas", query=f"orderby=updated&limit=1&start={start}")
        seen += [one["title"] for one in found["results"]]
        start = found["_page"]["next"]
    assert seen == [one["title"] for one in people]
    assert start is None
    assert found["_links"]["global_schemas"]["href"].endswith("/global/schemas")


@pytest.mark.parametrize("query", ["property=title~(", "limit=many", "limit=501", "property=="])
def test_bad_filters_are_refused(registry: Registry, query: str) -> None:
    assert registry.code("GET", "/tenant/schemas", query=query) == "1600-400"


def test_stats_name_the_classes_in_use(registry: Registry, people: list[Json]) -> None:
    stats = registry.ok("GET", "/stats")
    assert [one["title"] for one in stats["recentlyCreatedResources"]] == ["Gamma", "Beta, second", "Alpha"]
    assert stats["recentlyCreatedResources"][0]["meta:created"].startswith("Tue Sep 17 2024 15:04:")
    usage = stats["classUsage"]
    assert [(one["title"], one["numberOfSchemas"]) for one in usage] == [("XDM Individual Profile", 3)]


def test_the_model_gives_one_object_until_something_changes(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/fieldgroups", group("Members", {"points": {"type": "number"}}))
    document = registry.ok("POST", "/tenant/schemas", schema("People", made["$id"]))
    model, sandbox = registry.model, registry.sandbox.id
    first = model.schema(sandbox, document["$id"])
    registry.ok("POST", "/tenant/schemas", schema("Unrelated"))
    assert model.schema(sandbox, document["$id"]) is first
    assert model.schema(sandbox, document["meta:altId"]) == first
    registry.ok("PATCH", f"/tenant/fieldgroups/{made['meta:altId']}", [{"op": "replace", "path": "/title", "value": "Renamed"}])
    assert model.schema(sandbox, document["$id"]) is not first


def test_the_model_knows_standard_components_but_not_what_is_not_there(registry: Registry) -> None:
    found = registry.model.schema(registry.sandbox.id, XDM + "context/experienceevent")
    assert found is not None
    assert (found.behaviour, found.class_id) == ("time-series", XDM + "context/experienceevent")
    assert registry.model.schema(registry.sandbox.id, "https://ns.adobe.com/capstream/schemas/0") is None
    assert registry.model.etag(registry.sandbox.id, "https://ns.adobe.com/capstream/schemas/0") == ""


def test_unions_follow_their_members(registry: Registry, capillary_schemas: Callable[[], tuple[Json, Json]]) -> None:
    profile, _ = capillary_schemas()
    union_id, sandbox = PROFILE + "__union", registry.sandbox.id
    assert registry.model.schema(sandbox, union_id) is None
    step = [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}]
    registry.ok("PATCH", f"/tenant/schemas/{profile['meta:altId']}", step)
    before = registry.model.etag(sandbox, union_id)
    union = registry.model.schema(sandbox, union_id)
    assert union is not None
    assert union.root.required == frozenset()
    assert union.root.children["timeSeriesEvents"].kind == "array"
    registry.ok("PATCH", f"/tenant/schemas/{profile['meta:altId']}", [{"op": "add", "path": "/description", "value": "new"}])
    assert registry.model.etag(sandbox, union_id) != before
