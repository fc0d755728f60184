"""Validation judged by cases/xdm/validation.jsonl, and the wording of violations. Source: xdm.md 11."""

import contextlib

import pytest
from capillary_schemas import REPOSITORY, target_schema

from capstream.kernel.json import Json, loads
from capstream.xdm.arrow import compile_table
from capstream.xdm.fast import compile_sure
from capstream.xdm.schema import Field, Schema
from capstream.xdm.validate import Violation, compile_validator, part_validator
from capstream.xdm.violations import violations

CASES = [loads(line) for line in (REPOSITORY / "cases" / "xdm" / "validation.jsonl").read_bytes().splitlines()]
VALIDATORS = {name: compile_validator(target_schema(name)) for name in ("events", "profile")}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']} {case['reason']}" for case in CASES])
def test_case(case: Json) -> None:
    found = VALIDATORS[case["schema"]](case["instance"])
    wanted = case.get("violations") or ([] if case["valid"] else [[case["keyword"], case["pointer"]]])
    assert [[one.keyword, one.pointer] for one in found] == wanted
    assert all(one.hint for one in found)


def test_violations_come_in_the_documented_order_and_words() -> None:
    found = VALIDATORS["events"]({"_id": 5, "productLineItems": []})
    assert found == [
        Violation("type", "expected type: String, found: Long", "#/_id", "#/properties/_id"),
        Violation("required", "required key [timestamp] not found", "#", "#"),
        Violation("additionalProperties", "extraneous key [productLineItems] is not permitted", "#", "#"),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected type: Double, found: Null"),
        (True, "expected type: Double, found: Boolean"),
        ("1", "expected type: Double, found: String"),
        ({}, "expected type: Double, found: JSONObject"),
        ([], "expected type: Double, found: JSONArray"),
    ],
)
def test_type_names_are_those_of_the_service(value: Json, message: str) -> None:
    found = VALIDATORS["profile"]({"loyalty": {"points": value}})
    assert [one.message for one in found] == [message]
    assert found[0].schema_location == "#/properties/loyalty/properties/points"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"timestamp": "x"},
            "[x] is not a valid date-time. Expected [yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, ",
        ),
        ({"_id": ""}, "expected minLength: 1, actual: 0"),
        ({"_capstream": {"capillary": {"orgId": "x" * 65}}}, "expected maxLength: 64, actual: 65"),
        ({"commerce": {"order": {"orderType": "REGULAR"}}}, "REGULAR is not a valid enum value"),
        ({"commerce": {"order": {"currencyCode": "x"}}}, "string [x] does not match pattern ^[A-Z]{3}$"),
        ({"environment": {"colorDepth": -1}}, "-1 is not greater or equal to 0"),
        ({"_capstream": {"capillary": {"tier": {"to": {"number": 40000}}}}}, "40000 is not less or equal to 32767"),
    ],
)
def test_messages(record: Json, message: str) -> None:
    minimal = {"_id": "a", "timestamp": "2024-06-01T10:15:30Z"}
    found = VALIDATORS["events"]({**minimal, **record})
    assert len(found) == 1
    assert found[0].message.startswith(message)


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        ({"_id": None}, "leave the member out: XDM has no null"),
        ({"_id": 5}, "send it as a text in quotes, or convert it in the mapping"),
        (
            {"_id": "700123:abc"},
            "write a blank as %20, ^ as %5E; what stands before a first colon must be a scheme: capillary:700123:1",
        ),
        ({"timestamp": "2024-06-01"}, "send date, T, time and zone, such as 2024-06-01T10:15:30Z, or format it in the mapping"),
        ({"productListItems": {}}, "send a list, also of a single value: [...]"),
        ({"productListItems": [{"SKU": "a", "quantity": 1.5}]}, "send a whole number, or round it in the mapping"),
        ({"commerce": []}, "send an object: {...}"),
        (
            {"identityMap": {"email": [{"id": "a", "primary": "true"}]}},
            "send true or false, without quotes, or convert it in the mapping",
        ),
        (
            {"identityMap": {"email": [{"id": "a", "authenticatedState": "x"}]}},
            "send one of ambiguous, authenticated, loggedOut, or add the value to the enum in the field group",
        ),
        ({"environment": {"colorDepth": -1}}, "send a number from 0 to 2147483647, or choose a wider integer type"),
        ({"productListItems": [{}]}, "send SKU (string), or map something to it"),
        (
            {"xdm:commerce": {}},
            "send it as commerce, leave the member out, map it to a field, or add the field with a field group",
        ),
        ({"comerce": {}}, "send it as commerce, leave the member out, map it to a field, or add the field with a field group"),
        ({"eventType": ""}, "leave the member out instead of sending it empty"),
    ],
)
def test_a_violation_says_how_to_mend_the_record(record: Json, hint: str) -> None:
    (found,) = VALIDATORS["events"]({"_id": "a", "timestamp": "2024-06-01T10:15:30Z", **record})
    assert found.hint == hint


