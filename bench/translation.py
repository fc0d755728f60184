"""What translating one webhook event costs. Units: microseconds per event, the best of several rounds on one core.

The whole translation is: bytes of a webhook in, bytes of its payload and of the member's profile payload out.
Run: `python bench/translation.py`.
"""

import json
import timeit
from collections.abc import Callable
from pathlib import Path

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.peek import peek
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Translated
from capstream.capillary.state import dump, load
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.kernel.json import dumps

_CASES = Path(__file__).resolve().parents[1] / "cases" / "capillary-events"
_KINDS = ("pointsIssued", "transactionAdded")
_COMMONEST = (*_KINDS, "promisedToCurrentPointsConversion", "transactionUpdated", "pointsRedeemed")
"""In the simulator's stream."""

_ROUNDS, _CALLS = 7, 400
_STEP_MS = 1000


def measure() -> dict[str, float]:
    """Return microseconds per event: the whole path of the commonest kinds, and its parts for the two most frequent."""
    figures: dict[str, float] = {}
    for kind in _COMMONEST:
        figures |= _measure_kind(kind, with_parts=kind in _KINDS)
    return figures


def _measure_kind(kind: str, *, with_parts: bool) -> dict[str, float]:
    bodies = _bodies(kind, _ROUNDS * _CALLS)
    config, programs = TranslationConfig.from_settings({}), Programs()
    states: dict[tuple[str, str], MemberState] = {}
    position = iter(bodies)

    def whole_path() -> None:
        event = normalise(next(position), 1_900_000_000_000)
        assert isinstance(event, NormalisedEvent)
        key = (event.org_id, "900000101")
        if len(states) and states[key].log_count > 20:
            states.clear()
        outcome = translate(event, states, programs, config, {})
        assert isinstance(outcome, Translated)
        assert outcome.transactions
        for payload in outcome.transactions:
            dumps(payload.body)
        dumps(profile_payload(key, states[key], programs, config).body)

    raw, figures = bodies[0], {f"{kind}: the whole translation": _best(whole_path)}
    if with_parts:
        ((key, state),) = states.items()
        stored = f"({len(dump(state))} bytes, {state.log_count} facts)"
        figures |= {
            f"{kind}: normalise": _best(lambda: normalise(raw, 1)),
            f"{kind}: peek + dedupe key": _best(lambda: peek(raw).dedupe_key()),  # type: ignore[union-attr]
            f"{kind}: dump + load of the state {stored}": _best(lambda: load(dump(state))),
            f"{kind}: profile payload": _best(lambda: profile_payload(key, state, programs, config)),
        }
    return figures


def _bodies(kind: str, count: int) -> list[bytes]:
    """Return compact bodies of one member's events, each later than the one before."""
    body = json.loads((_CASES / f"{kind}.json").read_text())
    start, bodies = body["createdAt"], []
    for number in range(count):
        body["eventId"] = f"{number:08x}-0000-5000-8000-000000000000"
        body["createdAt"] = start + number * _STEP_MS
        bodies.append(dumps(body))
    return bodies


def _best(call: Callable[[], object]) -> float:
    return round(min(timeit.repeat(call, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e6, 2)


if __name__ == "__main__":
    for name, micros in measure().items():
        print(f"{micros:8.2f} µs  {name}")
