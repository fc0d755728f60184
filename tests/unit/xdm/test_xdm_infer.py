"""Field groups drafted from payloads."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from capstream.xdm.compose import document_field
from capstream.xdm.drawing import tree
from capstream.xdm.infer import infer
from capstream.xdm.schema import Schema
from capstream.xdm.validate import compile_validator

VISIT = {
    "storeCode": "str.nw.014",
    "at": "2024-09-17T15:04:31Z",
    "day": "2024-09-17",
    "mail": "member-0001@example.com",
    "site": "https://www.example.com/a",
    "seconds": 312,
    "card": 4_000_000_000_000,
    "sum": 10.5,
    "whole": 10.0,
    "member": True,
    "lines": [{"sku": "a"}, {"sku": "b", "n": 1}],
    "tags": ["x"],
}


def drafted(*records: Any) -> dict[str, Any]:
    return infer(records)[0]


def test_types_follow_from_values() -> None:
    found = drafted(VISIT)
    said = {name: (node["type"], node.get("format")) for name, node in found.items()}
    assert said == {
        "storeCode": ("string", None),
        "at": ("string", "date-time"),
        "day": ("string", "date"),
        "mail": ("string", "email"),
        "site": ("string", "uri"),
        "seconds": ("integer", None),
        "card": ("integer", None),
        "sum": ("number", None),
        "whole": ("integer", None),
        "member": ("boolean", None),
        "lines": ("array", None),
        "tags": ("array", None),
    }
    assert found["card"]["maximum"] == 2**53 - 1
    assert list(found["lines"]["items"]["properties"]) == ["sku", "n"]
    assert found["storeCode"]["title"] == "Store Code"


def test_what_a_person_must_look_at_is_noted() -> None:
    records = [{"a": 1, "b": None, "c": {}, "d": [], "_e": 1, "two words": 2, "f": {"x": 1}, "g": ""}, {"a": "1", "f": [1]}]
    properties, notes = infer(records)
    assert {name: node["type"] for name, node in properties.items()} == {
        "a": "string",
        "e": "integer",
        "twoWords": "integer",
        "g": "string",
    }
    assert {note.path for note in notes} == {"a", "b", "c", "d", "_e", "two words", "f", "g"}


def test_many_alike_keys_are_a_map() -> None:
    balances = {f"90000{number:04}": number for number in range(20)}
    found = drafted({"balances": balances})["balances"]
    assert (found["meta:xdmType"], found["additionalProperties"]) == ("map", {"type": "integer"})


def test_few_values_seen_often_are_suggested() -> None:
    records = [{"state": state} for state in ("open", "closed") for _ in range(5)]
    assert drafted(*records)["state"]["meta:enum"] == {"closed": "Closed", "open": "Open"}


_NAMES = st.text("abcXYZ09", min_size=1, max_size=4)
_SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6), st.text("ab@.-:/ 0T", min_size=1, max_size=20)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, min_size=1, max_size=3), st.dictionaries(_NAMES, inner, min_size=1, max_size=4)),
)


@given(st.lists(st.dictionaries(_NAMES, _VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_draft_without_notes_takes_every_sample(records: list[dict[str, Any]]) -> None:
    properties, notes = infer(records)
    if notes:
        return
    root = document_field({"type": "object", "properties": properties}, {}.get)
    validate = compile_validator(Schema(id="draft", title="", behaviour="record", class_id="", root=root))
    assert [validate(record) for record in records] == [[] for _ in records]


def test_a_draft_can_be_drawn() -> None:
    root = document_field({"type": "object", "properties": drafted(VISIT), "required": ["at"]}, {}.get)
    lines = list(tree(root, marks={"/storeCode": "identity store"}))
    assert '├── storeCode: string  "Store Code"  ← identity store' in lines
    assert '├── at *: date-time  "At"' in lines
    assert lines[-1] == '└── tags: array of string  "Tags"'
    assert any(line.startswith("│   └── n: int") for line in lines)
    assert len(list(tree(root, depth=1))) == len(VISIT)
