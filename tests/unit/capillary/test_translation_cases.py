"""Every published event body against its reviewed transaction payload. Source: capillary.md 6.4, 7.7."""

import json
from pathlib import Path

import pytest

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.results import Answered, Skipped, Translated
from capstream.capillary.translate import TranslationConfig, translate

CASES = Path(__file__).resolve().parents[3] / "cases"
NAMES = sorted(path.stem for path in (CASES / "translation").glob("*.json"))


def test_every_published_body_has_a_case() -> None:
    assert sorted(path.stem for path in (CASES / "capillary-events").glob("*.json")) == NAMES
    assert len(NAMES) == 30


@pytest.mark.parametrize("name", NAMES)
def test_body_becomes_the_reviewed_payload(name: str) -> None:
    case = json.loads((CASES / "translation" / f"{name}.json").read_text())
    event = normalise((CASES / "capillary-events" / case["event"]).read_bytes(), case["received_ms"])
    assert isinstance(event, NormalisedEvent)
    answers = {key: Answered(given["body"], given["as_of_ms"]) for key, given in case.get("answers", {}).items()}
    outcome = translate(event, {}, Programs(), TranslationConfig.from_settings(case["settings"]), answers)
    if "skipped" in case:
        assert outcome == Skipped(case["skipped"])
        return
    assert isinstance(outcome, Translated)
    assert [payload.body for payload in outcome.transactions] == case["transactions"]
    assert [payload.id for payload in outcome.transactions] == [body["_id"] for body in case["transactions"]]
    assert [customer for _, customer in outcome.touched] == case["touched"]
