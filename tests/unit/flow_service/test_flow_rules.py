"""Pure decisions: versions, schedules, patches, secrets."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.flow_service import rules
from capstream.aep.flow_service.model import State
from capstream.aep.flow_service.patching import BadPatch, changes_of, patched
from capstream.aep.flow_service.secrets import MASK, Vault, masked, sealed, sealed_text, secret_members
from capstream.kernel.errors import InputError


@pytest.mark.parametrize(
    ("content_type", "major"),
    [
        ("application/vnd.adobe.xed-full+json;version=1", 1),
        ("application/vnd.adobe.xed-full+json; version=1.0", 1),
        ("application/vnd.adobe.xed+json;version=2", 2),
        ("application/vnd.adobe.xed-full-notext+json; version=12.3", 12),
        ("application/vnd.adobe.xed-full+json;1.3", 1),
        ("application/vnd.adobe.xed-full+json;2", 2),
        ("application/vnd.adobe.xed+json", 1),
        ("3.0", 3),
        ("", 1),
    ],
)
def test_major_version(content_type: str, major: int) -> None:
    assert rules.major_version(content_type) == major


@pytest.mark.parametrize(
    ("sent", "same"),
    [('"a-1"', True), ("a-1", True), ('W/"a-1"', True), ('\\"a-1\\"', True), ('"a-2"', False), ("", False)],
)
def test_etags(sent: str, same: bool) -> None:
    assert rules.etags_match(sent, '"a-1"') is same


@pytest.mark.parametrize(
    ("schedule", "code"),
    [
        ({"startTime": 1, "frequency": "once"}, None),
        ({"startTime": "1", "frequency": "minute", "interval": 15}, None),
        ({"startTime": 1, "frequency": "day", "interval": "1", "backfill": True}, None),
        ({"frequency": "once"}, 1318),
        ({"startTime": 1, "frequency": "yearly"}, 1397),
        ({"startTime": 1, "frequency": "once", "interval": 1}, 1364),
        ({"startTime": 1, "frequency": "once", "backfill": False}, 1364),
        ({"startTime": 1, "frequency": "minute", "interval": 14}, 1361),
        ({"startTime": 1, "frequency": "hour"}, 1361),
    ],
)
def test_schedules_of_file_flows(schedule: dict[str, Any], code: int | None) -> None:
    problem = rules.schedule_problem(schedule)
    assert (problem[0] if problem else None) == code


def test_flow_transitions_are_exactly_the_documented_ones() -> None:
    possible = {
        (state, operation): rules.next_state(state, operation)
        for state in State
        for operation in ("ENABLE", "DISABLE", "PUBLISH")
        if rules.next_state(state, operation) is not None
    }
    assert possible == {
        (State.ENABLED, "DISABLE"): State.DISABLED,
        (State.DISABLED, "ENABLE"): State.ENABLED,
        (State.DRAFT, "PUBLISH"): State.ENABLED,
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"op": "add", "path": "/a", "value": 1}, {"a": 1, "l": [1, 2], "o": {"x": 1}}),
        ([{"op": "REPLACE", "path": "/l/0", "value": 9}], {"l": [9, 2], "o": {"x": 1}}),
        ([{"op": "add", "path": "/l/-", "value": 3}], {"l": [1, 2, 3], "o": {"x": 1}}),
        ([{"op": "add", "path": "/l/0", "value": 0}], {"l": [0, 1, 2], "o": {"x": 1}}),
        ([{"op": "remove", "path": "/l/1"}], {"l": [1], "o": {"x": 1}}),
        ([{"op": "Remove", "path": "/o/x"}], {"l": [1, 2], "o": {}}),
        ([{"op": "add", "path": "/n/m/-", "value": 5}], {"l": [1, 2], "o": {"x": 1}, "n": {"m": [5]}}),
        ([{"op": "add", "path": "/o/x", "value": None}], {"l": [1, 2], "o": {"x": None}}),
        ([{"op": "add", "path": "/a~1b~0", "value": 1}], {"l": [1, 2], "o": {"x": 1}, "a/b~": 1}),
    ],
)
def test_patches(body: Any, expected: dict[str, Any]) -> None:
    document = {"l": [1, 2], "o": {"x": 1}}
    assert patched(document, changes_of(body)) == expected
    assert document == {"l": [1, 2], "o": {"x": 1}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("x", 1405),
        ([5], 1405),
        ([{"op": "add", "path": "/a"}], 1405),
        ([{"op": "add", "path": "/", "value": 1}], 1455),
        ([{"op": "remove", "path": "/none/x"}], 1455),
        ([{"op": "replace", "path": "/l/9", "value": 1}], 1455),
        ([{"op": "add", "path": "/o/x/y", "value": 1}], 1455),
        ([{"op": "copy", "path": "/o", "value": 1}], 1434),
    ],
)
def test_bad_patches(body: Any, code: int) -> None:
    with pytest.raises(BadPatch) as caught:
        patched({"l": [1, 2], "o": {"x": 1}}, changes_of(body))
    assert caught.value.code == code


@given(st.text())
def test_a_sealed_secret_opens_again(text: str) -> None:
    vault = Vault(b"0" * 43 + b"=")
    stored = sealed(vault, {"password": text, "user": "u"}, frozenset({"password"}), {})
    token = sealed_text(stored["password"])
    assert vault.unseal(token) == text
    assert stored["user"] == "u"
    assert masked(stored) == {"password": MASK, "user": "u"}
    assert text not in token or len(text) < 20


def test_the_mask_keeps_what_is_stored(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "key")
    stored = sealed(vault, {"password": "p"}, frozenset({"password"}), {})
    assert sealed(vault, {"password": MASK}, frozenset({"password"}), stored) == stored
    assert vault.unseal(sealed_text(sealed(vault, {"password": MASK}, frozenset({"password"}), {})["password"])) == MASK


def test_a_key_file_is_made_once(tmp_path: Path) -> None:
    first, second = Vault.open(tmp_path / "k" / "key"), Vault.open(tmp_path / "k" / "key")
    assert second.unseal(first.seal("x")) == "x"
    other = Vault.open(tmp_path / "other")
    with pytest.raises(InputError, match="another key"):
        other.unseal(first.seal("x"))


def test_secret_members_come_from_the_spec_and_from_their_names() -> None:
    found = secret_members({"properties": {"apiKey": {"type": "string", "format": "password"}, "host": {"type": "string"}}})
    assert "apiKey" in found
    assert "clientSecret" in found
    assert "host" not in found
