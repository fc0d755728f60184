"""Names, outlines, composition, rendering. Source: xdm.md 2, 3, 5."""

import pytest
from capillary_schemas import target_schema

from capstream.kernel.json import Json
from capstream.xdm.compose import CompositionError, ancestors, component_field, compose, document_field, kind_of
from capstream.xdm.library import standard_library
from capstream.xdm.merge import merge, require
from capstream.xdm.names import XDM, alt_id, compatible
from capstream.xdm.outline import OutlineError, label, properties
from capstream.xdm.render import flat, full
from capstream.xdm.schema import Field, find, leaves
from capstream.xdm.stored import annotated, compatible_names, without_texts

PROFILE_ROOT = """
_capstream _id _repo billingAddress billingAddressPhone consents createdByBatchID emailFormat extSourceSystemAudit faxPhone
homeAddress homePhone identityMap loyalty mailingAddress mobilePhone modifiedByBatchID optInOut person personID personalEmail
preferredLanguage profilePictureLink repositoryCreatedBy repositoryLastModifiedBy segmentMembership segments shippingAddress
shippingAddressPhone testProfile timeZone
"""
EVENTS_ROOT = """
_capstream _id channel commerce device environment eventMergeId eventType extSourceSystemAudit identityMap loyalty marketing
placeContext producedBy productListItems timestamp
"""


@pytest.mark.parametrize(
    ("name", "members", "required", "behaviour"),
    [("profile", PROFILE_ROOT, set(), "record"), ("events", EVENTS_ROOT, {"_id", "timestamp"}, "time-series")],
)
def test_the_target_schemas_have_the_documented_root(name: str, members: str, required: set[str], behaviour: str) -> None:
    schema = target_schema(name)
    assert sorted(schema.root.children) == sorted(members.split())
    assert (schema.root.required, schema.behaviour) == (required, behaviour)


@pytest.mark.parametrize(
    ("standard", "path"),
    [
        ("xdm:name", "name"),
        ("@id", "_id"),
        ("schema:latitude", "_schema.latitude"),
        ("https://ns.adobe.com/xdm/channels/email", "_channels.email"),
        ("https://ns.adobe.com/xdm/channels/direct-mail", "_channels.directMail"),
        ("https://ns.adobe.com/experience/a/b", "_experience.a.b"),
        ("https://ns.adobe.com/capstream/x", "_capstream.x"),
        ("_capstream", "_capstream"),
        ("plain-name", "plain-name"),
    ],
)
def test_standard_names_have_a_compatibility_path(standard: str, path: str) -> None:
    assert ".".join(compatible(standard)) == path


@pytest.mark.parametrize(
    ("uri", "dotted"),
    [
        (XDM + "context/profile", "_xdm.context.profile"),
        ("https://ns.adobe.com/capstream/schemas/0af", "_capstream.schemas.0af"),
        ("http://schema.org/GeoShape", "_schema.org.GeoShape"),
    ],
)
def test_alt_ids(uri: str, dotted: str) -> None:
    assert alt_id(uri) == dotted


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ({"type": "integer"}, "int"),
        ({"type": "integer", "minimum": 1, "maximum": 32767}, "short"),
        ({"type": "integer", "minimum": -128, "maximum": 128}, "byte"),
        ({"type": "integer", "minimum": -9007199254740992, "maximum": 9007199254740992}, "long"),
        ({"type": "integer", "minimum": 0}, "int"),
        ({"type": "integer", "maximum": 2**40}, "long"),
        ({"type": "integer", "meta:xdmType": "long"}, "long"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "meta:xdmType": "object"}, "string"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "map"),
        ({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"a": {}}}, "object"),
        ({"properties": {}}, "object"),
    ],
)
def test_types_follow_from_keywords(definition: Json, kind: str) -> None:
    assert kind_of(definition) == kind


def test_an_outline_reads_into_definitions() -> None:
    found, required = properties(
        'a! ->x/y[]{} minItems=2 "Map" "List"\nb object\n  c string enum=u|\\\n      v default=u \'pattern=^u\'\n'
    )
    assert required == ["a"]
    assert found["a"]["title"] == "Map"
    items = found["a"]["additionalProperties"]
    assert (items["title"], items["items"]) == ("List", {"$ref": XDM + "x/y"})
    assert found["b"]["properties"]["c"]["enum"] == ["u", "v"]
    assert found["b"]["properties"]["c"]["pattern"] == "^u"


@pytest.mark.parametrize("outline", ["a", " a string", "a string\n    b string", "a string odd=1"])
def test_a_bad_outline_names_its_line(outline: str) -> None:
    with pytest.raises(OutlineError):
        properties(outline)


def test_labels_are_readable() -> None:
    assert [label(text) for text in ("credit_card", "productListAdds", XDM + "channel-types/web")] == [
        "Credit Card",
        "Product List Adds",
        "Web",
    ]


def composed(*documents: Json) -> Field:
    known = {f"urn:{number}": document for number, document in enumerate(documents)}
    return compose(list(known), known.get, schema_id="x").root


