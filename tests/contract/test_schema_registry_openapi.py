"""Every operation of the Schema Registry, on good and bad paths, against the official specification.

Statuses and shapes that the specification does not know are listed here with the reason; any other fails.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from whole_platform import Platform, Spec, operations_of, platform, violations

BASE = "/data/foundation/schemaregistry"
XDM = "https://ns.adobe.com/xdm/"
PROFILE, RECORD = XDM + "context/profile", XDM + "data/record"
UNION = "_xdm.context.profile__union"
XED_ID, XED, XDM_ANY = "application/vnd.adobe.xed-id+json", "application/vnd.adobe.xed+json", "application/vnd.adobe.xdm+json"
FORMS = ("xed", "xed-full", "xed-notext", "xed-full-notext", "xed-full-desc", "xed-deprecatefield", "xdm", "xdm-full")
RENAMED = [{"op": "replace", "path": "/description", "value": "patched"}]
NONE = "_capstream.none.0123456789abcdef0123456789abcdef0123456789abcdef"

Specification = Callable[[str], Spec]


class Walk:
    """Calls the registry in the words of the specification: operation, path, Accept."""

    def __init__(self, platform_: Platform) -> None:
        self.it = platform_

    def get(self, operation: str, path: str, accept: str = XED + "; version=1", **more: Any) -> Any:
        return self.it.says(operation, "GET", BASE + path, headers={"accept": accept}, **more).json()

    def write(self, operation: str, method: str, path: str, body: Any = None) -> Any:
        answer = self.it.says(operation, method, BASE + path, **({} if body is None else {"json": body}))
        return answer.json() if answer.content else None


def fields(**properties: Any) -> dict[str, Any]:
    members = {"_capstream": {"type": "object", "properties": properties}}
    return {
        "definitions": {"customFields": {"type": "object", "properties": members}},
        "allOf": [{"$ref": "#/definitions/customFields"}],
    }


TEXT = {"type": "string", "title": "A text"}
KINDS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "fieldgroups": (
        ["listFieldGroups", "retrieveFieldGroup", "createFieldGroup", "updateFieldGroup", "patchFieldGroup", "removeFieldGroup"],
        {"title": "Group", "type": "object", "meta:intendedToExtend": [PROFILE], **fields(one=TEXT)},
    ),
    "mixins": (
        ["listMixins", "lookupMixin", "createMixin", "replaceMixin", "updateMixin", "removeMixin"],
        {"title": "Mixin", "type": "object", "meta:intendedToExtend": [], **fields(two=TEXT)},
    ),
    "classes": (
        ["listClasses", "retrieveClass", "createClass", "replaceClass", "updateClass", "removeClass"],
        {"title": "Branch", "type": "object", "description": "A shop.", "allOf": [{"$ref": RECORD}]},
    ),
    "datatypes": (
        ["listDataTypes", "retrieveDataType", "createDataType", "replaceDatatype", "updateDataType", "deleteDatatype"],
        {"title": "Voucher", "type": "object", "properties": {"code": TEXT}},
    ),
    "schemas": (
        ["listSchemas", "retrieveSchema", "createSchema", "updateSchema", "patchSchema", "deleteSchema"],
        {"title": "Members", "type": "object", "description": "", "allOf": [{"$ref": PROFILE}]},
    ),
}


def resources(walk: Walk, kind: str) -> None:
    """Make, read, list, replace, patch and delete a resource, and fail at each."""
    (listed, read, created, put, patched, deleted), body = KINDS[kind]
    made = walk.write(created, "POST", f"/tenant/{kind}", body)
    place = f"/tenant/{kind}/{made['meta:altId']}"
    for wrong in ({**body, "title": ""}, {**body, "title": body["title"]}, []):
        walk.write(created, "POST", f"/tenant/{kind}", wrong)
    for form in FORMS:
        walk.get(read, place, f"application/vnd.adobe.{form}+json; version=1")
    walk.get(read, f"/tenant/{kind}/{NONE}")
    walk.get(read, place, XED + "; version=2")
    for container in ("tenant", "global"):
        for query in (
            "",
            "?orderby=-title&limit=1",
            "?property=title~^M&property=meta:extends",
            f"?start={body['title']}&orderby=title",
        ):
            walk.get(listed, f"/{container}/{kind}{query}", XED_ID)
        walk.get(listed, f"/{container}/{kind}", XED)
        walk.get(listed, f"/{container}/{kind}?limit=many", XED_ID)
    walk.write(put, "PUT", place, made | {"description": "put"})
    walk.write(put, "PUT", place, {"title": ""})
    walk.write(patched, "PATCH", place, RENAMED)
    walk.write(patched, "PATCH", place, [{"op": "remove", "path": "/no/such"}])
    walk.write(deleted, "DELETE", place)
    walk.write(deleted, "DELETE", place)


def unions_and_descriptors(walk: Walk) -> None:
    group = walk.write("createFieldGroup", "POST", "/tenant/fieldgroups", KINDS["fieldgroups"][1] | {"title": "Kept"})
    entries = [{"$ref": uri} for uri in (PROFILE, group["$id"], XDM + "context/identitymap")]
    made = walk.write(
        "createSchema", "POST", "/tenant/schemas", KINDS["schemas"][1] | {"title": "Kept members", "allOf": entries}
    )
    identity = {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": made["$id"],
        "xdm:sourceVersion": 1,
        "xdm:sourceProperty": "/_capstream/one",
        "xdm:namespace": "Email",
        "xdm:property": "xdm:code",
        "xdm:isPrimary": True,
    }
    one = walk.write("createDescriptor", "POST", "/tenant/descriptors", identity)
    walk.write("createDescriptor", "POST", "/tenant/descriptors", identity)
    walk.write("createDescriptor", "POST", "/tenant/descriptors", identity | {"xdm:sourceProperty": "/none"})
    names = {**identity, "@type": "xdm:alternateDisplayInfo", "xdm:title": {"en_us": "One"}}
    shown = walk.write("createDescriptor", "POST", "/tenant/descriptors", names)
    for form in ("xdm-id", "xdm-link", "xdm", "xdm-v2", "xdm-v2-id", "xdm-v2-link"):
        walk.get("listDescriptors", "/tenant/descriptors", f"application/vnd.adobe.{form}+json")
    walk.get("listDescriptors", "/global/descriptors", XDM_ANY)
    walk.get("listDescriptors", "/tenant/descriptors", XED)
    walk.get("retrieveDescriptor", f"/tenant/descriptors/{one['@id']}", XDM_ANY)
    walk.get("retrieveDescriptor", f"/tenant/descriptors/{one['@id']}", XED)
    walk.get("retrieveDescriptor", "/tenant/descriptors/none", XDM_ANY)
    walk.write("updateDescriptor", "PUT", f"/tenant/descriptors/{shown['@id']}", names | {"xdm:title": {"en_us": "Two"}})
    walk.write("updateDescriptor", "PUT", f"/tenant/descriptors/{shown['@id']}", {"@type": "xdm:none"})
    place = f"/tenant/schemas/{made['meta:altId']}"
    walk.write("patchSchema", "PATCH", place, [{"op": "add", "path": "/meta:immutableTags", "value": ["union"]}])
    for accept in (XED_ID, XED):
        walk.get("listUnionSchemas", "/tenant/unions", accept)
    walk.get("listUnionSchemas", "/tenant/unions?property=title~[", XED)
    for form in FORMS:
        walk.get("retrieveUnionSchema", f"/tenant/unions/{UNION}", f"application/vnd.adobe.{form}+json; version=1")
    walk.get("retrieveUnionSchema", "/tenant/unions/none")
    for path in ("personID", "createdByBatchID"):
        walk.write("createDescriptor", "POST", "/tenant/descriptors", names | {"xdm:sourceProperty": f"/{path}"})
    walk.write("deleteDescriptor", "DELETE", f"/tenant/descriptors/{one['@id']}")
    walk.write("deleteDescriptor", "DELETE", f"/tenant/descriptors/{shown['@id']}")
    walk.write("deleteDescriptor", "DELETE", f"/tenant/descriptors/{shown['@id']}")
    walk.write("deleteSchema", "DELETE", place)
    remove = {"op": "remove", "path": "/definitions/customFields/properties/_capstream/properties/one"}
    walk.write("patchFieldGroup", "PATCH", f"/tenant/fieldgroups/{group['meta:altId']}", [remove])
    procedures(walk, made["meta:altId"])


def procedures(walk: Walk, one: str) -> None:
    walk.get("retrieveStats", "/stats")
    exported = walk.get("retrieveExportPayload", f"/rpc/export/{one}")
    walk.get("retrieveExportPayload", f"/rpc/export/{NONE}")
    walk.write("importResource", "POST", "/rpc/import", exported)
    other = str(exported).count("mixins")
    assert other, "the export holds the field group"
    fresh = [{**exported[-1], "title": "Imported", "$id": exported[-1]["$id"][:-4] + "ffff", "meta:altId": ""}]
    walk.write("importResource", "POST", "/rpc/import", fresh)
    walk.get("retrieveSampleData", f"/rpc/sampledata/{one}")
    walk.get("retrieveSampleData", f"/rpc/sampledata/{NONE}")
    walk.get("retrieveAuditLog", f"/rpc/auditlog/{one}")
    walk.get("retrieveAuditLog", f"/rpc/auditlog/{NONE}")


def behaviours(walk: Walk) -> None:
    walk.get("listBehaviors", "/global/behaviors", XED_ID)
    walk.get("listBehaviors", "/global/behaviors?orderby=-title&limit=1", XED)
    walk.get("listBehaviors", "/global/behaviors?limit=-1", XED)
    for form in FORMS:
        walk.get("retrieveBehavior", "/global/behaviors/_xdm.data.time-series", f"application/vnd.adobe.{form}+json; version=1")
    walk.get("retrieveBehavior", "/global/behaviors/none")


UNLISTED = {
    400: "a resource in use is not deleted: XDM-1603 (schema-registry.md 5.7)",
    403: "the library is read-only; a primary identity of a union stays (schema-registry.md 4, 7)",
    404: "XDM-1010 to 1017 (schema-registry.md 11)",
}
"""Undocumented statuses and why they are answered."""
NEXT = r"_links\.next"  # an object with href, as `global_schemas` beside it (schema-registry.md 3)
DESCRIPTOR = r"(.*\.)?xdm:(sourceVersion|title)"  # samples and aepp: the number 1, texts by locale (schema-registry.md 7)
DEVIATIONS = {
    **dict.fromkeys(["listFieldGroups", "listMixins", "listClasses", "listDataTypes", "listSchemas", "listBehaviors"], NEXT),
    **dict.fromkeys(["createDescriptor", "retrieveDescriptor", "updateDescriptor"], DESCRIPTOR),
    "listDescriptors": rf"{DESCRIPTOR}|xdm:\w+\.\d+",  # ids and links are texts (schema-registry.md 2)
    "retrieveAuditLog": r"\d+\.updates\.\d+\.value",  # the value that was written, of any type (schema-registry.md 9)
}
"""Places where the specification contradicts the prose or the clients, and what was followed."""
NEVER_BAD = {"retrieveStats": "has no parameter that could be wrong"}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("registry")) as it:
        walk = Walk(it)
        for kind in KINDS:
            resources(walk, kind)
        unions_and_descriptors(walk)
        behaviours(walk)
        yield it


def test_every_answer_is_as_specified(walked: Platform, specification: Specification) -> None:
    spec = specification("schema-registry.yaml")
    known = operations_of(spec)
    wrong: dict[str, set[str]] = {}
    for operation, answer in walked.seen:
        said = f"{operation} {answer.status_code}"
        documented = {str(code) for code in known[operation]["responses"]}
        if str(answer.status_code) not in documented and answer.status_code not in UNLISTED:
            wrong.setdefault(said, set()).add(f"undocumented: {answer.text[:200]}")
        found = violations(spec, known[operation], answer)
        pattern = DEVIATIONS.get(operation, "(?!)")
        wrong.setdefault(said, set()).update(each[:200] for each in found if not re.fullmatch(pattern, each.partition(": ")[0]))
    assert {said: problems for said, problems in wrong.items() if problems} == {}


def test_every_operation_answers_well_and_badly(walked: Platform, specification: Specification) -> None:
    known = set(operations_of(specification("schema-registry.yaml")))
    good = {operation for operation, answer in walked.seen if answer.status_code < 300}
    bad = {operation for operation, answer in walked.seen if answer.status_code >= 400}
    assert known - good == set()
    assert known - bad <= NEVER_BAD.keys()


def test_every_error_has_the_envelope_and_says_what_is_wrong(walked: Platform) -> None:
    errors = [(operation, answer.json()) for operation, answer in walked.seen if answer.status_code >= 400]
    assert errors
    for operation, body in errors:
        assert re.fullmatch(r"http://ns\.adobe\.com/aep/errors/XDM-\d{4}-\d{3}", body["type"]), operation
        assert body["status"] == int(body["type"][-3:])
        assert body["report"]["detailed-message"] == body["detail"] != ""
        assert {"registryRequestId", "timestamp", "sub-errors"} <= body["report"].keys()


@pytest.mark.parametrize("path", ["/global/datatypes?orderby=-title&limit=7", "/tenant/descriptors?orderby=updated&limit=1"])
def test_links_lead_from_page_to_page(walked: Platform, path: str) -> None:
    accept = {"accept": "application/vnd.adobe.xdm-v2+json" if "descriptors" in path else XED_ID}
    whole = walked.call("GET", BASE + path.partition("?")[0], headers=accept).json()["results"]
    seen: list[str] = []
    url = BASE + path
    while url:
        body = walked.call("GET", url, headers=accept).json()
        seen += [one.get("$id") or one["@id"] for one in body["results"]]
        url = (body["_links"]["next"] or {}).get("href", "")
    assert len(seen) == len(set(seen)) == len(whole) > 0
