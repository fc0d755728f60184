"""Laws of merging fragments. Source: profile.md 11."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.profile.model import AttributeMerge, MergePolicy
from capstream.aep.profile.rules import Fragment, merge, patched, project
from capstream.kernel.json import Json

NEWEST = MergePolicy(id="p", name="newest")
NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(st.integers(0, 9), st.text("xyz", max_size=2), st.booleans())
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=6
)
TIMES = st.sampled_from(["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"])
CONSENTS = st.dictionaries(NAMES, st.fixed_dictionaries({"val": st.sampled_from("yn"), "time": TIMES}), max_size=2)
MEMBERSHIPS = st.dictionaries(
    st.just("ups"), st.dictionaries(NAMES, st.fixed_dictionaries({"lastQualificationTime": TIMES}), max_size=2), max_size=1
)
ENTITIES = st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "consents": CONSENTS, "segmentMembership": MEMBERSHIPS})


@st.composite
def clusters(draw: st.DrawFn) -> list[Fragment]:
    """Return the fragments of one cluster: one for each (dataset, identity), each with a sequence number of its own."""
    places = draw(st.lists(st.tuples(st.sampled_from(["d1", "d2", "d3"]), st.sampled_from("mn")), unique=True, max_size=5))
    return [
        Fragment(
            dataset_id=dataset,
            ingested_ms=draw(st.integers(0, 3)),
            seq=seq,
            updated_ms=draw(st.integers(0, 3)),
            entity=draw(ENTITIES),
            identities=(("member", identity),),
            primary=("member", identity),
        )
        for seq, (dataset, identity) in enumerate(places)
    ]


POLICIES = st.sampled_from(
    [
        NEWEST,
        MergePolicy(id="p", name="source time", custom_timestamp=True),
        MergePolicy(id="p", name="precedence", merge=AttributeMerge.DATASET, order=("d2", "d1", "d3")),
    ]
)


@given(clusters(), POLICIES, st.randoms())
def test_the_order_of_fragments_does_not_matter(fragments: list[Fragment], policy: MergePolicy, random: Any) -> None:
    shuffled = list(fragments)
    random.shuffle(shuffled)
    assert merge(shuffled, policy) == merge(fragments, policy)


@given(clusters(), POLICIES)
def test_merging_a_result_again_changes_nothing(fragments: list[Fragment], policy: MergePolicy) -> None:
    once = merge(fragments, policy)
    again = Fragment("d1", 0, 0, 0, once, *_people(fragments, policy))
    assert merge([again], policy) == once


def _people(fragments: list[Fragment], policy: MergePolicy) -> tuple[tuple[Any, ...], Any]:
    taking_part = [f for f in fragments if policy.merge is not AttributeMerge.DATASET or f.dataset_id in policy.order]
    entries = [(code, item) for code, items in (merge(fragments, policy).get("identityMap") or {}).items() for item in items]
    primary = next(((code, item["id"]) for code, item in entries if item["primary"]), None)
    return tuple({identity for f in taking_part for identity in f.identities}), primary


@given(ENTITIES, POLICIES)
def test_one_fragment_is_the_profile(entity: dict[str, Json], policy: MergePolicy) -> None:
    assert merge([Fragment("d1", 1, 1, 1, entity)], policy) == entity


@given(clusters())
def test_precedence_ignores_datasets_that_are_not_listed(fragments: list[Fragment]) -> None:
    policy = MergePolicy(id="p", name="precedence", merge=AttributeMerge.DATASET, order=("d2",))
    assert merge(fragments, policy) == merge([f for f in fragments if f.dataset_id == "d2"], policy)


@given(clusters(), ENTITIES, st.integers(10, 20))
def test_a_lower_ranked_fragment_takes_nothing_away(fragments: list[Fragment], entity: dict[str, Json], seq: int) -> None:
    before = merge(fragments, NEWEST)
    older = Fragment("d4", -1, seq, 0, entity)
    assert _covers(merge([*fragments, older], NEWEST), before)


def _covers(larger: Json, smaller: Json) -> bool:
    if isinstance(larger, Mapping) and isinstance(smaller, Mapping):
        return all(name in larger and _covers(larger[name], value) for name, value in smaller.items())
    return not isinstance(smaller, Mapping) or isinstance(larger, Mapping)


@given(clusters())
def test_merging_shares_nothing_with_the_fragments(fragments: list[Fragment]) -> None:
    merged = merge(fragments, NEWEST)
    before = [repr(fragment) for fragment in fragments]
    _spoil(merged)
    assert [repr(fragment) for fragment in fragments] == before


def _spoil(value: Json) -> None:
    if isinstance(value, dict):
        for member in list(value.values()):
            _spoil(member)
        value["spoiled"] = True
    elif isinstance(value, list):
        for item in value:
            _spoil(item)
        value.append("spoiled")


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_a_patch_applied_twice_is_the_patch_applied_once(stored: dict[str, Json], change: dict[str, Json]) -> None:
    once = patched(stored, change)
    assert patched(once, change) == once


@given(st.dictionaries(NAMES, VALUES))
def test_projecting_on_every_member_is_the_identity(entity: dict[str, Json]) -> None:
    assert project(entity, list(entity)) == entity