def test_objects_merge_and_the_first_scalar_keeps_its_keywords() -> None:
    first = {"properties": {"a": {"type": "object", "properties": {"x": {"type": "string", "maxLength": 3}}}}}
    second = {
        "properties": {"a": {"properties": {"x": {"type": "string", "title": "X"}, "y": {"type": "number"}}, "required": ["y"]}}
    }
    field = composed(first, second).children["a"]
    assert list(field.children) == ["x", "y"]
    assert (field.children["x"].max_length, field.children["x"].title, field.required) == (3, "", {"y"})


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        (({"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"type": "number"}}}), "conflict"),
        (
            ({"properties": {"a": {"type": "array", "items": {"type": "string"}}}}, {"properties": {"a": {"type": "string"}}}),
            "conflict",
        ),
        (({"properties": {"a": {"$ref": "urn:unknown"}}},), "reference"),
        (({"allOf": [{"$ref": "#/definitions/none"}]},), "reference"),
        (({"properties": {"a": {"type": "text"}}},), "definition"),
        (({"properties": {"a": "text"}},), "definition"),
        (({"properties": {"a": {"type": "string", "pattern": "["}}},), "definition"),
    ],
)
def test_what_does_not_fit_is_refused(documents: tuple[Json, ...], code: str) -> None:
    with pytest.raises(CompositionError) as raised:
        composed(*documents)
    assert raised.value.code == code


def test_recursion_ends_at_the_first_repetition() -> None:
    tree = {"properties": {"name": {"type": "string"}, "child": {"$ref": "urn:0"}}}
    field = composed(tree)
    assert field.children["child"].kind == "object"
    assert field.children["child"].children == {}


def test_a_required_member_of_a_prefix_makes_the_prefix_required() -> None:
    field = composed({"properties": {"schema:latitude": {"type": "number"}}, "required": ["schema:latitude"]})
    assert field.required == {"_schema"}
    assert field.children["_schema"].required == {"latitude"}
    assert field.children["_schema"].converted


def test_a_reference_keeps_its_own_title_and_names_its_source() -> None:
    library = standard_library()
    field = component_field(XDM + "context/profile-personal-details", library.get)
    home = field.children["homeAddress"]
    assert (home.title, home.source, home.xdm_field) == ("Home Address", XDM + "common/address", "xdm:homeAddress")


def test_array_and_map_documents_compose() -> None:
    assert document_field({"type": "array", "items": {"type": "string"}}, {}.get).kind == "array"
    assert document_field({"type": "object", "additionalProperties": {"type": "string"}}, {}.get).kind == "map"


def test_ancestors_are_transitive() -> None:
    found = ancestors(XDM + "context/experienceevent", standard_library().get)
    assert found == [XDM + "context/identitymap", XDM + "data/time-series"]


def test_suggestions_of_a_union_add_up() -> None:
    first = Field(kind="string", suggested={"a": "A"})
    second = Field(kind="string", suggested={"a": "other", "b": "B"})
    assert merge(first, second).suggested == {"a": "A"}
    assert merge(first, second, suggestions=True).suggested == {"a": "A", "b": "B"}


def test_require_reaches_down() -> None:
    root = Field(kind="object", children={"a": Field(kind="object", children={"b": Field(kind="string")})})
    found = require(root, ["a", "b"])
    assert found.required == {"a"}
    assert found.children["a"].required == {"b"}
    assert require(root, ["x"]) == root


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("loyalty.pointsGained[].value", "number"),
        ("productListItems.SKU", "string"),
        ("identityMap.Email[].id", "string"),
        ("_capstream.capillary.points.expiry[*].date", "date-time"),
        ("timestamp.more", None),
        ("nothing.at.all", None),
    ],
)
def test_find_steps_into_arrays_and_maps(path: str, kind: str | None) -> None:
    found = find(target_schema("events").root, path)
    assert (None if found is None else found.kind) == kind


def test_leaves_name_every_path_once() -> None:
    paths = [path for path, _ in leaves(target_schema("events").root)]
    assert len(paths) == len(set(paths))
    assert {"identityMap.{key}[].id", "loyalty.pointsGained[].value", "_capstream.capillary.points.total"} <= set(paths)


@pytest.mark.parametrize("name", ["events", "profile"])
def test_the_full_form_composes_to_the_same_schema(name: str) -> None:
    root = target_schema(name).root
    again = document_field(full(root), {}.get)

    def kinds(field: Field) -> Json:
        return [(path, leaf.kind, leaf.enum, leaf.format, leaf.max_length) for path, leaf in leaves(field)]

    assert kinds(again) == kinds(root)
    assert again.required == root.required


def test_standard_names_undo_prefix_objects() -> None:
    field = component_field("http://schema.org/GeoCoordinates", standard_library().get)
    assert list(full(field, standard_names=True)["properties"]) == [
        "@id",
        "schema:description",
        "schema:latitude",
        "schema:longitude",
        "schema:elevation",
    ]
    assert "_schema/latitude" in flat(field)


def test_stored_forms_leave_names_of_members_alone() -> None:
    node = {
        "title": "T",
        "properties": {"title": {"type": "string", "title": "x"}, "xdm:a": {"type": "integer"}},
        "required": ["xdm:a"],
    }
    assert without_texts(node)["properties"]["title"] == {"type": "string"}
    assert compatible_names(node)["required"] == ["a"]
    assert annotated(node)["properties"]["xdm:a"]["meta:xdmType"] == "int"
    prefixed = compatible_names({"properties": {"repo:a": {"type": "string"}, "repo:b": {}}, "required": ["repo:b", "xdm:c"]})
    assert list(prefixed["properties"]["_repo"]["properties"]) == ["a", "b"]
    assert prefixed["properties"]["_repo"]["required"] == ["b"]
    assert prefixed["required"] == ["_repo", "c"]
