"""What the tests of the translation share: published bodies, and a relay's memory in small."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Answered, Failed, Outcome
from capstream.capillary.state import dump, load
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.kernel.json import dumps

_BODIES = Path(__file__).resolve().parents[3] / "cases" / "capillary-events"
ORG = "700123"
MEMBER = "900000101"


class Desk:
    """States and programmes of one source, kept as bytes between events as a relay keeps them."""

    def __init__(self, **settings: Any) -> None:
        self.config = TranslationConfig.from_settings(settings)
        self.programs = Programs()
        self.kept: dict[tuple[str, str], bytes] = {}

    def take(
        self, body: dict[str, Any], answers: Mapping[str, Answered | Failed] | None = None, received: int | None = None
    ) -> Outcome:
        """Translate one body as the next arrival."""
        event = normalise(dumps(body), body["createdAt"] + 1200 if received is None else received)
        assert isinstance(event, NormalisedEvent), event
        states = {key: load(raw) for key, raw in self.kept.items()}
        outcome = translate(event, states, self.programs, self.config, answers or {})
        self.kept = {key: dump(state) for key, state in states.items()}
        self.programs = Programs.load(self.programs.dump())
        return outcome

    def state(self, customer: str = MEMBER) -> MemberState:
        """Return a member's state."""
        return load(self.kept[(ORG, customer)])

    def profile(self, customer: str = MEMBER) -> dict[str, Any]:
        """Return a member's profile payload."""
        return profile_payload((ORG, customer), self.state(customer), self.programs, self.config).body


@pytest.fixture
def desk() -> Desk:
    """Return an empty desk with default settings."""
    return Desk()


@pytest.fixture
def make_desk() -> Callable[..., Desk]:
    """Return the maker of desks with settings."""
    return Desk


@pytest.fixture
def published() -> Callable[..., dict[str, Any]]:
    """Return the maker of published bodies; keyword arguments replace members of `data`, `_name` ones those of the event."""
    bodies = {path.stem: json.loads(path.read_text()) for path in _BODIES.glob("*.json")}

    def body(name: str, **changes: Any) -> dict[str, Any]:
        made = copy.deepcopy(bodies[name])
        for member, value in changes.items():
            if member.startswith("_"):
                made[member[1:]] = value
            else:
                made["data"][member] = value
        return made

    return body
