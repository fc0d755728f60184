from copy import deepcopy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.catalog import rules
from capstream.aep.catalog.patching import Refused, patched

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_patch_made_by_others_leads_to_the_same_object(before: dict[str, Any], after: dict[str, Any]) -> None:
    operations = jsonpatch.make_patch(before, after).patch
    if all(operation["path"] for operation in operations):  # the whole document is not a member
        assert patched(before, operations) == after


@given(OBJECTS)
def test_a_patch_leaves_the_original_alone(before: dict[str, Any]) -> None:
    copy = deepcopy(before)
    patched(before, [{"op": "add", "path": "/new/member", "value": 1}, *({"op": "remove", "path": f"/{key}"} for key in before)])
    assert before == copy


CASES = [
    ({}, [{"op": "add", "path": "/a/b/c", "value": 1}], {"a": {"b": {"c": 1}}}),
    ({"a": 1}, [{"op": "REPLACE", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
    ({"a": [1, 2]}, [{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
    ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 0}], {"a": [0, 2]}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
    ({"x/y": 1}, [{"op": "move", "from": "/x~1y", "path": "/z"}], {"z": 1}),
    ({"x": {"y": 1}}, [{"op": "copy", "from": "/x", "path": "/z"}], {"x": {"y": 1}, "z": {"y": 1}}),
]


@pytest.mark.parametrize(("before", "operations", "after"), CASES)
def test_operations(before: dict[str, Any], operations: list[Any], after: dict[str, Any]) -> None:
    assert patched(before, operations) == after


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/5", "value": 1},
        {"op": "replace", "path": "/a/-", "value": 1},
        {"op": "remove", "path": "/b"},
        {"op": "add", "path": "/t/x", "value": 1},
        {"op": "add", "path": "", "value": 1},
        {"op": "copy", "from": "/none", "path": "/b"},
        {"op": "move", "path": "/b"},
        {"path": "/a", "value": 1},
    ],
)
def test_what_cannot_be_applied_is_refused_with_its_number(operation: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="operation 1"):
        patched({"a": [1], "t": "text"}, [{"op": "test", "path": "/a", "value": [1]}, operation])


@given(OBJECTS)
def test_merging_an_object_into_itself_changes_nothing(value: dict[str, Any]) -> None:
    once = rules.merged({}, value)
    assert rules.merged(once, once) == once


@pytest.mark.parametrize(
    ("given_values", "kept"),
    [
        (["enabled: true", " isUpsert :true"], ["enabled:true", "isUpsert:true"]),
        (["enabledAt: 2024-07-18 10:55:29"], ["enabledAt:2024-07-18 10:55:29"]),
        ("enabled:true", ["enabled:true"]),
        (["mergePolicyId:1-2"], ["mergePolicyId:1-2"]),
    ],
)
def test_tags_lose_their_blanks(given_values: Any, kept: list[str]) -> None:
    assert rules.clean_tags({"unifiedProfile": given_values}) == {"unifiedProfile": kept}


def test_other_tags_keep_theirs() -> None:
    assert rules.clean_tags({"note": ["a: b"], "count": [5], "on": [True]}) == {"note": ["a: b"], "count": ["5"], "on": ["true"]}


@pytest.mark.parametrize(
    ("tags", "enabled"),
    [
        ({"unifiedProfile": ["enabled:true"]}, True),
        ({"unifiedProfile": ["isUpsert:true", "enabled:true"]}, True),
        ({"unifiedProfile": ["enabled:false"]}, False),
        ({"unifiedIdentity": ["enabled:true"]}, False),
        ({}, False),
    ],
)
def test_profile_enablement(tags: dict[str, list[str]], enabled: bool) -> None:
    assert rules.profile_enabled({"tags": tags}) is enabled


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_table_names_are_new_and_plain(name: str, others: list[str]) -> None:
    taken: set[str] = set()
    for one in [*others, name]:
        table = rules.free_table_name(one, taken)
        assert table not in taken
        assert set(table) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
        taken.add(table)


@pytest.mark.parametrize(
    ("body", "identifier"),
    [
        ({"schemaRef": {"id": "https://ns.adobe.com/x"}}, "https://ns.adobe.com/x"),
        ({"schema": "@/xdms/context/profile"}, "https://ns.adobe.com/xdm/context/profile"),
    ],
)
def test_schema_references(body: dict[str, Any], identifier: str) -> None:
    assert rules.schema_reference(body) == {"id": identifier, "contentType": "application/vnd.adobe.xed+json;version=1"}


@pytest.mark.parametrize("body", [{}, {"schemaRef": {}}, {"schemaRef": {"id": 5}}, {"schema": "profile"}])
def test_without_a_schema_reference(body: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"schemaRef\.id"):
        rules.schema_reference(body)
