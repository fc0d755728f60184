"""The Data Prep API through the gateway: mapping sets, versions, mappings, validation, preview, languages, samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane import EVENT_SCHEMA, PROFILE_SCHEMA, ControlPlane

from capstream.aep.data_prep import api
from capstream.aep.data_prep.model import MappingSets, Usage
from capstream.storage.sqlite import SqliteDocuments

BASE = "/data/foundation/conversion"
FULL = "application/vnd.adobe.xed-full+json;version=1"


class Plane(ControlPlane):
    """A control plane with Data Prep."""

    def __init__(self, folder: Path) -> None:
        self.used: dict[str, Usage] = {}
        super().__init__(folder)
        self.sets = MappingSets(self.documents)

    def _services(self) -> dict[str, Any]:
        sets = MappingSets(self.documents)
        services: dict[str, Any] = super()._services()
        return services | {
            "data_prep": api.handlers(
                sets, self.schemas, self.state, lambda *_: [], usage=lambda _sandbox, one: self.used.get(one, Usage.FREE)
            )
        }

    def ok(self, method: str, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        answer = self.call(method, BASE + path, **({} if body is None else {"json": body}), **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
        answer = self.call(method, BASE + path, **({} if body is None else {"json": body}), **options)
        told = answer.json()
        return answer.status_code, told["type"].rpartition("/")[2], told["detail"]

    def add(self, *mappings: dict[str, Any], **more: Any) -> Any:
        return self.ok("POST", "/mappingSets", posted(*mappings, **more))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    yield made
    made.close()


def posted(*mappings: dict[str, Any], schema: str = PROFILE_SCHEMA, **more: Any) -> dict[str, Any]:
    return {"outputSchema": {"schemaRef": {"id": schema, "contentType": FULL}}, "mappings": list(mappings), **more}


def row(source: str, destination: str, kind: str = "ATTRIBUTE", **more: Any) -> dict[str, Any]:
    return {"sourceType": kind, "source": source, "destination": destination, **more}


ROW = row("member", "_id")


def test_create_answers_the_simple_form_and_get_the_whole(plane: Plane) -> None:
    made = plane.add(row("lower(trim(a.b))", "xdm:_id", "EXPRESSION", name="id"), name="Members")
    assert set(made) == {"id", "version", "createdDate", "modifiedDate", "createdBy", "modifiedBy"}
    assert len(made["id"]) == 32
    stored = plane.ok("GET", f"/mappingSets/{made['id']}")
    assert stored["name"] == "Members"
    assert (stored["version"], stored["status"], stored["supportVersion"]) == (0, "DRAFT", "1.1")
    assert stored["xdmSchema"] == stored["schemaRef"]["id"] == stored["outputSchema"]["schemaRef"]["id"] == PROFILE_SCHEMA
    (mapping,) = stored["mappings"]
    assert mapping["sourceType"] == "text/x.aep-xl"
    assert (mapping["source"], mapping["sourceAttribute"]) == ("lower(trim(a.b))",) * 2
    assert (mapping["destination"], mapping["destinationXdmPath"]) == ("_id", "_id")
    assert mapping["expressionAttributes"] == ["a.b"]
    assert (mapping["name"], mapping["matchScore"], mapping["functionVersion"], mapping["identity"]) == ("id", 0.0, 1, False)


def test_legacy_form_and_alias_of_the_tutorials(plane: Plane) -> None:
    body = {
        "version": 0,
        "xdmSchema": PROFILE_SCHEMA,
        "xdmVersion": "1.0",
        "mappings": [{"destinationXdmPath": "_id", "sourceAttribute": "member", "identity": False, "identityGroup": None}],
    }
    answer = plane.call("POST", "/data/foundation/mappingSets", json=body)
    stored = plane.ok("GET", f"/mappingSets/{answer.json()['id']}")
    assert stored["mappings"][0]["sourceType"] == "text/x.schema-path"
    assert stored["xdmVersion"] == FULL
    assert plane.sets.get(plane.prod.id, stored["id"], 0) == stored


def test_put_makes_a_version_and_old_ones_stay(plane: Plane) -> None:
    first = plane.add(ROW)
    plane.now_ms += 5
    second = plane.ok("PUT", f"/mappingSets/{first['id']}", posted(row("other", "_id"), name="new"))
    assert (second["version"], second["name"], second["createdDate"]) == (1, "new", first["createdDate"])
    assert second["modifiedDate"] == first["modifiedDate"] + 5
    assert plane.ok("GET", f"/mappingSets/{first['id']}")["mappings"][0]["source"] == "other"
    assert plane.ok("GET", f"/mappingSets/{first['id']}?version=0")["mappings"][0]["source"] == "member"
    assert plane.refused("GET", f"/mappingSets/{first['id']}?version=7")[:2] == (404, "MAPPER-3040-404")


def test_single_mappings_make_versions(plane: Plane) -> None:
    identity = plane.add(ROW)["id"]
    added = plane.ok("POST", f"/mappingSets/{identity}/mappings", row("x", "repositoryCreatedBy"))
    path = f"/mappingSets/{identity}/mappings/{added['id']}"
    assert plane.ok("GET", path)["source"] == "x"
    changed = plane.ok("PUT", path, row("y", "repositoryCreatedBy"))
    assert (changed["id"], changed["version"], changed["source"]) == (added["id"], 1, "y")
    assert [one["source"] for one in plane.ok("GET", f"/mappingSets/{identity}/mappings")] == ["member", "y"]
    plane.ok("DELETE", path, status=204)
    assert plane.refused("GET", path)[:2] == (404, "MAPPER-3040-404")
    assert plane.ok("GET", f"/mappingSets/{identity}")["version"] == 3
    assert plane.refused("POST", f"/mappingSets/{identity}/mappings", row("1 +", "_id", "EXPRESSION"))[1] == "MAPPER-3002-400"


def test_delete_unless_a_flow_uses_the_set(plane: Plane) -> None:
    identity = plane.add(ROW)["id"]
    plane.used[identity] = Usage.USED
    assert plane.refused("DELETE", f"/mappingSets/{identity}")[:2] == (409, "MAPPER-3041-409")
    plane.used.clear()
    plane.ok("DELETE", f"/mappingSets/{identity}", status=204)
    assert plane.refused("GET", f"/mappingSets/{identity}")[:2] == (404, "MAPPER-3040-404")
    assert plane.sets.get(plane.prod.id, identity, 0) is None


def test_list_filters_orders_and_pages(plane: Plane) -> None:
    for at, name in enumerate(["Beta", "alpha", "gamma alpha"]):
        plane.now_ms += 1
        plane.add(ROW, name=name, schema=EVENT_SCHEMA if at == 2 else PROFILE_SCHEMA)

    def names(query: str) -> list[str]:
        return [one["name"] for one in plane.ok("GET", f"/mappingSets?{query}")["data"]]

    assert names("") == ["gamma alpha", "alpha", "Beta"]
    assert names("orderBy=createdDate&limit=2") == ["Beta", "alpha"]
    assert names("orderBy=-lastUpdateDate&start=1&limit=1") == ["alpha"]
    assert names("name=ALPHA") == ["gamma alpha", "alpha"]
    assert names(f"property=xdmSchema=={EVENT_SCHEMA}") == ["gamma alpha"]
    assert names("property=status==PUBLISHED") == []
    assert plane.ok("GET", "/mappingSets?limit=2")["_page"] == {"count": 2, "limit": 2}
    for query in ("limit=0", "limit=1001", "limit=x", "start=-1", "orderBy=colour", "property=a==b"):
        assert plane.refused("GET", f"/mappingSets?{query}")[:2] == (400, "MAPPER-3001-400")


def test_expand_schema(plane: Plane) -> None:
    identity = plane.add(ROW)["id"]
    described = plane.ok("GET", f"/mappingSets/{identity}?expandSchema=True")["outputSchema"]["jsonSchema"]
    assert described["properties"]["_id"]["type"] == "string"
    assert "jsonSchema" not in plane.ok("GET", f"/mappingSets/{identity}")["outputSchema"]


REFUSED: list[tuple[Any, str, str]] = [
    ([], "MAPPER-3000-400", "JSON object"),
    ({"mappings": [ROW]}, "MAPPER-3000-400", "outputSchema"),
    (posted(), "MAPPER-3004-400", "mappings"),
    (posted({"source": "a"}), "MAPPER-3004-400", "mappings[0]"),
    (posted(row("a", "_id", "MAGIC")), "MAPPER-3004-400", "unknown sourceType"),
    (posted(row("a" * 4097, "_id", "EXPRESSION")), "MAPPER-3005-400", "4097 characters"),
    (posted(row("1 +", "_id", "EXPRESSION")), "MAPPER-3002-400", "_id: Expected a value, found the end at 1:4"),
    (posted(row("a", "a..b")), "MAPPER-3002-400", "a..b: destination is no path"),
    (posted(ROW, schema="https://ns.adobe.com/x/none"), "MAPPER-3003-400", "does not exist in sandbox prod"),
]


@pytest.mark.parametrize(("body", "code", "detail"), REFUSED)
def test_refusals(plane: Plane, body: Any, code: str, detail: str) -> None:
    status, found, told = plane.refused("POST", "/mappingSets", body)
    assert (status, found) == (400, code)
    assert detail in told


def test_a_body_that_is_no_json(plane: Plane) -> None:
    answer = plane.call("POST", BASE + "/mappingSets", content=b"{", headers=plane.headers(content_type="application/json"))
    assert answer.status_code == 400
    assert "MAPPER-3000" in answer.json()["type"]


def test_unknown_functions_are_stored_unless_validation_is_asked_for(plane: Plane) -> None:
    body = posted(row("to_intger(x)", "_id", "EXPRESSION"), row("x", "nowhere.at.all"))
    plane.ok("POST", "/mappingSets", body)
    answer = plane.call("POST", BASE + "/mappingSets?validate=true", json=body)
    assert answer.status_code == 400
    told = answer.json()
    assert told["type"].endswith("MAPPER-3002-400")
    assert [error["destination"] for error in told["report"]["errors"]] == ["_id", "nowhere.at.all"]


def test_copy_from_another_set(plane: Plane) -> None:
    first = plane.add(ROW)["id"]
    body = posted(copyFrom=first)
    del body["mappings"]
    copied = plane.ok("POST", "/mappingSets", body)["id"]
    one, other = (plane.ok("GET", f"/mappingSets/{identity}")["mappings"][0] for identity in (first, copied))
    assert (one["source"], one["destination"]) == (other["source"], other["destination"])
    assert one["id"] != other["id"]


def test_validate_answers_per_mapping(plane: Plane) -> None:
    body = posted(
        ROW,
        row("to_intger(x)", "repositoryCreatedBy", "EXPRESSION"),
        row("x", "nowhere"),
        row("a", "repositoryLastModifiedBy"),
        row("b", "xdm:repositoryLastModifiedBy"),
        inputSchema={"jsonSchema": {"type": "object", "properties": {"x": {}, "a": {}, "b": {}}}},
    )
    responses = plane.ok("POST", "/mappingSets/validate", body)["validationResponse"]
    assert [response["status"] for response in responses] == ["SUCCESS", "FAILED", "FAILED", "FAILED", "FAILED"]
    assert responses[0]["errors"][0]["exception"] == "member does not exist in the source"
    assert responses[1]["errors"] == [
        {
            "destination": "repositoryCreatedBy",
            "source": "to_intger(x)",
            "sourceType": "EXPRESSION",
            "columnName": None,
            "exception": "Unknown function to_intger; did you mean to_integer? at 1:1",
        }
    ]
    assert "does not exist in the output schema" in responses[2]["errors"][0]["exception"]
    assert all("duplicate destination" in response["errors"][0]["exception"] for response in responses[3:])


def test_validate_says_when_the_source_is_unknown(plane: Plane) -> None:
    sample = plane.ok("POST", "/samples", {"sampleData": '{"member": 1}'})["id"]
    assert "warnings" not in plane.ok("POST", "/mappingSets/validate", posted(ROW, inputSchema={"sampleId": sample}))
    answer = plane.ok("POST", "/mappingSets/validate", posted(ROW, inputSchema={"id": "elsewhere", "sampleId": sample}))
    assert answer["warnings"] == ["inputSchema.id: elsewhere is not in /schemas of this sandbox, so it checks no source"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", 5),
        ("tags", "a"),
        ("inputSchema", []),
        ("strictMapping", "yes"),
        ("allowNullValues", 1),
        ("copyFrom", 7),
    ],
)
def test_members_of_a_wrong_type_are_refused_by_name(plane: Plane, member: str, value: Any) -> None:
    for place in ("/mappingSets", "/mappingSets/validate"):
        body = posted(ROW, **{member: value})
        assert plane.refused("POST", place, body)[1] == "MAPPER-3000-400"
    assert plane.refused("POST", "/mappingSets/preview", {"data": {}, "mappingSet": body})[1] == "MAPPER-3000-400"
    assert plane.ok("POST", "/mappingSets", posted(ROW, **{member: None}))["version"] == 0


def test_the_function_version_of_a_mapping_is_kept(plane: Plane) -> None:
    made = plane.ok(
        "POST", "/mappingSets", posted(ROW, row("upper(a)", "repositoryCreatedBy", "EXPRESSION") | {"functionVersion": 2})
    )
    mappings = plane.ok("GET", f"/mappingSets/{made['id']}/mappings")
    assert [one["functionVersion"] for one in mappings] == [1, 2]


def test_preview_maps_without_storing(plane: Plane) -> None:
    one = {"data": {"member": 1234, "other": 1}, "mappingSet": posted(ROW)}
    assert plane.ok("POST", "/mappingSets/preview", one) == {"data": {"_id": "1234"}, "errors": None}
    many = {
        "data": [{"member": at} for at in range(150)],
        "mappingSet": posted(ROW, row("1 / 0", "repositoryCreatedBy", "EXPRESSION")),
    }
    answers = plane.ok("POST", "/mappingSets/preview", many)
    assert len(answers) == 100
    assert answers[7]["data"] == {"_id": "7"}
    assert answers[7]["errors"][0]["exception"] == "Division by zero"
    broken = {"data": {"member": "m"}, "mappingSet": posted(ROW, row("1 +", "repositoryCreatedBy", "EXPRESSION"))}
    answer = plane.ok("POST", "/mappingSets/preview", broken)
    assert answer["data"] == {"_id": "m"}
    assert answer["errors"][0]["destination"] == "repositoryCreatedBy"
    assert plane.ok("GET", "/mappingSets")["data"] == []
    assert plane.refused("POST", "/mappingSets/preview", {"data": 1, "mappingSet": posted(ROW)})[1] == "MAPPER-3000-400"


def test_expressions_are_validated_and_run_on_a_sample(plane: Plane) -> None:
    def validated(**body: Any) -> Any:
        return plane.ok("POST", "/languages/el/validate", body)

    assert validated(expression="upper(a)") == {"validationStatus": "succeeded", "error": "none"}
    assert validated(expression={"expression": "upper(a)"})["validationStatus"] == "succeeded"
    assert validated(expression="upper(a") == {
        "validationStatus": "failed",
        "error": "Expected ',' or ')' after an argument, found the end at 1:8",
    }
    assert validated(expression="upper(a)", sampleData='[{"a": "x"}]')["result"] == "X"
    assert validated(expression="b + 1", sampleData="a;b\n1;2", sampleDataType="CSV")["result"] == "21"
    assert validated(expression="1 / a", sampleData='{"a": 0}') == {
        "validationStatus": "failed",
        "error": "Division by zero when run on the sample",
    }
    assert validated(expression="a", sampleData="{")["validationStatus"] == "failed"
    assert plane.refused("POST", "/languages/el/validate", {})[1] == "MAPPER-3000-400"


def test_functions_and_operators(plane: Plane) -> None:
    functions = plane.ok("GET", "/languages/el/functions")
    assert len(functions) == 100
    concat = next(one for one in functions if one["function"] == "concat")
    assert (concat["syntax"], concat["result"]) == ("String concat(T...)", "Hi, there!")
    assert concat["params"][0] == {
        "name": "values",
        "description": "values: any number of any values",
        "type": "any",
        "dataType": "[Ljava.lang.Object;",
        "position": 1,
    }
    operators = plane.ok("GET", "/languages/el/operators")
    assert {"operatorSymbol", "methodName", "numberOfOperands", "description", "example"} == set(operators[0])
    assert [one["methodName"] for one in operators][:2] == ["add", "subtract"]


def test_samples_and_their_schemas(plane: Plane) -> None:
    text = '{"memberId": "M-1", "points": [{"n": 1}, {"n": 2.5}], "ok": true, "none": []}'
    sample = plane.ok("POST", "/samples", {"sampleData": text, "sampleType": "JSON"})
    assert plane.ok("GET", f"/samples/{sample['id']}")["sampleData"] == text
    changed = plane.ok("PUT", f"/samples/{sample['id']}", {"sampleData": '{"a": 1}', "sampleType": "JSON"})
    assert (changed["version"], changed["id"]) == (1, sample["id"])
    other = plane.ok("POST", "/samples", {"sampleData": text})
    described = plane.ok("POST", "/schemas", {"sampleId": other["id"], "name": "source"})
    schema = described["jsonSchema"]
    assert schema["title"] == f"SampleSchema:{other['id']}"
    assert schema["properties"]["points"]["items"]["properties"]["n"] == {"title": "n", "type": "number"}
    assert schema["properties"]["none"]["items"] == {"type": "string"}
    assert plane.ok("GET", f"/schemas/{described['id']}")["sampleId"] == other["id"]
    assert [one["id"] for one in plane.ok("GET", "/samples?orderBy=createdDate")["data"]] != []
    assert plane.refused("POST", "/samples", {"sampleData": "{"})[1] == "MAPPER-3000-400"
    assert plane.refused("GET", "/samples/none")[1] == "MAPPER-3040-404"


@pytest.mark.parametrize("path", ["/samples", "/samples/upload"])
def test_a_sample_as_a_file(plane: Plane, path: str) -> None:
    made = plane.ok("POST", path, files={"file": ("members.csv", b"id|name\n1|North\n", "text/csv")})
    assert (made["sampleType"], made["sampleData"]) == ("CSV", "id|name\n1|North\n")
    described = plane.ok("POST", "/schemas/upload", files={"file": ("a.json", b'{"a": 1}', "application/json")})
    assert described["jsonSchema"]["properties"] == {"a": {"title": "a", "type": "integer"}}


def test_suggestions_are_proposed_and_not_stored(plane: Plane) -> None:
    text = '{"loyalty": {"points": 1}, "productLineItems": [{"SKU": "a"}], "customer": {"firstName": "North"}, "zzz": 1}'
    sample = plane.ok("POST", "/samples", {"sampleData": text})
    schema = "https://ns.adobe.com/xdm/mixins/profile/profile-loyalty-details"
    person = "https://ns.adobe.com/xdm/context/profile-person-details"
    found = plane.ok("GET", f"/mappingSets/suggestion?schemaId={schema}&sampleId={sample['id']}")
    scores = {one["source"]: (one["destination"], one["matchScore"]) for one in found["mappings"]}
    assert scores["loyalty.points"] == ("loyalty.points", 1.0)
    assert "productLineItems[*].SKU" not in scores  # this schema has no line items
    assert "zzz" not in scores
    found = plane.ok("GET", f"/mappingSets/suggestion?schemaId={person}&sampleId={sample['id']}")
    (guess,) = (one for one in found["mappings"] if one["source"] == "customer.firstName")
    assert guess["destination"] == "person.name.firstName"
    assert 0.5 < guess["matchScore"] < 1
    everything = plane.ok("GET", f"/mappingSets/suggestion?schemaId={schema}&sampleId={sample['id']}&excludeUnmapped=false")
    assert "zzz" in {one["source"] for one in everything["mappings"]}
    assert plane.ok("GET", "/mappingSets")["data"] == []
    assert plane.refused("GET", "/mappingSets/suggestion")[1] == "MAPPER-3001-400"


def test_sets_survive_a_restart(plane: Plane, tmp_path: Path) -> None:
    identity = plane.add(ROW)["id"]
    reopened = SqliteDocuments(tmp_path / "control.db")
    stored = MappingSets(reopened).get(plane.prod.id, identity, None)
    reopened.close()
    assert stored is not None
    assert stored["mappings"][0]["source"] == "member"


def test_a_set_is_published_while_an_enabled_flow_uses_it(plane: Plane) -> None:
    one, other = plane.add(ROW)["id"], plane.add(ROW)["id"]
    plane.used.update({one: Usage.PUBLISHED, other: Usage.USED})
    assert [plane.ok("GET", f"/mappingSets/{each}")["status"] for each in (one, other)] == ["PUBLISHED", "DRAFT"]
    assert [each["id"] for each in plane.ok("GET", "/mappingSets?property=status==PUBLISHED")["data"]] == [one]
    assert plane.refused("DELETE", f"/mappingSets/{one}")[:2] == (409, "MAPPER-3041-409")


def test_sources_are_checked_against_the_sample_and_destinations_against_the_schema(plane: Plane) -> None:
    sample = plane.ok("POST", "/samples", {"sampleData": '{"member": {"number": 1}}'})["id"]
    body = posted(row("member.numbr", "_id"), row("member.number", "repositoryCreatdBy"), inputSchema={"sampleId": sample})
    unknown_source, unknown_target = plane.ok("POST", "/mappingSets/validate", body)["validationResponse"]
    assert unknown_source["status"] == "SUCCESS"
    assert unknown_source["errors"][0]["exception"] == "member.numbr does not exist in the source; did you mean member.number?"
    assert unknown_target["status"] == "FAILED"
    assert "did you mean repositoryCreatedBy?" in unknown_target["errors"][0]["exception"]
    assert plane.refused("POST", "/mappingSets?validate=true", body)[1] == "MAPPER-3002-400"


def test_no_destination_is_suggested_twice_and_the_best_come_first(plane: Plane) -> None:
    text = '{"first_name": "a", "firstName": "b", "person": {"name": {"firstName": "c"}}, "loyalty": {"points": 1}}'
    sample = plane.ok("POST", "/samples", {"sampleData": text})["id"]
    person = "https://ns.adobe.com/xdm/context/profile-person-details"
    found = plane.ok("GET", f"/mappingSets/suggestion?schemaId={person}&sampleId={sample}")["mappings"]
    assert found == sorted(found, key=lambda one: -one["matchScore"])
    assert len({one["destination"] for one in found}) == len(found)
    assert (found[0]["source"], found[0]["destination"]) == ("person.name.firstName", "person.name.firstName")
