"""What each permission means, and when a set of permissions is enough. Pure. Source: sandboxes-access.md 2.1, 3, 4."""

from collections.abc import Iterable, Mapping, Sequence

_RWD = ("read", "write", "delete")
_R = ("read",)


def _all(names: str, actions: Sequence[str]) -> dict[str, Sequence[str]]:
    return dict.fromkeys(names.split(), actions)


_SCHEMA_PARTS = "classes data-types identity-descriptor mixins relationship-descriptor schemas"

PERMISSIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "export-audience-for-segment": _all("segments", _R),
    "manage-datasets": _all("connection datasets datasets-data dule-label", _RWD) | _all("schemas", _R),
    "manage-identity-namespaces": _all("identity-namespaces", _RWD),
    "manage-profiles": _all("datasets profile-configs profile-datasets profiles schemas segment-jobs segments", _RWD),
    "manage-sandboxes": _all("sandboxes", _RWD),
    "manage-schemas": _all(_SCHEMA_PARTS, _RWD),
    "reset-sandboxes": _all("reset-sandboxes", ("write",)),
    "view-datasets": _all("connection datasets datasets-data dule-label schemas", _R),
    "view-identity-namespaces": _all("identity-namespaces", _R),
    "view-monitoring-dashboard": _all("datasets datasets-data monitoring", _R),
    "view-profiles": _all("datasets profile-configs profile-datasets profiles schemas segments", _R),
    "view-sandboxes": _all("sandboxes", _R),
    "view-schemas": _all(_SCHEMA_PARTS, _R),
    # The documents name these but print no resource types for them: ASSUMPTION.
    "view-sources": _all("streaming-source enterprise-source", _R),
    "manage-sources": _all("streaming-source enterprise-source", _RWD),
    "view-segments": _all("segments", _R),
    "manage-segments": _all("segments segment-jobs", _RWD),
    "evaluate-segments": _all("segment-jobs", ("read", "write")),
    "view-merge-policies": _all("merge-policies", _R),
    "manage-merge-policies": _all("merge-policies", _RWD),
    "view-alerts": _all("alerts", _R),
    "view-alerts-history": _all("alerts", _R),
    "manage-alerts": _all("alerts", _RWD),
    "resolve-alerts": _all("alerts", ("read", "write")),
    "manage-queries": _all("queries", _RWD),
    "manage-query-service-integration": _all("queries", _RWD),
    "view-user-activity-log": _all("audit-log", _R),
    "view-identity-graph": _all("identity-graph", _R),
    "manage-relationships": _all("relationship-descriptor", _RWD),
    "manage-identity-metadata": _all("identity-descriptor", _RWD),
    "manage-dule-labels": _all("dule-label", _RWD),
    "view-dule-policies": _all("dule-policies", _R),
    "manage-dule-policies": _all("dule-policies", _RWD),
}
"""Permission to resource types to actions."""

ORG_ADMINISTRATOR = "org-administrator"
"""Needed for roles, policies, products and accounts: a flag of the account, in no role. Source: sandboxes-access.md 4."""

SANDBOX_ADMINISTRATION = frozenset({"view-sandboxes", "manage-sandboxes", "reset-sandboxes"})

CATEGORIES: Mapping[str, Sequence[str]] = {
    "Profile Management": (
        "view-profiles",
        "manage-profiles",
        "view-segments",
        "manage-segments",
        "view-merge-policies",
        "manage-merge-policies",
        "export-audience-for-segment",
        "evaluate-segments",
    ),
    "Data Ingestion": ("view-sources", "manage-sources"),
    "Sandbox Administration": ("view-sandboxes", "manage-sandboxes", "reset-sandboxes"),
    "Query Service": ("manage-queries", "manage-query-service-integration"),
    "Data Management": ("view-datasets", "manage-datasets", "view-monitoring-dashboard"),
    "Identity Management": ("view-identity-namespaces", "manage-identity-namespaces", "view-identity-graph"),
    "Data Modeling": ("view-schemas", "manage-schemas", "manage-relationships", "manage-identity-metadata"),
    "Dashboards": (),
    "Alerts": ("view-alerts", "view-alerts-history", "manage-alerts", "resolve-alerts"),
    "Data Governance": ("manage-dule-labels", "view-dule-policies", "manage-dule-policies", "view-user-activity-log"),
}
"""Category to permissions, in the order of the product's answer."""

_SPELLINGS: Mapping[str, str] = {
    "connections": "connection",
    "dataset-data": "datasets-data",
    "dule-labels": "dule-label",
    "identity-descriptors": "identity-descriptor",
    "relationship-descriptors": "relationship-descriptor",
    "export-audience-for-segments": "export-audience-for-segment",
    "StreamingSource": "streaming-source",
    "EnterpriseSource": "enterprise-source",
}

# What reading includes beyond the permission of the same thing. Source: sandboxes-access.md 4.
_INCLUDED: Mapping[str, frozenset[str]] = {
    "manage-datasets": frozenset({"view-schemas"}),
    "view-datasets": frozenset({"view-schemas"}),
    "manage-profiles": frozenset({"view-datasets", "view-schemas"}),
}


def resource_types() -> dict[str, list[str]]:
    """Return every resource type with all actions any permission grants on it."""
    actions: dict[str, set[str]] = {}
    for types in PERMISSIONS.values():
        for name, granted in types.items():
            actions.setdefault(name, set()).update(granted)
    return {name: [action for action in _RWD if action in actions[name]] for name in sorted(actions)}


def widened(held: Iterable[str]) -> frozenset[str]:
    """Return the permissions with all that they include: managing a thing includes viewing it."""
    found = set(held)
    for permission in list(found):
        if permission.startswith("manage-"):
            found.add("view-" + permission.removeprefix("manage-"))
    for permission in list(found):
        found |= _INCLUDED.get(permission, frozenset())
    return frozenset(found)


def is_enough(held: Iterable[str], needed: str) -> bool:
    """Return whether, for every comma-separated group of `needed`, one of its names is held or included in what is held."""
    have = widened(held)
    return all(not have.isdisjoint(group.split()) for group in needed.split(","))


def effective(held: frozenset[str], name: str) -> list[str]:
    """Return the actions granted on `/permissions/x` or `/resource-types/y`; empty when none, or the name is unknown."""
    kind, _, bare = name.strip("/").partition("/")
    canonical = _SPELLINGS.get(bare, bare)
    if kind == "permissions":
        return ["*"] if canonical in PERMISSIONS and canonical in widened(held) else []
    if kind != "resource-types":
        return []
    granted = {action for permission in held for action in PERMISSIONS.get(permission, {}).get(canonical, ())}
    return [action for action in _RWD if action in granted]
