"""Laws: spelling and number forms do not change an event, and nothing raises. Source: capillary.md 1.4, 7.8."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.peek import peek
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Refused, Skipped, Translated
from capstream.capillary.state import dump, load
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.capillary.vocabulary import MEMBERS, OPAQUE
from capstream.kernel.json import dumps

_BODIES = Path(__file__).resolve().parents[2] / "cases" / "capillary-events"
_PUBLISHED = [json.loads(path.read_text()) for path in sorted(_BODIES.glob("*.json"))]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(MEMBERS)) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def _respelt(draw: st.DrawFn, node: Any) -> Any:
    if isinstance(node, list):
        return [_respelt(draw, item) for item in node]
    if not isinstance(node, dict):
        return float(node) if type(node) is int and draw(st.booleans()) else node
    return {_spelling(draw, key): value if key in OPAQUE else _respelt(draw, value) for key, value in node.items()}


def _spelling(draw: st.DrawFn, key: str) -> str:
    return draw(st.sampled_from((key, key.upper(), f" {key}", f"{key[:2]} {key[2:]}")))


@st.composite
def _respelt_bodies(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    body = draw(st.sampled_from(_PUBLISHED))
    return body, _respelt(draw, body)


@settings(max_examples=100, deadline=None)
@given(_respelt_bodies())
def test_spelling_and_number_forms_do_not_matter(drawn: tuple[dict[str, Any], dict[str, Any]]) -> None:
    body, respelt = drawn
    plain, found = normalise(json.dumps(body).encode(), 0), normalise(json.dumps(respelt).encode(), 0)
    assert isinstance(plain, NormalisedEvent)
    assert found == plain
    peeked = peek(json.dumps(respelt).encode())
    assert peeked is not None
    assert peeked.event_id == plain.event_id


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_is_an_event_or_has_a_reason(raw: bytes) -> None:
    found = normalise(raw, 0)
    assert isinstance(found, NormalisedEvent | Unreadable)
    peeked = peek(raw)
    if isinstance(found, NormalisedEvent):
        assert peeked is not None
        assert (peeked.org_id, peeked.event_name) == (found.org_id, found.event_name)
        assert peeked.event_id == (None if found.event_id_synthetic else found.event_id)


@st.composite
def _damaged_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Return a published body of which a few members hold anything at all."""
    body = json.loads(json.dumps(draw(st.sampled_from(_PUBLISHED))))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = body["data"]
        while True:
            key = draw(st.sampled_from(sorted(node)))
            child = node[key][0] if isinstance(node[key], list) and node[key] else node[key]
            if not isinstance(child, dict) or not child or draw(st.booleans()):
                node[key] = draw(_JSON)
                break
            node = child
        if not body["data"]:
            break
    return body


@settings(max_examples=500, deadline=None)
@given(_damaged_bodies())
def test_every_damaged_event_gets_a_verdict(body: dict[str, Any]) -> None:
    event = normalise(json.dumps(body).encode(), body["createdAt"])
    assert isinstance(event, NormalisedEvent)
    states: dict[tuple[str, str], MemberState] = {}
    programs, config = Programs(), TranslationConfig.from_settings({"emit_customer_updated_event": True})
    outcome = translate(event, states, programs, config, {})
    assert isinstance(outcome, Translated | Refused | Skipped)
    if isinstance(outcome, Refused):
        assert outcome.pointer.startswith("/")
        assert states == {}, "a refused event leaves no trace in the states"
    elif isinstance(outcome, Translated):
        profiles = [profile_payload(key, load(dump(state)), programs, config) for key, state in states.items()]
        for payload in (*outcome.transactions, *profiles):
            assert _blanks(payload.body) == []
            assert dumps(payload.body)


def _blanks(node: Any, path: str = "") -> list[str]:
    if isinstance(node, dict):
        found = [f"{path}/{key}" for key, value in node.items() if value is None or value == "" or value == {} or value == []]
        return found + [place for key, value in node.items() for place in _blanks(value, f"{path}/{key}")]
    if isinstance(node, list):
        return [place for index, item in enumerate(node) for place in _blanks(item, f"{path}/{index}")]
    return []
