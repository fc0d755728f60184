"""`aepp`, unmodified, against the Schema Registry: every call the contract lists. Source: schema-registry.md 12."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.parity
XDM = "https://ns.adobe.com/xdm/"
PROFILE, EVENTS = XDM + "context/profile", XDM + "context/experienceevent"
LOYALTY = XDM + "mixins/profile/profile-loyalty-details"
IDENTITY_MAP = XDM + "context/identitymap"
COMMERCE = XDM + "context/experienceevent-commerce"


def group(title: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "description": "fields of the tenant",
        "meta:intendedToExtend": [PROFILE],
        "definitions": {
            "customFields": {"type": "object", "properties": {"_capstream": {"type": "object", "properties": fields}}}
        },
        "allOf": [{"$ref": "#/definitions/customFields", "type": "object"}],
    }


@pytest.fixture(scope="module")
def schemas(client: ModuleType) -> Any:
    from aepp.schema import Schema

    return Schema()


@pytest.fixture(scope="module")
def filled(schemas: Any, empty_lists: dict[str, Any]) -> SimpleNamespace:
    """A registry with a resource of every kind, made through aepp after the lists of the empty one were read."""
    fields = {"email": {"type": "string", "title": "E-mail"}, "visits": {"type": "integer"}, "store": {"type": "string"}}
    fieldgroup = schemas.createFieldGroup(group("Member fields", **fields))
    members = schemas.createProfileSchema("Members", fieldGroupIds=[fieldgroup["$id"]], description="of the programme")
    visits = schemas.createExperienceEventSchema("Visits", fieldGroupIds={COMMERCE: "object"})
    address = schemas.createDataType({"title": "Voucher", "type": "object", "properties": {"code": {"type": "string"}}})
    branch = schemas.createClass(title="Branch", class_template=XDM + "data/record")
    return SimpleNamespace(group=fieldgroup, members=members, visits=visits, datatype=address, cls=branch)


@pytest.fixture(scope="module")
def empty_lists(schemas: Any) -> dict[str, Any]:
    """What every list answers before anything is made."""
    names = ("getFieldGroups", "getClasses", "getDataTypes", "getUnions", "getDescriptors", "getSchemasGlobal")
    return {name: getattr(schemas, name)() for name in names} | {"getSchemas": schemas.getSchemas()}


def test_an_empty_registry_ends_every_loop(empty_lists: dict[str, Any]) -> None:
    assert empty_lists.pop("getSchemas")["results"] == []
    assert set(map(len, empty_lists.values())) == {0}


def test_the_tenant_and_the_figures(schemas: Any, filled: SimpleNamespace) -> None:
    assert schemas.getTenantId() == "capstream"
    assert schemas.getStats()["counts"]["schemas"] >= 2


def test_the_global_library(schemas: Any) -> None:
    assert {one["$id"] for one in schemas.getBehaviors()} == {XDM + "data/" + name for name in ("adhoc", "record", "time-series")}
    assert "timestamp" in schemas.getBehavior(XDM + "data/time-series", full=True, type="xed")["properties"]
    assert "xdm:timestamp" in schemas.getBehavior(XDM + "data/time-series", full=True, type="xdm")["properties"]
    assert {PROFILE, EVENTS} <= {one["$id"] for one in schemas.getClassesGlobal()}
    loyalty = next(one for one in schemas.getFieldGroupsGlobal() if one["$id"] == LOYALTY)
    assert loyalty["title"] == "Loyalty Details"
    assert "definitions" in loyalty
    assert len(schemas.getDataTypesGlobal()) > 40


def test_lists_of_a_filled_registry(schemas: Any, filled: SimpleNamespace) -> None:
    assert {"Members", "Visits"} <= {one["title"] for one in schemas.getSchemas()}
    assert schemas.data.schemas_id["Members"] == filled.members["$id"]
    assert "Visits" not in {one["title"] for one in schemas.getSchemas(classFilter=PROFILE)}
    assert filled.group["$id"] in {one["$id"] for one in schemas.getFieldGroups()}
    assert filled.cls["$id"] in {one["$id"] for one in schemas.getClasses()}
    assert filled.datatype["$id"] in {one["$id"] for one in schemas.getDataTypes()}


def test_forms_of_a_schema(schemas: Any, filled: SimpleNamespace) -> None:
    uri = filled.visits["$id"]
    assert "xdm:commerce" in schemas.getSchema(uri)["properties"]
    assert "commerce" in schemas.getSchema(uri, schema_type="xed")["properties"]
    stored = schemas.getSchema(uri, full=False, schema_type="xed")
    assert [entry["$ref"] for entry in stored["allOf"]] == [EVENTS, COMMERCE]
    assert schemas.getSchema(uri, desc=True)["meta:descriptors"] == []
    assert "xdm:commerce/xdm:order/xdm:priceTotal" in schemas.getSchema(uri, flat=True)["properties"]
    assert schemas.getSchema(uri, deprecated=True)["title"] == "Visits"
    assert "commerce.order.priceTotal" in [path.replace("/", ".") for path in schemas.getSchemaPaths(uri)]
    sample = schemas.getSchemaSample(uri)
    assert {"_id", "timestamp", "commerce", "productListItems"} <= set(sample)


def test_a_schema_is_put_patched_and_given_groups(schemas: Any, filled: SimpleNamespace) -> None:
    uri = filled.members["$id"]
    added = schemas.addFieldGroupToSchema(uri, [IDENTITY_MAP, LOYALTY])
    assert [entry["$ref"] for entry in added["allOf"]] == [PROFILE, filled.group["$id"], IDENTITY_MAP, LOYALTY]
    patched = schemas.patchSchema(uri, [{"op": "replace", "path": "/description", "value": "patched"}])
    assert (patched["description"], patched["version"]) == ("patched", "1.2")
    again = schemas.putSchema(uri, schemas.getSchema(uri, full=False))
    assert again["version"] == "1.2"
    made = schemas.createSchema({"title": "To be deleted", "type": "object", "allOf": [{"$ref": PROFILE}]})
    assert schemas.deleteSchema(made["$id"]) == 204
    assert schemas.getSchema(made["meta:altId"], schema_type="xed", full=False)["status"] == 404


def test_classes(schemas: Any, filled: SimpleNamespace) -> None:
    uri = filled.cls["$id"]
    assert schemas.getClass(uri, full=False, xtype="xed")["meta:extends"] == [XDM + "data/record"]
    assert "xdm:personID" in schemas.getClass(PROFILE)["properties"]
    patched = schemas.patchClass(uri, [{"op": "replace", "path": "/description", "value": "patched"}])
    assert patched["description"] == "patched"
    assert schemas.putClass(uri, patched | {"description": "put"})["description"] == "put"
    extra = schemas.createClass({"title": "To go", "type": "object", "allOf": [{"$ref": XDM + "data/record"}]})
    assert schemas.deleteClass(extra["$id"]) == 204


def test_field_groups(schemas: Any, filled: SimpleNamespace) -> None:
    uri = filled.group["$id"]
    full = schemas.getFieldGroup(uri)
    assert full["properties"]["_capstream"]["properties"]["visits"]["meta:xdmType"] == "int"
    for title, source in (("Copy", schemas.getFieldGroup(uri, full=False)), ("Copy of the whole", full)):
        copy = schemas.createFieldGroup(schemas.copyFieldGroup(source, title=title))
        assert schemas.getFieldGroup(copy["$id"])["properties"].keys() == full["properties"].keys()
        assert schemas.deleteFieldGroup(copy["$id"]) == 204
    path = "/definitions/customFields/properties/_capstream/properties/rank"
    patched = schemas.patchFieldGroup(uri, [{"op": "add", "path": path, "value": {"type": "integer"}}])
    assert "rank" in patched["definitions"]["customFields"]["properties"]["_capstream"]["properties"]
    assert schemas.putFieldGroup(uri, patched | {"description": "put"})["description"] == "put"
    assert set(schemas.extendFieldGroup(uri, [PROFILE, EVENTS])["meta:intendedToExtend"]) == {PROFILE, EVENTS}
    assert schemas.extendFieldGroup(IDENTITY_MAP, [PROFILE], tenant="global")["status"] == 403
    refused = schemas.createFieldGroup(group("Outside") | {"definitions": {"x": {"properties": {"loose": {"type": "string"}}}}})
    assert refused["status"] == 400
    assert refused["report"]["detailed-message"]


def test_data_types(schemas: Any, filled: SimpleNamespace) -> None:
    uri = filled.datatype["$id"]
    patched = schemas.patchDataType(uri, [{"op": "add", "path": "/properties/worth", "value": {"type": "number"}}])
    assert list(patched["properties"]) == ["code", "worth"]
    assert schemas.putDataType(uri, patched | {"description": "put"})["version"] == "1.2"
    assert schemas.getDataType(uri, full=True)["properties"]["worth"]["type"] == "number"
    assert "city" in schemas.getDataType(XDM + "common/address")["properties"]
    extra = schemas.createDataType({"title": "To go", "type": "object", "properties": {"a": {"type": "string"}}})
    assert schemas.deleteDataType(extra["$id"]) == 204


def test_descriptors_of_every_kind(schemas: Any, filled: SimpleNamespace) -> None:
    visits = filled.visits["$id"]
    bodies = [
        schemas.createDescriptorOperation(visits, "xdm:alternateDisplayInfo", "commerce.order.priceTotal", alternateTitle="Sum"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorReferenceIdentity", "eventMergeId", identityNSCode="ECID"),
        schemas.createDescriptorOperation(
            visits, "xdm:descriptorOneToOne", "eventMergeId", targetSchema=filled.members["$id"], targetCompletePath="/_id"
        ),
        schemas.createDescriptorOperation(
            visits,
            "xdm:descriptorRelationship",
            "eventMergeId",
            targetSchema=filled.members["$id"],
            targetCompletePath="/_id",
            targetNamespace="ECID",
        ),
        schemas.createDescriptorOperation(visits, "xdm:descriptorDeprecated", "producedBy"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorTimeSeriesGranularity"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorPrimaryKey", "_id"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorVersion", "eventMergeId"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorTimestamp", "timestamp"),
        schemas.createDescriptorOperation(visits, "xdm:descriptorLabel", "eventMergeId", labels=["C2"]),
        schemas.createDescriptorOperation(visits, "xdm:descriptorIdentity", "eventMergeId", identityNSCode="ECID"),
    ]
    made = [schemas.createDescriptor(body) for body in bodies]
    assert [one["@type"] for one in made] == [body["@type"] for body in bodies]
    one = made[-1]
    assert schemas.getDescriptor(one["@id"]) == one
    changed = schemas.putDescriptor(one["@id"], {**one, "xdm:sourceProperty": "/eventType"})
    assert (changed["@id"], changed["xdm:sourceProperty"]) == (one["@id"], "/eventType")
    of_schema = f"xdm:sourceSchema=={visits}"
    assert len(schemas.getDescriptors(prop=of_schema)) == len(bodies)
    assert schemas.getDescriptors(type_desc="xdm:descriptorIdentity", id_desc=True, prop=of_schema) == [one["@id"]]
    links = schemas.getDescriptors(type_desc="xdm:descriptorIdentity", link_desc=True, prop=of_schema)
    assert links == [f"/tenant/descriptors/{one['@id']}"]
    assert {schemas.deleteDescriptor(each["@id"]) for each in made} == {204}
    assert schemas.getDescriptors(prop=of_schema) == []


def test_profile_unions_audit_export(schemas: Any, filled: SimpleNamespace) -> None:
    made = schemas.createProfileSchema("Enabled members", fieldGroupIds=[filled.group["$id"]])
    uri = made["$id"]
    assert schemas.enableSchemaForRealTime(uri)["status"] == 400  # no identity yet
    body = schemas.createDescriptorOperation(
        uri, "xdm:descriptorIdentity", "_capstream.email", identityNSCode="Email", identityPrimary=True
    )
    assert schemas.createDescriptor(body)["xdm:isPrimary"] is True
    assert schemas.enableSchemaForRealTime(uri)["meta:immutableTags"] == ["union"]
    assert schemas.enableSchemaForUPS(uri)["meta:immutableTags"] == ["union"]
    assert [one["$id"] for one in schemas.getUnions()] == [PROFILE + "__union"]
    union = schemas.getUnion("_xdm.context.profile__union")
    assert {"xdm:identityMap", "xdm:segmentMembership", "_capstream"} <= set(union["properties"])
    assert [one["title"] for one in schemas.getXDMprofileSchema()["results"]] == ["Enabled members"]
    assert schemas.getAuditLogs(uri)[0]["updates"][0]["path"] == "/meta:immutableTags"
    exported = schemas.exportResource(uri)
    assert [one["meta:resourceType"] for one in exported] == ["mixins", "schemas"]
    refused = schemas.importResource(exported)
    assert (refused["status"], refused["type"].rpartition("/")[2]) == (400, "XDM-3005-400")


def test_an_import_into_another_sandbox(schemas: Any, filled: SimpleNamespace) -> None:
    from aepp.sandboxes import Sandboxes
    from aepp.schema import Schema

    exported = schemas.exportResource(filled.members["$id"])
    Sandboxes().createSandbox(name="parity", title="Parity", type_sandbox="development")
    other = Schema(sandbox="parity")
    loaded = other.importResource(exported)
    try:
        assert loaded[-1]["$id"] == filled.members["$id"]
        assert other.getSchema(filled.members["$id"], schema_type="xed")["properties"].keys() >= {"_capstream", "personID"}
    finally:
        schemas.updateSandbox("prod")  # aepp keeps one header for all its instances


def test_the_schema_manager(schemas: Any, filled: SimpleNamespace) -> None:
    from aepp.schemamanager import SchemaManager

    made = schemas.createProfileSchema("Managed", fieldGroupIds=[filled.group["$id"], LOYALTY])
    manager = SchemaManager(made["$id"], schemaAPI=schemas)
    assert sorted(manager.fieldGroupsManagers) == ["Loyalty Details", "Member fields"]
    assert list(manager.classManagers) == ["XDM Individual Profile"]
    paths = set(manager.to_dataframe()["path"])
    assert {"loyalty.points", "_capstream.visits", "_repo.createDate", "personID"} <= paths
    assert manager.to_dict()["loyalty"]["points"] == "number"
    assert "pointsToNextTier" in str(manager.searchField("pointsToNextTier"))
    assert manager.to_som() is not None
    manager.addFieldGroup(XDM + "context/profile-person-details")
    updated = manager.updateSchema()
    assert updated["allOf"][-1]["$ref"] == XDM + "context/profile-person-details"
    descriptor = manager.createDescriptorOperation("xdm:descriptorIdentity", "_capstream.email", identityNSCode="Email")
    created = manager.createDescriptor(descriptor)
    assert [one["@id"] for one in manager.getDescriptors()] == [created["@id"]]
    fresh = SchemaManager(title="From a manager", schemaAPI=schemas, schemaClass=PROFILE)
    fresh.addFieldGroup(filled.group["$id"])
    assert schemas.getSchema(fresh.createSchema()["$id"], full=False)["title"] == "From a manager"


def test_the_field_group_manager(schemas: Any, filled: SimpleNamespace) -> None:
    from aepp.fieldgroupmanager import FieldGroupManager

    manager = FieldGroupManager(title="Managed fields", fg_class=["profile"], schemaAPI=schemas)
    manager.addField("_capstream", dataType="object")
    manager.addField("_capstream.colour", dataType="string", enumValues={"red": "Red"}, enumType=True)
    manager.addField("_capstream.bags", dataType="object", objectComponents={"count": "integer"}, array=True)
    manager.addField("_capstream.voucher", dataType="dataType", ref=filled.datatype["$id"])
    manager.addField("_capstream.extra", dataType="map", mapType="string")
    made = manager.createFieldGroup()
    fields = schemas.getFieldGroup(made["$id"])["properties"]["_capstream"]["properties"]
    assert fields["colour"]["enum"] == ["red"]
    assert (fields["bags"]["type"], fields["extra"]["meta:xdmType"]) == ("array", "map")
    assert fields["voucher"]["meta:referencedFrom"] == filled.datatype["$id"]
    again = FieldGroupManager(made["$id"], schemaAPI=schemas)
    assert again.EDITABLE
    assert again.getDataTypePaths() == {"_capstream.voucher": filled.datatype["$id"]}
    again.addField("_capstream.later", dataType="date-time")
    assert "later" in str(again.updateFieldGroup()["definitions"])
    again.patchFieldGroup([{"op": "replace", "path": "/description", "value": "patched"}])
    assert again.fieldGroup["description"] == "patched"
    assert again.removeField("_capstream.later") is True
    assert "later" not in str(again.updateFieldGroup()["definitions"])
    standard = FieldGroupManager(LOYALTY, schemaAPI=schemas)
    assert "loyalty.rewards.coupons[]{}.id" in set(standard.to_dataframe()["path"])
    nested = FieldGroupManager(XDM + "context/profile-personal-details", schemaAPI=schemas).to_dataframe(full=True)
    assert "personalEmail.address" in set(nested["path"])


def test_the_class_and_data_type_managers(schemas: Any, filled: SimpleNamespace) -> None:
    from aepp.classmanager import ClassManager
    from aepp.datatypemanager import DataTypeManager

    assert ClassManager(PROFILE, schemaAPI=schemas).EDITABLE is False
    assert {"_id", "timestamp", "eventType"} <= set(ClassManager(EVENTS, schemaAPI=schemas).to_dataframe()["path"])
    own = ClassManager(filled.cls["$id"], schemaAPI=schemas)
    assert (own.EDITABLE, own.behavior) == (True, XDM + "data/record")
    made = ClassManager(title="Till", behavior=XDM + "data/time-series", schemaAPI=schemas).createClass()
    assert made["meta:extends"] == [XDM + "data/time-series"]
    manager = DataTypeManager(title="Bag", schemaAPI=schemas)
    manager.addField("size", "string")
    bag = manager.createDataType()
    again = DataTypeManager(bag["$id"], schemaAPI=schemas)
    again.addField("weight", "number")
    again.updateDataType()
    assert set(schemas.getDataType(bag["$id"], full=True)["properties"]) == {"size", "weight"}
    assert "city" in set(DataTypeManager(XDM + "common/address", schemaAPI=schemas).to_dataframe()["path"])
    assert DataTypeManager("_schema.org.GeoShape", schemaAPI=schemas).to_dict()
