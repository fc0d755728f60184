"""Our standard components against the published ones: names, types, formats, enums, bounds, required members, titles."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from capstream.xdm.compose import component_field
from capstream.xdm.library import standard_library
from capstream.xdm.schema import Field

SHARED = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[3] / "shared")) / "xdm" / "components"
LEFT_OUT = {
    "https://ns.adobe.com/xdm/common/extensible": "only switches JSON-LD names on in plain JSON Schema",
}
DIFFERENT = {
    "http://ns.adobe.com/adobecloud/core/1.0": (
        r"/_repo(/\w+)?: only in ours",
        "the published file composes to nothing; other files reach into its dates",
    ),
    "https://ns.adobe.com/xdm/datatypes/consents-and-preferences": (
        r"/consents/(adID|idSpecific|marketing)\b.*",
        "the field group, which is the same, reaches into its definitions; the file alone composes another part of them",
    ),
    "https://ns.adobe.com/xdm/context/segmentdefinition-expression": (
        r"/segmentExpression/expressionType: suggested .*",
        "suggested values are a list there, a map here",
    ),
}
"""`$id` -> the differences allowed, and why; any other is reported."""
COMPARED = (
    "kind",
    "format",
    "enum",
    "minimum",
    "maximum",
    "exclusive_minimum",
    "exclusive_maximum",
    "min_length",
    "max_length",
    "min_items",
)
COMPARED += ("max_items", "pattern", "default", "status")

Documents = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def published() -> Documents:
    if not SHARED.is_dir():
        pytest.skip(f"the published components are not here: {SHARED}")
    documents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(SHARED.rglob("*.schema.json")))
    return {document["$id"]: document for document in documents}


def facts(field: Field, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    found = {name: getattr(field, name) for name in COMPARED}
    found["suggested"] = sorted(field.suggested or [])
    found["required"] = sorted(field.required)
    found["title"] = field.title.strip()
    yield path, found
    for name, child in field.children.items():
        yield from facts(child, f"{path}/{name}")
    if field.items is not None:
        yield from facts(field.items, f"{path}[]")
    if field.values is not None:
        yield from facts(field.values, f"{path}/*")


def differences(ours: Field, theirs: Field) -> list[str]:
    left, right = dict(facts(ours)), dict(facts(theirs))
    found = [f"{path}: only in ours" for path in left.keys() - right.keys()]
    found += [f"{path}: missing in ours" for path in right.keys() - left.keys()]
    for path in left.keys() & right.keys():
        for name, value in left[path].items():
            if value != right[path][name]:
                found.append(f"{path}: {name} is {value!r}, published {right[path][name]!r}")
    return sorted(found)


def test_no_component_is_missing(published: Documents) -> None:
    wanted = {uri for uri in published if uri not in LEFT_OUT}
    assert wanted == set(standard_library())


@pytest.mark.parametrize("uri", sorted(standard_library()))
def test_a_component_composes_to_the_published_fields(published: Documents, uri: str) -> None:
    found = differences(component_field(uri, standard_library().get), component_field(uri, published.get))
    if uri in DIFFERENT:
        allowed, reason = DIFFERENT[uri]
        assert found, f"{uri} is documented as different but is not: {reason}"
        found = [each for each in found if not re.fullmatch(allowed, each)]
    assert found == []


@pytest.mark.parametrize("uri", sorted(standard_library()))
def test_a_component_is_of_the_published_kind(published: Documents, uri: str) -> None:
    ours, theirs = standard_library()[uri], published[uri]
    assert ours["title"] == theirs["title"].strip()
    assert ours["meta:status"] == theirs["meta:status"]
    assert ours.get("meta:intendedToExtend") == theirs.get("meta:intendedToExtend")