def test_a_validator_stops_after_five_violations() -> None:
    record = {f"unknown{number}": 1 for number in range(9)}
    assert len(VALIDATORS["profile"](record)) == 5


def _schema(**children: Field) -> Schema:
    root = Field(kind="object", children=children, required=frozenset(children))
    return Schema(id="x", title="x", behaviour="record", class_id="x", root=root)


def test_a_required_enum_or_boolean_with_a_default_may_be_missing() -> None:
    validate = compile_validator(
        _schema(
            state=Field(kind="string", enum=("a", "b"), default="a"),
            flag=Field(kind="boolean", default=False),
            name=Field(kind="string", default="x"),
        )
    )
    assert [one.message for one in validate({})] == ["required key [name] not found"]
    assert validate({"name": "n"}) == []


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (Field(kind="string", min_length=0), "", 1),
        (Field(kind="string", pattern=r"^\p{Lu}"), "Ä", "ä"),
        (Field(kind="string", pattern="b"), "abc", "ac"),
        (Field(kind="string", enum=("a", ""), min_length=0), "", "b"),
        (Field(kind="int", enum=(1, 2)), 2, 3),
        (Field(kind="boolean", enum=(True,)), True, False),
        (Field(kind="string", format="hostname"), "www.example.com", "-"),
        (Field(kind="string", format="uri", pattern="example"), "https://example.com/a", "https://test.com"),
        (Field(kind="string", format="unknown"), "anything", 1),
        (Field(kind="number", minimum=1, exclusive_minimum=2), 2.5, 2),
        (Field(kind="number", exclusive_maximum=2), 1.5, 2),
        (Field(kind="long", maximum=2**70), 2**53 - 1, 2**53),
        (Field(kind="array", items=Field(kind="string"), max_items=1), ["a"], ["a", "b"]),
        (Field(kind="array"), [1, "a", None], "a"),
        (Field(kind="map"), {"a": None}, []),
        (Field(kind="object"), {}, {"a": 1}),
        (Field(kind="byte"), 127, 128),
    ],
)
def test_rarer_fields(field: Field, good: Json, bad: Json) -> None:
    validate = compile_validator(_schema(value=field))
    assert validate({"value": good}) == []
    assert len(validate({"value": bad})) == 1


def test_most_valid_records_take_the_fast_way() -> None:
    sure = {name: compile_sure(target_schema(name).root) for name in VALIDATORS}
    valid = [case for case in CASES if case["valid"]]
    slow = [case["id"] for case in valid if not sure[case["schema"]](case["instance"])]
    assert len(slow) <= len(valid) // 4, slow  # the cases are odd on purpose


def test_a_table_proves_most_valid_records_and_no_others() -> None:
    tabulators = {name: compile_table(target_schema(name)) for name in VALIDATORS}

    def proved(case: Json) -> bool:
        with contextlib.suppress(Exception):  # what it raises for an invalid record is no matter
            return tabulators[case["schema"]].proved([case["instance"]]) is not None
        return False

    assert not [case["id"] for case in CASES if not case["valid"] and proved(case)]
    valid = [case for case in CASES if case["valid"]]
    assert sum(map(proved, valid)) >= len(valid) * 3 // 4


def test_a_part_of_a_record_is_judged_by_what_it_holds_however_much_is_missing() -> None:
    validate = part_validator(target_schema("events"))
    assert validate({"productListItems": [{"SKU": "a"}]}) == []
    missing = [f"required key [{name}] not found" for name in ("_id", "timestamp")]
    assert [one.message for one in VALIDATORS["events"]({"eventType": 5})][1:] == missing
    assert [one.keyword for one in validate({"eventType": 5})] == ["type"]


def test_missing_members_hide_no_wrong_one_of_a_part() -> None:
    field = Field(kind="string")
    item = Field(kind="object", children={"a": field}, required=frozenset({"a"}))
    root = Field(kind="object", children={"items": Field(kind="array", items=item), "last": field})
    record = {"items": [{}] * 9, "last": 5}
    assert {one.keyword for one in violations(root, record)} == {"required"}
    assert [one.pointer for one in violations(root, record, partial=True)] == ["#/last"]
