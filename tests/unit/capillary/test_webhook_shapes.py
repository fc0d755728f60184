"""What is learnt of webhooks never changes what is read from them. Source: capillary.md 1.4."""

import copy
import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.capillary.envelope import Unreadable
from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.shapes import Shapes, holds_only
from capstream.capillary.vocabulary import MEMBERS, OPAQUE
from capstream.kernel.json import dumps, loads

BODIES = [loads(path.read_bytes()) for path in sorted((Path(__file__).parents[3] / "cases" / "capillary-events").glob("*.json"))]
Published = Callable[..., dict[str, Any]]


def _is_canonical(value: Any, *, is_opaque: bool = False) -> bool:
    if isinstance(value, dict):
        return all(
            (is_opaque or name in MEMBERS)
            and _is_canonical(inner, is_opaque=is_opaque or (name in OPAQUE and type(inner) is dict))
            for name, inner in value.items()
        )
    return not isinstance(value, list) or all(_is_canonical(item, is_opaque=is_opaque) for item in value)


def _learnt(bodies: list[dict[str, Any]]) -> Shapes:
    shapes = Shapes()
    for body in bodies:
        if _is_canonical(body):
            shapes.learn(copy.deepcopy(body))
    return shapes


LEARNT = _learnt(BODIES)


def test_bodies_that_were_met_are_read_as_they_are() -> None:
    known = [body for body in BODIES if _is_canonical(body)]
    assert len(known) > 25
    for body in known:
        found = LEARNT.read(dumps(body))
        assert found == body
        assert dumps(found) == dumps(body), "the members keep their order"


def test_a_name_that_was_met_is_the_one_the_code_has() -> None:
    found = LEARNT.read(dumps(BODIES[0]))
    assert found is not None
    assert all(name is sys.intern(str(name)) for name in found)


def test_nothing_is_read_before_anything_was_learnt() -> None:
    assert Shapes().read(dumps(BODIES[0])) is None


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a:b", '"', '":', '" :', "\\", "ü", "NW014", '{"customerId":1}']),
    st.builds(list),
    st.builds(dict),
)
NAMES = st.sampled_from([*sorted(MEMBERS)[:40], "customerId", "data", "tiers", "New Thing", "customerid", "a:b", 'a":b'])
INNER = st.recursive(
    VALUES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=6
)


@given(body=st.sampled_from(BODIES), change=st.data(), blank=st.sampled_from(["", " ", "\n", "\t"]), seed=st.integers(0, 2**32))
def test_what_is_read_is_what_the_text_says(body: dict[str, Any], change: st.DataObject, blank: str, seed: int) -> None:
    """A body is changed anywhere: whatever is read of it then is what any decoder reads, of canonical names, none twice."""
    dice, changed = random.Random(seed), copy.deepcopy(body)  # noqa: S311
    for _ in range(change.draw(st.integers(0, 3))):
        places = _objects(changed)
        place = places[change.draw(st.integers(0, len(places) - 1))]
        place[change.draw(NAMES)] = change.draw(INNER)
    twice = change.draw(st.booleans())
    text = _text(changed, dice, blank=blank, twice=twice)
    raw = text.encode()
    found = LEARNT.read(raw)
    if found is not None:
        assert found == loads(raw) == json.loads(raw)
        assert _is_canonical(found)
        assert not _repeats(raw)


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in _objects(inner))]
    return [each for item in value for each in _objects(item)] if isinstance(value, list) else []


def _text(value: Any, dice: random.Random, *, blank: str, twice: bool) -> str:
    """Return JSON with a blank before some colons; with `twice` some object may name a member again."""
    if isinstance(value, dict):
        members = [
            f"{json.dumps(name)}{blank if dice.random() < 0.1 else ''}:{_text(inner, dice, blank=blank, twice=twice)}"
            for name, inner in value.items()
        ]
        if twice and members and dice.random() < 0.1:
            members.append(dice.choice(members))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(item, dice, blank=blank, twice=twice) for item in value) + "]"
    return json.dumps(value)


def _repeats(raw: bytes) -> bool:
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len({name for name, _ in pairs}) < len(pairs)
        return dict(pairs)

    json.loads(raw, object_pairs_hook=look)
    return found


@given(parts=st.lists(st.tuples(st.sampled_from(["a", "b", "a:", 'a"']), st.sampled_from(["", " ", "\n"]), VALUES), max_size=6))
def test_a_text_that_holds_only_so_many_members_names_none_twice(parts: list[tuple[str, str, Any]]) -> None:
    raw = ("{" + ",".join(f"{json.dumps(name)}{blank}:{json.dumps(value)}" for name, blank, value in parts) + "}").encode()
    if holds_only(raw, len(json.loads(raw))):
        assert not _repeats(raw)


