"""Fragments become one profile: pure. Source: profile.md 3.3 (what Adobe leaves open is decided there: ASSUMPTION)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capstream.aep.profile.model import AttributeMerge, MergePolicy
from capstream.kernel.json import Json

Identified = tuple[str, str]
"""(namespace code in lower case, value)."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment as merging sees it."""

    dataset_id: str
    ingested_ms: int
    seq: int
    updated_ms: int
    entity: Mapping[str, Json]
    identities: tuple[Identified, ...] = ()
    primary: Identified | None = None
    batch_id: str = ""


_SPECIAL = frozenset({"identityMap", "segmentMembership", "consents"})


def ranked(fragments: Iterable[Fragment], policy: MergePolicy) -> list[Fragment]:
    """Return the fragments that take part in the merge, the one that wins first."""
    place = {dataset: i for i, dataset in enumerate(policy.order)}
    by_dataset = policy.merge is AttributeMerge.DATASET
    taking_part = [fragment for fragment in fragments if not by_dataset or fragment.dataset_id in place]
    return sorted(
        taking_part,
        key=lambda f: (place[f.dataset_id] if by_dataset else 0, -_time(f, policy), -f.seq, f.dataset_id, f.primary or ("", "")),
    )


def merge(fragments: Iterable[Fragment], policy: MergePolicy) -> dict[str, Json]:
    """Return the profile that `policy` makes of one identity cluster's fragments.

    Shape: at most one fragment for each (dataset, identity), in any order; the result shares no part with them.
    """
    best_first = ranked(fragments, policy)
    merged: dict[str, Json] = {}
    for fragment in best_first:
        _fill(merged, {name: value for name, value in fragment.entity.items() if name not in _SPECIAL})
    consents = [fragment.entity["consents"] for fragment in best_first if "consents" in fragment.entity]
    if consents:
        merged["consents"] = _merge_consents(consents)
    memberships = [f.entity["segmentMembership"] for f in best_first if "segmentMembership" in f.entity]
    if memberships:
        merged["segmentMembership"] = _merge_memberships(memberships)
    identity_map = _merge_identities(best_first)
    if identity_map:
        merged["identityMap"] = identity_map
    return merged


def patched(
    stored: Mapping[str, Json],
    change: Mapping[str, Json],
    appended: Collection[tuple[str, ...]] = (),
    place: tuple[str, ...] = (),
) -> dict[str, Json]:
    """Return `stored` with the members of `change`: objects member by member, null removes, everything else replaces.

    Arrays at the places `appended` come after the elements that are there.
    Source: streaming-ingestion.md 10 (merge), profile.md 1.
    """
    result = dict(stored)
    for name, value in change.items():
        old, here = result.get(name), (*place, name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = patched(old if isinstance(old, dict) else {}, value, appended, here)
        elif isinstance(value, list) and isinstance(old, list) and here in appended:
            result[name] = [*old, *value]
        else:
            result[name] = value
    return result


def is_stale(stored_updated_ms: int, new_updated_ms: int) -> bool:
    """Return whether a record must not replace the stored one: both carry a source time and its own is older."""
    return 0 < new_updated_ms < stored_updated_ms


def project(entity: Mapping[str, Json], paths: Sequence[str]) -> dict[str, Json]:
    """Return only what the dotted `paths` select; a path to an object selects all below it, unknown paths nothing."""
    result: dict[str, Json] = {}
    for path in paths:
        _copy_path(entity, path.split("."), result)
    return result


def _time(fragment: Fragment, policy: MergePolicy) -> int:
    return fragment.updated_ms or fragment.ingested_ms if policy.custom_timestamp else fragment.ingested_ms


def _fill(target: dict[str, Json], source: Mapping[str, Json]) -> None:
    """Add what `target` lacks: objects and maps member by member, everything else whole."""
    for name, value in source.items():
        if name not in target:
            target[name] = _copied(value)
        elif isinstance(target[name], dict) and isinstance(value, dict):
            _fill(target[name], value)


def _copied(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _copied(member) for name, member in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _is_unit(value: Json) -> bool:
    return isinstance(value, dict) and ("time" in value or "val" in value)


def _merge_consents(best_first: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """A group that says `val` or `time` is taken whole; the one with the newest time of its own wins over rank."""
    merged: dict[str, Any] = {}
    for consents in best_first:
        _fill_consents(merged, consents)
    return merged


def _fill_consents(target: dict[str, Json], source: Mapping[str, Json]) -> None:
    for name, value in source.items():
        held = target.get(name)
        if name not in target:
            target[name] = _copied(value)
        elif isinstance(held, dict) and _is_unit(held) and _is_unit(value):
            if str(value.get("time", "")) > str(held.get("time", "")):
                target[name] = _copied(value)
        elif isinstance(value, dict) and isinstance(held, dict):
            _fill_consents(held, value)


def _merge_memberships(best_first: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """For each audience the entry with the newest `lastQualificationTime`."""
    merged: dict[str, Any] = {}
    for memberships in best_first:
        for namespace, audiences in memberships.items():
            held = merged.setdefault(namespace, {})
            for audience, entry in audiences.items():
                if audience not in held or _qualified(entry) > _qualified(held[audience]):
                    held[audience] = _copied(entry)
    return merged


def _qualified(entry: Mapping[str, Json]) -> str:
    return str(entry.get("lastQualificationTime", ""))


def _merge_identities(best_first: Sequence[Fragment]) -> dict[str, Json]:
    """Union over all fragments, one entry for each (namespace, value); primary is the best-ranked fragment's."""
    primary = next((fragment.primary for fragment in best_first if fragment.primary), None)
    states: dict[Identified, str] = {}
    for fragment in best_first:
        for code, items in (fragment.entity.get("identityMap") or {}).items():
            for item in items:
                if isinstance(item.get("id"), str) and "authenticatedState" in item:
                    states.setdefault((code.lower(), item["id"].strip()), item["authenticatedState"])
    known = {identity for fragment in best_first for identity in fragment.identities}
    merged: dict[str, Any] = {}
    for code, value in sorted(known, key=lambda identity: (identity != primary, identity)):
        entry: dict[str, Json] = {"id": value}
        if (code, value) in states:
            entry["authenticatedState"] = states[code, value]
        entry["primary"] = (code, value) == primary
        merged.setdefault(code, []).append(entry)
    return merged


def _copy_path(source: Mapping[str, Json], path: Sequence[str], target: dict[str, Json]) -> None:
    name, *rest = path
    if name not in source:
        return
    value = source[name]
    if not rest:
        target[name] = _copied(value)
    elif isinstance(value, dict):
        inner = target.setdefault(name, {})
        if isinstance(inner, dict):
            _copy_path(value, rest, inner)
            if not inner:
                del target[name]
    elif isinstance(value, list) and name not in target:
        # A path through an array selects the whole array: elements are never split.
        target[name] = _copied(value)
