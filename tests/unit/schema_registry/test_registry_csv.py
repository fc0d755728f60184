"""A schema from a CSV file. Source: schema-registry.md 9 (csv2schema)."""

import pytest
from registry_client import XDM, Registry

from capstream.kernel.json import Json

BOUNDARY = "the-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
HEADER = (
    "isIgnored,isCustom*,fieldGroupId,fieldGroupName,fieldPath*,displayName,fieldDescription,dataType,isRequired,isArray,"
    "isIdentity,identityNamespace,isPrimaryIdentity,minimum,maximum,enum,stringPattern,format,minLength,maxLength,properties,$ref,comment"
)


def line(path: str, kind: str = "string", **cells: str) -> str:
    found = {"isCustom": "true", "fieldPath": path, "dataType": kind} | cells
    return ",".join(found.get(name.removesuffix("*"), "") for name in HEADER.split(","))


def form(*lines: str, header: bool = True, **parts: str) -> bytes:
    found = {
        "csv-file": "\r\n".join([HEADER] * header + list(lines)),
        "schema-class-id": XDM + "context/profile",
        "schema-name": "From a file",
        "schema-description": "made of lines",
    } | {name.replace("_", "-"): value for name, value in parts.items()}
    bodies = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in found.items()]
    return ("".join(bodies) + f"--{BOUNDARY}--\r\n").encode()


LINES = (
    line("_capstream.visit.code", isRequired="true", displayName="Code", maxLength="12"),
    line("visit.rating", "integer", minimum="1", maximum="5"),
    line("visit.tags", isArray="true"),
    line("visit.lines[].sku"),
    line("visit.state", enum="open:Open|closed"),
    line("visit.when", "date-time"),
    line("visit.extra", "map"),
    line("visit.home", **{"$ref": XDM + "common/address"}),
    line("never", isIgnored="true"),
    line("ALL", "", isCustom="false", fieldGroupName="Loyalty Details"),
)


@pytest.mark.parametrize("header", [True, False])
def test_an_export_comes_back_that_can_be_imported(registry: Registry, header: bool) -> None:
    exported = registry.ok("POST", "/rpc/csv2schema", form(*LINES, header=header), content_type=FORM)
    assert [one["meta:resourceType"] for one in exported] == ["mixins", "schemas"]
    assert "<XDM_TENANTID_PLACEHOLDER>" in exported[0]["$id"]
    assert registry.model.tenant(registry.sandbox.id) == []
    stored = registry.ok("POST", "/rpc/import", exported)
    assert (stored[-1]["title"], stored[-1]["description"]) == ("From a file", "made of lines")
    schema = registry.model.schema(registry.sandbox.id, stored[-1]["$id"])
    assert schema is not None
    assert "points" in schema.root.children["loyalty"].children
    visit = schema.root.children["_capstream"].children["visit"]
    assert visit.required == {"code"}
    kinds = {name: child.kind for name, child in visit.children.items()}
    assert kinds == {
        "code": "string",
        "rating": "byte",
        "tags": "array",
        "lines": "array",
        "state": "string",
        "when": "date-time",
        "extra": "map",
        "home": "object",
    }
    assert (visit.children["code"].min_length, visit.children["code"].max_length) == (1, 12)
    assert visit.children["state"].enum == ("open", "closed")
    items = visit.children["lines"].items
    assert items is not None
    assert list(items.children) == ["sku"]


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (form(), "1600-400", "no line"),
        (form(line("a"), schema_name=" "), "1600-400", "schema-name"),
        (form(line("a"), schema_class_id=XDM + "context/identitymap"), "1601-400", "classes"),
        (form(line("a", "text")), "1600-400", "line 2, dataType"),
        (form(line("")), "1600-400", "fieldPath"),
        (form(line("_capstream")), "1600-400", "names no field"),
        (form(line("a", isRequired="perhaps")), "1600-400", "isRequired"),
        (form(line("a", "integer", minimum="low")), "1600-400", "minimum"),
        (form(line("a"), line("a")), "1600-400", "defined twice"),
        (form(line("a"), line("a.b")), "1600-400", "no object"),
        (form(line("a", "object", properties="[]")), "1600-400", "properties"),
        (form(line("ALL", isCustom="false", fieldGroupName="Nothing")), "1600-400", "no standard field group"),
        (form(line("ALL", isCustom="false", fieldGroupId=XDM + "context/nothing")), "1601-400", "mixins"),
        (form('"open'), "1600-400", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(registry: Registry, body: bytes, code: str, told: str) -> None:
    answer = registry.send("POST", "/rpc/csv2schema", body, content_type=FORM)
    assert answer.body["type"].endswith(code)
    assert told in answer.body["detail"]


def test_a_form_is_needed(registry: Registry) -> None:
    answer: Json = registry.send("POST", "/rpc/csv2schema", b"{}", content_type="application/json").body
    assert "multipart" in answer["detail"]
