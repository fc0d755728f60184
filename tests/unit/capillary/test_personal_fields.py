"""Custom and extended fields pass, are hashed or dropped, wherever payloads have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capstream.capillary.covering import cover
from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.errors import InputError

CASES = [json.loads(line) for line in (Path(__file__).parents[3] / "cases" / "personal-fields.jsonl").read_text().splitlines()]
SHOWN = ("customFields", "extendedFields", "changes")


def shown(capillary: dict[str, Any]) -> dict[str, Any]:
    return {name: capillary[name] for name in SHOWN if name in capillary}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden_cases(make_desk: Callable[..., Any], published: Callable[..., Any], case: dict[str, Any]) -> None:
    given = case["given"]
    desk = make_desk(emit_customer_updated_event=True, pii={"fields": given["fields"]})
    body = desk.take(published(given["event"])).transactions[0].body["capillary"]
    found = {"event": shown(body.get("registration", body)), "profile": shown(desk.profile()["capillary"])}
    assert found == case["then"]


def test_a_setting_that_changes_holds_for_what_is_known_already(
    make_desk: Callable[..., Any], published: Callable[..., Any]
) -> None:
    desk = make_desk()
    desk.take(published("customerAdded"))
    desk.config = TranslationConfig.from_settings({"pii.fields": {"*": "drop"}})
    assert shown(desk.profile()["capillary"]) == {}
    desk.config = TranslationConfig()
    assert set(shown(desk.profile()["capillary"])) == {"customFields", "extendedFields"}


def test_fields_of_lines_and_promotions_are_covered_and_nothing_else() -> None:
    body: dict[str, Any] = {
        "extendedFields": {"city": "not Capillary's"},
        "capillary": {
            "lines": [{"id": "1", "attributes": {"city": "of an item"}, "extendedFields": {"city": "Bristol", "size": "M"}}],
            "promotion": {"id": "2", "customFields": {"city": "Bristol"}},
            "tier": {"from": {"name": "city"}},
        },
    }
    cover(body, "700123", {"city": "drop"})
    assert body == {
        "extendedFields": {"city": "not Capillary's"},
        "capillary": {
            "lines": [{"id": "1", "attributes": {"city": "of an item"}, "extendedFields": {"size": "M"}}],
            "promotion": {"id": "2"},
            "tier": {"from": {"name": "city"}},
        },
    }


@pytest.mark.parametrize(
    ("value", "path"), [("drop", "pii.fields"), ({"city": "hide"}, "pii.fields.city"), ({"city": True}, "pii.fields.city")]
)
def test_what_is_no_mode_is_refused_by_name(value: Any, path: str) -> None:
    with pytest.raises(InputError) as refusal:
        TranslationConfig.from_settings({"pii": {"fields": value}})
    assert refusal.value.path == path