@pytest.mark.parametrize("second", ['"refId" :"a"', '"refId":"a"', '"refId"\n: "a"'])
def test_a_member_that_comes_twice_is_noticed_however_it_is_written(published: Published, second: str) -> None:
    raw = json.dumps(published("pointsExpired"), separators=(",", ":"))
    event = normalise(f'{{{second},"createdAt" :1,{raw[1:]}'.encode(), 1)
    assert isinstance(event, NormalisedEvent)
    assert event.flags == ("dup_key",)


def test_a_shape_is_learnt_from_the_first_of_its_kind() -> None:
    shapes, body = Shapes(), {"eventName": "x", "data": {"tiers": []}}
    shapes.learn(body)
    assert shapes.read(dumps(body)) == body
    longer = {"eventName": "x", "data": {"tiers": [{"tierNumber": 1}, None, "Gold"]}}
    assert shapes.read(dumps(longer)) is None
    shapes.learn(longer)
    assert shapes.read(dumps(longer)) == longer
    for tiers in ("", 7, 1.5, True, None, {"tierNumber": 2}):
        other = {"eventName": "x", "data": {"tiers": tiers}}
        assert shapes.read(dumps(other)) == other


def test_names_of_the_brand_count_as_members() -> None:
    shapes, body = Shapes(), {"eventName": "x", "traceAttributes": {"a b": {"C": [{"d": 1}]}, "e": 1}}
    shapes.learn(body)
    assert shapes.read(dumps(body)) == body
    for other in ({"z": [[{"y": {}}]]}, {}, None, "", [], [{"eventName": 1}]):
        changed = body | {"traceAttributes": other}
        assert shapes.read(dumps(changed)) in (changed, None)
    assert shapes.read(b'{"eventName":"x","traceAttributes":{"a":1,"a":2}}') is None


def test_what_is_too_deep_stays_so(published: Published) -> None:
    body = published("pointsExpired", _traceAttributes={"a": {"b": 1}})
    assert isinstance(normalise(json.dumps(body).encode(), 1), NormalisedEvent)
    deep = published("pointsExpired", _traceAttributes=json.loads('{"a":' * 80 + "1" + "}" * 80))
    lists = published("pointsExpired", _refId=json.loads("[" * 80 + "]" * 80))
    inner = published("pointsExpired", _data={"tiers": [json.loads("[" * 80 + "]" * 80)]})
    assert isinstance(
        normalise(json.dumps(published("pointsExpired", _data={"tiers": [{"tierNumber": 1}]})).encode(), 1), NormalisedEvent
    )
    for each in (deep, lists, inner) * 2:
        found = normalise(json.dumps(each).encode(), 1)
        assert isinstance(found, Unreadable)
        assert "levels" in found.reason


def test_bodies_of_another_shape_are_not_tried_for_ever() -> None:
    """After some that did not fit none is tried for a while; then those that fit are read again."""
    shapes, body = Shapes(), {"eventName": "x"}
    shapes.learn(body)
    for _ in range(20):
        assert shapes.read(b'{"New Thing":1}') is None
    reads = [shapes.read(dumps(body)) for _ in range(100)]
    assert reads[0] is None
    assert reads[-1] == body
    assert reads == sorted(reads, key=lambda found: found is not None)


def test_no_more_is_learnt_than_there_is_room_for() -> None:
    """Bodies made to be new each time cost a decoder each, up to a bound; what was learnt stays."""
    shapes, names = Shapes(), sorted(MEMBERS - OPAQUE)
    shapes.learn({"eventName": "x"})
    read = 0
    for number in range(900):
        first, second = divmod(number, len(names))
        body = {names[second]: {names[first]: {names[first + 1]: 1}}}
        shapes.learn(body)
        read += shapes.read(dumps(body)) == body
    assert 0 < read < 300
    for _ in range(100):
        found = shapes.read(b'{"eventName":"y"}')
    assert found == {"eventName": "y"}


def test_threads_learn_and_read_side_by_side() -> None:
    """The browser and the preview read in threads of the gateway."""
    shapes, dice = Shapes(), random.Random(3)  # noqa: S311
    raws = [dumps(body) for body in BODIES]
    raws += [raw.replace(b'"tierNumber"', b'"TierNumber"').replace(b'"code"', b'"Code "') for raw in raws]

    def work(order: list[int]) -> None:
        for index in order:
            found = shapes.read(raws[index])
            if found is None:
                body = loads(raws[index])
                if _is_canonical(body):
                    shapes.learn(body)
            else:
                assert found == loads(raws[index])
                assert _is_canonical(found)

    orders = [dice.choices(range(len(raws)), k=400) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(work, orders))) == 4


def test_the_order_in_which_kinds_come_changes_nothing() -> None:
    """Each body is read alike, whatever was learnt before it."""
    expected = [normalise(dumps(body), 1) for body in BODIES]
    dice = random.Random(7)  # noqa: S311
    for _ in range(5):
        order = list(range(len(BODIES)))
        dice.shuffle(order)
        for index in order:
            assert normalise(dumps(BODIES[index]), 1) == expected[index]
